//! `format/system/probe_log.rs`: what is read prints as lines that read back the same, and what is made of it counts each request once.

use std::time::Duration;

use nextroot::{format::system::probe_log, plan::report::Probed};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(requests) = probe_log::parse(&text) else { return };
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    assert_eq!(probe_log::parse(&lines).as_ref(), Ok(&requests));
    let all = Probed::all(&requests, Duration::ZERO, Duration::from_secs(1));
    assert_eq!(all.iter().map(|seen| seen.requests).sum::<usize>(), requests.len());
    for seen in all {
        assert!(seen.refused + seen.lost + seen.slow <= seen.requests);
        assert!(seen.away.iter().rev().skip(1).all(|away| away.end_us.is_some()));
    }
}
