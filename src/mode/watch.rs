//! The watcher role: outlives the soft reboot, sees the new root come up, and blesses it or goes back
//! (docs/soft-reboot.md).

use std::time::{Duration, Instant};

use crate::{
    format::config::trial::Trial,
    plan::{
        event::Event,
        health::{self, Duty, Manager, Seen, Verdict, judge},
        intent::EmergencyAction,
        state::{OnTrial, Pass, Root, Staged, State},
    },
    run::{
        bounded::{self, Ended},
        execute, journal,
        log::Log,
        machine,
        soft_reboot::{
            handover::chain,
            running,
            state::{self, Store},
            units::Systemctl,
            watcher,
        },
    },
};

use super::{bless, reboot};

/// Why it cannot watch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Mounts, or files of its own.
    #[error(transparent)]
    Execute(#[from] execute::Error),
}

/// How often systemd is asked while a root is on trial.
const BEAT: Duration = Duration::from_secs(1);
/// Mounts come in swarms.
const CALM: Duration = Duration::from_millis(100);
/// How long it may take to stage the root before.
const TO_STAGE: Duration = Duration::from_secs(120);
/// This program, for a run of its own that can be ended.
const SELF: &str = "/proc/self/exe";

/// Watches as long as something is staged or on trial.
pub fn run() -> Result<(), Error> {
    let log = Log::open(Instant::now());
    let store = Store::default();
    let changes = watcher::changes()?;
    // The generation in which something was staged.
    let mut awaited = None;
    loop {
        let state = running::settled::<Error>(&store)?;
        match Duty::of(&state) {
            Duty::Await => {
                awaited = Some(state.generation);
                changes.wait(None).map_err(execute::Error::from)?;
                machine::pause(CALM);
            }
            Duty::Judge { root, trial } => Watch::new(&log, &store, *root, *trial).watch()?,
            Duty::Nothing if is_over(&store)? => {
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

/// Whether there is still nothing to do where nobody else is at work; then what was left for the watcher goes, too.
fn is_over(store: &Store) -> Result<bool, Error> {
    let Ok(_lock) = store.lock() else { return Ok(false) };
    let over = Duty::of(&running::settled::<Error>(store)?) == Duty::Nothing;
    if over {
        watcher::remove()?;
    }
    Ok(over)
}

/// Goes back to the root before: in a process of its own, which can be ended where a disk or PID 1 does not answer. It
/// speaks through the kernel log.
pub fn back(why: &str) -> Result<Staged, reboot::Error> {
    let log = Log::open(Instant::now());
    let staged = try_back(why, |line| log.info(&format!("watch: back: {line}")));
    if let Err(error) = &staged {
        log.error(&format!("watch: back: {}", chain(error)));
    }
    staged
}

fn try_back(why: &str, tell: impl FnMut(&str)) -> Result<Staged, reboot::Error> {
    let mut request = reboot::back(why)?;
    // What nextroot.conf of the unhealthy root says does not count; and preflight warns only, as nothing else is left.
    request.force = true;
    if let Some(trial) = Store::default().load()?.trial {
        request.configured.trial = trial.rules;
    }
    reboot::run(Some(&request), tell)
}

/// How a return to the root before began.
enum Return {
    /// PID 1 was asked for the soft reboot.
    Asked,
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
        let OnTrial { rules, came_back, .. } = trial;
        let systemctl = Systemctl::default();
        Self { log, store, rules, root, came_back, since, answered: now, clean: None, systemctl }
    }

    /// Until it is blessed, or left, or stays for want of another.
    fn watch(mut self) -> Result<(), Error> {
        self.log.info(&format!("watch: on trial: {}; it has to be {}", self.root, self.rules));
        journal::tell(&Event::OnTrial(self.root.clone()));
        let since_us = u64::try_from(self.since.as_micros()).ok();
        self.note(|trial| trial.since_us = since_us);
        let mut told = String::new();
        while self.is_on_trial()? {
            let mut seen = self.look();
            let mut verdict = judge(&self.rules, &seen);
            if verdict == Verdict::RunCommand {
                seen.command = Some(self.run_command());
                seen.since = machine::monotonic().saturating_sub(self.since);
                verdict = judge(&self.rules, &seen);
            }
            match verdict {
                Verdict::Healthy if self.bless() => return Ok(()),
                Verdict::Failed(why) => return self.leave(&why, seen.manager.is_ok()),
                Verdict::NotYet(why) if why != told => {
                    self.log.info(&format!("watch: not yet healthy: {why}"));
                    told = why;
                }
                _ => {}
            }
            machine::pause(BEAT);
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
        let units = match manager {
            Ok(Manager::Starting | Manager::Up) => {
                self.systemctl.health(self.since).map_err(|error| chain(&error))
            }
            _ => Ok(Vec::new()),
        };
        let now = machine::monotonic();
        let manager = manager.and_then(|manager| units.as_ref().map(|_| manager).map_err(Clone::clone));
        let units = units.unwrap_or_default();
        if manager.is_ok() {
            self.answered = now;
        }
        match manager {
            Ok(Manager::Up) if !health::any_failed(&units) => drop(self.clean.get_or_insert(now)),
            _ => self.clean = None,
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
        match bounded::run(program, &arguments, left) {
            Ok(Ended::Exit(Some(0))) => Ok(()),
            Ok(Ended::Exit(Some(code))) => Err(format!("{program} ended with exit code {code}")),
            Ok(Ended::Exit(None)) => Err(format!("{program} was ended by a signal")),
            Ok(Ended::Killed) => Err(format!("{program} has not ended for {} s", left.as_secs())),
            Err(error) => Err(format!("start {program}: {error}")),
        }
    }

    /// Declares it healthy; `false` where another nextroot is at work.
    fn bless(&self) -> bool {
        match bless::run() {
            Ok(done) => {
                self.log.info(&format!("watch: blessed: {}", self.root));
                journal::tell(&Event::Blessed(self.root.clone()));
                match done.closed {
                    Ok(lines) => lines.iter().for_each(|line| self.log.info(&format!("watch: {line}"))),
                    Err(error) => self
                        .log
                        .warning(&format!("watch: {}, ignoring: nextroot gc tries again", chain(&error))),
                }
                true
            }
            Err(error) => {
                self.log.debug(|| format!("watch: bless: {}; trying again", chain(&error)));
                false
            }
        }
    }

    /// Leaves a root that is not healthy; restarts the machine where PID 1 does nothing about it.
    fn leave(&self, why: &str, answers: bool) -> Result<(), Error> {
        self.log.error(&format!("watch: NOT HEALTHY: {why}"));
        match self.go_back(why, answers) {
            Return::Asked => return self.insist(),
            Return::Nowhere(because) => self.stay(why, &because),
            Return::Stuck(because) => self.reset(&because),
        }
        Ok(())
    }

    fn go_back(&self, why: &str, answers: bool) -> Return {
        // Else it would go to and fro.
        if self.came_back {
            return Return::Nowhere("it was gone back to, as the root after it had failed, too".to_owned());
        }
        if let Err(error) = reboot::back(why) {
            return Return::Nowhere(chain(&error));
        }
        self.log.info("watch: going back to the root before");
        journal::tell(&Event::Leaving { root: self.root.clone(), why: why.to_owned() });
        match bounded::run(SELF, &["watch", "--back", why], TO_STAGE) {
            Ok(Ended::Exit(Some(0))) => Return::Asked,
            Ok(Ended::Killed) => Return::Stuck("the root before could not be staged in time".to_owned()),
            _ if !answers => {
                Return::Stuck("the root before cannot be staged, and PID 1 does not answer".to_owned())
            }
            Ok(Ended::Exit(_)) => {
                Return::Nowhere("the root before cannot be staged, as the lines above say".to_owned())
            }
            Err(error) => Return::Nowhere(format!("run nextroot: {error}")),
        }
    }

    /// Sees to it that PID 1 does the soft reboot that it was asked for.
    fn insist(&self) -> Result<(), Error> {
        let (asked, mut began) = (Instant::now(), false);
        while self.is_root(&running::settled::<Error>(self.store)?) {
            if health::has_to_reset(asked.elapsed(), began) {
                self.reset("PID 1 does not do the soft reboot that it was asked for");
                return Ok(());
            }
            began |= matches!(self.systemctl.manager(), Ok(Some(Manager::Stopping)));
            machine::pause(BEAT);
        }
        Ok(())
    }

    /// There is no other root to go to: it stays, and says so.
    fn stay(&self, why: &str, because: &str) {
        self.log.error(&format!("watch: this root stays, although it is not healthy: {because}"));
        let stays = format!("{why}; it stays: {because}");
        journal::tell(&Event::Staying { root: self.root.clone(), why: stays.clone() });
        self.note(|trial| trial.stays = Some(stays.clone()));
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
        const TRIES: usize = 30;
        for _ in 0..TRIES {
            match self.try_note(&change) {
                Err(Error::State(state::Error::Locked(_))) => machine::pause(BEAT),
                Err(error) => {
                    self.log
                        .warning(&format!("watch: {}, ignoring: it counts for this process", chain(&error)));
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    fn try_note(&self, change: impl Fn(&mut OnTrial)) -> Result<(), Error> {
        let _lock = self.store.lock()?;
        let mut state = running::settled::<Error>(self.store)?;
        state.trial.iter_mut().for_each(change);
        Ok(self.store.save(&state)?)
    }
}
