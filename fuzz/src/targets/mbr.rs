//! `format/disk/mbr.rs`: a signature is of a whole boot sector that is no protective one; a partition's UUID has the form
//! that the kernel prints.

use nextroot::format::disk::mbr::{disk_signature, partition_uuid};

pub(super) fn run(data: &[u8]) {
    let Some(signature) = disk_signature(data) else { return };
    assert!(data.len() >= 512 && data[510..512] == [0x55, 0xaa]);
    assert!([450, 466, 482, 498].iter().all(|at| data[*at] != 0xee));
    assert_eq!(signature.to_le_bytes(), data[440..444]);
    let uuid = partition_uuid(signature, u32::from(data[0]));
    assert_eq!((uuid.len(), uuid.as_bytes()[8]), (11, b'-'));
}
