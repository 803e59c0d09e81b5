//! `format/kernel/kernel_release.rs`: the numbers are those that the text begins with.

use nextroot::format::kernel::kernel_release::version;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Some((major, minor)) = version(&text) else { return };
    assert!(text.trim_start_matches('0').starts_with(&major.to_string()) || major == 0, "{major}");
    assert_eq!(version(&format!("{major}.{minor}")), Some((major, minor)));
    assert_eq!(version(&format!("{major}.{minor}-rc1")), Some((major, minor)));
}
