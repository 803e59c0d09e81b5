//! `nextroot status`: what runs, what waits, what ran before.

mod metrics;

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::{
    plan::state::{Blessing, Failed, OnTrial, Pass, Root, Staged, State},
    run::{
        execute,
        soft_reboot::{
            running,
            state::{self, Store},
        },
    },
};

/// Version of the JSON, docs/status.schema.json: raised whenever a field changes its meaning or goes away.
const VERSION: u32 = 1;

/// The last second that a date has four digits of a year for.
const LAST_DATE: u64 = 253_402_300_799;

/// It cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Mounts.
    #[error(transparent)]
    Mounts(#[from] execute::Error),
}

/// What is asked about (`status --is`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether something is staged.
    Staged,
    /// Whether the running root has not been declared healthy yet.
    Trial,
    /// Whether it has.
    Blessed,
    /// Whether nothing is staged, and nothing on trial.
    Idle,
    /// Whether the last switch was taken back: the root before it runs again.
    Restored,
}

/// What is so.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    version: u32,
    /// Lives of userspace since the machine was started.
    generation: u64,
    /// What it is on is what the kernel has under /.
    current: Option<Root>,
    blessed: bool,
    /// When that was, and of which image.
    blessing: Option<Blessing>,
    /// What it is held to while it is on trial.
    trial: Option<OnTrial>,
    staged: Option<Staged>,
    previous: Option<Root>,
    /// Whether the last switch was taken back.
    restored: bool,
    /// Images that slot:other passes over.
    failed: Vec<Failed>,
    relay: Option<Pass>,
}

impl std::str::FromStr for Question {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "staged" => Ok(Self::Staged),
            "trial" => Ok(Self::Trial),
            "blessed" => Ok(Self::Blessed),
            "idle" => Ok(Self::Idle),
            "restored" => Ok(Self::Restored),
            _ => Err(format!("\"{text}\" is no state: write staged, trial, blessed, idle or restored")),
        }
    }
}

impl Status {
    /// Looks.
    pub fn look() -> Result<Self, Error> {
        let state = running::settled::<Error>(&Store::default())?;
        Ok(Self::of(state))
    }

    fn of(state: State) -> Self {
        let State {
            generation,
            staged,
            current,
            previous,
            restored,
            failed,
            blessed,
            blessing,
            trial,
            relay,
            ..
        } = state;
        Self {
            version: VERSION,
            generation,
            current,
            blessed,
            blessing,
            trial,
            staged,
            previous,
            restored,
            failed,
            relay,
        }
    }

    /// The answer to a question.
    #[must_use]
    pub fn is(&self, question: Question) -> bool {
        let staged = self.staged.as_ref().is_some_and(|staged| staged.complete);
        match question {
            Question::Staged => staged,
            Question::Trial => !self.blessed,
            Question::Blessed => self.blessed,
            Question::Idle => self.staged.is_none() && self.blessed,
            Question::Restored => self.restored,
        }
    }

    /// As JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// As metrics, for Prometheus.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        metrics::print(self)
    }
}

/// Seconds since 1970 as RFC 3339 has them; a number that is no date is shown as it is.
pub(super) fn date(at: u64) -> String {
    match at {
        0..=LAST_DATE => humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at)).to_string(),
        _ => format!("{at} s after 1970"),
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.current {
            Some(current) => writeln!(f, "current:    {current}\n            source: {}", current.source)?,
            None => {
                writeln!(f, "current:    not known: what / is on could not be read (findmnt / shows it)")?
            }
        }
        match (&self.trial, &self.blessing) {
            (Some(OnTrial { stays: Some(stays), .. }), _) => {
                writeln!(f, "            on trial, NOT HEALTHY: {stays}")?;
            }
            (Some(OnTrial { rules, .. }), _) => writeln!(f, "            on trial: to be {rules}")?,
            _ if !self.blessed => writeln!(f, "            on trial, until somebody says nextroot bless")?,
            (_, Some(Blessing { at, .. })) => writeln!(f, "            blessed {}", date(*at))?,
            _ => writeln!(f, "            blessed")?,
        }
        match &self.staged {
            Some(staged) if staged.complete => {
                writeln!(f, "staged:     {} ({})", staged.root, staged.root.source)?;
                for row in staged.mounts.iter().filter(|row| row.carried) {
                    writeln!(f, "            carries {row}")?;
                }
                staged.prewarmed.iter().try_for_each(|done| writeln!(f, "            {done}"))?;
            }
            Some(staged) => writeln!(
                f,
                "staged:     half, from {}: a stage is at work, or was ended (nextroot cancel)",
                staged.root.source
            )?,
            None => writeln!(f, "staged:     nothing")?,
        }
        if let Some(previous) = &self.previous {
            writeln!(f, "previous:   {previous}")?;
        }
        for Failed { root_hash, why } in &self.failed {
            writeln!(f, "failed:     root hash {root_hash}: {why}")?;
        }
        writeln!(f, "generation: {}", self.generation)?;
        match &self.relay {
            Some(Pass { switched: true, took_us, .. }) => writeln!(f, "relay:      {took_us} us"),
            Some(Pass { error, .. }) => writeln!(
                f,
                "relay:      came back to this root: {}",
                error.as_deref().unwrap_or("for a reason that is not known")
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number out of a file is no date that can be printed: the library panics.
    #[test]
    fn dates() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_537_000, "2026-11-24T16:16:40Z"),
            (LAST_DATE, "9999-12-31T23:59:59Z"),
            (LAST_DATE + 1, "253402300800 s after 1970"),
            (u64::MAX, "18446744073709551615 s after 1970"),
        ] {
            assert_eq!(date(at), text);
        }
    }
}
