//! The relay at work: PID 1 for some milliseconds between one systemd and the next. It moves mounts, makes
//! the new root the root and executes the real init; whatever fails, it goes back to the old root.

use std::{path::Path, time::Duration};

use crate::{
    plan::{
        Plan, Step, stage,
        state::{Pass, State},
        step::Relay,
        watchdog::Watchdog,
    },
    sys::{
        self,
        file::{LONGEST_TEXT, whole_at},
        mount::{self, Detached, Propagation},
        process, root, watchdog,
    },
};

use crate::run::{
    log::Log,
    machine,
    soft_reboot::{
        staging::RELAY,
        state::{self, Store},
        volatile_root,
    },
};

/// Why the new root was left, or never reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was to be done cannot be read.
    #[error("read {RELAY}")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A kernel call.
    #[error(transparent)]
    Call(#[from] sys::Error),
    /// A step of the plan.
    #[error("{step}")]
    Step {
        /// The step.
        step: String,
        /// Why.
        #[source]
        source: sys::Error,
    },
    /// A step that the relay does not know.
    #[error("{0} is no step of the relay: the plan is wrong, please report it")]
    Unknown(String),
}

/// One pass.
#[derive(Debug)]
pub struct Handover<'a> {
    log: &'a Log,
    store: Store,
    before: Result<State, state::Error>,
    arguments: Vec<String>,
    /// Moves that are done.
    moved: Vec<(String, String)>,
    /// The root that was made the root.
    pivoted: Option<String>,
    /// Whether the old root's /run/systemd/volatile-root was put aside.
    put_aside: bool,
    /// Whether a step failed for what the new root is.
    blames_image: bool,
    /// When it began, in microseconds of CLOCK_MONOTONIC.
    begun_us: u64,
    /// The hardware watchdog, held until the init is executed.
    armed: Option<watchdog::Armed>,
}

/// Whether this program was started as the relay.
#[must_use]
pub fn is_relay() -> bool {
    Path::new(RELAY).exists()
}

impl<'a> Handover<'a> {
    /// A pass that has done nothing yet; `arguments` are for the real init.
    #[must_use]
    pub fn new(log: &'a Log, arguments: Vec<String>) -> Self {
        let store = Store::default();
        let before = store.load();
        Self {
            log,
            store,
            before,
            arguments,
            moved: Vec::new(),
            pivoted: None,
            put_aside: false,
            blames_image: false,
            armed: None,
            begun_us: machine::monotonic_us(),
        }
    }

    /// Into the new root, or else back to the old one. Returns only where neither can be had.
    pub fn run(mut self) -> Error {
        let relay = read();
        // Held open, the old root can be reached wherever this comes to; the real init does not get it.
        let way_back = mount::propagate(Path::new("/"), Propagation::Private)
            .and_then(|()| mount::clone_tree(Path::new(stage::OLD)));
        let back = relay.as_ref().map_or_else(|_| stage::way_back(), |relay| relay.back.clone());
        let error = match relay {
            Ok(relay) => self.go(&relay.forward, &relay.init, None),
            Err(error) => error,
        };
        let text = chain(&error);
        self.log.error(&format!("relay: FAILED: {text}; going back to the old root"));
        self.retreat(way_back, &back, text)
    }

    /// Does a plan; returns only where a step failed. On the way back no mount is worth the machine.
    fn go(&mut self, plan: &Plan, init: &str, failed: Option<String>) -> Error {
        for step in &plan.steps {
            self.log.debug(|| format!("relay: {step}"));
            let done = match step {
                Step::Move { from, to } => match mount::move_to(Path::new(from), Path::new(to)) {
                    Ok(()) => {
                        self.moved.push((from.clone(), to.clone()));
                        Ok(())
                    }
                    Err(error) if failed.is_some() => {
                        self.tolerate(Err(error));
                        Ok(())
                    }
                    Err(error) if has_gone(from, to, &error) => {
                        self.log.warning(&format!("relay: {step}: its place is gone, leaving the mount"));
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Step::ArmWatchdog(watchdog) => {
                    self.arm(watchdog);
                    Ok(())
                }
                Step::Pivot { root } => {
                    root::pivot(Path::new(root)).map(|()| self.pivoted = Some(root.clone()))
                }
                Step::Exec => Err(self.exec(init, failed.clone())),
                other => return Error::Unknown(other.to_string()),
            };
            if let Err(source) = done {
                self.blames_image |= failed.is_none() && is_of_image(step);
                return Error::Step { step: step.to_string(), source };
            }
        }
        Error::Unknown("a plan that ends without an init".to_owned())
    }

    /// Not worth the machine: the next PID 1 does so, too.
    fn arm(&mut self, watchdog: &Watchdog) {
        if self.armed.is_some() {
            return;
        }
        let timeout = watchdog.timeout_sec.map(|seconds| Duration::from_secs(u64::from(seconds)));
        match watchdog::arm(Path::new(&watchdog.device), timeout) {
            Ok(armed) => self.armed = Some(armed),
            Err(error) => {
                let why = error.in_one_line();
                self.log.warning(&format!("relay: arm {watchdog}: {why}, ignoring: the next PID 1 does"));
            }
        }
    }

    fn exec(&mut self, init: &str, failed: Option<String>) -> sys::Error {
        self.renew_volatile_root(failed.is_some());
        let took = self.log.elapsed();
        self.remember(took, failed);
        self.log.info(&format!("relay: all mounts moved in {} us, executing {init}", took.as_micros()));
        match process::restore_sigpipe() {
            Ok(()) => process::execute(Path::new(init), &self.arguments),
            Err(error) => error,
        }
    }

    fn renew_volatile_root(&mut self, back: bool) {
        let done = match (back, self.put_aside) {
            (false, _) => volatile_root::put_aside().map(|aside| self.put_aside = aside),
            (true, true) => volatile_root::put_back(),
            (true, false) => Ok(()),
        };
        if let Err(error) = done {
            self.log.warning(&format!(
                "relay: renew /run/systemd/volatile-root: {error}, ignoring: only GPT auto-discovery reads it"
            ));
        }
    }

    /// Writes into the state how this went. Not fatal: the root itself is fine.
    fn remember(&self, took: Duration, failed: Option<String>) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let blames_image = failed.is_some() && self.blames_image;
        let pass = Pass {
            switched: failed.is_none(),
            begun_us: Some(self.begun_us),
            took_us,
            error: failed,
            blames_image,
        };
        let told = match &self.before {
            Ok(before) => {
                let mut after = before.clone().handed_over(pass);
                let now = machine::monotonic_us();
                after.trial.iter_mut().for_each(|trial| trial.since_us = Some(now));
                self.store.save(&after).map_err(|e| chain(&e))
            }
            Err(error) => Err(chain(error)),
        };
        if let Err(error) = told {
            self.log.warning(&format!("relay: {error}, ignoring: the root itself is fine"));
        }
    }

    /// Back to the old root, from wherever this has come to.
    fn retreat(&mut self, way_back: Result<Detached, sys::Error>, back: &Plan, failed: String) -> Error {
        let Some(new) = self.pivoted.take() else {
            while let Some((from, to)) = self.moved.pop() {
                self.tolerate(mount::move_to(Path::new(&to), Path::new(&from)));
            }
            return self.go(back, stage::INIT, Some(failed));
        };
        for step in &back.steps {
            if let Step::ArmWatchdog(watchdog) = step {
                self.arm(watchdog);
            }
        }
        // Inside the new root now: the old one is hung over a directory that every root has.
        let over = Path::new("/usr");
        let hung = way_back.and_then(|old| old.attach(over));
        if let Err(source) = hung {
            return Error::Step { step: format!("show the old root at {}", over.display()), source };
        }
        let inside: Vec<String> = self
            .moved
            .drain(..)
            .map(|(_, to)| to.strip_prefix(new.as_str()).unwrap_or(&to).to_owned())
            .collect();
        let is_below = |at: &str| {
            inside
                .iter()
                .any(|other| at.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/')))
        };
        for at in inside.iter().filter(|at| !is_below(at)) {
            self.tolerate(mount::move_to(Path::new(at), &over.join(at.trim_start_matches('/'))));
        }
        let plan = Plan { steps: vec![Step::Pivot { root: over.display().to_string() }, Step::Exec] };
        self.go(&plan, stage::INIT, Some(failed))
    }

    fn tolerate(&self, done: Result<(), sys::Error>) {
        if let Err(error) = done {
            self.log
                .warning(&format!("relay: {}, ignoring: the old system mounts it anew", error.in_one_line()));
        }
    }
}

/// Whether a step that fails says something of the new root: what is carried into it need not.
fn is_of_image(step: &Step) -> bool {
    !matches!(step, Step::Move { from, .. } if from.starts_with(stage::CARRY))
}

/// Whether a mount below /run has no place any more: a service that ended since it was staged took the
/// directory along, as containers do.
fn has_gone(from: &str, to: &str, error: &sys::Error) -> bool {
    let in_run = to.strip_prefix(stage::NEW).is_some_and(|at| at.starts_with("/run/"));
    in_run && from.starts_with(stage::CARRY) && error.is_absent()
}

fn read() -> Result<Relay, Error> {
    let text = whole_at(Path::new(RELAY), LONGEST_TEXT).map_err(|e| Error::Read(e.into()))?;
    serde_json::from_slice(&text).map_err(|e| Error::Read(e.into()))
}

/// An error with its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
