//! `format/disk/superblock.rs`: texts are no longer than their fields, a kind's name reads back, a size is no more than
//! numbers count, and what was recognised is recognised still where more of the device is read.

use nextroot::format::disk::superblock::{Kind, PREFIX, Superblock};

/// Where the fields are that kinds are recognised by.
const PLACES: [usize; 6] = [0, 1024, 4096 - 512, 16384 - 512, 65536 - 512, 65536];

pub(super) fn run(data: &[u8]) {
    recognise(data);
    // The first byte says where the rest stands.
    let Some((first, rest)) = data.split_first() else { return };
    let mut device = vec![0; PREFIX];
    let place = PLACES[usize::from(*first) % PLACES.len()];
    for (to, from) in device[place..].iter_mut().zip(rest) {
        *to = *from;
    }
    recognise(&device);
}

fn recognise(start: &[u8]) {
    let Some(found) = Superblock::recognise(start) else { return };
    assert_eq!(found.kind.to_string().parse::<Kind>(), Ok(found.kind));
    assert!(found.kind.is_filesystem() == found.kind.module().is_some());
    // What is no UTF-8 takes three bytes for one, in a field of 512 at most.
    assert!(found.label.iter().chain(&found.uuid).all(|text| !text.is_empty() && text.len() <= 512 * 3));
    assert!(found.kind.is_filesystem() || found.size.is_none());
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Superblock>(&json).unwrap(), found);
}
