//! Decides what comes of the soft reboot by which a root that is not healthy is left, once PID 1 was asked for it.

use std::time::Duration;

use super::health::Manager;

/// How long PID 1 may take to begin with it.
const TO_BEGIN: Duration = Duration::from_secs(30);
/// How long it may take to be done with it: a service may take its time to stop (DefaultTimeoutStopSec= is 90 s).
const TO_END: Duration = Duration::from_secs(300);

/// What is seen of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How long ago PID 1 was asked.
    pub since: Duration,
    /// Which root runs.
    pub at: At,
    /// Whether something is staged still.
    pub staged: bool,
    /// What PID 1 says of itself.
    pub answer: Answer,
}

/// Which root runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The one that is to be left.
    Same,
    /// The same, again, after a pass of the relay, which had this error.
    CameBack(String),
    /// None: one is left, and the next not reached.
    InBetween,
    /// Another.
    Other,
}

/// What PID 1 says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What it is at; `None` where it says nothing that is known.
    Is(Option<Manager>),
    /// Nothing.
    Silent,
    /// Nobody could be started to ask it, as nothing is there any more.
    NobodyAsks,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait.
    Wait,
    /// Ask PID 1 once more.
    Again,
    /// Nothing: the root is left.
    Left,
    /// Nothing: the root stays, for this reason.
    Stays(String),
    /// Restart the machine.
    Reset,
}

/// A root that is being left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaving {
    /// Whether PID 1 was seen to act.
    began: bool,
    /// When it had to be asked once more.
    again: Option<Duration>,
}

impl Leaving {
    /// What to do now.
    pub fn next(&mut self, seen: &Seen) -> Next {
        match &seen.at {
            At::Other => return Next::Left,
            At::InBetween => {}
            At::CameBack(error) => return Next::Stays(format!("the switch came back: {error}")),
            At::Same if !seen.staged => return Next::Stays("the soft reboot was taken back".to_owned()),
            At::Same => match seen.answer {
                // Called off, by a hook of the root that is left or by somebody in it. What that can be for does not count, and
                // once might be a mistake.
                Answer::Is(Some(Manager::Up { .. } | Manager::Starting)) if self.began => {
                    if self.again.is_some() {
                        return Next::Reset;
                    }
                    *self = Self { began: false, again: Some(seen.since) };
                    return Next::Again;
                }
                Answer::Is(Some(Manager::Stopping)) | Answer::NobodyAsks => self.began = true,
                // It cannot be asked, and may be at it.
                Answer::Is(_) | Answer::Silent => {}
            },
        }
        let patience = if self.began { TO_END } else { TO_BEGIN };
        let since = seen.since.saturating_sub(self.again.unwrap_or_default());
        if since >= patience { Next::Reset } else { Next::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_left() {
        let (up, stopping) =
            (Answer::Is(Some(Manager::Up { failed_jobs: 0 })), Answer::Is(Some(Manager::Stopping)));
        let stays = |why: &str| Next::Stays(why.to_owned());
        let came_back = || At::CameBack("move /proc".to_owned());
        // The looks one after another: seconds, where, whether something is staged, the answer.
        for (looks, expected) in [
            (vec![(1, At::Same, true, up)], Next::Wait),
            (vec![(29, At::Same, true, Answer::Silent)], Next::Wait),
            (vec![(30, At::Same, true, Answer::Silent)], Next::Reset),
            (vec![(30, At::Same, true, up)], Next::Reset),
            (vec![(1, At::Same, true, stopping), (30, At::Same, true, Answer::Silent)], Next::Wait),
            (vec![(1, At::Same, true, Answer::NobodyAsks), (299, At::InBetween, true, up)], Next::Wait),
            (vec![(1, At::Same, true, stopping), (300, At::Same, true, stopping)], Next::Reset),
            // Called off, which once was the end of it.
            (vec![(1, At::Same, true, stopping), (9, At::Same, true, up)], Next::Again),
            (
                vec![(1, At::Same, true, stopping), (9, At::Same, true, up), (10, At::Same, true, up)],
                Next::Wait,
            ),
            (
                vec![(1, At::Same, true, stopping), (9, At::Same, true, up), (39, At::Same, true, up)],
                Next::Reset,
            ),
            (
                vec![
                    (1, At::Same, true, stopping),
                    (9, At::Same, true, up),
                    (10, At::Same, true, stopping),
                    (19, At::Same, true, up),
                ],
                Next::Reset,
            ),
            (
                vec![(1, At::Same, true, stopping), (9, At::Same, true, up), (12, came_back(), false, up)],
                stays("the switch came back: move /proc"),
            ),
            (vec![(1, At::Same, false, up)], stays("the soft reboot was taken back")),
            (vec![(9, came_back(), false, up)], stays("the switch came back: move /proc")),
            (vec![(9, At::InBetween, false, Answer::Silent)], Next::Wait),
            (vec![(31, At::InBetween, false, Answer::Silent)], Next::Reset),
            (vec![(400, At::Other, false, Answer::Silent)], Next::Left),
        ] {
            let mut leaving = Leaving::default();
            let mut next = None;
            for (since, at, staged, answer) in looks.clone() {
                next = Some(leaving.next(&Seen { since: Duration::from_secs(since), at, staged, answer }));
            }
            assert_eq!(next, Some(expected), "{looks:?}");
        }
    }
}
