//! `format/system/tries.rs`: counters that are read are printed as they are read, and what stands before them is the rest.

use nextroot::format::system::tries::split;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let (stem, tries) = split(&text);
    assert!(text.starts_with(stem));
    match tries {
        None => assert_eq!(stem, text),
        Some(tries) => assert_eq!(split(&format!("{stem}+{tries}")), (stem, Some(tries))),
    }
}
