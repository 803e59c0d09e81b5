//! What comes of a look at the facts: a plan, a question, a wait or a refusal.

use std::fmt;

use crate::{
    format::{kernel::devno::Devno, verity::setup},
    units::Bytes,
};

use super::{Plan, refusal::Refusal};

/// What a look at the facts gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Everything is there: this is to be done.
    Go(Plan),
    /// These have to be looked into, and then the question put again.
    Read(Vec<Read>),
    /// These are not there yet.
    Wait(Vec<Want>),
    /// It cannot be done.
    Refuse(Error),
}

/// A look into a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// At its first blocks.
    Superblock(Devno),
    /// At a verity superblock.
    Verity {
        /// The device.
        devno: Devno,
        /// Distance from its start.
        offset: Bytes,
    },
}

/// A device that is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// What it is for.
    pub role: &'static str,
    /// Its name.
    pub tag: String,
}

/// Facts that cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that several devices have.
    #[error("{role} {tag} is ambiguous: {devices}; detach all but one, or give them different names")]
    Ambiguous {
        /// What the device is for.
        role: &'static str,
        /// The name.
        tag: String,
        /// Who has it.
        devices: String,
    },
    /// A hash device without its superblock.
    #[error("{role} {device}, at {offset}: {why}; {hint}")]
    NoVeritySuperblock {
        /// What the device is for.
        role: &'static str,
        /// The device.
        device: String,
        /// Where it was looked for.
        offset: Bytes,
        /// What was found.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// What policy demands of an image.
    #[error(transparent)]
    Demand(#[from] Refusal),
    /// A boot loader that does not say where it came from.
    #[error(
        "find the root by its partition type: the boot loader does not say which disk it came from (there is no EFI variable LoaderDevicePartUUID); use one that does, such as systemd-boot, or write root= or roothash="
    )]
    NoLoader,
    /// dm-verity parameters that do not fit the devices.
    #[error("dm-verity {name} on {data} with hash tree on {hash}")]
    Setup {
        /// The dm name.
        name: String,
        /// The data device.
        data: String,
        /// The hash device.
        hash: String,
        /// Why not.
        #[source]
        source: setup::Error,
    },
    /// A dm name that another device has.
    #[error(
        "the dm name {name} is taken by {device}, which is not the same: close it (dmsetup remove {name})"
    )]
    Taken {
        /// The dm name.
        name: String,
        /// Who has it.
        device: String,
    },
    /// A plain root from before that is not there as it was.
    #[error(
        "the root that ran before, {root}, cannot be mounted again: {why}; name an image, or start it by a full reboot"
    )]
    Gone {
        /// The root.
        root: String,
        /// What changed.
        why: String,
    },
    /// A root of which a part is missing, or is there twice.
    #[error("root=dissect takes {device}, and what belongs to it is not whole: {why}")]
    Incomplete {
        /// The data partition.
        device: String,
        /// What is wrong.
        why: String,
    },
    /// A root that nothing is proven of.
    #[error(
        "{what} is unprotected, and {rule} requires a verified root: give it a signature partition, or name it by roothash="
    )]
    Unverified {
        /// The root.
        what: String,
        /// The line of the configuration.
        rule: String,
    },
    /// A device without a file system.
    #[error("{role} {device} cannot be mounted: {why}")]
    NoFileSystem {
        /// What the device is for.
        role: &'static str,
        /// The device.
        device: String,
        /// What is there, and what to do.
        why: String,
    },
}

impl Error {
    /// Whether policy forbids it.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        matches!(self, Self::Demand(_) | Self::Unverified { .. })
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock(devno) => write!(f, "the first blocks of {devno}"),
            Self::Verity { devno, offset } => write!(f, "a verity superblock of {devno} at {offset}"),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.tag)
    }
}
