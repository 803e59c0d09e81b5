//! `plan/source.rs`, `plan/tag.rs`: a source that is printed reads back as the same, and has no zero byte.

use nextroot::plan::source::Source;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(source) = text.parse::<Source>() else { return };
    let printed = source.to_string();
    assert!(!printed.is_empty());
    assert_eq!(printed.parse().as_ref(), Ok(&source), "{printed}");
}
