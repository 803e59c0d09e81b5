//! `format/system/sysupdate.rs`: a label that names an image has the name and the version in it, neither empty, and the
//! version has a digit; a derived type is of one kind only.

use nextroot::format::{
    disk::{discoverable::Purpose, guid::Guid},
    system::sysupdate::{Label, is_version, unfinished},
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    for purpose in [Purpose::Root, Purpose::RootVerity, Purpose::RootVeritySig, Purpose::Usr, Purpose::Esp] {
        if let Label::Image(image) = Label::parse(&text, purpose) {
            assert!(!image.name.is_empty() && text.starts_with(image.name));
            assert!(is_version(image.version) && image.version.bytes().any(|byte| byte.is_ascii_digit()));
            assert!(text.contains(image.version) && !image.version.contains('_'));
        }
    }
    if let Some(bytes) = data.first_chunk::<16>() {
        let guid = Guid::from_bytes(*bytes);
        assert!(unfinished(guid).is_none() || Purpose::of(guid).is_none());
    }
}
