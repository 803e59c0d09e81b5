//! What was found in the new root.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::critical::UnitOrder;
use crate::format::system::{os_release::OsRelease, systemd_version::SystemdVersion};

/// The new root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewRoot {
    /// Its os-release; `None` where it has none.
    pub os_release: Option<Result<OsRelease, String>>,
    /// `SYSEXT_LEVEL=` of it.
    pub sysext_level: Option<String>,
    /// `CONFEXT_LEVEL=` of it.
    pub confext_level: Option<String>,
    /// Whether it has an /etc/initrd-release.
    pub initrd_release: bool,
    /// Its init, or why there is none that can be executed.
    pub init: Option<Result<String, String>>,
    /// Its systemd, where the init is one that tells its version.
    pub systemd: Option<SystemdVersion>,
    /// Kernels that it has modules for.
    pub kernels: Vec<String>,
    /// Modules for the running kernel, built in or not; `None` where it has none at all.
    pub modules: Option<Result<BTreeSet<String>, String>>,
    /// Modules that its modules-load.d names.
    pub wanted_modules: BTreeSet<String>,
    /// Names in its root directory.
    pub top: BTreeSet<String>,
    /// Whether it is mounted read-only, or cannot be written to.
    pub read_only: bool,
    /// What its fstab mounts on /var at start.
    pub var_in_fstab: Option<String>,
    /// Its /etc/machine-id.
    pub machine_id: MachineId,
    /// Its SELinux policy.
    pub selinux: Option<SelinuxPolicy>,
    /// Unit files that it has, without their directories.
    pub units: BTreeSet<String>,
    /// Units that others of its units pull in, by links.
    pub enabled: BTreeSet<String>,
    /// What its unit files say of their order, where that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unit_orders: Vec<UnitOrder>,
    /// Its .network files, as paths.
    pub networks: BTreeSet<String>,
    /// Extensions that it brings itself, below /etc or /usr, by name.
    pub extensions: BTreeSet<String>,
    /// What makes its systemd feed a hardware watchdog.
    pub arms_watchdog: Option<String>,
    /// What could not be read, with the reason.
    pub unread: Vec<String>,
}

/// What /etc/machine-id holds (machine-id(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineId {
    /// There is no such file.
    #[default]
    Missing,
    /// It is empty: filled at start, on a read-only root by a mount above it.
    Empty,
    /// `uninitialized`: the same, and the next start counts as the first one.
    Uninitialized,
    /// An ID.
    Id(String),
    /// Something else.
    Damaged,
}

/// A SELinux policy, so far that two can be told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelinuxPolicy {
    /// `SELINUXTYPE=`: the directory below /etc/selinux.
    pub kind: String,
    /// `SELINUX=`: enforcing, permissive or disabled.
    pub mode: String,
    /// CRC-32 and length of the newest policy file.
    pub sum: Option<(u32, u64)>,
}

impl MachineId {
    /// Reads the file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "" => Self::Empty,
            "uninitialized" => Self::Uninitialized,
            id if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Self::Id(id.to_ascii_lowercase())
            }
            _ => Self::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_ids() {
        let id = "0123456789abcdef0123456789ABCDEF";
        for (text, expected) in [
            ("", MachineId::Empty),
            ("\n", MachineId::Empty),
            ("uninitialized\n", MachineId::Uninitialized),
            (id, MachineId::Id(id.to_ascii_lowercase())),
            ("0123", MachineId::Damaged),
            ("g123456789abcdef0123456789abcdef", MachineId::Damaged),
        ] {
            assert_eq!(MachineId::parse(text), expected, "{text}");
        }
    }
}
