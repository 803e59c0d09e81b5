//! Holds the steps that open and mount a file system against what is demanded of it, as far as facts can tell.

use crate::format::config::image_policy::Designator;

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
