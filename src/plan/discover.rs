//! Finds the root by its partition type, on the disk that the boot loader was started from
//! (systemd-gpt-auto-generator(8), systemd's src/udev/udev-builtin-blkid.c).

use std::cmp::Ordering;

use crate::format::{
    config::{image_filter::ImageFilter, ini::Placed},
    disk::discoverable::Purpose,
    system::version,
};

use super::{
    facts::{BlockDevice, Facts, Partition},
    find::{Found, find},
    intent::Tag,
    pair::Row,
};

/// What a look for the root gave.
#[derive(Debug, PartialEq)]
pub(super) enum Discovery<'a> {
    /// The boot loader does not say where it came from, so no disk is the right one.
    NoLoader,
    /// Nothing yet; this is awaited.
    Nothing(String),
    /// One.
    One(&'a BlockDevice, &'a Partition),
    /// Several, which is an error: nobody says which is meant.
    Several(String, Vec<&'a BlockDevice>),
}

/// Looks for the root.
pub(super) fn discover<'a>(facts: &'a Facts, filters: &[Placed<ImageFilter>]) -> Discovery<'a> {
    let Some(loader) = facts.loader_partition else { return Discovery::NoLoader };
    let tag = Tag::PartUuid(loader.to_string());
    let loader = match find(&tag, facts) {
        Found::One(device) => device.partition.as_ref(),
        Found::Several(devices) => {
            return Discovery::Several(format!("on the boot loader's disk ({tag})"), devices);
        }
        Found::Nothing | Found::Unread(_) => None,
    };
    let Some(loader) = loader else {
        return Discovery::Nothing(format!("on the boot loader's disk, the one with {tag}"));
    };
    if !matches!(loader.purpose(), Some(Purpose::Esp | Purpose::Xbootldr)) {
        return Discovery::Nothing(format!("on the boot loader's disk ({tag} is there, but is no ESP)"));
    }
    let mut newest: Vec<(&BlockDevice, &Partition)> = Vec::new();
    for (device, partition) in facts.devices.iter().filter_map(|d| Some((d, d.partition.as_ref()?))) {
        if partition.disk != loader.disk || !is_candidate(partition, filters) {
            continue;
        }
        match newest.first().map_or(Ordering::Greater, |(_, best)| compare(partition, best)) {
            Ordering::Less => {}
            Ordering::Equal => newest.push((device, partition)),
            Ordering::Greater => newest = vec![(device, partition)],
        }
    }
    match newest.as_slice() {
        [(device, partition)] => Discovery::One(device, partition),
        [] => {
            let places: String =
                filters.iter().map(|filter| format!(", with a label by {}", filter.place)).collect();
            let disk = &loader.disk;
            Discovery::Nothing(format!("of the type for {} on {disk}{places}", std::env::consts::ARCH))
        }
        several => {
            let devices = several.iter().map(|(device, _)| *device).collect();
            Discovery::Several(format!("by its type on {}", loader.disk), devices)
        }
    }
}

fn is_candidate(partition: &Partition, filters: &[Placed<ImageFilter>]) -> bool {
    let row = Row { of: &(), partition };
    partition.purpose() == Some(Purpose::Root) && row.usable().is_ok() && row.passes(filters).is_ok()
}

/// By the version in the label, as systemd-sysupdate writes it.
fn compare(one: &Partition, other: &Partition) -> Ordering {
    let label = |partition: &Partition| partition.label.clone().unwrap_or_default();
    version::compare(&label(one), &label(other))
}
