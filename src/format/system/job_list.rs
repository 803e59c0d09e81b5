//! Jobs as `systemctl list-jobs --no-legend --plain` writes them, a line each: number, unit, type, state. There is no JSON of it up to 262.

use std::str::FromStr;

/// A job of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The unit that it is for.
    pub unit: String,
    /// `running`, or `waiting` for others.
    pub state: String,
}

/// A line that is no job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no job: a number, a unit, a type and a state are")]
pub struct NoJob(String);

impl FromStr for Job {
    type Err = NoJob;

    fn from_str(line: &str) -> Result<Self, NoJob> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [number, unit, _, state] if number.parse::<u32>().is_ok() => {
                Ok(Self { unit: (*unit).to_owned(), state: (*state).to_owned() })
            }
            _ => Err(NoJob(line.to_owned())),
        }
    }
}

/// Reads the list.
pub fn parse(text: &str) -> Result<Vec<Job>, NoJob> {
    text.lines().filter(|line| !line.trim().is_empty()).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let job = |unit: &str, state: &str| Job { unit: unit.to_owned(), state: state.to_owned() };
        for (text, expected) in [
            ("", Some(vec![])),
            ("\n", Some(vec![])),
            // Of 254, 257 and 262.
            ("88 hangs.service start running\n", Some(vec![job("hangs.service", "running")])),
            (
                " 88 hangs.service     start running\n101 multi-user.target start waiting\n",
                Some(vec![job("hangs.service", "running"), job("multi-user.target", "waiting")]),
            ),
            ("No jobs running.\n", None),
            ("JOB UNIT TYPE STATE\n", None),
            ("88 hangs.service start\n", None),
            (r#"[{"job":"97","unit":"a.service","type":"start","state":"running"}]"#, None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
