//! Why a step of a plan failed.

use std::io;

use crate::{
    format::verity::root_hash::RootHash,
    plan::{device::Device, step::Volume},
    sys::{self, mount::CreateError},
};

use crate::run::boot::{modules, new_root};
#[cfg(feature = "cli")]
use crate::run::soft_reboot::{boot_entries, image};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A module.
    #[error(transparent)]
    Modules(#[from] modules::Error),
    /// A kernel call.
    #[error(transparent)]
    Call(#[from] sys::Error),
    /// A device that is not the one that was looked at.
    #[error("{device} changed since it was looked at: {why}")]
    Changed {
        /// The device.
        device: Device,
        /// How.
        why: String,
    },
    /// A signature that is none, or of another root hash.
    #[error("the signature of {root_hash} from {from} cannot be used: {why}")]
    Signature {
        /// The root hash.
        root_hash: RootHash,
        /// Where it stands.
        from: String,
        /// Why not.
        why: String,
    },
    /// A signature that nobody vouches for.
    #[error(
        "open dm-verity {name}: the signature of {root_hash} from {from} does not hold: by the kernel: {kernel}; by a certificate in verity.d: {userspace}"
    )]
    Unsigned {
        /// The dm name.
        name: String,
        /// The root hash.
        root_hash: RootHash,
        /// Where the signature stands.
        from: String,
        /// What the kernel said.
        kernel: String,
        /// What the certificates say.
        userspace: String,
    },
    /// The kernel refused the dm-verity table.
    #[error("open dm-verity {name}{}", said(.kernel))]
    Verity {
        /// The dm name.
        name: String,
        /// What the kernel said meanwhile.
        kernel: Vec<String>,
        /// The call.
        #[source]
        source: sys::Error,
    },
    /// The data or the hash tree do not match the root hash.
    #[error(
        "dm-verity {name} does not hold: {why}; the root hash is not of this image, or the image is damaged: write it anew{}",
        said(.kernel)
    )]
    Corrupt {
        /// The dm name.
        name: String,
        /// What was seen.
        why: String,
        /// What the kernel said meanwhile.
        kernel: Vec<String>,
    },
    /// No file system that is recognised.
    #[error(
        "{what} holds no file system that is recognised ({found}): name its type with rootfstype= or mount.usrfstype="
    )]
    UnknownFileSystem {
        /// The volume.
        what: Volume,
        /// What was seen instead.
        found: String,
    },
    /// The kernel refused to mount it.
    #[error("mount {what} as {fstype} at {at}{}", said(.kernel))]
    Mount {
        /// The volume, or `tmpfs`.
        what: String,
        /// The type.
        fstype: String,
        /// Where.
        at: String,
        /// What the kernel said meanwhile.
        kernel: Vec<String>,
        /// The call.
        #[source]
        source: CreateError,
    },
    /// A directory that something is to be mounted on.
    #[error("{at} cannot be used to mount on: make the directory in the image")]
    MountPoint {
        /// The directory.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file below /run.
    #[error("write {path}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Entries of the boot loader.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Entries(#[from] boot_entries::Error),
    /// A root that is none for systemd.
    #[cfg(feature = "cli")]
    #[error(
        "{root} has no os-release, neither in /etc nor in /usr/lib: systemd would not take it as a root; is this a whole image?"
    )]
    NoOsRelease {
        /// The root.
        root: String,
    },
    /// An image file.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Image(#[from] image::Error),
    /// Something that was staged.
    #[cfg(feature = "cli")]
    #[error("there is no {what} any more")]
    NotThere {
        /// What.
        what: String,
    },
    /// A file that was to be read ahead.
    #[cfg(feature = "cli")]
    #[error(
        "a file of the new root, which the running one has in memory, cannot be read: its image is damaged or its device fails; write it anew, or see that the device works; --no-prewarm does not look"
    )]
    Unreadable(#[source] sys::Error),
    /// A wish of somebody.
    #[cfg(feature = "cli")]
    #[error("it was asked to end")]
    Ended,
    /// The watcher.
    #[cfg(feature = "cli")]
    #[error(
        "start {unit}, which sees whether the new root is healthy and goes back else: {why}; AutomaticReturn=no in [Trial] of nextroot.conf does without it"
    )]
    Watcher {
        /// Its unit.
        unit: &'static str,
        /// Why not.
        why: String,
    },
    /// systemd does not read its units again.
    #[cfg(feature = "cli")]
    #[error(
        "let systemd read the order of critical units: {why}; without Critical= in nextroot.conf it need not"
    )]
    Reload {
        /// Why not.
        why: String,
    },
    /// A dm device that was to be reused.
    #[cfg(feature = "cli")]
    #[error("go on with dm-verity {name}: its table is not that of this image any more")]
    Replaced {
        /// The dm name.
        name: String,
    },
    /// A root that cannot run.
    #[error(transparent)]
    NewRoot(#[from] new_root::Error),
    /// A plan whose steps do not fit together.
    #[error("{what} is used before it is there: the plan is wrong, please report it")]
    Plan {
        /// What.
        what: String,
    },
}

impl Error {
    /// Whether it is the image that is refused, for what it is: by policy, by its signature, or as no root. It would be
    /// refused everywhere. Damage may be this copy's alone.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        use new_root::Error::{Missing, NotExecutable, Release, Version};
        match self {
            Self::Signature { .. } | Self::Unsigned { .. } | Self::NoOsRelease { .. } => true,
            Self::NewRoot(error) => {
                matches!(error, Missing { .. } | NotExecutable { .. } | Version(_) | Release { .. })
            }
            _ => false,
        }
    }

    /// Whether a dm name was taken just before: that device is somebody else's, and not to be closed by an undo.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Call(error)
            if error.call == sys::dm::CREATE && error.source.kind() == io::ErrorKind::ResourceBusy)
    }
}

/// What the kernel said meanwhile, behind what failed.
#[must_use]
pub fn said(kernel: &[String]) -> String {
    kernel.iter().map(|line| format!("; kernel: {line}")).collect()
}
