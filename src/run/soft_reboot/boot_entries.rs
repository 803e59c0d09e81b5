//! Entries of the boot loader, on the ESP and the XBOOTLDR partition: looked at, and renamed.
//!
//! The partitions are reached by their devices, through mounts that are shown nowhere: what is mounted at /efi or /boot may be
//! an automount, and those wait for a PID 1 that may not answer.

use std::{
    fs::{File, rename},
    io,
    path::{Path, PathBuf},
};

use object::ReadCache;

use crate::{
    format::{
        kernel::{
            mount_options::MountOptions,
            uki::{self, Uki},
        },
        system::boot_entry::{Kind, Name},
    },
    plan::{
        boot_entry::{self, DIRECTORIES, Entry, Renaming},
        device::Device,
        facts::Facts,
    },
    run::machine,
    sys::{
        self, block,
        file::{names, text_at},
        mount::{self, CreateError, Detached},
    },
    units::Bytes,
};

/// Why entries could not be looked at, or renamed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition.
    #[error("mount {partition}, for the entries of the boot loader")]
    Mount {
        /// Which.
        partition: Device,
        /// Why not.
        #[source]
        source: Box<CreateError>,
    },
    /// A kernel call.
    #[error(transparent)]
    Call(#[from] sys::Error),
    /// A file.
    #[error("{what} on {partition}")]
    File {
        /// What was attempted, on which file.
        what: String,
        /// The partition.
        partition: Device,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file that is to be renamed is gone.
    #[error("{name} on {partition} is not there any more: somebody else has changed the entries")]
    Gone {
        /// Which.
        name: String,
        /// Where.
        partition: Device,
    },
}

/// A text file of an entry is shorter.
const LONGEST: Bytes = Bytes(64 << 10);
const READ_ONLY: &str = "ro,nosuid,nodev,noexec";
const READ_WRITE: &str = "nosuid,nodev,noexec";
/// More entries than this in one directory are not looked at.
const MOST: usize = 1024;

/// The entries that the boot loader of this machine reads. Files that are no entries, and those that cannot be read as what
/// their names say, are passed over: they start nothing.
pub fn look(facts: &Facts) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for partition in boot_entry::partitions(facts, machine::told_loader_partition()) {
        let mounted = mounted(&partition, Access::Read)?;
        for directory in DIRECTORIES {
            let at = mounted.path().join(directory);
            let files = match names(&at) {
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
                files => files?,
            };
            let here = files.iter().take(MOST).filter_map(|file| entry(&partition, directory, &at, file));
            entries.extend(here);
        }
    }
    Ok(entries)
}

fn entry(partition: &Device, directory: &str, at: &Path, file: &str) -> Option<Entry> {
    let (path, partition) = (at.join(file), partition.clone());
    match Name::parse(file)?.kind {
        Kind::One => {
            let text = text_at(&path, LONGEST).ok()?;
            Some(Entry::of_text(partition, directory, file, &text))
        }
        Kind::Two => {
            let Uki { command_lines, os_release } = read_image(&path).ok()?;
            Some(Entry::of_image(partition, directory, file, &command_lines, os_release))
        }
    }
}

fn read_image(path: &Path) -> Result<Uki, uki::Error> {
    let file = File::open(path).map_err(|_| uki::Error::NotPe)?;
    Uki::parse(&ReadCache::new(file))
}

/// Renames an entry, and sees to it that the new name is on the disk. One that has the new name already is as it should be.
pub(in crate::run) fn rename_entry(renaming: &Renaming) -> Result<(), Error> {
    let Renaming { partition, directory, from, to } = renaming;
    let mounted = mounted(partition, Access::Write)?;
    let at = mounted.path().join(directory);
    let (old, new) = (at.join(from), at.join(to));
    let failed = |what: String| |source| Error::File { what, partition: partition.clone(), source };
    match (old.symlink_metadata(), new.symlink_metadata()) {
        (Ok(_), Err(_)) => {}
        (Err(_), Ok(_)) => return Ok(()),
        (Ok(_), Ok(_)) => {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(failed(format!("rename {directory}/{from} to {to}"))(source));
        }
        (Err(_), Err(_)) => {
            return Err(Error::Gone { name: format!("{directory}/{from}"), partition: partition.clone() });
        }
    }
    rename(&old, &new).map_err(failed(format!("rename {directory}/{from} to {to}")))?;
    // The name first, then all that the file system has to say of it.
    let synced = File::open(&at).and_then(|at| at.sync_all());
    synced.map_err(failed(format!("write {directory} to the disk")))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// A mount of the partition that is shown nowhere. Where it is mounted already, this is one more mount of the same file system,
/// which the kernel allows only with the same access as that (get_tree_bdev in fs/super.c): EBUSY else.
fn mounted(partition: &Device, access: Access) -> Result<Detached, Error> {
    let node: PathBuf = block::Entry { name: partition.name.clone() }.node();
    let mount = |options| mount::create("vfat", Some(&node), &MountOptions::parse(options));
    let made = match access {
        Access::Read => match mount(READ_ONLY) {
            Err(error) if error.source.kind() == io::ErrorKind::ResourceBusy => mount(READ_WRITE),
            made => made,
        },
        Access::Write => mount(READ_WRITE),
    };
    made.map_err(|source| Error::Mount { partition: partition.clone(), source: Box::new(source) })
}
