//! What a client saw of a soft reboot: for how long it got no answer, which the time stamps of units do not tell.

use std::time::Duration;

use serde::Serialize;

use crate::format::system::probe_log::{Answer, Request};

use super::micros;

/// What a client that asked one address saw since the soft reboot was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// What was asked.
    pub address: String,
    /// How many requests.
    pub requests: usize,
    /// How many of them were refused.
    pub refused: usize,
    /// How many got no answer.
    pub lost: usize,
    /// How many got theirs late.
    pub slow: usize,
    /// How long the slowest answer took; `None` where there was none.
    pub slowest_us: Option<u64>,
    /// The times in which a request got no answer in time.
    pub away: Vec<Away>,
}

/// From the beginning of the first request that was not answered in time to the next answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Away {
    /// From.
    pub begin_us: u64,
    /// To; `None` where no answer came any more.
    pub end_us: Option<u64>,
    /// How many requests of these were refused.
    pub refused: usize,
    /// How many got no answer.
    pub lost: usize,
    /// How many got theirs late.
    pub slow: usize,
}

impl Away {
    /// How long it was; `None` where it is not over.
    #[must_use]
    pub fn took_us(&self) -> Option<u64> {
        self.end_us.map(|end| end.saturating_sub(self.begin_us))
    }
}

impl Probed {
    /// What the client of each address saw from a moment on, in the order in which they were asked first. An answer is slow that took
    /// as long as `slow`, or longer.
    #[must_use]
    pub fn all(log: &[Request], from: Duration, slow: Duration) -> Vec<Self> {
        // One that was under way then tells of what came after.
        let since: Vec<&Request> = log.iter().filter(|request| request.ended() >= from).collect();
        let mut addresses: Vec<&str> = Vec::new();
        for request in &since {
            if !addresses.contains(&request.address.as_str()) {
                addresses.push(&request.address);
            }
        }
        addresses
            .into_iter()
            .map(|address| {
                Self::of(address, since.iter().copied().filter(|request| request.address == address), slow)
            })
            .collect()
    }

    fn of<'a>(address: &str, requests: impl Iterator<Item = &'a Request>, slow: Duration) -> Self {
        let mut seen = Self {
            address: address.to_owned(),
            requests: 0,
            refused: 0,
            lost: 0,
            slow: 0,
            slowest_us: None,
            away: Vec::new(),
        };
        let mut open: Option<Away> = None;
        for request in requests {
            seen.requests += 1;
            let is_slow = request.answer == Answer::Answered && request.took >= slow;
            if request.answer != Answer::Answered || is_slow {
                let begin_us = micros(request.begun);
                let away = open.get_or_insert(Away { begin_us, end_us: None, refused: 0, lost: 0, slow: 0 });
                match request.answer {
                    Answer::Refused => away.refused += 1,
                    Answer::Lost => away.lost += 1,
                    Answer::Answered => away.slow += 1,
                }
            }
            if request.answer == Answer::Answered {
                seen.slowest_us = seen.slowest_us.max(Some(micros(request.took)));
                seen.away
                    .extend(open.take().map(|away| Away { end_us: Some(micros(request.ended())), ..away }));
            }
        }
        seen.away.extend(open);
        for away in &seen.away {
            seen.refused += away.refused;
            seen.lost += away.lost;
            seen.slow += away.slow;
        }
        seen
    }

    /// For how long no answer came in all, as far as that is over.
    #[must_use]
    pub fn away_us(&self) -> u64 {
        self.away.iter().filter_map(Away::took_us).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::format::system::probe_log;

    use super::*;

    #[test]
    fn what_clients_saw() {
        let log = "100 10 answered a\n200 10 answered a\n300 10 refused a\n400 10 refused a\n450 10 answered b\n500 90 lost a\n\
                   600 10 answered a\n700 300 answered a\n1000 10 answered a\n1100 10 refused a\n";
        let log = probe_log::parse(log).unwrap();
        let all = |from, slow| Probed::all(&log, Duration::from_micros(from), Duration::from_micros(slow));
        let away = |begin_us, end_us, refused, lost, slow| Away { begin_us, end_us, refused, lost, slow };
        let a = Probed {
            address: "a".to_owned(),
            requests: 8,
            refused: 3,
            lost: 1,
            slow: 1,
            slowest_us: Some(300),
            away: vec![
                away(300, Some(610), 2, 1, 0),
                away(700, Some(1000), 0, 0, 1),
                away(1100, None, 1, 0, 0),
            ],
        };
        let b = Probed {
            address: "b".to_owned(),
            requests: 1,
            refused: 0,
            lost: 0,
            slow: 0,
            slowest_us: Some(10),
            away: vec![],
        };
        // What was over before is none of it.
        assert_eq!(all(205, 300), [a.clone(), b]);
        assert_eq!(a.away_us(), 610);
        let fast = all(205, 301);
        assert_eq!(
            fast.iter().map(|seen| (seen.slow, seen.away.len())).collect::<Vec<_>>(),
            [(0, 2), (0, 0)]
        );
        assert_eq!(all(1111, 300), []);
    }
}
