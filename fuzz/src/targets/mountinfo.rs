//! `format/kernel/mountinfo.rs`: a mount that is printed reads back, as one line without a tab, and no file has more
//! mounts than lines.

use nextroot::format::kernel::mountinfo::Mount;

pub(super) fn run(data: &[u8]) {
    if let Ok(mounts) = Mount::parse_all(data) {
        assert!(mounts.len() <= data.split(|byte| *byte == b'\n').count());
        for mount in mounts {
            let line = mount.to_string();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(line.parse(), Ok(mount));
        }
    }
}
