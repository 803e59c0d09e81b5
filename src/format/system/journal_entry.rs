//! Entries of systemd's journal as `journalctl --output=json` writes them: an object a line, each of its fields a text, or
//! `null` where it is too long, or numbers where it is no text, or a list of these where it is there several times
//! (journalctl(1), systemd.journal-fields(7)).

use std::time::Duration;

use serde::Deserialize;

/// What of an entry is asked for, for `--output-fields=`. Its times come without asking.
pub const FIELDS: &[&str] = &[
    "JOB_RESULT",
    "MESSAGE",
    "MESSAGE_ID",
    "SYSLOG_IDENTIFIER",
    "UNIT",
    "_PID",
    "_SOURCE_MONOTONIC_TIMESTAMP",
    "_SOURCE_REALTIME_TIMESTAMP",
];

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// When it was said, by CLOCK_MONOTONIC: where the one who said it did not tell, when journald read it.
    pub at: Duration,
    /// Who said it, as he calls himself; empty where he does not.
    pub identifier: String,
    /// The process; `None` where it is the kernel, or a line in its log.
    pub pid: Option<u32>,
    /// What was said.
    pub message: String,
    /// What kind of message, 128 bits in hexadecimal; empty where it is none in particular.
    pub message_id: String,
    /// The unit that PID 1 speaks of; empty where it does not.
    pub unit: String,
    /// How a job ended: `done`, `failed`, ...; empty where none did.
    pub job_result: String,
}

/// An entry that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON.
    #[error("entry {line} of the journal is no JSON object")]
    Json {
        /// The line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Without its time.
    #[error("entry {line} of the journal has no __MONOTONIC_TIMESTAMP")]
    Time {
        /// The line, from 1.
        line: usize,
    },
}

/// Reads entries, in the order in which they were written down.
pub fn parse(text: &str) -> Result<Vec<Entry>, Error> {
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
    lines.map(|(line, text)| entry(text, line)).collect()
}

fn entry(text: &str, line: usize) -> Result<Entry, Error> {
    let fields: Fields = serde_json::from_str(text).map_err(|source| Error::Json { line, source })?;
    let at = fields.at().ok_or(Error::Time { line })?;
    Ok(Entry {
        at,
        identifier: fields.identifier.text(),
        pid: fields.pid.number().and_then(|pid| u32::try_from(pid).ok()),
        message: fields.message.text(),
        message_id: fields.message_id.text(),
        unit: fields.unit.text(),
        job_result: fields.job_result.text(),
    })
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "__MONOTONIC_TIMESTAMP", default)]
    read: Value,
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    read_realtime: Value,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP", default)]
    said: Value,
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP", default)]
    said_realtime: Value,
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    identifier: Value,
    #[serde(rename = "_PID", default)]
    pid: Value,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "MESSAGE_ID", default)]
    message_id: Value,
    #[serde(rename = "UNIT", default)]
    unit: Value,
    #[serde(rename = "JOB_RESULT", default)]
    job_result: Value,
}

/// How long an entry may be under way to journald, at most: a wall clock that was set meanwhile tells of more.
const UNDER_WAY: u64 = 60_000_000;

impl Fields {
    fn at(&self) -> Option<Duration> {
        // The kernel says by the same clock when it was, and that may be long before there is a journald.
        if let Some(said) = self.said.number() {
            return Some(Duration::from_micros(said));
        }
        let read = self.read.number()?;
        let under_way = self.read_realtime.number().zip(self.said_realtime.number());
        let under_way = under_way.and_then(|(read, said)| read.checked_sub(said));
        Some(Duration::from_micros(read.saturating_sub(under_way.filter(|it| *it <= UNDER_WAY).unwrap_or(0))))
    }
}

/// A field.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Several(Vec<Value>),
    #[default]
    Nothing,
}

impl Value {
    /// The text of it, the first where there are several; what is no UTF-8 in it is replaced.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Several(values) => values.first().map(Self::text).unwrap_or_default(),
            Self::Nothing => String::new(),
        }
    }

    fn number(&self) -> Option<u64> {
        self.text().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let line = |rest: &str| format!("{{\"__MONOTONIC_TIMESTAMP\":\"5000000\"{rest}}}");
        let at = |us| Entry { at: Duration::from_micros(us), ..Entry::default() };
        for (rest, expected) in [
            ("", at(5_000_000)),
            (
                r#","MESSAGE":"Stopping a","MESSAGE_ID":"de5b","UNIT":"a.service","_PID":"1","SYSLOG_IDENTIFIER":"systemd","JOB_RESULT":"done""#,
                Entry {
                    identifier: "systemd".to_owned(),
                    pid: Some(1),
                    message: "Stopping a".to_owned(),
                    message_id: "de5b".to_owned(),
                    unit: "a.service".to_owned(),
                    job_result: "done".to_owned(),
                    ..at(5_000_000)
                },
            ),
            // Of the kernel's log.
            (r#","_SOURCE_MONOTONIC_TIMESTAMP":"1200""#, at(1_200)),
            // Said 30 ms before it was read; by a clock that was set meanwhile.
            (r#","__REALTIME_TIMESTAMP":"90030000","_SOURCE_REALTIME_TIMESTAMP":"90000000""#, at(4_970_000)),
            (
                r#","__REALTIME_TIMESTAMP":"90000000000","_SOURCE_REALTIME_TIMESTAMP":"90000000""#,
                at(5_000_000),
            ),
            (r#","__REALTIME_TIMESTAMP":"80000000","_SOURCE_REALTIME_TIMESTAMP":"90000000""#, at(5_000_000)),
            (r#","MESSAGE":null,"_PID":"-1""#, at(5_000_000)),
            (r#","MESSAGE":[104,105,255]"#, Entry { message: "hi\u{fffd}".to_owned(), ..at(5_000_000) }),
            (r#","MESSAGE":["one","two"]"#, Entry { message: "one".to_owned(), ..at(5_000_000) }),
            (r#","MESSAGE":[[104],"two"]"#, Entry { message: "h".to_owned(), ..at(5_000_000) }),
        ] {
            assert_eq!(parse(&line(rest)).unwrap(), [expected], "{rest}");
        }
    }

    #[test]
    fn what_is_none() {
        assert_eq!(parse("\n\n").unwrap(), []);
        for (text, message) in [
            ("-- No entries --", "entry 1 of the journal is no JSON object"),
            ("{\"__MONOTONIC_TIMESTAMP\":\"1\"}\nnone", "entry 2 of the journal is no JSON object"),
            ("{\"__MONOTONIC_TIMESTAMP\":\"x\"}", "entry 1 of the journal has no __MONOTONIC_TIMESTAMP"),
            ("{\"__MONOTONIC_TIMESTAMP\":7}", "entry 1 of the journal is no JSON object"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
