//! Finds the one device that a name means.

use crate::format::kernel::devno::Devno;

use super::{
    facts::{BlockDevice, Content, Facts, Partition},
    intent::Tag,
};

/// What a look for a name gave.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// Nothing yet.
    Nothing,
    /// Not sure: these have to be looked into first.
    Unread(Vec<Devno>),
    /// One.
    One(&'a BlockDevice),
    /// Several, which is an error: nobody says which is meant.
    Several(Vec<&'a BlockDevice>),
}

/// Looks for a name.
pub(super) fn find<'a>(tag: &Tag, facts: &'a Facts) -> Found<'a> {
    if matches!(tag, Tag::Uuid(_) | Tag::Label(_)) {
        let unread =
            |device: &&BlockDevice| device.content == Content::Unread && !is_partitioned(device, facts);
        let unread: Vec<Devno> = facts.devices.iter().filter(unread).map(|device| device.devno).collect();
        if !unread.is_empty() {
            return Found::Unread(unread);
        }
    }
    let base = match tag {
        Tag::PartNrOff(uuid, _) => match find(&Tag::PartUuid(uuid.clone()), facts) {
            Found::One(device) => device.partition.as_ref(),
            other => return other,
        },
        _ => None,
    };
    let found: Vec<&BlockDevice> =
        facts.devices.iter().filter(|device| is(device, tag, base, facts)).collect();
    match found.as_slice() {
        [] => Found::Nothing,
        [one] => Found::One(one),
        _ => Found::Several(found),
    }
}

/// Whether it is a disk whose partitions are what is meant.
pub(super) fn is_partitioned(device: &BlockDevice, facts: &Facts) -> bool {
    facts.devices.iter().any(|other| other.partition.as_ref().is_some_and(|p| p.disk == device.name))
}

fn is(device: &BlockDevice, tag: &Tag, base: Option<&Partition>, facts: &Facts) -> bool {
    let partition = device.partition.as_ref();
    let superblock = match &device.content {
        Content::Found(superblock) if !is_partitioned(device, facts) => Some(superblock),
        _ => None,
    };
    match tag {
        Tag::Name(name) => device.name == *name,
        Tag::Number(devno) => device.devno == *devno,
        Tag::PartUuid(uuid) => partition.is_some_and(|p| p.uuid.as_ref() == Some(uuid)),
        Tag::PartLabel(label) => partition.is_some_and(|p| p.label.as_ref() == Some(label)),
        Tag::Uuid(uuid) => {
            superblock.and_then(|s| s.uuid.as_ref()).is_some_and(|u| u.eq_ignore_ascii_case(uuid))
        }
        Tag::Label(label) => superblock.is_some_and(|s| s.label.as_ref() == Some(label)),
        Tag::PartNrOff(_, offset) => partition.zip(base).is_some_and(|(p, base)| {
            p.disk == base.disk && i64::from(p.number) == i64::from(base.number).saturating_add(*offset)
        }),
    }
}
