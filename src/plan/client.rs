//! When a client that asks while a soft reboot goes on has seen enough.

use std::{collections::BTreeMap, time::Duration};

use crate::format::system::probe_log::{Answer, Request};

use super::{health::Duty, state::State};

/// How long all have to answer, once the new root is no longer on trial.
const CALM: Duration = Duration::from_secs(10);
/// How long it asks at most: systemd forces a soft reboot after half an hour, and a trial takes its time.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a client has seen.
#[derive(Clone, Debug)]
pub struct Client {
    begun: Duration,
    /// The life of userspace in which it began; `None` where that is not known.
    generation: Option<u64>,
    /// Since when each has answered; `None` where it does not.
    answers: BTreeMap<String, Option<Duration>>,
}

impl Client {
    /// One that begins at this moment, by CLOCK_MONOTONIC, in this state.
    #[must_use]
    pub fn new(begun: Duration, state: Option<&State>) -> Self {
        Self { begun, generation: state.map(|state| state.generation), answers: BTreeMap::new() }
    }

    /// Takes in a request.
    pub fn saw(&mut self, request: &Request) {
        let since = self.answers.entry(request.address.clone()).or_default();
        *since = (request.answer == Answer::Answered).then(|| since.unwrap_or(request.begun));
    }

    /// Whether it has seen enough by now: another root runs, is no longer on trial, and all have answered for a while.
    #[must_use]
    pub fn is_done(&self, now: Duration, state: Option<&State>) -> bool {
        let is_calm = |since: &Option<Duration>| since.is_some_and(|since| now.saturating_sub(since) >= CALM);
        let is_through = state.is_some_and(|state| {
            self.generation.is_some_and(|before| state.generation > before)
                && Duty::of(state) == Duty::Nothing
        });
        let is_calm = || self.answers.values().all(is_calm);
        is_through && is_calm() || now.saturating_sub(self.begun) >= LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_all_answer_again() {
        let second = Duration::from_secs;
        let state = |generation, text: &str| {
            let state = State { generation, ..State::default() };
            if text.is_empty() {
                state
            } else {
                State { trial: serde_json::from_str(text).unwrap(), ..state }
            }
        };
        let mut client = Client::new(second(100), Some(&state(1, "")));
        let mut saw = |begun, answer, address: &str| {
            let took = Duration::from_millis(1);
            client.saw(&Request { begun: second(begun), took, answer, address: address.to_owned() });
            client.clone()
        };
        let client = saw(100, Answer::Answered, "a");
        assert!(!client.is_done(second(200), Some(&state(1, ""))));
        assert!(client.is_done(second(200), Some(&state(2, ""))));
        assert!(!client.is_done(second(200), None));
        assert!(client.is_done(second(3700), None));
        let client = saw(120, Answer::Refused, "b");
        assert!(!client.is_done(second(200), Some(&state(2, ""))));
        saw(200, Answer::Answered, "b");
        let client = saw(205, Answer::Answered, "b");
        assert!(!client.is_done(second(209), Some(&state(2, ""))));
        assert!(client.is_done(second(210), Some(&state(2, ""))));
        assert!(!Client::new(second(100), None).is_done(second(200), Some(&state(2, ""))));
    }
}
