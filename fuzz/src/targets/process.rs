//! `format/kernel/process.rs`: names and groups are one line of the text.

use nextroot::format::kernel::process::{control_group, holds_flock, is_marked, name, real_user};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    for found in [name(&text), control_group(&text)].into_iter().flatten() {
        assert!(text.contains(found) && !found.contains('\n'));
    }
    if let Some(user) = real_user(&text) {
        assert_eq!(real_user(&format!("Uid:\t{user}\t{user}\t{user}\t{user}\n")), Some(user));
    }
    if holds_flock(&text) {
        assert!(text.contains("FLOCK") && text.contains("lock:"));
    }
    assert_eq!(is_marked(data), data.starts_with(b"@"));
}
