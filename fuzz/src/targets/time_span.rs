//! `format/config/time_span.rs`: a span is whole microseconds, and reads back where it is written as such.

use nextroot::format::config::time_span::parse;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Some(span) = parse(&text) else { return };
    assert_eq!(span.subsec_nanos() % 1000, 0);
    assert_eq!(parse(&format!("{}us", span.as_micros())), Some(span));
    assert_eq!(parse(&format!("{}s {}usec", span.as_secs(), span.subsec_micros())), Some(span));
}
