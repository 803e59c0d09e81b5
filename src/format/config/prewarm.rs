//! `Prewarm=`, `PrewarmMemory=` and `PrewarmTimeoutSec=` of nextroot.conf: whether what is in memory of the old root is
//! read from the new one, and what that may cost.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::format::config::{
    ini::{self, Assignment, boolean},
    time_span,
};

/// What is set of it, with what holds where nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prewarm {
    /// `Prewarm=`: whether it is done.
    pub wanted: bool,
    /// `PrewarmMemory=`: the share of the memory that is available (`MemAvailable`) that it may take, in percent.
    pub memory_percent: u8,
    /// `PrewarmTimeoutSec=`: how long it may take, in seconds.
    pub timeout_sec: u64,
}

/// Whoever waits for an hour has forgotten it.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

impl Default for Prewarm {
    fn default() -> Self {
        Self { wanted: true, memory_percent: 50, timeout_sec: 60 }
    }
}

impl Prewarm {
    /// Takes in a line of `[Stage]`; whether its key is known. An empty value takes back what was assigned before.
    pub fn assign(&mut self, assignment: &Assignment, file: &str) -> Result<bool, ini::Error> {
        let value = assignment.value.as_str();
        let default = Self::default();
        match assignment.key.as_str() {
            "Prewarm" if value.is_empty() => self.wanted = default.wanted,
            "Prewarm" => {
                self.wanted = boolean(value).ok_or_else(|| assignment.impossible(file, "yes or no"))?;
            }
            "PrewarmMemory" if value.is_empty() => self.memory_percent = default.memory_percent,
            "PrewarmMemory" => {
                let percent = value.strip_suffix('%').and_then(|digits| digits.trim_end().parse().ok());
                self.memory_percent = percent
                    .filter(|percent| (1..=90).contains(percent))
                    .ok_or_else(|| assignment.impossible(file, "a share from 1% to 90%"))?;
            }
            "PrewarmTimeoutSec" if value.is_empty() => self.timeout_sec = default.timeout_sec,
            "PrewarmTimeoutSec" => {
                self.timeout_sec =
                    seconds(value).ok_or_else(|| assignment.impossible(file, "a time from 1s to 1h"))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A time that it may take, in seconds; of a fraction, the next whole one.
#[must_use]
pub fn seconds(value: &str) -> Option<u64> {
    let span = time_span::parse(value).filter(|span| TIMEOUTS.contains(span))?;
    Some(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

impl fmt::Display for Prewarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} % of the memory that is available and {} s at most",
            self.memory_percent, self.timeout_sec
        )
    }
}
