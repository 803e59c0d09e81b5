//! Regular files that are opened once and read at offsets.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use crate::{format::kernel::devno::Devno, units::Bytes};

use super::Error;

/// A flag of open(2): a file that is a link is not opened, ELOOP.
pub const NO_LINK: i32 = nix::libc::O_NOFOLLOW;

/// An open regular file.
#[derive(Debug)]
pub struct RegularFile {
    file: File,
    path: PathBuf,
    size: Bytes,
    inode: Inode,
}

/// What a file is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// The device of its file system.
    pub device: Devno,
    /// Its number there.
    pub number: u64,
}

/// What to do where the last component of a path is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// It is an error: somebody may change what it means.
    Refuse,
    /// It is followed.
    Follow,
}

impl RegularFile {
    /// `open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW); fstat`: without waiting for whoever writes to a
    /// FIFO of that name.
    ///
    /// ENOENT; ELOOP: the last component is a symbolic link; EINVAL: not a regular file.
    pub fn open(path: &Path, link: LastLink) -> Result<Self, Error> {
        let no_follow = if link == LastLink::Refuse { libc::O_NOFOLLOW } else { 0 };
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | no_follow).open(path);
        let file = file.map_err(|e| Error::at("open", path, in_words(e)))?;
        Self::of(file, path)
    }

    /// [`root::open_below`]; `fstat`: below a root that is not ours yet.
    ///
    /// ENOENT; EINVAL: not a regular file.
    #[cfg(feature = "cli")]
    pub fn open_below(root: &Path, path: &str) -> Result<Self, Error> {
        Self::of(super::root::open_below(root, path)?, Path::new(path))
    }

    fn of(file: File, path: &Path) -> Result<Self, Error> {
        let metadata = file.metadata().map_err(|e| Error::at("stat", path, e))?;
        if !metadata.is_file() {
            let why = io::Error::new(ErrorKind::InvalidInput, "it is no regular file");
            return Err(Error::at("open", path, why));
        }
        let device = Devno { major: libc::major(metadata.dev()), minor: libc::minor(metadata.dev()) };
        Ok(Self {
            file,
            path: path.to_owned(),
            size: Bytes(metadata.len()),
            inode: Inode { device, number: metadata.ino() },
        })
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length when it was opened.
    #[must_use]
    pub fn size(&self) -> Bytes {
        self.size
    }

    /// What it is.
    #[must_use]
    pub fn inode(&self) -> Inode {
        self.inode
    }

    /// `pread(fd, ..., offset)`: up to `length` bytes; fewer only at the file's end.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        pread(&self.file, &self.path, offset, length)
    }
}

impl AsFd for RegularFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// `lseek(fd, at, SEEK_DATA)`: where data begins at or after a place; `None` where only a hole follows. Where a file system
/// knows no holes, and on a device, that is the place itself.
///
/// lseek(2). ENXIO, the answer past the last data, is no error here.
pub fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    let place = i64::try_from(at).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    match nix::unistd::lseek(file, place, nix::unistd::Whence::SeekData) {
        Ok(data) => Ok(u64::try_from(data).ok()),
        Err(nix::errno::Errno::ENXIO) => Ok(None),
        Err(nix::errno::Errno::EINVAL) => Ok(Some(at)),
        Err(error) => Err(error.into()),
    }
}

/// The longest text that is read whole: of a machine's facts, the state, configuration, an index of modules. The
/// largest that is real is an index of 3 MiB.
pub const LONGEST_TEXT: Bytes = Bytes(16 << 20);

/// `fstat; read`: all of an open file, which is regular and has `most` bytes at most. Files of /proc and /sys count as
/// regular, whatever length they claim.
///
/// EINVAL: not a regular file; EFBIG: it is longer, or does not end.
pub fn whole(file: &File, most: Bytes) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    if metadata.len() > most.0 {
        return Err(too_large(most));
    }
    until_end(file, most)
}

/// The same for a file by its name, opened without waiting for whoever writes to a FIFO of that name.
pub fn whole_at(path: &Path, most: Bytes) -> io::Result<Vec<u8>> {
    whole(&OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?, most)
}

/// The same, as text.
///
/// What is not UTF-8 is an error.
pub fn text_at(path: &Path, most: Bytes) -> io::Result<String> {
    String::from_utf8(whole_at(path, most)?).map_err(io::Error::other)
}

/// `open; read`: all of what a person names, of whatever kind: a pipe or /dev/stdin too. It has `most` bytes at most. Who
/// names a FIFO waits for whoever writes to it.
///
/// EISDIR: a directory; EFBIG: it is longer, or does not end.
pub fn named(path: &Path, most: Bytes) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > most.0 {
        return Err(too_large(most));
    }
    until_end(file, most)
}

/// The longest text that the kernel shows in an attribute of sysfs: a page (Documentation/filesystems/sysfs.rst), of which
/// the largest have 64 KiB.
const LONGEST_ATTRIBUTE: Bytes = Bytes(64 << 10);

/// An attribute of sysfs, or a short file of /proc: its text, trimmed; `None` where there is none, or it is no such text.
#[must_use]
pub fn attribute(path: &Path) -> Option<String> {
    Some(text_at(path, LONGEST_ATTRIBUTE).ok()?.trim().to_owned())
}

/// `read` until the end, which is `most` bytes away at most: of what a program writes, too.
///
/// EFBIG: it is longer, or does not end.
pub fn until_end(from: impl Read, most: Bytes) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = from.take(most.0.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > most.0 { Err(too_large(most)) } else { Ok(bytes) }
}

fn too_large(most: Bytes) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("it has more than the {most} that are read of it"))
}

/// `readdir`: the names in a directory, sorted; those that are not UTF-8 are left out.
pub fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let failed = |e| Error::at("read", directory, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// `pread(fd, ..., offset)`: up to `length` bytes; fewer only at the end.
pub(super) fn pread(file: &File, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; length];
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::at("read", path, error)),
        }
    }
    buffer.truncate(done);
    Ok(buffer)
}

/// What the kernel means by ELOOP here.
fn in_words(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::new(
            ErrorKind::InvalidInput,
            "it is a symbolic link, which is not followed: name the file itself",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A file that never ends, and counts what is read of it.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += buffer.len() as u64;
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }

    #[test]
    fn reading_ends() {
        for most in [0, 1, 4096, 1 << 20] {
            let mut endless = Endless(0);
            assert_eq!(until_end(&mut endless, Bytes(most)).unwrap_err().kind(), ErrorKind::FileTooLarge);
            assert!(endless.0 <= most + 1, "{} bytes read of {most}", endless.0);
            let exact = vec![b'x'; most as usize];
            assert_eq!(until_end(exact.as_slice(), Bytes(most)).unwrap(), exact);
        }
    }

    #[test]
    fn what_is_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), b"0123456789").unwrap();
        File::create(path("sparse")).unwrap().set_len(100 << 30).unwrap();
        let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
        nix::unistd::mkfifo(&path("fifo"), mode).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        for (name, expected) in [
            ("file", "0123456789"),
            ("sparse", "it has more than the 16.0 MiB"),
            ("fifo", "it is no regular file"),
            ("zero", "it is no regular file"),
            (".", "it is no regular file"),
            ("missing", "No such file"),
        ] {
            let told = match whole_at(&path(name), LONGEST_TEXT) {
                Ok(bytes) => String::from_utf8(bytes).unwrap(),
                Err(error) => error.to_string(),
            };
            assert!(told.starts_with(expected), "{name}: {told}");
        }
        // Named by a person, it is read whatever it is.
        for (name, expected) in [
            ("file", "0123456789"),
            ("sparse", "it has more than the 16.0 MiB"),
            ("zero", "it has more than the 16.0 MiB"),
            (".", "Is a directory"),
            ("missing", "No such file"),
        ] {
            let told = match named(&path(name), LONGEST_TEXT) {
                Ok(bytes) => String::from_utf8(bytes).unwrap(),
                Err(error) => error.to_string(),
            };
            assert!(told.starts_with(expected), "{name}: {told}");
        }
        for (name, expected) in [
            ("file", Some("0123456789")),
            ("sparse", None),
            ("zero", None),
            ("fifo", None),
            ("missing", None),
        ] {
            assert_eq!(attribute(&path(name)).as_deref(), expected, "{name}");
        }
        let (from, to) = (path("fifo"), path("fifo"));
        let writer = std::thread::spawn(move || fs::write(to, b"by a pipe"));
        assert_eq!(named(&from, LONGEST_TEXT).unwrap(), b"by a pipe");
        writer.join().unwrap().unwrap();
        assert_eq!(whole_at(&path("file"), Bytes(9)).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(whole_at(&path("file"), Bytes(10)).unwrap().len(), 10);
        // A file whose length is said to be 0.
        assert!(!whole_at(Path::new("/proc/self/mountinfo"), LONGEST_TEXT).unwrap().is_empty());
    }

    #[test]
    fn what_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), b"0123456789").unwrap();
        symlink("file", path("link")).unwrap();
        symlink(".", path("here")).unwrap();
        nix::sys::stat::mknod(
            &path("fifo"),
            nix::sys::stat::SFlag::S_IFIFO,
            nix::sys::stat::Mode::S_IRUSR,
            0,
        )
        .unwrap();
        for (name, link, expected) in [
            ("file", LastLink::Refuse, ""),
            ("here/file", LastLink::Refuse, ""),
            ("link", LastLink::Follow, ""),
            ("link", LastLink::Refuse, "it is a symbolic link, which is not followed"),
            ("fifo", LastLink::Refuse, "it is no regular file"),
            (".", LastLink::Refuse, "it is no regular file"),
            ("missing", LastLink::Refuse, "No such file"),
        ] {
            match RegularFile::open(&path(name), link) {
                Ok(file) => {
                    assert_eq!((expected, file.size()), ("", Bytes(10)), "{name}");
                    assert_eq!(file.inode().number, fs::metadata(path("file")).unwrap().ino());
                    assert_eq!(file.read(8, 100).unwrap(), b"89");
                    assert_eq!(file.read(2, 3).unwrap(), b"234");
                }
                Err(error) => {
                    let error = error.in_one_line();
                    assert!(!expected.is_empty() && error.contains(expected), "{name}: {error}");
                }
            }
        }
        assert_eq!(names(directory.path()).unwrap(), ["fifo", "file", "here", "link"]);
        assert!(names(&path("file")).is_err());
    }
}
