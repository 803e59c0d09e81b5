//! What was asked for: the kernel command line, resolved against the configuration and policy that are
//! baked into the initramfs.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::format::{
    config::{image_filter::ImageFilter, ini::Placed},
    verity::{options::VerityOptions, root_hash::RootHash},
};

pub use super::invalid::Error;
use super::{demands::Demands, signed::Signed, step::HashOrigin};

/// What the init role is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Intent {
    /// The root file system.
    pub root: FileSystem,
    /// A separate /usr, mounted before the switch.
    pub usr: Option<FileSystem>,
    /// What policy demands of both.
    pub demands: Demands,
    /// Which partitions are taken for them, by their labels.
    pub filters: Vec<Placed<ImageFilter>>,
    /// Whether what is written to the root is forgotten.
    pub volatile: Volatile,
    /// `init=`: the only candidate, where given.
    pub init: Option<String>,
    /// How long devices are waited for; `None`: for ever.
    pub timeout: Option<Duration>,
    /// How long to wait before looking for the root at all (`rootdelay=`).
    pub delay: Duration,
    /// Whether this program is left for the end of the machine's run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exitrd: bool,
    /// What to do after a failure, and how long to leave the message on the screen first.
    pub emergency: Emergency,
    /// What goes to the kernel log.
    pub verbosity: Verbosity,
    /// Kernel modules.
    pub modules: Modules,
    /// What is tolerated, said in the log: unknown `rd.` parameters, words without effect.
    pub notes: Vec<String>,
}

/// A file system to mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// Where it comes from.
    pub from: From,
    /// The type, where given.
    pub fstype: Option<String>,
    /// Mount options, where given: `rootflags=`, `mount.usrflags=`.
    pub flags: String,
    /// Without write access. Verified ones always are.
    pub read_only: bool,
}

/// Where a file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// A block device as it is, not verified.
    Device(Tag),
    /// A dm-verity device.
    Verity(Box<Verity>),
    /// Discoverable partitions on the disk that the boot loader names.
    GptAuto,
    /// The same, with the hash tree and the signature that belong to the root.
    Dissect(Dissect),
    /// An empty tmpfs.
    Tmpfs,
    /// A directory of the initramfs.
    Bind(String),
}

/// `root=dissect`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dissect {
    /// Whether certificates in verity.d count where the kernel has no key for a signature (`systemd.allow_userspace_verity=`).
    pub userspace: bool,
    /// The line of the configuration that requires a verified root.
    pub required: Option<String>,
}

/// A verified file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verity {
    /// The dm name: `root` or `usr`.
    pub name: String,
    /// The root hash.
    pub root_hash: RootHash,
    /// Where the root hash comes from.
    pub root_hash_from: HashOrigin,
    /// The data device.
    pub data: Tag,
    /// The device with the hash tree; equal to `data` where the tree follows the data.
    pub hash: Tag,
    /// The device with parity for error correction, where one is named; it may be one of the others.
    pub fec: Option<Tag>,
    /// `systemd.verity_root_options=`, `systemd.verity_usr_options=`.
    pub options: VerityOptions,
    /// The signature of the root hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signed>,
}

/// How a block device is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tag {
    /// The kernel's name of it: `vda2` for /dev/vda2.
    Name(String),
    /// A device number.
    Number(crate::format::kernel::devno::Devno),
    /// PARTUUID=, lower case.
    PartUuid(String),
    /// The partition that lies so many numbers after the one with this PARTUUID.
    PartNrOff(String, i64),
    /// PARTLABEL=
    PartLabel(String),
    /// UUID=, as its file system writes it; compared without regard to case.
    Uuid(String),
    /// LABEL=
    Label(String),
}

/// `systemd.volatile=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Volatile {
    /// What the root says; `state` is left to the real init.
    #[default]
    No,
    /// An empty root with /usr of the image.
    Yes,
    /// Writes go to a tmpfs above the image.
    Overlay,
}

/// What ends a failed boot: by default a reboot after ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Emergency {
    /// The action.
    pub action: EmergencyAction,
    /// The pause before it.
    pub pause: Duration,
}

impl Default for Emergency {
    fn default() -> Self {
        Self { action: EmergencyAction::default(), pause: Duration::from_secs(10) }
    }
}

/// `rd.emergency=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmergencyAction {
    /// Restart the machine.
    #[default]
    Reboot,
    /// Switch it off.
    Poweroff,
    /// Stop it.
    Halt,
}

/// How much goes to the kernel log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verbosity {
    /// Steps, at level info.
    #[default]
    Normal,
    /// Also devices and modules as they appear (`rd.debug`, `debug`).
    Debug,
}

/// Kernel modules by command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Modules {
    /// Loaded first, in this order (`rd.driver.pre=`).
    pub first: Vec<String>,
    /// Loaded at start (`modules_load=`, `rd.modules_load=`).
    pub load: Vec<String>,
    /// Loaded when devices are there (`rd.driver.post=`).
    pub last: Vec<String>,
    /// Never loaded (`module_blacklist=`, `rd.driver.blacklist=`).
    pub blacklist: Vec<String>,
    /// Parameters by module: `virtio_blk.queue_depth=64` gives `virtio_blk` -> `queue_depth=64`.
    pub parameters: BTreeMap<String, Vec<String>>,
}
