//! `[Trial]` of nextroot.conf: by what a new root is found healthy, and whether it is left again else.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::format::{
    config::{
        ini::{self, Assignment, boolean, words},
        time_span,
    },
    system::unit_file::is_unit,
};

/// The section, with what holds where nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trial {
    /// `AutomaticReturn=`: whether a watcher sees the new root come up, and leads back where it is not healthy.
    pub automatic_return: bool,
    /// `Timeout=`: how long it may take to be healthy, in seconds.
    pub timeout_sec: u64,
    /// `Units=`: units that have to be active.
    pub units: Vec<String>,
    /// `Command=`: a program of the new root and its arguments, which has to end well; empty where there is none.
    pub command: Vec<String>,
    /// `WithoutFailuresSec=`: how long no unit may be failed, in seconds.
    pub without_failures_sec: u64,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
/// systemd itself takes some seconds to start; whoever waits for a day has forgotten it.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);

impl Default for Trial {
    fn default() -> Self {
        Self {
            automatic_return: true,
            timeout_sec: DEFAULT_TIMEOUT.as_secs(),
            units: Vec::new(),
            command: Vec::new(),
            without_failures_sec: 0,
        }
    }
}

impl Trial {
    /// Takes in a line of the section; whether its key is known. An empty value takes back what was assigned before.
    pub fn assign(&mut self, assignment: &Assignment, file: &str) -> Result<bool, ini::Error> {
        let value = assignment.value.as_str();
        let default = Self::default();
        match assignment.key.as_str() {
            "AutomaticReturn" if value.is_empty() => self.automatic_return = default.automatic_return,
            "AutomaticReturn" => {
                self.automatic_return =
                    boolean(value).ok_or_else(|| assignment.impossible(file, "yes or no"))?;
            }
            "Timeout" if value.is_empty() => self.timeout_sec = default.timeout_sec,
            "Timeout" => {
                let span = time_span::parse(value).filter(|span| TIMEOUTS.contains(span));
                self.timeout_sec =
                    seconds(span).ok_or_else(|| assignment.impossible(file, "a time from 10s to 1day"))?;
            }
            "WithoutFailuresSec" if value.is_empty() => self.without_failures_sec = 0,
            "WithoutFailuresSec" => {
                let span = time_span::parse(value).filter(|span| span <= TIMEOUTS.end());
                self.without_failures_sec =
                    seconds(span).ok_or_else(|| assignment.impossible(file, "a time up to 1day"))?;
            }
            "Units" if value.is_empty() => self.units.clear(),
            "Units" => {
                let allowed = "a list of units, each with its suffix as in nginx.service,";
                for unit in value.split_ascii_whitespace() {
                    if !is_unit(unit) {
                        return Err(assignment.impossible(file, allowed));
                    }
                    if !self.units.iter().any(|other| other == unit) {
                        self.units.push(unit.to_owned());
                    }
                }
            }
            "Command" => {
                let words = words(value).filter(|words| words.iter().all(|word| !word.contains('\0')));
                let is_program = |words: &Vec<String>| words.first().is_none_or(|word| word.starts_with('/'));
                let allowed = "an absolute path of the new root, with arguments, blanks quoted,";
                self.command =
                    words.filter(is_program).ok_or_else(|| assignment.impossible(file, allowed))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How long it may take to be healthy.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_sec)
    }

    /// How long no unit may be failed.
    #[must_use]
    pub fn without_failures(&self) -> Duration {
        Duration::from_secs(self.without_failures_sec)
    }
}

/// Whole seconds, no less than that.
fn seconds(span: Option<Duration>) -> Option<u64> {
    span.map(|span| span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

impl fmt::Display for Trial {
    /// `healthy within 300 s: start-up finished, nginx.service active, no unit failed for 30 s, /usr/bin/check ends well`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "healthy within {} s: start-up finished", self.timeout_sec)?;
        if !self.units.is_empty() {
            write!(f, ", {} active", self.units.join(" "))?;
        }
        if self.without_failures_sec > 0 {
            write!(f, ", no unit failed for {} s", self.without_failures_sec)?;
        }
        if self.command.is_empty() { Ok(()) } else { write!(f, ", {} ends well", self.command.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Trial, String> {
        let mut trial = Trial::default();
        for assignment in ini::parse(text, "f").map_err(|error| error.to_string())? {
            let known = trial.assign(&assignment, "f").map_err(|error| error.to_string())?;
            assert!(known, "{text}");
        }
        Ok(trial)
    }

    #[test]
    fn a_section() {
        let text = "AutomaticReturn=no\nTimeout=2min\nUnits=nginx.service a\\x2db@1.socket\nUnits=nginx.service\n\
                    Command=/usr/bin/check --all 'a b'\nWithoutFailuresSec=1.5\n";
        let trial = read(text).unwrap();
        let expected = Trial {
            automatic_return: false,
            timeout_sec: 120,
            units: ["nginx.service", "a\\x2db@1.socket"].map(str::to_owned).to_vec(),
            command: ["/usr/bin/check", "--all", "a b"].map(str::to_owned).to_vec(),
            without_failures_sec: 2,
        };
        assert_eq!(trial, expected);
        assert_eq!(
            trial.to_string(),
            "healthy within 120 s: start-up finished, nginx.service a\\x2db@1.socket active, no unit failed for 2 s, \
             /usr/bin/check --all a b ends well"
        );
        let taken_back = "AutomaticReturn=\nTimeout=\nUnits=\nCommand=\nWithoutFailuresSec=\n";
        assert_eq!(read(&format!("{text}{taken_back}")).unwrap(), Trial::default());
        assert_eq!(Trial::default().to_string(), "healthy within 300 s: start-up finished");
    }

    #[test]
    fn malformed() {
        for (text, message) in [
            ("AutomaticReturn=maybe", "yes or no is needed"),
            ("Timeout=9", "a time from 10s to 1day is needed"),
            ("Timeout=infinity", "a time from 10s to 1day is needed"),
            ("WithoutFailuresSec=2day", "a time up to 1day is needed"),
            ("Units=nginx", "a list of units, each with its suffix as in nginx.service, is needed"),
            ("Units=.service", "a list of units, each with its suffix as in nginx.service, is needed"),
            ("Units=a/b.service", "a list of units, each with its suffix as in nginx.service, is needed"),
            ("Command=check", "an absolute path of the new root, with arguments, blanks quoted, is needed"),
            ("Command=/a \"b", "an absolute path of the new root, with arguments, blanks quoted, is needed"),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("f:1: {text}: {message}"));
        }
    }
}
