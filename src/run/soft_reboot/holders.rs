//! Who keeps a device busy: processes whose mount namespace still shows it.

use std::{fs, path::Path};

use crate::{
    format::kernel::{devno::Devno, mountinfo::Mount},
    sys::{
        block::Entry,
        file::{attribute, whole_at},
    },
};

use super::staging::MOUNTS;

/// A process that sees a mount of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// What it calls itself.
    pub name: String,
    /// Where it sees the mount.
    pub at: String,
}

/// Processes that see a mount of the dm device of this name, one for each mount namespace. A process that
/// cannot be looked at is passed over: it may have ended.
#[must_use]
pub fn of_dm(name: &str) -> Vec<Holder> {
    let number =
        fs::read_dir("/sys/class/block").into_iter().flatten().filter_map(Result::ok).find_map(|entry| {
            let entry = Entry { name: entry.file_name().to_string_lossy().into_owned() };
            (entry.attribute("dm/name").as_deref() == Some(name)).then(|| entry.devno())?
        });
    number.map(of).unwrap_or_default()
}

fn of(device: Devno) -> Vec<Holder> {
    let mut namespaces = Vec::new();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(namespace) = fs::read_link(entry.path().join("ns/mnt")) else { continue };
        if namespaces.contains(&namespace) {
            continue;
        }
        namespaces.push(namespace);
        if let Some(at) = sees(&entry.path(), device) {
            let name = attribute(&entry.path().join("comm")).unwrap_or_default();
            found.push(Holder { process, name, at });
        }
    }
    found
}

fn sees(process: &Path, device: Devno) -> Option<String> {
    // A user's own mount namespace may have more mounts than can be believed: it is passed over then.
    let text = whole_at(&process.join("mountinfo"), MOUNTS).ok()?;
    let mounts = Mount::parse_all(&text).ok()?;
    let mount = mounts.into_iter().find(|mount| mount.devno == device)?;
    Some(mount.mount_point.display().to_string())
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {}, at {})", self.name, self.process, self.at)
    }
}
