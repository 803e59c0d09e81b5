//! Decides what comes of another nextroot that has the state locked when a root on trial is judged.

use std::time::Duration;

/// What the lock is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To write down how the trial ended: the root is healthy, or stays all the same.
    Note,
    /// To leave a root that is not healthy.
    Leave,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again.
    Wait,
    /// The same, and say so.
    Tell,
    /// The same, and ask whoever has it to end.
    Ask,
    /// Restart the machine: the root cannot be left otherwise.
    Restart,
}

/// How long whoever was asked to end may take to undo what it did, before the machine restarts.
const TO_UNDO: Duration = Duration::from_secs(60);
/// How long it is let alone where the machine is well: to stage takes seconds, to read ahead a minute unless
/// `PrewarmTimeoutSec=` allows more, and nothing is lost meanwhile. What takes this long may have been stopped at a terminal.
const TO_STAGE: Duration = Duration::from_secs(480);
/// How soon it is told again that it is waited for; each time takes twice as long as the one before.
const SOON: Duration = Duration::from_secs(60);
/// How long that may become.
const SELDOM: Duration = Duration::from_secs(3600);

/// A lock that could not be had.
#[derive(Clone, Debug, Default)]
pub struct Locked {
    /// Since when, by CLOCK_MONOTONIC.
    since: Option<Duration>,
    /// How long it was waited for when it is told of next.
    due: Duration,
    /// Who was asked to end.
    asked: Vec<Option<u32>>,
}

impl Locked {
    /// What to do `now`, where it could not be had once more.
    pub fn next(&mut self, need: Need, now: Duration) -> Next {
        let waited = now.saturating_sub(*self.since.get_or_insert(now));
        match need {
            Need::Leave if waited >= TO_UNDO => Next::Restart,
            Need::Leave => Next::Ask,
            Need::Note if waited < self.due => Next::Wait,
            Need::Note => {
                self.due = waited + waited.clamp(SOON, SELDOM);
                if waited >= TO_STAGE { Next::Ask } else { Next::Tell }
            }
        }
    }

    /// Whether this process is to be asked to end: each is asked once, also the next one that takes the lock. `None` is one that
    /// is not known.
    pub fn asks(&mut self, process: Option<u32>) -> bool {
        let is_new = !self.asked.contains(&process);
        if is_new {
            self.asked.push(process);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The watcher tried again every minute, for ever, also where PID 1 was dead.
    #[test]
    fn a_lock_that_is_never_released_kept_a_machine_in_a_root_that_was_not_healthy() {
        let mut locked = Locked::default();
        for (now, expected) in
            [(100, Next::Ask), (103, Next::Ask), (159, Next::Ask), (160, Next::Restart), (170, Next::Restart)]
        {
            assert_eq!(locked.next(Need::Leave, Duration::from_secs(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_healthy_root_waits_for_the_lock_and_says_so_less_and_less_often() {
        let mut locked = Locked::default();
        let start = 1000;
        let mut told = Vec::new();
        for now in start..start + 20_000 {
            match locked.next(Need::Note, Duration::from_secs(now)) {
                Next::Wait => {}
                next => told.push((now - start, next)),
            }
        }
        let (tell, ask) = (Next::Tell, Next::Ask);
        let expected = [
            (0, tell),
            (60, tell),
            (120, tell),
            (240, tell),
            (480, ask),
            (960, ask),
            (1920, ask),
            (3840, ask),
            (7440, ask),
            (11_040, ask),
            (14_640, ask),
            (18_240, ask),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn who_was_asked_to_end_is_not_asked_again() {
        let mut locked = Locked::default();
        for (process, expected) in [
            (Some(7), true),
            (Some(7), false),
            (None, true),
            (Some(8), true),
            (None, false),
            (Some(7), false),
        ] {
            assert_eq!(locked.asks(process), expected, "{process:?}");
        }
    }
}
