//! The watcher role: outlives the soft reboot, sees the new root come up, and blesses it or goes back
//! (docs/soft-reboot.md).

use std::time::{Duration, Instant};

use crate::{
    format::config::trial::Trial,
    plan::{
        event::Event,
        health::{self, Clean, Descent, Duty, Manager, Restarts, Seen, Silence, Verdict, judge},
        locked::Locked,
        state::{OnTrial, Pass, Root, State},
    },
    run::{
        bounded::{self, Ended},
        execute, journal,
        log::Log,
        machine, probe,
        soft_reboot::{
            handover::chain,
            running,
            state::{self, Store},
            units::Systemctl,
            watcher::{self, Changes},
        },
    },
};

use super::{bless, preflight};

mod back;
mod leave;
mod locked;

pub use back::{LATER, back, mark};

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
/// How long the relay may take from the first move to the last: it takes milliseconds.
const TO_PASS: Duration = Duration::from_secs(10);
/// How long it waits for another nextroot to write something down, after PID 1 was asked to leave the root.
const TO_NOTE: Duration = Duration::from_secs(10);
/// How long one run of the command may take: PID 1 is not asked meanwhile.
const TO_CHECK: Duration = Duration::from_secs(30);
/// What a run that begins in time has for itself, also where its time is over before: one that would have failed would be told as one
/// that took too long.
const AT_LEAST: Duration = Duration::from_secs(5);

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
        let state = settled(&store)?;
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

/// What is remembered and seen. While the relay moves /proc and /run nothing of it can be: it is waited for.
fn settled(store: &Store) -> Result<State, Error> {
    let begun = Instant::now();
    loop {
        match running::settled(store) {
            Err(_) if begun.elapsed() < TO_PASS => machine::pause(CALM),
            settled => return settled,
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
        match preflight::end_look(&mut state, store) {
            Ok(kept) => kept.iter().for_each(|kept| log.warning(&format!("watch: {kept}"))),
            Err(error) => {
                log.warning(&format!("watch: {}, ignoring: nextroot cancel tries again", chain(&error)));
            }
        }
        watcher::remove()?;
    }
    Ok(over)
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
    /// When the switch was seen, by CLOCK_MONOTONIC, and whether the state says so.
    since: Duration,
    is_noted: bool,
    silence: Silence,
    descent: Descent,
    restarts: Restarts,
    clean: Clean,
    /// The lock of another nextroot, as long as that keeps the root from being left, or from being blessed.
    locked: Locked,
    /// Why it is being left, as far as that was told.
    told: Option<String>,
    systemctl: Systemctl,
}

impl<'a> Watch<'a> {
    fn new(log: &'a Log, store: &'a Store, root: Root, trial: OnTrial) -> Self {
        let now = machine::monotonic();
        let since = trial.since_us.map_or(now, Duration::from_micros);
        let OnTrial { rules, came_back, asked_back, .. } = trial;
        Self {
            log,
            store,
            rules,
            root,
            came_back,
            asked_back,
            since,
            is_noted: false,
            silence: Silence::default(),
            descent: Descent::default(),
            restarts: Restarts::default(),
            clean: Clean::default(),
            locked: Locked::default(),
            told: None,
            systemctl: Systemctl::default(),
        }
    }

    /// Until it is blessed, or left, or stays for want of another.
    fn watch(mut self) -> Result<(), Error> {
        self.log.info(&format!("watch: on trial: {}; it has to be {}", self.root, self.rules));
        let (mut told, mut announced) = (String::new(), false);
        while self.is_on_trial()? {
            self.note_since();
            let mut seen = self.look();
            // One that does not answer is not spared.
            let pause = if seen.manager.is_ok() { self.pause_after(&seen) } else { BEAT };
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
            if !matches!(verdict, Verdict::Failed(_)) {
                (self.locked, self.told) = (Locked::default(), None);
            }
            // Somebody may have judged it, or left it, meanwhile.
            if verdict.is_final() && !self.is_on_trial()? {
                break;
            }
            let why = match verdict {
                Verdict::Healthy => return self.bless(),
                Verdict::Failed(why) if self.leave(&why, seen.manager.is_ok())? => break,
                Verdict::Stuck(why) => {
                    self.end(&why);
                    break;
                }
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
        let state = settled(self.store)?;
        Ok(matches!(Duty::of(&state), Duty::Judge { .. }) && self.is_root(&state))
    }

    fn is_root(&self, state: &State) -> bool {
        state.current.as_ref().is_some_and(|current| current.is(&self.root))
    }

    fn look(&mut self) -> Seen {
        let asked = machine::monotonic();
        let told = self.systemctl.manager().map_err(|error| chain(&error));
        let restarts = self.restarts.after(told.as_ref().ok().and_then(|told| told.soft_reboots));
        let manager = told.map(|told| told.manager);
        let now = machine::monotonic();
        let silent = self.silence.after(asked, now, manager.is_ok());
        let stopping = self.descent.after(now, &manager);
        // Until start-up is over it depends on these alone, and PID 1 has other work than to tell of all. Up to 254 it says so
        // with any job, also later.
        let units = match manager {
            Ok(Some(Manager::Starting)) if !self.clean.has_been_up() => {
                self.systemctl.health(&self.rules.units, self.since)
            }
            Ok(Some(Manager::Starting | Manager::Up { .. })) => self
                .systemctl
                .listed()
                .and_then(|listed| self.systemctl.health(&health::to_ask(&self.rules, &listed), self.since)),
            _ => Ok(Vec::new()),
        };
        let units = units.map_err(|error| chain(&error));
        let clean = self.clean.after(now, &manager, &units);
        let since = machine::monotonic().saturating_sub(self.since);
        // Without them it is told as well, in fewer words.
        let jobs = match health::asks_for_jobs(&self.rules, since, &manager) {
            true => self.systemctl.jobs().unwrap_or_default(),
            false => Vec::new(),
        };
        Seen {
            begun: asked.saturating_sub(self.since),
            since,
            silent,
            stopping,
            restarts,
            manager,
            units,
            clean,
            last_failed: self.clean.last_failed().to_owned(),
            jobs,
            command: None,
        }
    }

    fn pause_after(&self, seen: &Seen) -> Duration {
        health::pause_after(
            seen.since.saturating_sub(seen.begun),
            self.rules.timeout().saturating_sub(seen.since),
        )
    }

    fn run_command(&self) -> Result<(), String> {
        let Some((program, arguments)) = self.rules.command.split_first() else { return Ok(()) };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let left = self.rules.timeout().saturating_sub(machine::monotonic().saturating_sub(self.since));
        let limit = left.clamp(AT_LEAST, TO_CHECK);
        match bounded::last_words(program, &arguments, limit) {
            Ok((Ended::Exit(Some(0)), _)) => Ok(()),
            Ok((ended, None)) => Err(format!("{program} {ended}")),
            Ok((ended, Some(last))) => Err(format!("{program} {ended}: {last}")),
            Err(error) => Err(format!("start {program}: {error}")),
        }
    }

    /// Declares it healthy, as soon as nobody else is at work. It has stood its trial: how long that takes does not count.
    fn bless(mut self) -> Result<(), Error> {
        let blessed = self.written("it is healthy, and cannot be blessed yet", |_| Ok(bless::run()?))?;
        let Some(done) = blessed else { return Ok(()) };
        self.log.info(&format!("watch: blessed: {}", self.root));
        match done.closed {
            Ok(lines) => lines.iter().for_each(|line| self.log.info(&format!("watch: {line}"))),
            Err(error) => {
                self.log.warning(&format!("watch: {}, ignoring: nextroot gc tries again", chain(&error)));
            }
        }
        Ok(())
    }

    /// Writes down since when it runs, for a watcher that is started again. Where another nextroot is at work, the next look
    /// does it.
    fn note_since(&mut self) {
        let since_us = u64::try_from(self.since.as_micros()).ok();
        if !self.is_noted {
            match self.note(Duration::ZERO, |trial| trial.since_us = since_us) {
                Err(Error::State(state::Error::Locked(_))) => return,
                noted => self.tolerate(noted),
            }
        }
        self.is_noted = true;
    }

    fn note(&self, patience: Duration, change: impl Fn(&mut OnTrial)) -> Result<(), Error> {
        let _lock = self.store.lock_within(patience)?;
        let mut state = running::settled::<Error>(self.store)?;
        // Another root may run by now, which has a trial of its own.
        let is_root = self.is_root(&state);
        state.trial.iter_mut().filter(|_| is_root).for_each(change);
        Ok(self.store.save(&state)?)
    }

    fn tolerate(&self, noted: Result<(), Error>) {
        if let Err(error) = noted {
            self.log.warning(&format!("watch: {}, ignoring: it counts for this process", chain(&error)));
        }
    }
}
