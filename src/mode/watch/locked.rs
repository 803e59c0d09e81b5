//! What the watcher does where another nextroot has the state locked.

use std::time::Duration;

use crate::{
    plan::{
        event::Event,
        locked::{Locked, Need, Next},
    },
    run::{
        journal, machine,
        soft_reboot::{handover::chain, lock_holders::LockHolder, state},
    },
};

use super::{super::bless, BEAT, Error, Watch};

/// Why something could not be written down.
#[derive(Debug)]
pub(super) enum Kept {
    /// Another nextroot is at work.
    Locked,
    /// Something else.
    Else(String),
}

impl From<bless::Error> for Kept {
    fn from(error: bless::Error) -> Self {
        match error {
            bless::Error::State(state::Error::Locked(_)) => Self::Locked,
            error => Self::Else(chain(&error)),
        }
    }
}

impl From<Error> for Kept {
    fn from(error: Error) -> Self {
        match error {
            Error::State(state::Error::Locked(_)) => Self::Locked,
            error => Self::Else(chain(&error)),
        }
    }
}

impl Watch<'_> {
    /// Writes down how the trial ended, as soon as that can be done: nothing is lost meanwhile. `None` where the root is on trial no
    /// more, as somebody else did it. `what` is told as long as it is not done.
    pub(super) fn written<T>(
        &mut self,
        what: &str,
        write: impl Fn(&Self) -> Result<T, Kept>,
    ) -> Result<Option<T>, Error> {
        self.locked = Locked::default();
        loop {
            match write(self) {
                Ok(done) => return Ok(Some(done)),
                // Nobody restarts a machine for that.
                Err(Kept::Locked) => drop(self.is_locked(Need::Note, what)),
                Err(Kept::Else(why)) if self.locked.next(Need::Note, machine::monotonic()) != Next::Wait => {
                    self.log.warning(&format!("watch: {what}: {why}"));
                }
                Err(Kept::Else(_)) => {}
            }
            machine::pause(BEAT);
            if !self.is_on_trial()? {
                return Ok(None);
            }
        }
    }

    /// Does something about whoever has the state locked; why the machine has to restart, where that did not help. `what`
    /// cannot be done meanwhile.
    pub(super) fn is_locked(&mut self, need: Need, what: &str) -> Option<String> {
        let next = self.locked.next(need, machine::monotonic());
        if next == Next::Wait {
            return None;
        }
        let holders = self.store.holders();
        // Whoever had it may be through by now.
        if holders.is_empty() && self.store.lock_within(Duration::ZERO).is_ok() {
            return None;
        }
        let who = match holders.as_slice() {
            [] => "somebody who cannot be told".to_owned(),
            holders => holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        match next {
            Next::Restart => {
                return Some(format!("{what}: the state is locked by {who}, and was not let go in time"));
            }
            Next::Ask if self.ask_to_end(&holders, what) => {}
            Next::Ask if need == Need::Leave => {}
            Next::Wait | Next::Tell | Next::Ask => {
                self.log.warning(&format!("watch: {what}: the state is locked by {who}"));
            }
        }
        None
    }

    /// Asks those to end who were not asked yet, and tells of it. Whether there was anybody.
    fn ask_to_end(&mut self, holders: &[LockHolder], what: &str) -> bool {
        if holders.is_empty() && self.locked.asks(None) {
            self.log.warning(&format!("watch: {what}: the state is locked by somebody who cannot be told"));
            return true;
        }
        let new: Vec<&LockHolder> =
            holders.iter().filter(|holder| self.locked.asks(Some(holder.id()))).collect();
        for holder in &new {
            match holder.ask_to_end() {
                Ok(()) => {
                    self.log.warning(&format!(
                        "watch: {what}: the state is locked by {holder}, who is asked to end"
                    ));
                    journal::tell(&Event::AskedToEnd { process: holder.to_string(), why: what.to_owned() });
                }
                Err(error) => self.log.warning(&format!(
                    "watch: {what}: ask {holder} to end: {}, ignoring: it may have ended",
                    error.in_one_line()
                )),
            }
        }
        !new.is_empty()
    }
}
