//! Counters in the name of a file, `NAME+LEFT-DONE`: how often it may still be tried, and how often it was (Automatic Boot
//! Assessment; the same in systemd.v(7)).

use std::fmt;

/// The counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// How often it may still be tried.
    pub left: u32,
    /// How often it was.
    pub done: u32,
}

/// A name without its suffix, split into what stands before the counters, and them; `None` where nobody counts.
#[must_use]
pub fn split(stem: &str) -> (&str, Option<Tries>) {
    match stem.rsplit_once('+').map(|(rest, counters)| (rest, counters.parse())) {
        Some((rest, Ok(tries))) => (rest, Some(tries)),
        _ => (stem, None),
    }
}

/// No counters: part of the name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no counters: LEFT or LEFT-DONE")]
pub struct NotTries;

impl std::str::FromStr for Tries {
    type Err = NotTries;

    fn from_str(counters: &str) -> Result<Self, NotTries> {
        let number = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().ok_or(NotTries)
        };
        let (left, done) = counters.split_once('-').unwrap_or((counters, "0"));
        Ok(Self { left: number(left)?, done: number(done)? })
    }
}

impl fmt::Display for Tries {
    /// `LEFT`, or `LEFT-DONE` once it was tried.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, done } = self;
        if *done == 0 { left.fmt(f) } else { write!(f, "{left}-{done}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters() {
        let tries = |left, done| Some(Tries { left, done });
        for (stem, expected) in [
            ("os_1.2", ("os_1.2", None)),
            ("os_1.2+3", ("os_1.2", tries(3, 0))),
            ("os_1.2+2-1", ("os_1.2", tries(2, 1))),
            ("os+b1+0-5", ("os+b1", tries(0, 5))),
            ("os_1.2+b3", ("os_1.2+b3", None)),
            ("os_1.2+", ("os_1.2+", None)),
            ("os_1.2+1-", ("os_1.2+1-", None)),
            ("os_1.2+-1", ("os_1.2+-1", None)),
            ("os_1.2+4294967296", ("os_1.2+4294967296", None)),
            ("", ("", None)),
        ] {
            assert_eq!(split(stem), expected, "{stem}");
        }
        assert_eq!([tries(3, 0), tries(0, 2)].map(|t| t.unwrap().to_string()), ["3", "0-2"]);
    }
}
