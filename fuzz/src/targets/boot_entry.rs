//! `format/system/boot_entry.rs`: an entry that is marked bad is the same entry, and bad; what a text says stands in it.

use nextroot::format::system::boot_entry::{Name, TypeOne};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    if let Some(name) = Name::parse(&text) {
        let bad = name.bad();
        let read = Name::parse(&bad);
        assert!(read.is_some_and(|read| read.is_bad() && (read.kind, read.stem) == (name.kind, name.stem)));
        assert_eq!(read.map(|read| read.bad()), Some(bad));
    }
    let TypeOne { version, sort_key, options } = TypeOne::parse(&text);
    assert!(
        [version, sort_key].iter().flatten().all(|value| !value.is_empty() && text.contains(value.as_str()))
    );
    assert!(options.len() <= text.len() && !options.contains('\n'));
}
