//! The report as people read it: a line a check, then who survives and who stops.

use std::{collections::BTreeMap, fmt};

use crate::format::bytes::printable;

use super::{Check, Report, Verdict};

/// Names in a line of units that stop.
const WIDTH: usize = 100;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        writeln!(f, "\nsurvives ({}):", self.survives.len())?;
        for survivor in &self.survives {
            writeln!(f, "      {}: {}", survivor.unit, printable(&survivor.what.to_string(), ' '))?;
        }
        writeln!(f, "\nstops ({}):", self.stops.len())?;
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for stopping in &self.stops {
            by_reason.entry(&stopping.why).or_default().push(&stopping.unit);
        }
        for (why, units) in by_reason {
            writeln!(f, "      {why}:")?;
            for line in wrapped(&units) {
                writeln!(f, "          {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Check {
    /// One line: `warn  kernel         6.13 is in the new root ...: a full reboot ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = printable(&self.found, ' ');
        write!(f, "{:<5} {:<14} {found}", self.result.to_string(), self.name)?;
        match &self.advice {
            Some(advice) => write!(f, " -> {}", printable(advice, ' ')),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// Words in lines of no more than [`WIDTH`] characters, where they fit.
fn wrapped(words: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= WIDTH) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push((*word).to_owned()),
        }
    }
    lines
}
