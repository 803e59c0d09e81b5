//! What was found of the running system.

use serde::{Deserialize, Serialize};

use crate::{
    format::system::{inhibitor::Inhibitor, os_release::OsRelease, systemd_version::SystemdVersion},
    plan::watchdog::Watchdog,
    units::Bytes,
};

use super::{new_root::SelinuxPolicy, unit::Unit};

/// The running system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct System {
    /// `uname -r`
    pub kernel_release: String,
    /// The kernel command line.
    pub command_line: String,
    /// systemd's version, as PID 1 tells it.
    pub systemd: Option<SystemdVersion>,
    /// What runs now.
    pub os_release: Option<OsRelease>,
    /// Whether / has modules for the running kernel.
    pub has_modules: bool,
    /// Names of loaded modules, with underscores.
    pub loaded_modules: Vec<String>,
    /// Units that systemd has in memory.
    pub units: Vec<Unit>,
    /// Processes of interest: those marked with `@`, and those of units that survive the final kill.
    pub processes: Vec<Process>,
    /// /etc/machine-id.
    pub machine_id: Option<String>,
    /// /run/machine-id, which a new systemd takes over.
    pub transient_machine_id: Option<String>,
    /// Where SELinux is on: the policy that was loaded.
    pub selinux: Option<SelinuxPolicy>,
    /// Extensions that are merged.
    pub extensions: Vec<Extension>,
    /// Links that systemd-networkd configured.
    pub links: Vec<Link>,
    /// `RestrictFileSystemAccess=`, where it is on: the value, and where it was read.
    pub restrict_execution: Option<String>,
    /// Where this program lies in the running root, if it does.
    pub program: Option<String>,
    /// The hardware watchdog that PID 1 feeds.
    pub watchdog: Option<Watchdog>,
    /// Inhibitor locks.
    pub inhibitors: Vec<Inhibitor>,
    /// MemAvailable.
    pub memory_available: Option<Bytes>,
    /// What could not be read, with the reason: a check that needs it knows less.
    pub unread: Vec<String>,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, of 15 characters at most.
    pub name: String,
    /// Its control group below /sys/fs/cgroup: `/system.slice/a.service`.
    pub control_group: String,
    /// Whether its first argument begins with `@` and it belongs to root, so that systemd spares it.
    pub marked: bool,
    /// Whether its root directory or its program is on the file system of /.
    pub uses_root: bool,
}

/// A merged extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Which hierarchies it extends.
    pub kind: ExtensionKind,
    /// The directory that it was found in: `/run/extensions`.
    pub place: Option<String>,
    /// `ID=` of its extension-release; `_any` fits all.
    pub id: Option<String>,
    /// `VERSION_ID=`, which has to be the host's where the level is not given.
    pub version_id: Option<String>,
    /// `SYSEXT_LEVEL=` or `CONFEXT_LEVEL=`.
    pub level: Option<String>,
}

/// What an extension extends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionKind {
    /// /usr and /opt: systemd-sysext(8).
    #[default]
    System,
    /// /etc: systemd-confext(8).
    Configuration,
}

/// A network link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Its name: `eth0`.
    pub name: String,
    /// The .network file that applies.
    pub file: Option<String>,
    /// `KeepConfiguration=`, where the file or its drop-ins say it.
    pub keep: Option<String>,
}
