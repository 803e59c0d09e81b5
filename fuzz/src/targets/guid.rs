//! `format/disk/guid.rs`, `format/disk/discoverable.rs`: what is printed reads back, in lower case; the order of bytes
//! on a disk is undone; a type of this architecture is one of the others' too, or of all.

use nextroot::format::disk::{
    discoverable::{Purpose, elsewhere},
    guid::Guid,
};

pub(super) fn run(data: &[u8]) {
    if let Some(bytes) = data.first_chunk::<16>() {
        let guid = Guid::from_disk(*bytes);
        assert_eq!(guid.to_disk(), *bytes);
        assert_eq!(Guid::from_bytes(guid.bytes()), guid);
        same(guid);
    }
    if let Ok(guid) = super::text(data).parse::<Guid>() {
        assert_eq!(guid.to_string(), super::text(data).to_ascii_lowercase());
        same(guid);
    }
}

fn same(guid: Guid) {
    let text = guid.to_string();
    assert_eq!(text.parse(), Ok(guid));
    assert_eq!((text.len(), text.to_ascii_lowercase()), (36, text.clone()));
    let everywhere =
        [Purpose::Esp, Purpose::Xbootldr, Purpose::Home, Purpose::Srv, Purpose::Var, Purpose::Tmp];
    let own = Purpose::of(guid).filter(|purpose| !everywhere.contains(purpose));
    assert!(own.is_none() || elsewhere(guid).map(|(_, purpose)| purpose) == own);
}
