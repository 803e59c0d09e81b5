//! `format/system/job_list.rs`: a list has no more jobs than the text has lines, and no word of one has a blank.

use nextroot::format::system::job_list;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(jobs) = job_list::parse(&text) else { return };
    assert!(jobs.len() <= text.lines().count());
    let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_ascii_whitespace());
    assert!(jobs.iter().all(|job| is_word(&job.unit) && is_word(&job.state)));
}
