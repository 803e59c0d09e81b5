//! What is in systemd's journal, by journalctl(1).

use crate::{
    format::system::journal_entry::{self, Entry},
    plan::report::MESSAGE_IDS,
};

use super::asking::{Error, ask};

/// What PID 1 said of units, and what it and nextroot said while there was no journald, between two moments of the wall clock, in seconds
/// since 1970. Of this boot, which a soft reboot does not end.
pub fn of_switches(since: u64, until: u64) -> Result<Vec<Entry>, Error> {
    const PROGRAM: &str = "journalctl";
    let (since, until) = (format!("--since=@{since}"), format!("--until=@{until}"));
    let fields = format!("--output-fields={}", journal_entry::FIELDS.join(","));
    let ids = MESSAGE_IDS.map(|id| format!("MESSAGE_ID={id}"));
    let logged = ["+", "_TRANSPORT=kernel", "SYSLOG_IDENTIFIER=systemd", "SYSLOG_IDENTIFIER=nextroot"];
    let first = ["--quiet", "--boot", "--output=json", &fields, &since, &until, "_PID=1"];
    let arguments: Vec<&str> =
        first.into_iter().chain(ids.iter().map(String::as_str)).chain(logged).collect();
    let text = ask(PROGRAM, &arguments, PROGRAM)?;
    journal_entry::parse(&text)
        .map_err(|source| Error::Answer { command: PROGRAM.to_owned(), source: source.into() })
}
