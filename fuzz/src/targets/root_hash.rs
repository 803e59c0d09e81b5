//! `format/verity/root_hash.rs`: 16 to 64 bytes; what is printed reads back; of 32 bytes the two partition UUIDs make
//! the same again.

use nextroot::format::verity::root_hash::RootHash;

pub(super) fn run(data: &[u8]) {
    let Ok(hash) = super::text(data).parse::<RootHash>() else { return };
    assert!((16..=64).contains(&hash.bytes().len()));
    assert_eq!(hash.to_string(), super::text(data).to_ascii_lowercase());
    assert_eq!(hash.to_string().parse().as_ref(), Ok(&hash));
    let (first, last) = hash.partition_uuids();
    assert!(hash.bytes().len() != 32 || RootHash::of_partition_uuids(first, last) == hash);
}
