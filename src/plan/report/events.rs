//! What PID 1 says in the journal of its units (src/core/job.c, `job_emit_start_message` and `job_emit_done_message`; src/core/unit.c,
//! `unit_log_success`), by the IDs of sd-messages.h.

use std::time::Duration;

use crate::format::system::journal_entry::Entry;

/// What happened to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Starting,
    Started,
    Stopping,
    /// By a job.
    Stopped,
    /// By itself, or as it was told to.
    Ended,
}

const KNOWN: [(&str, What); 6] = [
    ("7d4958e842da4a758f6c1cdc7b36dcc5", What::Starting),
    ("39f53479d3a045ac8e11786248231fbf", What::Started),
    ("de5b426a63be47a7b6ac3eaac82e2f6f", What::Stopping),
    ("9d1aaa27d60140bd96365438aad20286", What::Stopped),
    // UNIT_SUCCESS, UNIT_FAILURE_RESULT
    ("7ad2d189f7e94e70a38c781354912448", What::Ended),
    ("d9b373ed55a64feb8242e02dbe79a49c", What::Ended),
];

/// What is asked for.
pub const MESSAGE_IDS: [&str; 6] = [KNOWN[0].0, KNOWN[1].0, KNOWN[2].0, KNOWN[3].0, KNOWN[4].0, KNOWN[5].0];

/// Something that happened to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) at: Duration,
    pub(super) unit: &'a str,
    pub(super) what: What,
}

impl<'a> Event<'a> {
    /// All that PID 1 told of, as it happened.
    pub(super) fn all(entries: &'a [Entry]) -> Vec<Self> {
        let mut events: Vec<Self> = entries.iter().filter_map(Self::of).collect();
        events.sort_by_key(|event| event.at);
        events
    }

    fn of(entry: &'a Entry) -> Option<Self> {
        let (_, what) = KNOWN.into_iter().find(|(id, _)| *id == entry.message_id)?;
        // A job may be done without its unit: where a condition of it is not met. Others may write what they want.
        let in_vain =
            what == What::Started && (entry.job_result != "done" || entry.message.contains("skipped"));
        let told = entry.pid == Some(1) && !entry.unit.is_empty() && !in_vain;
        told.then_some(Self { at: entry.at, unit: &entry.unit, what })
    }
}
