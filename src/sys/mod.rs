//! The kernel's interfaces, one a file: thin, checked wrappers that decide nothing and log nothing.
//!
//! The only place with `unsafe`. A wrapper's documentation begins with the C call that it makes.

use std::{ffi::OsString, io, path::Path};

#[cfg(feature = "cli")]
pub mod answers;
pub mod block;
pub mod changes;
pub mod directory;
pub mod dm;
pub mod eventfd;
pub mod file;
pub mod kernel;
pub mod keyring;
pub mod kmsg;
pub mod lock;
pub mod loopdev;
pub mod module;
pub mod mount;
#[cfg(feature = "cli")]
pub mod page_cache;
#[cfg(feature = "cli")]
pub mod pidfd;
pub mod process;
pub mod reboot;
pub mod root;
pub mod sha256_lanes;
#[cfg(all(not(feature = "cli"), target_env = "gnu"))]
mod stack;
#[cfg(feature = "cli")]
pub mod termination;
pub mod uevent;
pub mod watchdog;

/// A kernel call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} {object}")]
pub struct Error {
    /// The call.
    pub call: &'static str,
    /// What it was made on.
    pub object: String,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// A failure of `call` on `object`.
    pub fn new(call: &'static str, object: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { call, object: object.into(), source: source.into() }
    }

    /// Whether what it was made on is not there: ENOENT, or ENXIO as dm says it.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::ENOENT | libc::ENXIO))
    }

    /// Whether there is no regular file of that name: ENOENT, ENOTDIR, ELOOP where its links lead nowhere, EINVAL where it is none.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn is_no_file(&self) -> bool {
        let none = [libc::ENOENT, libc::ENOTDIR, libc::ELOOP, libc::ENXIO];
        self.source.kind() == io::ErrorKind::InvalidInput
            || self.source.raw_os_error().is_some_and(|errno| none.contains(&errno))
    }

    /// Whether a key says that a signature is not its own, or may not be used (any more): EKEYREJECTED, EKEYREVOKED,
    /// EKEYEXPIRED.
    #[must_use]
    pub fn is_key_rejected(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::EKEYREJECTED | libc::EKEYREVOKED | libc::EKEYEXPIRED))
    }

    /// Whether nothing was mounted at what was to be unmounted: EINVAL, or ENOENT where not even the place is there.
    #[must_use]
    pub fn is_no_mount(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::EINVAL | libc::ENOENT))
    }

    /// With its cause, for places that hold text.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        format!("{self}: {}", self.source)
    }

    /// The same for a path.
    pub(crate) fn at(call: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::new(call, OsString::from(path).to_string_lossy(), source)
    }
}
