//! What of a file is in memory, and where it lies on its device.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
};

use nix::{
    fcntl::{PosixFadviseAdvice, posix_fadvise},
    sys::statfs::{OVERLAYFS_SUPER_MAGIC, fstatfs},
};

use crate::units::{Bytes, PAGE_SIZE};

use super::{Error, file::RegularFile};

/// A stretch of a file (`struct cachestat_range`, include/uapi/linux/mman.h).
#[repr(C)]
struct Range {
    off: u64,
    len: u64,
}

/// Counts of pages (`struct cachestat`, the same file).
#[repr(C)]
#[derive(Default)]
struct Counts {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

const _: () = assert!(mem::size_of::<Range>() == 16 && mem::size_of::<Counts>() == 40);

/// Not in the libc crate yet (include/uapi/asm-generic/unistd.h; the number is the same everywhere).
const SYS_CACHESTAT: libc::c_long = 451;

/// `cachestat(fd, {0, length}, ...)`: how many pages of a file are in memory; `None` where the kernel has no such call, and on
/// overlayfs, which has none of its own: those of the file below are in memory.
///
/// Since Linux 6.5 (mm/filemap.c). Errors: EPERM where the file is not ours (since 6.14); EOPNOTSUPP on hugetlbfs.
pub fn cached_pages(file: &RegularFile) -> Result<Option<u64>, Error> {
    // A length of 0 means to the end.
    let (range, mut counts) = (Range { off: 0, len: 0 }, Counts::default());
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: both structures are the kernel's, checked in size, and live through the call; it writes to the second only.
    let answer = unsafe { libc::syscall(SYS_CACHESTAT, fd, &raw const range, &raw mut counts, 0) };
    if answer == 0 {
        let is_overlay =
            || fstatfs(file).is_ok_and(|status| status.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        return Ok((counts.cache > 0 || !is_overlay()).then_some(counts.cache));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(None),
        error => Err(Error::at("cachestat", file.path(), error)),
    }
}

/// A file mapped into memory, without a right to look at it.
struct Mapping {
    start: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    fn new(file: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at a place that the kernel chooses, which nobody may read or write.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { start, length }) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers into it.
        unsafe { libc::munmap(self.start, self.length) };
    }
}

/// `mmap(PROT_NONE); mincore()`: for each page of a file's first `length` bytes, whether it is in memory.
///
/// mincore(2). Of a file that is not ours and not writable it says yes for each page (since Linux 5.2). Errors: ENOMEM, ENODEV.
pub fn pages(file: &RegularFile, length: Bytes) -> Result<Vec<bool>, Error> {
    let at = |error: io::Error| Error::at("mincore", file.path(), error);
    let length = usize::try_from(length.0).map_err(|_| at(io::ErrorKind::InvalidInput.into()))?;
    if length == 0 {
        return Ok(Vec::new());
    }
    let mapping = Mapping::new(file.as_fd(), length).map_err(at)?;
    let mut pages = vec![0_u8; length.div_ceil(PAGE_SIZE as usize)];
    // SAFETY: the range is a mapping of ours, and the vector has a byte for each page of it.
    match unsafe { libc::mincore(mapping.start, mapping.length, pages.as_mut_ptr()) } {
        0 => Ok(pages.into_iter().map(|page| page & 1 == 1).collect()),
        _ => Err(at(io::Error::last_os_error())),
    }
}

/// One extent of a file and what is asked of it (`struct fiemap` with one `struct fiemap_extent`,
/// include/uapi/linux/fiemap.h).
#[repr(C)]
#[derive(Default)]
struct Map {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    logical: u64,
    physical: u64,
    extent_length: u64,
    extent_reserved: [u64; 2],
    extent_flags: u32,
    extent_reserved_too: [u32; 3],
}

const _: () = assert!(mem::size_of::<Map>() == 32 + 56);

/// `_IOWR('f', 11, struct fiemap)`, counted without the extents.
const FS_IOC_FIEMAP: libc::Ioctl = 0xc020_660b;
/// The place is not known, or there is none yet.
const UNKNOWN: u32 = 0x2;

/// `ioctl(fd, FS_IOC_FIEMAP)`: where on its device a file goes on from a place; `None` where its file system does not tell.
///
/// Documentation/filesystems/fiemap.rst.
#[must_use]
pub fn place(file: &RegularFile, at: Bytes) -> Option<Bytes> {
    let mut map = Map { start: at.0, length: PAGE_SIZE, extent_count: 1, ..Map::default() };
    // SAFETY: the structure is the kernel's with room for the one extent that it claims, and lives through the call.
    let answer = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), FS_IOC_FIEMAP, &raw mut map) };
    let known = answer == 0 && map.mapped_extents == 1 && map.extent_flags & UNKNOWN == 0;
    known.then(|| Bytes(map.physical.saturating_add(at.0.saturating_sub(map.logical))))
}

/// `posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM)`: what is read is read whole and nothing beyond it.
///
/// posix_fadvise(2). It is a wish: that it is not granted costs nothing, ignoring.
pub fn read_nothing_ahead(file: &RegularFile) {
    let _ = posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM);
}

#[cfg(test)]
/// `posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)`: lets go what is in memory of a file, and written.
pub(crate) fn forget(file: &RegularFile) {
    let _ = posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, path::Path};

    use crate::sys::file::LastLink;

    use super::*;

    /// On what is below target/, as a tmpfs has its files nowhere else.
    #[test]
    fn a_file_that_was_written_is_in_memory() {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        fs::create_dir_all(&target).unwrap();
        let directory = tempfile::tempdir_in(target).unwrap();
        let path = directory.path().join("file");
        fs::write(&path, vec![1; 3 * 4096 + 1]).unwrap();
        fs::File::open(&path).unwrap().read_to_end(&mut Vec::new()).unwrap();
        let file = RegularFile::open(&path, LastLink::Refuse).unwrap();
        assert_eq!(pages(&file, file.size()).unwrap(), [true; 4]);
        assert!(matches!(cached_pages(&file).unwrap(), None | Some(4)));
        fs::write(&path, "").unwrap();
        let file = RegularFile::open(&path, LastLink::Refuse).unwrap();
        assert!(pages(&file, file.size()).unwrap().is_empty());
        assert!(matches!(cached_pages(&file).unwrap(), None | Some(0)));
    }
}
