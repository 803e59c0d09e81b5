//! `format/system/systemd_version.rs`: a version that is printed reads back; what a program or a map of memory says
//! stands in it.

use nextroot::format::system::systemd_version::SystemdVersion;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let found = [text.parse().ok(), SystemdVersion::in_program(data), SystemdVersion::in_maps(&text)];
    for version in found.into_iter().flatten() {
        let printed = version.to_string();
        assert!(text.contains(&printed), "{printed}");
        assert_eq!(printed.parse(), Ok(version));
    }
}
