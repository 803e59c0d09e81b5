//! Archives that the kernel unpacks at boot: cpio "newc" (Documentation/driver-api/early-userspace/
//! buffer-format.rst).

use std::borrow::Cow;

use super::bytes::array;

/// A file of an archive, owned by root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path, without a leading `/`.
    pub path: String,
    /// Its kind and permissions, as in `st_mode`.
    pub mode: u32,
    /// For a device node, its number.
    pub device: (u32, u32),
    /// Its content; for a symbolic link, its target.
    pub data: Cow<'a, [u8]>,
}

/// `S_IFDIR`
pub const DIRECTORY: u32 = 0o040_000;
/// `S_IFREG`
pub const FILE: u32 = 0o100_000;
/// `S_IFLNK`
pub const SYMLINK: u32 = 0o120_000;
/// `S_IFCHR`
pub const CHARACTER_DEVICE: u32 = 0o020_000;

const MAGIC: &[u8; 6] = b"070701";
const HEADER: usize = 110;
const TRAILER: &str = "TRAILER!!!";

/// An archive that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends in the middle of a file, or is none.
    #[error("byte {0} begins no whole entry of a cpio archive of the newc kind")]
    Damaged(usize),
    /// A file of 4 GiB or more.
    #[error("{0} is too large for an archive")]
    TooLarge(String),
}

/// Writes an archive: entries in the order given, all with one modification time in seconds.
pub fn write(entries: &[Entry<'_>], mtime: u32) -> Result<Vec<u8>, Error> {
    let size: usize = entries.iter().map(|entry| entry.data.len() + entry.path.len() + HEADER + 8).sum();
    let mut archive = Vec::with_capacity(size + 512);
    for (inode, entry) in (1..).zip(entries) {
        let length = u32::try_from(entry.data.len()).map_err(|_| Error::TooLarge(entry.path.clone()))?;
        let links = if entry.mode & 0o170_000 == DIRECTORY { 2 } else { 1 };
        append(
            &mut archive,
            [inode, entry.mode, links, mtime, length, entry.device.0, entry.device.1],
            &entry.path,
        );
        archive.extend_from_slice(&entry.data);
        pad(&mut archive, 4);
    }
    append(&mut archive, [0, 0, 1, 0, 0, 0, 0], TRAILER);
    pad(&mut archive, 512);
    Ok(archive)
}

fn append(archive: &mut Vec<u8>, [inode, mode, links, mtime, length, major, minor]: [u32; 7], path: &str) {
    let name = path.len() as u32 + 1;
    archive.extend_from_slice(MAGIC);
    // inode, mode, uid, gid, nlink, mtime, size, device, device, rdevice, rdevice, name, checksum
    for field in [inode, mode, 0, 0, links, mtime, length, 0, 0, major, minor, name, 0] {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(path.as_bytes());
    archive.push(0);
    pad(archive, 4);
}

fn pad(archive: &mut Vec<u8>, to: usize) {
    archive.resize(archive.len().next_multiple_of(to), 0);
}

/// Reads an archive up to its trailer.
pub fn read(archive: &[u8]) -> Result<Vec<Entry<'_>>, Error> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let (entry, next) = one(archive, at).ok_or(Error::Damaged(at))?;
        if entry.path == TRAILER {
            return Ok(entries);
        }
        entries.push(entry);
        at = next;
    }
}

fn one(archive: &[u8], at: usize) -> Option<(Entry<'_>, usize)> {
    (array(archive, at)? == *MAGIC).then_some(())?;
    let field = |index: usize| -> Option<usize> {
        let digits: [u8; 8] = array(archive, at + 6 + 8 * index)?;
        let digit = |sum: usize, digit: &u8| Some(sum << 4 | char::from(*digit).to_digit(16)? as usize);
        digits.iter().try_fold(0, digit)
    };
    let (length, name) = (field(6)?, field(11)?);
    let path = archive.get(at + HEADER..)?.get(..name)?.strip_suffix(b"\0")?;
    let data_at = (at + HEADER + name).checked_next_multiple_of(4)?;
    let data = archive.get(data_at..)?.get(..length)?;
    let entry = Entry {
        path: std::str::from_utf8(path).ok()?.to_owned(),
        mode: u32::try_from(field(1)?).ok()?,
        device: (u32::try_from(field(9)?).ok()?, u32::try_from(field(10)?).ok()?),
        data: Cow::Borrowed(data),
    };
    Some((entry, (data_at + length).checked_next_multiple_of(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry<'static>> {
        let entry = |path: &str, mode, device, data: &'static [u8]| Entry {
            path: path.to_owned(),
            mode,
            device,
            data: Cow::Borrowed(data),
        };
        vec![
            entry("dev", DIRECTORY | 0o755, (0, 0), b""),
            entry("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), b""),
            entry("init", FILE | 0o755, (0, 0), b"odd"),
            entry("sbin", SYMLINK | 0o777, (0, 0), b"usr/sbin"),
        ]
    }

    #[test]
    fn round_trip() {
        let archive = write(&entries(), 7).unwrap();
        assert_eq!(archive.len() % 512, 0);
        assert_eq!(read(&archive), Ok(entries()));
        assert_eq!(archive, write(&entries(), 7).unwrap());
    }

    #[test]
    fn truncated() {
        let archive = write(&entries(), 0).unwrap();
        for length in [0, 5, 6, 109, 110, 200, 300, 500] {
            assert!(read(&archive[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn damaged_headers() {
        for (at, bytes) in [
            (0, b"070707".as_slice()), // another kind of cpio
            (6 + 48, b"ffffffff"),     // size
            (6 + 88, b"ffffffff"),     // length of the name
            (6 + 88, b"00000000"),
            (6 + 48, b"+0000000"),
            (110 + 3, b"x"), // the name's end
        ] {
            let mut archive = write(&entries(), 0).unwrap();
            archive[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(read(&archive), Err(Error::Damaged(0)), "{at}");
        }
    }
}
