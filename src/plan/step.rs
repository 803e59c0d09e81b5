//! The steps that a plan is made of: what each does.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Plan, boot_entry::Renaming, demands::Proof, device::Device, order::Order, plain::Plain, signed::Handed,
    watchdog::Watchdog,
};
use crate::{
    format::{
        config::{ini::Placed, prewarm::Prewarm, trial::Trial},
        disk::superblock::Kind,
        kernel::devno::Devno,
        verity::table::VerityTable,
    },
    units::Bytes,
};

/// One step: one or two kernel calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Step {
    /// Loads kernel modules, with what they need; built-in ones are known.
    LoadModules {
        /// Their names, with underscores.
        names: Vec<String>,
    },
    /// Attaches a stretch of a file as a loop device, read-only, for the steps after it.
    AttachLoop {
        /// The stretch.
        part: FilePart,
        /// The number by which later steps mean the device, which has none yet.
        stands_for: Devno,
    },
    /// Creates a dm-verity device, read-only.
    OpenVerity(OpenVerity),
    /// Goes on with a dm-verity device that is open already, if its table is still this one.
    ReuseVerity {
        /// The dm name.
        name: String,
        /// Its number.
        devno: Devno,
        /// The table line.
        table: VerityTable,
    },
    /// Holds a dm-verity device to its word: status `V`, and its first block reads.
    CheckVerity {
        /// The dm name.
        name: String,
        /// Whether blocks that do not match were asked to be read all the same.
        corruption_ignored: bool,
        /// Whether there is parity: the kernel counts a block of the tree as one that does not match before it repairs it
        /// (drivers/md/dm-verity-fec.c), so that the status shows it for ever.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        repaired: bool,
    },
    /// Holds a block device to what it was when the plain root on it ran: its number and its UUIDs. Nothing is
    /// verified by that.
    CheckPlain {
        /// The root.
        plain: Box<Plain>,
    },
    /// Mounts a file system from a block device.
    Mount {
        /// The block device.
        what: Volume,
        /// The type; found by superblock, read through the device itself, where none is given.
        fstype: Option<Fstype>,
        /// Where.
        at: String,
        /// Whether without write access.
        read_only: bool,
        /// Further options, comma-separated as in fstab(5).
        options: String,
    },
    /// Mounts a new tmpfs.
    Tmpfs {
        /// Where; made if missing.
        at: String,
        /// Options as in tmpfs(5).
        options: String,
    },
    /// Lays a writable tmpfs over a mounted root (overlayfs).
    Overlay {
        /// The mounted root, covered by the overlay.
        at: String,
        /// The tmpfs that takes what is written.
        store: String,
    },
    /// Makes a root that forgets: an empty tmpfs, with only /usr of the mounted root.
    VolatileUsr {
        /// The mounted root, replaced by the tmpfs.
        at: String,
        /// Where the tmpfs is mounted until then.
        store: String,
    },
    /// Binds one directory over another, with the mounts below it.
    Bind {
        /// The directory shown.
        from: String,
        /// Where.
        at: String,
    },
    /// Makes what an empty root lacks beside /usr: the links into it, and the directories that systemd and
    /// the kernel need (systemd's src/shared/base-filesystem.c).
    BaseFileSystem {
        /// The root.
        root: String,
    },
    /// Leaves the number of the block device under a volatile root in /run/systemd/volatile-root.
    NameVolatileRoot {
        /// The block device.
        what: Volume,
    },
    /// Makes sure, while it can still be refused, that an image is no older than is allowed: by `IMAGE_VERSION=` of its
    /// os-release.
    CheckVersion {
        /// Where it is mounted.
        root: String,
        /// Files that may be its os-release; the first that is there counts.
        files: Vec<String>,
        /// The oldest version, and who demands it.
        at_least: Placed<String>,
    },
    /// Makes sure, while it can still be refused, that the new root can run: its init is found and can be
    /// executed, and so can the interpreter that it names.
    FindInit {
        /// The new root.
        root: String,
        /// Paths in it; the first that is there is taken.
        candidates: Vec<String>,
    },
    /// Mounts that are placed below a directory from now on are seen nowhere else.
    Isolate {
        /// The mount.
        at: String,
    },
    /// Gives a mount, and those below it, copies of its own to follow it: what is unmounted here goes from
    /// the mount namespaces that are made later, too.
    Follow {
        /// The mount.
        at: String,
    },
    /// Puts this program where systemd looks for the next init, with what it needs to be one.
    FurnishRelay {
        /// The tmpfs.
        at: String,
    },
    /// Shows one mount at a second place, without those below it.
    Carry {
        /// Where it is mounted.
        from: String,
        /// Where it is to be seen, too.
        at: String,
    },
    /// Reads what the new root will need first: what is in memory of the same files of the running one.
    Prewarm {
        /// Where it is mounted.
        at: String,
        /// What it may cost.
        limits: Prewarm,
    },
    /// Leaves units in /run that do nothing, where the new system's generators would make units for a root
    /// that the kernel command line names and that is no longer the root.
    LeaveUnits {
        /// Their names.
        names: Vec<String>,
    },
    /// Leaves drop-ins in /run by which critical units are the last to stop and the first to start, and has systemd read them.
    Order {
        /// What is put behind each.
        orders: Vec<Order>,
    },
    /// Leaves a copy of this program in /run, and a service of it that outlives the soft reboot: it sees the new root come
    /// up, and goes back to this one where it is not healthy.
    Watch {
        /// What is asked of the new root.
        trial: Trial,
        /// The program that does it, in the running root; without it, a copy of this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// Moves another program for the end of the machine's run out of the way.
    KeepExitrd,
    /// Leaves a copy of this program for the end of the machine's run: systemd-shutdown executes it, outside of the root.
    LeaveExitrd,
    /// Uses up the tries of a boot loader's entry, by its name: the next cold boot does not go there.
    MarkEntryBad(Renaming),
    /// Writes what the relay is to do, and then the os-release by which systemd knows a root: from here on a
    /// soft reboot goes there.
    Publish {
        /// The tmpfs.
        at: String,
        /// What the relay is to do.
        relay: Box<Relay>,
    },
    /// Arms the hardware watchdog that PID 1 disarmed when it handed over, for the next one to go on with.
    ArmWatchdog(Watchdog),
    /// Moves a mount, with those below it.
    Move {
        /// Where it is.
        from: String,
        /// Where it is to be.
        to: String,
    },
    /// Makes a mount the root, and lets the one from before go.
    Pivot {
        /// The mount.
        root: String,
    },
    /// Moves /dev, /proc, /sys and /run into the new root.
    MoveApi {
        /// The new root.
        root: String,
    },
    /// Frees the initramfs and makes the new root the root.
    SwitchRoot {
        /// The new root.
        root: String,
    },
    /// Executes the init that was found, as PID 1, with our own arguments.
    Exec,
}

/// What the relay is to do: written into its tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// The init of the new root.
    pub init: String,
    /// Into the new root.
    pub forward: Plan,
    /// Back to the old one.
    pub back: Plan,
}

/// What a dm-verity device is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenVerity {
    /// The dm name.
    pub name: String,
    /// The dm UUID, as libcryptsetup writes it.
    pub uuid: String,
    /// The device with the data.
    pub data: Device,
    /// The device with the hash tree; it may be the same.
    pub hash: Device,
    /// The device with parity for error correction, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fec: Option<Device>,
    /// The table line.
    pub table: VerityTable,
    /// What the root hash proves.
    pub root_hash_from: HashOrigin,
    /// Its signature, checked before the device is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Box<Handed>>,
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePart {
    /// The file.
    pub path: String,
    /// The number of its file system, and its own in that: what was looked at is what is attached.
    pub inode: (Devno, u64),
    /// Distance from its start.
    pub offset: Bytes,
    /// Length.
    pub size: Bytes,
}

/// Where a root hash comes from, which decides what it proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashOrigin {
    /// The kernel command line: as trustworthy as whoever wrote or signed that.
    CommandLine,
    /// The configuration baked into the initramfs.
    Config,
    /// The arguments of our own command line: as trustworthy as whoever may run it.
    Arguments,
    /// The UUIDs of the partitions themselves: it shows damage, and no attacker who can write them.
    PartitionUuids,
    /// An unsigned file beside the image: it shows damage, and no attacker who can write that.
    File,
    /// Wherever it comes from, its signature is checked: as trustworthy as whoever has the key.
    Signature,
    /// Nobody wrote down where.
    Unknown,
}

/// What a file system is mounted from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Volume {
    /// A block device as it is, not verified.
    Device(Device),
    /// A dm-verity device opened by an earlier step, by its dm name.
    Verity(String),
}

/// A file system type as `mount -t` takes it: one that we recognise, or any other name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fstype {
    /// One that is recognised by its superblock.
    Known(Kind),
    /// A name that was given.
    Named(String),
}

impl HashOrigin {
    /// What a root hash from there proves. Where whoever can write to the image can choose the root hash, too, it is
    /// nothing against them.
    #[must_use]
    pub fn proof(self) -> Proof {
        match self {
            Self::CommandLine | Self::Config | Self::Arguments => Proof::Verity,
            Self::PartitionUuids | Self::File | Self::Unknown => Proof::Unprotected,
            Self::Signature => Proof::Signed,
        }
    }

    /// Where it comes from, without what that proves.
    #[must_use]
    pub fn place(self) -> &'static str {
        match self {
            Self::CommandLine => "the kernel command line",
            Self::Config => "the configuration",
            Self::Arguments => "the arguments",
            Self::Signature => "its signer",
            Self::Unknown => "where nobody knows any more",
            Self::File => "a file beside the image",
            Self::PartitionUuids => "the partitions' UUIDs",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadModules { names } => write!(f, "load modules {}", names.join(" ")),
            Self::AttachLoop { part, stands_for } => {
                write!(f, "attach {part} as a loop device, here called {stands_for}")
            }
            Self::OpenVerity(open) => {
                write!(f, "open dm-verity {} on {} with hash tree on {}", open.name, open.data, open.hash)?;
                if let Some(fec) = &open.fec {
                    write!(f, " and parity on {fec}")?;
                }
                let OpenVerity { table, root_hash_from, .. } = open;
                write!(f, ", root hash {} from {root_hash_from}", table.root_hash)?;
                open.signature.iter().try_for_each(|handed| write!(f, ", {handed}"))?;
                write!(f, ": {table}")
            }
            Self::ReuseVerity { name, devno, table } => {
                write!(f, "go on with dm-verity {name} ({devno}), which is open: {table}")
            }
            Self::CheckVerity { name, corruption_ignored: true, .. } => {
                write!(f, "check dm-verity {name}: its first block; corruption is ignored, as asked")
            }
            Self::CheckVerity { name, repaired: true, .. } => {
                write!(f, "check dm-verity {name}: its first block; what parity repairs is good")
            }
            Self::CheckVerity { name, .. } => {
                write!(f, "check dm-verity {name}: status V and its first block")
            }
            Self::CheckPlain { plain } => {
                write!(f, "check that {}; what it holds is not verified", plain.known_by())
            }
            Self::Mount { what, fstype, at, read_only, options } => {
                write!(f, "mount {what} at {at} ")?;
                match fstype {
                    Some(fstype) => write!(f, "as {fstype}")?,
                    None => f.write_str("as its superblock says")?,
                }
                f.write_str(if *read_only { ", ro" } else { ", rw" })?;
                if options.is_empty() { Ok(()) } else { write!(f, ",{options}") }
            }
            Self::Tmpfs { at, options } => write!(f, "mount tmpfs at {at}, {options}"),
            Self::Overlay { at, store } => write!(f, "lay a tmpfs at {store} over {at}"),
            Self::VolatileUsr { at, store } => {
                write!(f, "replace {at} by a tmpfs at {store} that keeps only its /usr")
            }
            Self::Bind { from, at } => write!(f, "bind {from} at {at}"),
            Self::BaseFileSystem { root } => write!(f, "make the directories and links that {root} lacks"),
            Self::NameVolatileRoot { what } => write!(f, "name {what} in /run/systemd/volatile-root"),
            Self::CheckVersion { root, files, at_least: Placed { value, place } } => {
                let files = files.join(" or ");
                write!(f, "check that IMAGE_VERSION= of {files} in {root} is {value} or newer, by {place}")
            }
            Self::FindInit { root, candidates } => {
                write!(f, "find an init in {root}: {}", candidates.join(" "))
            }
            Self::Isolate { at } => write!(f, "keep what is mounted below {at} to it"),
            Self::Follow { at } => write!(f, "let later mount namespaces follow {at}"),
            Self::FurnishRelay { at } => write!(f, "put this program into {at} as its init"),
            Self::Carry { from, at } => write!(f, "show {from} at {at}"),
            Self::Prewarm { at, limits } => {
                write!(f, "read ahead in {at} what is in memory of /, by {limits}")
            }
            Self::LeaveUnits { names } => {
                write!(f, "leave units that do nothing in /run/systemd/system: {}", names.join(" "))
            }
            Self::Order { orders } => {
                f.write_str("let stop last and start first:")?;
                let each = |Order { unit, before }: &Order| write!(f, " {unit} ({} others)", before.len());
                orders.iter().try_for_each(each)
            }
            Self::Watch { trial, program } => {
                let by = program.as_ref().map(|program| format!(" by {program}")).unwrap_or_default();
                write!(f, "leave a watcher in /run{by}, that goes back unless the root is {trial}")
            }
            Self::KeepExitrd => f.write_str("keep the /run/initramfs/shutdown that is there aside"),
            Self::LeaveExitrd => f.write_str("leave this program as /run/initramfs/shutdown"),
            Self::MarkEntryBad(Renaming { partition, directory, from, to }) => {
                write!(
                    f,
                    "rename the boot loader's entry {directory}/{from} on {partition} to {to}: the next cold boot does not go there"
                )
            }
            Self::Publish { at, .. } => write!(f, "make {at} the root of the next soft reboot"),
            Self::ArmWatchdog(watchdog) => write!(f, "arm {watchdog}"),
            Self::Move { from, to } => write!(f, "move {from} to {to}"),
            Self::Pivot { root } => write!(f, "make {root} the root"),
            Self::MoveApi { root } => write!(f, "move /dev /proc /sys /run into {root}"),
            Self::SwitchRoot { root } => write!(f, "free the initramfs and make {root} the root"),
            Self::Exec => f.write_str("execute the init that was found"),
        }
    }
}

impl fmt::Display for HashOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place())?;
        if self.proof() == Proof::Unprotected { f.write_str(" (unprotected)") } else { Ok(()) }
    }
}

impl fmt::Display for FilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} from {}", self.size, self.path, self.offset)
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Verity(name) => write!(f, "dm-verity {name}"),
        }
    }
}

impl fmt::Display for Fstype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(kind) => kind.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}
