//! What is in systemd's journal, by journalctl(1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    format::system::journal_entry::{self, Entry},
    plan::report::MESSAGE_IDS,
    run::machine,
};

use super::asking::{Error, ask};

/// What PID 1 said of units, and what it and nextroot said while there was no journald, from `since` on, by CLOCK_MONOTONIC. Of this
/// boot, which a soft reboot does not end.
pub fn of_switches(since: Duration) -> Result<Vec<Entry>, Error> {
    of_switches_by("journalctl", since)
}

fn of_switches_by(program: &str, since: Duration) -> Result<Vec<Entry>, Error> {
    // The journal is looked up by the wall clock.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = now.saturating_sub(machine::monotonic().saturating_sub(since));
    let since = format!("--since=@{}", since.as_secs());
    let fields = format!("--output-fields={}", journal_entry::FIELDS.join(","));
    let ids = MESSAGE_IDS.map(|id| format!("MESSAGE_ID={id}"));
    let logged = ["+", "_TRANSPORT=kernel", "SYSLOG_IDENTIFIER=systemd", "SYSLOG_IDENTIFIER=nextroot"];
    let first = ["--quiet", "--boot", "--output=json", &fields, &since, "_PID=1"];
    let arguments: Vec<&str> =
        first.into_iter().chain(ids.iter().map(String::as_str)).chain(logged).collect();
    let command = "journalctl".to_owned();
    let text = ask(program, &arguments, &command)?;
    journal_entry::parse(&text).map_err(|source| Error::Answer { command, source: source.into() })
}
