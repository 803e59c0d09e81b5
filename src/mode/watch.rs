//! The watcher role: outlives the soft reboot, sees the new root come up, and blesses it or goes back
//! (docs/soft-reboot.md).

use std::time::{Duration, Instant};

use crate::{
    format::config::trial::Trial,
    plan::{
        Step,
        event::Event,
        health::{self, Duty, Manager, Seen, Verdict, judge},
        intent::EmergencyAction,
        leaving::{self, Answer, At, Leaving, Next},
        state::{OnTrial, Pass, Root, Staged, State},
    },
    run::{
        bounded::{self, Ended, SELF},
        execute::{self, Executor},
        journal,
        log::Log,
        machine,
        probe::{self, Prober},
        soft_reboot::{
            handover::{chain, is_relay},
            running,
            state::{self, Store},
            units::{self, Systemctl},
            watcher::{self, Changes},
        },
    },
};

use super::{bless, preflight, reboot, request::Way, stage};

/// Why it cannot watch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Mounts, or files of its own.
    #[error(transparent)]
    Execute(#[from] execute::Error),
    /// Devices.
    #[error(transparent)]
    Probe(#[from] probe::Error),
}

/// How often is looked, where nothing tells of changes.
const BEAT: Duration = Duration::from_secs(1);
/// Mounts come in swarms.
const CALM: Duration = Duration::from_millis(500);
/// How long it may take to stage the root before.
const TO_STAGE: Duration = Duration::from_secs(120);
/// How long it may take to mark the boot loader's entries before a restart.
const TO_MARK: Duration = Duration::from_secs(20);
/// How long another nextroot may be at work meanwhile.
const TO_UNLOCK: Duration = Duration::from_secs(60);
/// How long it waits for another nextroot to write something down.
const TO_NOTE: Duration = Duration::from_secs(90);
/// How long one run of the command may take: PID 1 is not asked meanwhile.
const TO_CHECK: Duration = Duration::from_secs(30);
/// Exit code of a return that another nextroot kept from being staged.
pub const LATER: u8 = 75;

/// Watches as long as something is staged or on trial. Nobody reads what it writes: it speaks through the kernel log.
pub fn run() -> Result<(), Error> {
    let log = Log::open(Instant::now());
    to_the_end(&log).inspect_err(|error| log.error(&format!("watch: FAILED: {}", chain(error))))
}

fn to_the_end(log: &Log) -> Result<(), Error> {
    let store = Store::default();
    // The generation in which something was staged, and what is waited for then: what it holds open keeps the old root
    // busy, so it goes when that is left.
    let (mut awaited, mut changes) = (None, None);
    loop {
        let state = running::settled::<Error>(&store)?;
        match Duty::of(&state) {
            Duty::Await => {
                awaited = Some(state.generation);
                match &changes {
                    Some(Some(changes)) => wait(changes)?,
                    Some(None) => machine::pause(BEAT),
                    // What changes meanwhile is seen in the next turn.
                    None => changes = Some(follow(log)),
                }
            }
            Duty::Judge { root, trial } => {
                changes = None;
                Watch::new(log, &store, *root, *trial).watch()?;
            }
            Duty::Nothing if is_over(log, &store)? => {
                let passed = awaited.is_some_and(|generation| state.generation > generation);
                if let Some(Pass { switched: false, error, .. }) = state.relay.filter(|_| passed) {
                    journal::tell(&Event::CameBack { why: error.unwrap_or_default() });
                }
                return Ok(());
            }
            Duty::Nothing => machine::pause(BEAT),
        }
    }
}

/// What tells of changes; `None` where that cannot be had.
fn follow(log: &Log) -> Option<Changes> {
    let tell = |error: &execute::Error| {
        log.warning(&format!("watch: {}, ignoring: it looks once a second instead", chain(error)));
    };
    Changes::follow().inspect_err(tell).ok()
}

fn wait(changes: &Changes) -> Result<(), Error> {
    changes.wait()?;
    machine::pause(CALM);
    Ok(())
}

/// Whether there is still nothing to do where nobody else is at work; then what was left for the watcher goes, too.
fn is_over(log: &Log, store: &Store) -> Result<bool, Error> {
    let Ok(_lock) = store.lock() else { return Ok(false) };
    let mut state = running::settled::<Error>(store)?;
    let over = Duty::of(&state) == Duty::Nothing;
    if over {
        // After a switch that came back, the boot loader's entry has its name again.
        if let Err(error) = preflight::end_look(&mut state, store) {
            log.warning(&format!("watch: {}, ignoring: nextroot cancel tries again", chain(&error)));
        }
        watcher::remove()?;
    }
    Ok(over)
}

/// Goes back to the root before: in a process of its own, which can be ended where a disk or PID 1 does not answer. It
/// speaks through the kernel log.
pub fn back(why: &str) -> Result<Staged, reboot::Error> {
    let (log, begun) = (Log::open(Instant::now()), Instant::now());
    loop {
        let staged = try_back(why, |line| log.info(&format!("watch: back: {line}")));
        match &staged {
            Ok(_) => {}
            Err(error) if error.is_locked() && begun.elapsed() < TO_UNLOCK => {
                machine::pause(BEAT);
                continue;
            }
            Err(error) => log.error(&format!("watch: back: {}", chain(error))),
        }
        return staged;
    }
}

fn try_back(why: &str, tell: impl FnMut(&str)) -> Result<Staged, reboot::Error> {
    let mut request = reboot::back(why)?;
    // What nextroot.conf of the unhealthy root says does not count; and preflight warns only, as nothing else is left.
    request.force = true;
    if !watcher::is_copy() {
        request.way = Way::Direct; // where a tmpfs may not have programs
    }
    if let Some(trial) = Store::default().load()?.trial {
        request.configured.trial = trial.rules;
    }
    // Services are away longer if it takes longer.
    request.configured.prewarm.wanted = false;
    reboot::run(Some(&request), None, tell)
}

/// Marks the boot loader's entries of the running root bad: in a process of its own, too, where a disk may not answer.
pub fn mark() -> Result<(), Error> {
    let log = Log::open(Instant::now());
    let marked = || -> Result<(), Error> {
        let state = running::settled::<Error>(&Store::default())?;
        let prober = Prober::of_running_system()?;
        let mut executor = Executor::new(None, Vec::new());
        for renaming in
            stage::bad_entries(&state, prober.facts(), &mut |line| log.warning(&format!("watch: {line}")))
        {
            let step = Step::MarkEntryBad(renaming);
            log.info(&format!("watch: {step}"));
            executor.execute(&step)?;
        }
        Ok(())
    };
    marked().inspect_err(|error| log.error(&format!("watch: {}", chain(error))))
}

/// How a return to the root before began.
enum Return {
    /// PID 1 was asked for the soft reboot.
    Asked,
    /// Another nextroot is at work: it has to be tried again.
    Later,
    /// There is no root to go to.
    Nowhere(String),
    /// Nothing is left but to restart the machine.
    Stuck(String),
}

/// A root on trial.
struct Watch<'a> {
    log: &'a Log,
    store: &'a Store,
    rules: Trial,
    root: Root,
    /// Whether it was gone back to, as another had failed.
    came_back: bool,
    /// Whether PID 1 was asked to leave it, before this began.
    asked_back: bool,
    /// When the switch was seen, by CLOCK_MONOTONIC.
    since: Duration,
    /// When PID 1 answered last, and since when it has been up without a failed unit.
    answered: Duration,
    clean: Option<Duration>,
    systemctl: Systemctl,
}

impl<'a> Watch<'a> {
    fn new(log: &'a Log, store: &'a Store, root: Root, trial: OnTrial) -> Self {
        let now = machine::monotonic();
        let since = trial.since_us.map_or(now, Duration::from_micros);
        let OnTrial { rules, came_back, asked_back, .. } = trial;
        let systemctl = Systemctl::default();
        Self { log, store, rules, root, came_back, asked_back, since, answered: now, clean: None, systemctl }
    }

    /// Until it is blessed, or left, or stays for want of another.
    fn watch(mut self) -> Result<(), Error> {
        self.log.info(&format!("watch: on trial: {}; it has to be {}", self.root, self.rules));
        let since_us = u64::try_from(self.since.as_micros()).ok();
        self.note(|trial| trial.since_us = since_us);
        let (mut told, mut announced) = (String::new(), false);
        while self.is_on_trial()? {
            let begun = Instant::now();
            let mut seen = self.look();
            // One that does not answer is not spared.
            let pause = if seen.manager.is_ok() { health::pause_after(begun.elapsed()) } else { BEAT };
            // journald is there by the time that PID 1 answers.
            if seen.manager.is_ok() && !std::mem::replace(&mut announced, true) {
                journal::tell(&Event::OnTrial(self.root.clone()));
            }
            let mut verdict = judge(&self.rules, &seen);
            if verdict == Verdict::RunCommand {
                seen.command = Some(self.run_command());
                seen.since = machine::monotonic().saturating_sub(self.since);
                verdict = judge(&self.rules, &seen);
            }
            // Somebody may have judged it, or left it, meanwhile.
            if matches!(verdict, Verdict::Healthy | Verdict::Failed(_)) && !self.is_on_trial()? {
                break;
            }
            let why = match verdict {
                Verdict::Healthy => match self.bless() {
                    None => break,
                    why => why,
                },
                Verdict::Failed(why) if self.leave(&why, seen.answers(&self.rules))? => break,
                Verdict::NotYet(why) => Some(format!("not yet healthy: {why}")),
                Verdict::Failed(_) | Verdict::RunCommand | Verdict::Leaving => None,
            };
            if let Some(why) = why.filter(|why| *why != told) {
                self.log.info(&format!("watch: {why}"));
                told = why;
            }
            machine::pause(pause);
        }
        Ok(())
    }

    /// Whether it is the same root still, and nobody else has judged it.
    fn is_on_trial(&self) -> Result<bool, Error> {
        let state = running::settled::<Error>(self.store)?;
        Ok(matches!(Duty::of(&state), Duty::Judge { .. }) && self.is_root(&state))
    }

    fn is_root(&self, state: &State) -> bool {
        state.current.as_ref().is_some_and(|current| current.is(&self.root))
    }

    fn look(&mut self) -> Seen {
        let manager = match self.systemctl.manager() {
            Ok(Some(manager)) => Ok(manager),
            Ok(None) => Err("what it says of itself is not known".to_owned()),
            Err(error) => Err(chain(&error)),
        };
        let now = machine::monotonic();
        // Until start-up is over it depends on these alone, and PID 1 has other work than to tell of all. Up to 254 it says so
        // with any job, also later.
        let units = match manager {
            Ok(Manager::Starting) if self.clean.is_none() => {
                self.systemctl.health(&self.rules.units, self.since)
            }
            Ok(Manager::Starting | Manager::Up) => self
                .systemctl
                .listed()
                .and_then(|listed| self.systemctl.health(&health::to_ask(&self.rules, &listed), self.since)),
            _ => Ok(Vec::new()),
        };
        let units = units.map_err(|error| chain(&error));
        if manager.is_ok() {
            self.answered = now;
        }
        match (&manager, &units) {
            (Ok(Manager::Maintenance | Manager::Stopping), _) => self.clean = None,
            (_, Ok(units)) if health::any_failed(units) => self.clean = None,
            (Ok(Manager::Up), Ok(_)) => drop(self.clean.get_or_insert(now)),
            // Nothing is known of failures.
            _ => {}
        }
        Seen {
            since: now.saturating_sub(self.since),
            silent: now.saturating_sub(self.answered),
            manager,
            units,
            clean: self.clean.map_or(Duration::ZERO, |clean| now.saturating_sub(clean)),
            command: None,
        }
    }

    fn run_command(&self) -> Result<(), String> {
        let Some((program, arguments)) = self.rules.command.split_first() else { return Ok(()) };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let left = self.rules.timeout().saturating_sub(machine::monotonic().saturating_sub(self.since));
        let limit = left.min(TO_CHECK);
        match bounded::last_words(program, &arguments, limit) {
            Ok((Ended::Exit(Some(0)), _)) => Ok(()),
            Ok((ended, None)) => Err(format!("{program} {ended}")),
            Ok((ended, Some(last))) => Err(format!("{program} {ended}: {last}")),
            Err(error) => Err(format!("start {program}: {error}")),
        }
    }

    /// Declares it healthy; or why it could not be written down.
    fn bless(&self) -> Option<String> {
        let done = match bless::run() {
            Ok(done) => done,
            Err(error) => return Some(format!("it is healthy, and cannot be blessed: {}", chain(&error))),
        };
        self.log.info(&format!("watch: blessed: {}", self.root));
        journal::tell(&Event::Blessed(self.root.clone()));
        match done.closed {
            Ok(lines) => lines.iter().for_each(|line| self.log.info(&format!("watch: {line}"))),
            Err(error) => {
                self.log.warning(&format!("watch: {}, ignoring: nextroot gc tries again", chain(&error)));
            }
        }
        None
    }

    /// Leaves a root that is not healthy; restarts the machine where PID 1 does nothing about it. `false` where it has to
    /// be tried again.
    fn leave(&self, why: &str, answers: bool) -> Result<bool, Error> {
        self.log.error(&format!("watch: NOT HEALTHY: {why}"));
        match self.go_back(why) {
            Return::Asked => self.insist(why)?,
            Return::Later => return Ok(false),
            Return::Nowhere(because) if answers => self.stay(why, &because),
            Return::Nowhere(because) => self.give_up(&format!("PID 1 does not answer, and {because}")),
            Return::Stuck(because) => self.give_up(&because),
        }
        Ok(true)
    }

    fn go_back(&self, why: &str) -> Return {
        if self.asked_back {
            return Return::Nowhere("it was to be left before, and the switch came back".to_owned());
        }
        // Else it would go to and fro.
        if self.came_back {
            return Return::Nowhere("it was gone back to, as the root after it had failed, too".to_owned());
        }
        if let Err(error) = reboot::back(why) {
            return Return::Nowhere(chain(&error));
        }
        self.log.info("watch: going back to the root before");
        // Once PID 1 is asked, journald may be gone.
        journal::tell(&Event::Leaving { root: self.root.clone(), why: why.to_owned() });
        match bounded::run(SELF, &["watch", "--back", why], TO_STAGE) {
            Ok(Ended::Exit(Some(0))) => {
                self.note(|trial| trial.asked_back = true);
                Return::Asked
            }
            Ok(Ended::Exit(Some(code))) if code == i32::from(LATER) => Return::Later,
            Ok(Ended::Killed) => Return::Stuck("the root before could not be staged in time".to_owned()),
            Ok(Ended::Exit(_)) => {
                Return::Nowhere("the root before cannot be staged, as the lines above say".to_owned())
            }
            Err(error) => Return::Nowhere(format!("run nextroot: {error}")),
        }
    }

    /// Sees to it that PID 1 does the soft reboot that it was asked for.
    fn insist(&self, why: &str) -> Result<(), Error> {
        let asked = Instant::now();
        let before = running::settled::<Error>(self.store)?.generation;
        let mut leaving = Leaving::default();
        loop {
            let state = running::settled::<Error>(self.store)?;
            let staged = state.staged.is_some();
            let at = self.at(state, before);
            let answer = match at {
                At::Same if staged => self.answer(),
                _ => Answer::Silent,
            };
            match leaving.next(&leaving::Seen { since: asked.elapsed(), at, staged, answer }) {
                Next::Wait => machine::pause(BEAT),
                Next::Left => return Ok(()),
                Next::Stays(because) => {
                    self.stay(why, &because);
                    return Ok(());
                }
                Next::Reset => {
                    self.reset("PID 1 does not do the soft reboot that it was asked for");
                    return Ok(());
                }
            }
        }
    }

    /// Where the way back is, which began in this life of userspace.
    fn at(&self, state: State, before: u64) -> At {
        if is_relay() {
            At::InBetween
        } else if !self.is_root(&state) {
            At::Other
        } else if state.generation > before {
            At::CameBack(state.relay.and_then(|pass| pass.error).unwrap_or_default())
        } else {
            At::Same
        }
    }

    fn answer(&self) -> Answer {
        match self.systemctl.manager() {
            Ok(manager) => Answer::Is(manager),
            Err(units::Error::Start { .. }) => Answer::NobodyAsks,
            Err(_) => Answer::Silent,
        }
    }

    /// There is no other root to go to: it stays, and says so.
    fn stay(&self, why: &str, because: &str) {
        self.log.error(&format!("watch: this root stays, although it is not healthy: {because}"));
        let stays = format!("{why}; it stays: {because}");
        journal::tell(&Event::Staying { root: self.root.clone(), why: stays.clone() });
        self.note(|trial| trial.stays = Some(stays.clone()));
    }

    /// Restarts the machine, which is not to come up in this root again: staging the way back did not come so far. The root that
    /// was gone back to is the last that there is.
    fn give_up(&self, why: &str) {
        if !self.came_back {
            let told = match bounded::run(SELF, &["watch", "--mark"], TO_MARK) {
                Ok(Ended::Exit(Some(0))) => None,
                Ok(ended) => Some(ended.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(told) = told {
                self.log.warning(&format!("watch: mark the boot loader's entries of this root: {told}, ignoring: the machine may come up in it again"));
            }
        }
        self.reset(why);
    }

    /// Returns only where the kernel refuses.
    fn reset(&self, why: &str) {
        self.log.error(&format!("watch: {why}: restarting the machine"));
        journal::tell(&Event::Restarting { why: why.to_owned() });
        let error = machine::end(EmergencyAction::Reboot);
        self.log.error(&format!("watch: reboot: {}", error.in_one_line()));
    }

    /// Writes something down, as soon as nobody else is at work.
    fn note(&self, change: impl Fn(&mut OnTrial)) {
        if let Err(error) = self.try_note(change) {
            self.log.warning(&format!("watch: {}, ignoring: it counts for this process", chain(&error)));
        }
    }

    fn try_note(&self, change: impl Fn(&mut OnTrial)) -> Result<(), Error> {
        let _lock = self.store.lock_within(TO_NOTE)?;
        let mut state = running::settled::<Error>(self.store)?;
        state.trial.iter_mut().for_each(change);
        Ok(self.store.save(&state)?)
    }
}
