//! Holds the steps that open and mount a file system against what is demanded of it, as far as facts can tell.

use crate::format::{
    config::{
        image_filter::{self, ImageFilter},
        image_policy::Designator,
        ini::Placed,
    },
    kernel::devno::Devno,
};

use super::{
    Step,
    demands::Demands,
    facts::{Content, Facts},
    refusal::Refusal,
    step::{Fstype, OpenVerity, Volume},
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
        // The data comes first; its hash tree beside it has the same name, and another end.
        let file = steps.iter().find_map(|step| match step {
            Step::AttachLoop { part, .. } => Some(part.path.as_str()),
            _ => None,
        });
        file.map_or(Ok(()), |path| demands.allow_name(path))?;
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
            Step::OpenVerity(OpenVerity { table, .. }) | Step::ReuseVerity { table, .. } => {
                hold_label(filters, which, table.data, facts)?;
                if table.hash != table.data {
                    hold_label(filters, tree, table.hash, facts)?;
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
    let Some((pattern, place)) = image_filter::refusal(filters, which, label) else { return Ok(()) };
    let device = device.map_or_else(|| devno.to_string(), ToString::to_string);
    Err(Refusal::Label { device, pattern: pattern.to_owned(), which, place: place.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::step::FilePart, units::Bytes};

    /// Files are in no golden plan: only the machine itself can look into them.
    #[test]
    fn files_that_are_too_old_by_name() {
        let devno = Devno { major: 0, minor: 1 };
        let attach = |path: &str| Step::AttachLoop {
            part: FilePart { path: path.to_owned(), inode: (devno, 1), offset: Bytes(0), size: Bytes(4096) },
            stands_for: devno,
        };
        let table = format!("1 0:1 0:2 4096 4096 1 1 sha256 {} -", "ab".repeat(32)).parse().unwrap();
        let reuse = Step::ReuseVerity { name: "a".to_owned(), devno, table };
        let least = Placed { value: "1.10".to_owned(), place: "f:2".to_owned() };
        let demands = Demands { minimum_version: Some(least), ..Demands::default() };
        for (path, has_system, refused) in [
            ("/m_9/os_1.9.raw", true, true),
            ("/m_1/os_1.10_x86-64.raw", true, false),
            ("/m_1/os.raw", true, false),
            ("/m_9/os_1.9.raw", false, false),
        ] {
            let mut steps = vec![attach(path), attach("/m/os_1.verity"), reuse.clone()];
            let held = hold(&demands, (Designator::Root, has_system), &mut steps, &Facts::default());
            assert_eq!(held.is_err(), refused, "{path}");
            let message = held.map_or_else(|refusal| refusal.to_string(), |()| String::new());
            assert_eq!(
                message.contains("by its name, is of version 1.9, and f:2 demands 1.10"),
                refused,
                "{message}"
            );
        }
    }
}
