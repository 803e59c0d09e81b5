//! Holds the steps that open and mount a file system against what is demanded of it, as far as facts can tell.

use crate::format::{
    config::{image_filter::ImageFilter, image_policy::Designator, ini::Placed},
    kernel::devno::Devno,
};

use super::{
    Step,
    demands::{Demands, Refusal},
    facts::{Content, Facts},
    step::{Fstype, Volume},
};

/// Refuses a partition, or a file system on it, that policy forbids; also by the version in its label, where the system
/// is on it. Where policy names types, what is mounted gets the
/// type that was seen, so that nothing else can be.
pub(super) fn hold(
    demands: &Demands,
    (which, has_system): (Designator, bool),
    steps: &mut [Step],
    facts: &Facts,
) -> Result<(), Refusal> {
    let data = steps.iter().find_map(|step| match step {
        Step::OpenVerity(open) => Some(open.data.devno),
        Step::ReuseVerity { table, .. } => Some(table.data),
        Step::Mount { what: Volume::Device(device), .. } => Some(device.devno),
        _ => None,
    });
    // What lies on no device, such as a tmpfs, is no image.
    let Some(data) = data else { return Ok(()) };
    let device = facts.devices.iter().find(|device| device.devno == data);
    let name = device.map_or_else(|| data.to_string(), ToString::to_string);
    let partition = device.and_then(|device| device.partition.as_ref());
    demands.allow_partition(which, &name, partition)?;
    if has_system {
        demands.allow_label(which, &name, partition)?;
    }
    if !demands.limits_types(which) {
        return Ok(());
    }
    let seen = device.and_then(|device| match &device.content {
        Content::Found(superblock) => Some(superblock.kind),
        Content::Unread | Content::Unknown | Content::Unreadable(_) => None,
    });
    for step in steps {
        let Step::Mount { fstype, .. } = step else { continue };
        *fstype = fstype.take().or(seen.map(Fstype::Known));
        let found = fstype.as_ref().map(ToString::to_string);
        demands.allow_types(which, &name, found.as_deref())?;
    }
    Ok(())
}

/// Refuses devices whose labels a filter does not take, of the file system and of its hash tree. What has no label has an empty
/// one, as in systemd.
pub(super) fn hold_labels(
    filters: &[Placed<ImageFilter>],
    which: Designator,
    steps: &[Step],
    facts: &Facts,
) -> Result<(), Refusal> {
    let tree = if which == Designator::Usr { Designator::UsrVerity } else { Designator::RootVerity };
    for step in steps {
        match step {
            Step::OpenVerity(open) => {
                hold_label(filters, which, open.data.devno, facts)?;
                if open.hash.devno != open.data.devno {
                    hold_label(filters, tree, open.hash.devno, facts)?;
                }
            }
            Step::Mount { what: Volume::Device(device), .. } => {
                hold_label(filters, which, device.devno, facts)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn hold_label(
    filters: &[Placed<ImageFilter>],
    which: Designator,
    devno: Devno,
    facts: &Facts,
) -> Result<(), Refusal> {
    let device = facts.devices.iter().find(|device| device.devno == devno);
    let label = device.and_then(|device| device.partition.as_ref()?.label.as_deref()).unwrap_or_default();
    let refused =
        filters.iter().find_map(|filter| Some((filter.value.refuses(which, label)?, filter.place.clone())));
    let Some((pattern, place)) = refused else { return Ok(()) };
    let device = device.map_or_else(|| devno.to_string(), ToString::to_string);
    Err(Refusal::Label { device, pattern: pattern.to_owned(), which, place })
}
