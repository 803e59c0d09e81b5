//! How a root that is not healthy is left.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use crate::{
    plan::{
        event::Event,
        intent::EmergencyAction,
        leaving::{self, Answer, At, Leaving, Next},
        locked::Need,
        state::State,
    },
    run::{
        bounded::{self, Ended},
        journal, machine,
        soft_reboot::{
            asking,
            handover::{chain, is_relay},
            running,
        },
    },
};

use super::{super::reboot, BEAT, Error, LATER, TO_NOTE, Watch, settled};

/// How long it may take to stage the root before.
const TO_STAGE: Duration = Duration::from_secs(120);
/// How long it may take to mark the boot loader's entries before a restart.
const TO_MARK: Duration = Duration::from_secs(20);

/// How a return to the root before began.
enum Return {
    /// PID 1 was asked for the soft reboot, then.
    Asked(Instant),
    /// Another nextroot is at work.
    Locked,
    /// There is no root to go to.
    Nowhere(String),
    /// Nothing is left but to restart the machine.
    Stuck(String),
}

impl Watch<'_> {
    /// Leaves a root that is not healthy; restarts the machine where PID 1, or another nextroot, does nothing about it. `false`
    /// where that other one is waited for, and it has to be judged again.
    pub(super) fn leave(&mut self, why: &str, answers: bool) -> Result<bool, Error> {
        if self.told.as_deref() != Some(why) {
            self.log.error(&format!("watch: NOT HEALTHY: {why}"));
        }
        loop {
            match self.go_back(why) {
                Return::Asked(asked) => self.insist(why, asked)?,
                Return::Locked => match self.is_locked(Need::Leave, "this root cannot be left") {
                    Some(because) => self.give_up(&because),
                    None if answers => return Ok(false),
                    // To ask PID 1 once more would take half a minute, and it was silent for long enough.
                    None => {
                        machine::pause(BEAT);
                        if self.is_on_trial()? {
                            continue;
                        }
                    }
                },
                Return::Nowhere(because) if answers => self.stay(why, &because)?,
                Return::Nowhere(because) => self.give_up(&format!("PID 1 does not answer, and {because}")),
                Return::Stuck(because) => self.give_up(&because),
            }
            return Ok(true);
        }
    }

    /// Restarts the machine, as a root that is not healthy cannot be left by PID 1.
    pub(super) fn end(&self, why: &str) {
        self.log.error(&format!("watch: NOT HEALTHY: {why}"));
        self.give_up(why);
    }

    fn go_back(&mut self, why: &str) -> Return {
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
        if self.told.as_deref() != Some(why) {
            self.told = Some(why.to_owned());
            self.log.info("watch: going back to the root before");
            // Once PID 1 is asked, journald may be gone.
            journal::tell(&Event::Leaving { root: self.root.clone(), why: why.to_owned() });
        }
        match bounded::run_self_as_survivor(&["watch", "--back", why], TO_STAGE) {
            Ok(Ended::Exit(Some(0))) => Return::Asked(Instant::now()),
            Ok(Ended::Exit(Some(code))) if code == i32::from(LATER) => Return::Locked,
            Ok(Ended::Killed) => Return::Stuck("the root before could not be staged in time".to_owned()),
            Ok(Ended::Exit(_)) => {
                Return::Nowhere("the root before cannot be staged, as the lines above say".to_owned())
            }
            Err(error) => Return::Nowhere(format!("run nextroot: {error}")),
        }
    }

    /// Sees to it that PID 1 does the soft reboot that it was asked for.
    fn insist(&mut self, why: &str, asked: Instant) -> Result<(), Error> {
        let before = settled(self.store)?.generation;
        self.tolerate(self.note(TO_NOTE, |trial| trial.asked_back = true));
        let mut leaving = Leaving::default();
        loop {
            // Without a /proc, which moves first, nothing more can be seen in between.
            let (staged, at) = if is_relay() {
                (true, At::InBetween)
            } else {
                let state = settled(self.store)?;
                (state.staged.is_some(), self.at(state, before))
            };
            let answer = match at {
                At::Same if staged => self.answer(),
                _ => Answer::Silent,
            };
            match leaving.next(&leaving::Seen { since: asked.elapsed(), at, staged, answer }) {
                Next::Wait => machine::pause(BEAT),
                // Somebody may have blessed it meanwhile; in between nobody can have, and nothing can be asked.
                Next::Again | Next::Reset if !is_relay() && matches!(self.is_on_trial(), Ok(false)) => {
                    return Ok(());
                }
                Next::Again => self.ask_again(),
                Next::Left => return Ok(()),
                Next::Stays(because) => return self.stay(why, &because),
                Next::Reset => {
                    self.reset("PID 1 does not do the soft reboot that it was asked for");
                    return Ok(());
                }
            }
        }
    }

    /// The soft reboot was called off: by the root's own hook, as that cannot do its work there, or by somebody.
    fn ask_again(&self) {
        self.log.error(
            "watch: the soft reboot was called off: asking PID 1 once more, nextroot bless keeps this root",
        );
        if let Err(error) = running::soft_reboot() {
            self.log.error(&format!("watch: {}, ignoring: the machine is restarted in time", chain(&error)));
        }
    }

    /// Where the way back is, which began in this life of userspace.
    fn at(&self, state: State, before: u64) -> At {
        if !self.is_root(&state) {
            At::Other
        } else if state.generation > before {
            At::CameBack(state.relay.and_then(|pass| pass.error).unwrap_or_default())
        } else {
            At::Same
        }
    }

    fn answer(&self) -> Answer {
        match self.systemctl.manager() {
            Ok(told) => Answer::Is(told.manager),
            Err(asking::Error::Start { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Answer::NobodyAsks
            }
            Err(_) => Answer::Silent,
        }
    }

    /// There is no other root to go to: it stays, and says so.
    fn stay(&mut self, why: &str, because: &str) -> Result<(), Error> {
        self.log.error(&format!("watch: this root stays, although it is not healthy: {because}"));
        let stays = format!("{why}; it stays: {because}");
        journal::tell(&Event::Staying { root: self.root.clone(), why: stays.clone() });
        self.written("it stays, and that cannot be written down yet", |watch| {
            Ok(watch.note(TO_NOTE, |trial| trial.stays = Some(stays.clone()))?)
        })?;
        Ok(())
    }

    /// Restarts the machine, which is not to come up in this root again: staging the way back did not come so far. The root that
    /// was gone back to is the last that there is.
    fn give_up(&self, why: &str) {
        if !self.came_back {
            let told = match bounded::run_self_as_survivor(&["watch", "--mark"], TO_MARK) {
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
}
