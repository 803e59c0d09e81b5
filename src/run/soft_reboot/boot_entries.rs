//! Entries of the boot loader, on the ESP and the XBOOTLDR partition: looked at, and renamed.
//!
//! The partitions are reached by their devices, through mounts that are shown nowhere: what is mounted at /efi or /boot may be
//! an automount, and those wait for a PID 1 that may not answer.

use std::{
    fs::{self, File, rename},
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
        block,
        file::{names, whole_at},
        mount::{self, CreateError, Detached},
    },
    units::Bytes,
};

use super::handover::chain;

/// Why entries could not be looked at, or renamed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition.
    #[error(
        "mount {partition}, for the entries of the boot loader; where it is mounted read-only, remount it, or rename the entry by hand"
    )]
    Mount {
        /// Which.
        partition: Device,
        /// Why not.
        #[source]
        source: Box<CreateError>,
    },
    /// A file.
    #[error("{what} on {partition}, for the entries of the boot loader")]
    File {
        /// What was attempted, on which file.
        what: String,
        /// The partition.
        partition: Device,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A name that is there, and that may not be on the disk yet.
    #[error("write the boot loader's entry {name} on {partition} to the disk; sync does it, if the disk can")]
    Unsynced {
        /// Which.
        name: String,
        /// Where.
        partition: Device,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file that is to be renamed is gone.
    #[error(
        "the boot loader's entry {name} on {partition} is not there any more: somebody else has changed the entries"
    )]
    Gone {
        /// Which.
        name: String,
        /// Where.
        partition: Device,
    },
    /// What keeps systemd from blessing it.
    #[error("write {BLESS}")]
    Bless(#[source] io::Error),
}

/// A text file of an entry is shorter.
const LONGEST: Bytes = Bytes(64 << 10);
const READ_ONLY: &str = "ro,nosuid,nodev,noexec";
const READ_WRITE: &str = "nosuid,nodev,noexec";
/// More entries than this in one directory are not looked at.
const MOST: usize = 1024;
/// systemd-bless-boot acts on the entry that was cold-booted, also where that is the one that was marked bad, and also after a
/// soft reboot (until systemd 260): it would bless what failed, or fail itself as it does not find the name.
const BLESS: &str = "/run/systemd/system/systemd-bless-boot.service.d/50-nextroot.conf";
const BLESSES_NOT: &str = "\
# Left by nextroot: the boot loader's entry of a root that was left is marked bad.
[Unit]
ConditionPathExists=!/run/nextroot-state
";

/// What was seen of entries.
#[derive(Debug, Default)]
pub struct Looked {
    /// Those that could be read.
    pub entries: Vec<Entry>,
    /// A line for each partition, directory or file that could not.
    pub unread: Vec<String>,
}

/// The entries of this machine's boot loader; `None` where none says that it counts tries.
#[must_use]
pub fn look(facts: &Facts) -> Option<Looked> {
    let mut looked = Looked::default();
    for partition in boot_entry::partitions(facts, machine::counting_loader()?) {
        match mounted(&partition, Access::Read) {
            Ok(mounted) => {
                DIRECTORIES.iter().for_each(|directory| looked.add(&partition, directory, &mounted))
            }
            Err(error) => looked.unread.push(chain(&error)),
        }
    }
    Some(looked)
}

impl Looked {
    fn add(&mut self, partition: &Device, directory: &str, mounted: &Detached) {
        let at = mounted.path().join(directory);
        let failed = |name: &str, why: &dyn std::fmt::Display| {
            format!("read {directory}/{name} on {partition}, for the entries of the boot loader: {why}")
        };
        let files = match names(&at) {
            Ok(files) => files,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.unread.push(failed("", &error.source)),
        };
        for file in files.iter().take(MOST) {
            let Some(name) = Name::parse(file) else { continue };
            let (path, device) = (at.join(file), partition.clone());
            let entry = match name.kind {
                Kind::One => whole_at(&path, LONGEST)
                    .map_err(|e| e.to_string())
                    .map(|text| Entry::of_text(device, directory, file, &String::from_utf8_lossy(&text))),
                Kind::Two => read_image(&path).map_err(|e| e.to_string()).map(|image| {
                    Entry::of_image(device, directory, file, &image.command_lines, image.os_release)
                }),
            };
            match entry {
                Ok(entry) => self.entries.push(entry),
                Err(why) => self.unread.push(failed(file, &why)),
            }
        }
    }
}

fn read_image(path: &Path) -> Result<Uki, uki::Error> {
    let file = File::open(path).map_err(|_| uki::Error::NotPe)?;
    Uki::parse(&ReadCache::new(file))
}

/// Marks an entry bad by its new name, which is on the disk then.
pub(in crate::run) fn mark_bad(renaming: &Renaming) -> Result<(), Error> {
    let path = Path::new(BLESS);
    let was_there = path.exists();
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, BLESSES_NOT)).map_err(Error::Bless)?;
    let done = rename_entry(renaming);
    if !was_there && !matches!(done, Ok(()) | Err(Error::Unsynced { .. })) {
        // Nothing was marked, so systemd may bless.
        let _ = fs::remove_file(path);
    }
    done
}

/// Gives an entry its name back. One that somebody else has changed meanwhile is as that wants it.
pub(in crate::run) fn give_back(renaming: &Renaming) -> Result<(), Error> {
    match fs::remove_file(BLESS) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::Bless(error)),
        _ => {}
    }
    match rename_entry(renaming) {
        Err(Error::Gone { .. }) => Ok(()),
        done => done,
    }
}

fn rename_entry(renaming: &Renaming) -> Result<(), Error> {
    let mounted = mounted(&renaming.partition, Access::Write)?;
    rename_in(&mounted.path().join(&renaming.directory), renaming)
}

/// One that has the new name already is as it should be.
fn rename_in(at: &Path, renaming: &Renaming) -> Result<(), Error> {
    let Renaming { partition, directory, from, to } = renaming;
    let (old, new) = (at.join(from), at.join(to));
    let name = format!("{directory}/{from}");
    let failed = |source| {
        let what = format!("rename {name} to {to}");
        Error::File { what, partition: partition.clone(), source }
    };
    match (old.symlink_metadata(), new.symlink_metadata()) {
        (Ok(_), Err(_)) => {}
        (Err(_), Ok(_)) => return Ok(()),
        (Ok(_), Ok(_)) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
        (Err(_), Err(_)) => return Err(Error::Gone { name, partition: partition.clone() }),
    }
    rename(&old, &new).map_err(failed)?;
    // vfat writes the new name without size and place of the file, which come with the file's own inode (fs/fat/namei_vfat.c).
    let synced = File::open(&new).and_then(|file| file.sync_all());
    let synced = synced.and_then(|()| File::open(at)?.sync_all());
    let name = format!("{directory}/{to}");
    synced.map_err(|source| Error::Unsynced { name, partition: partition.clone(), source })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_renamed_once_and_never_lost() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let renaming = Renaming {
            partition: Device { name: "vda1".to_owned(), devno: "254:1".parse().unwrap(), diskseq: None },
            directory: "loader/entries".to_owned(),
            from: "os_2+3.conf".to_owned(),
            to: "os_2+0.conf".to_owned(),
        };
        let there = || names(at).unwrap();
        assert!(matches!(rename_in(at, &renaming), Err(Error::Gone { .. })));
        fs::write(at.join("os_2+3.conf"), "options").unwrap();
        rename_in(at, &renaming).unwrap();
        rename_in(at, &renaming).unwrap();
        assert_eq!(there(), ["os_2+0.conf"]);
        rename_in(at, &renaming.back()).unwrap();
        assert_eq!(there(), ["os_2+3.conf"]);
        fs::write(at.join("os_2+0.conf"), "another").unwrap();
        let error = rename_in(at, &renaming).unwrap_err();
        assert_eq!(
            chain(&error),
            "rename loader/entries/os_2+3.conf to os_2+0.conf on vda1 (254:1), for the entries of the boot loader: entity already exists"
        );
        assert_eq!(there(), ["os_2+0.conf", "os_2+3.conf"]);
    }
}
