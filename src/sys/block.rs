//! Block devices: /sys/class/block and reading from them.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::{
    format::kernel::devno::Devno,
    units::{BlockSize, Bytes, Sectors},
};

use super::{
    Error,
    file::{attribute, pread},
};

const CLASS: &str = "/sys/class/block";

/// A block device's directory in sysfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kernel's name, as sysfs writes it: a `/` in it stands as `!`.
    pub name: String,
}

/// `readdir("/sys/class/block")`: all block devices, sorted by name.
pub fn list() -> Result<Vec<Entry>, Error> {
    let read = || -> io::Result<Vec<Entry>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(CLASS)? {
            names.push(Entry { name: entry?.file_name().to_string_lossy().into_owned() });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    };
    read().map_err(|e| Error::new("read", CLASS, e))
}

impl Entry {
    /// `readlink("/sys/dev/block/MAJOR:MINOR")`: the device of this number; `None` where there is none.
    #[must_use]
    pub fn of(devno: Devno) -> Option<Self> {
        let link = fs::read_link(format!("/sys/dev/block/{devno}")).ok()?;
        Some(Self { name: link.file_name()?.to_string_lossy().into_owned() })
    }

    /// `stat(node)`: the device that a node in /dev stands for; `None` where it stands for none.
    #[must_use]
    pub fn of_node(node: &Path) -> Option<Self> {
        let metadata = fs::metadata(node).ok().filter(|metadata| metadata.file_type().is_block_device())?;
        let number = metadata.rdev();
        Self::of(Devno { major: libc::major(number), minor: libc::minor(number) })
    }

    /// An attribute's text, trimmed; `None` where the device has no such attribute, or is gone.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.path().join(name))
    }

    /// Its number; `None` where it is gone.
    #[must_use]
    pub fn devno(&self) -> Option<Devno> {
        self.attribute("dev")?.parse().ok()
    }

    /// Its length, which sysfs has in sectors; `None` where it is gone.
    #[must_use]
    pub fn size(&self) -> Option<Bytes> {
        Sectors(self.attribute("size")?.parse().ok()?).to_bytes()
    }

    /// Whether it is one of device-mapper that is suspended: who reads it waits until it is resumed.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.attribute("dm/suspended").as_deref() == Some("1")
    }

    /// Whether it is one of dm-verity, by the UUID that everybody gives those (libcryptsetup, lib/libdevmapper.c).
    #[must_use]
    pub fn is_verity(&self) -> bool {
        self.attribute("dm/uuid").is_some_and(|uuid| uuid.starts_with("CRYPT-VERITY-"))
    }

    /// For a partition, the name of its disk.
    #[must_use]
    pub fn disk(&self) -> Option<String> {
        self.attribute("partition")?;
        let path = fs::canonicalize(self.path()).ok()?;
        Some(path.parent()?.file_name()?.to_string_lossy().into_owned())
    }

    /// The smallest unit that a disk can be read in.
    #[must_use]
    pub fn logical_block_size(&self) -> BlockSize {
        let bytes = self.attribute("queue/logical_block_size").and_then(|text| text.parse().ok());
        bytes.and_then(|bytes| BlockSize::new(bytes).ok()).unwrap_or(BlockSize::B512)
    }

    /// What tells a disk from any other that had, or will have, its number; kernels before 5.15 have none. A drive with a
    /// removable medium counts on when it is opened, too (block/disk-events.c), and has none here. Nor has any in an
    /// initramfs, where nobody is who could exchange the file of a loop device (docs/decisions/0003).
    #[must_use]
    pub fn diskseq(&self) -> Option<u64> {
        if !cfg!(feature = "cli") || self.attribute("removable")? != "0" {
            return None;
        }
        self.attribute("diskseq")?.parse().ok()
    }

    fn path(&self) -> PathBuf {
        Path::new(CLASS).join(&self.name)
    }

    /// Its node in /dev.
    #[must_use]
    pub fn node(&self) -> PathBuf {
        Path::new("/dev").join(self.name.replace('!', "/"))
    }
}

/// `ioctl(BLKGETDISKSEQ)`, Linux 5.15; `None` before. A partition has its disk's.
pub(super) fn diskseq(file: &File) -> Option<u64> {
    let mut sequence = 0;
    // SAFETY: the file is a block device, and the kernel writes one u64 to `sequence`.
    unsafe { request::diskseq(file.as_raw_fd(), &raw mut sequence) }.is_ok().then_some(sequence)
}

/// An open block device.
#[derive(Debug)]
pub struct Device {
    file: File,
    node: PathBuf,
}

impl Device {
    /// `open(node, O_RDONLY | O_CLOEXEC); posix_fadvise(POSIX_FADV_RANDOM)`, so that nothing is read but
    /// what is asked for: a damaged block elsewhere is not this reader's business. The node's number is checked, and so is the
    /// disk's own where it is known: a node that is not the device (any more) is an error.
    pub fn open(node: &Path, devno: Devno, known: Option<u64>) -> Result<Self, Error> {
        let file = File::open(node).map_err(|e| Error::at("open", node, e))?;
        let number = file.metadata().map_err(|e| Error::at("stat", node, e))?.rdev();
        let is = Devno { major: libc::major(number), minor: libc::minor(number) };
        let why = if is != devno {
            format!("it is {is}, not {devno}")
        } else if cfg!(feature = "cli") && known.is_some() && diskseq(&file) != known {
            "it is another disk than the one that was looked at".to_owned()
        } else {
            String::new()
        };
        if !why.is_empty() {
            return Err(Error::at("open", node, io::Error::new(ErrorKind::NotFound, why)));
        }
        // SAFETY: the descriptor is open; the call changes nothing but how far ahead the kernel reads.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
        Ok(Self { file, node: node.to_owned() })
    }

    /// `posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)`: what is read next comes from the device, not from memory, as
    /// far as nobody else is using it.
    pub fn forget(&self) {
        // SAFETY: the descriptor is open; the call drops clean pages of memory, which can be read again.
        unsafe { libc::posix_fadvise(self.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    }

    /// `pread(fd, ..., offset)`: up to `length` bytes; fewer only at the device's end.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        pread(&self.file, &self.node, offset, length)
    }
}

mod request {
    //! The call itself (include/uapi/linux/fs.h).
    nix::ioctl_read!(diskseq, 0x12, 128, u64);
}
