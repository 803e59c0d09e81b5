//! The kernel log, /dev/kmsg (Documentation/ABI/testing/dev-kmsg).

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::Error;

const PATH: &str = "/dev/kmsg";

/// Severity of a record (syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Shown on the console even with `quiet`.
    Error = 3,
    /// Something was tolerated.
    Warning = 4,
    /// Progress.
    Info = 6,
    /// Detail.
    Debug = 7,
}

/// The kernel log, for writing.
#[derive(Debug)]
pub struct Writer(File);

/// The kernel log, for reading what comes after it was opened: where it may not be read (`printk.devkmsg=off`), it stays empty.
#[derive(Debug)]
pub struct Follower(Option<File>);

impl Writer {
    /// `open("/dev/kmsg", O_WRONLY | O_CLOEXEC)`
    pub fn open() -> Result<Self, Error> {
        let file = OpenOptions::new().write(true).open(PATH);
        file.map(Self).map_err(|e| Error::new("open", PATH, e))
    }

    /// `write(fd, "<LEVEL>TEXT\n")`: one record. One without the newline could not be read until the next.
    pub fn write(&mut self, level: Level, text: &str) -> io::Result<()> {
        self.0.write_all(format!("<{}>{text}\n", (1 << 3) | level as u8).as_bytes())
    }
}

impl Follower {
    /// `open("/dev/kmsg", O_RDONLY | O_NONBLOCK); lseek(fd, 0, SEEK_END)`
    #[must_use]
    pub fn open() -> Self {
        Self::at(SeekFrom::End(0))
    }

    fn at(place: SeekFrom) -> Self {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(PATH);
        Self(file.ok().filter(|mut file| file.seek(place).is_ok()))
    }

    /// All that it still has, from the first record on.
    ///
    /// `open("/dev/kmsg", O_RDONLY | O_NONBLOCK); lseek(fd, 0, SEEK_SET)`
    #[must_use]
    pub fn from_the_first() -> Self {
        Self::at(SeekFrom::Start(0))
    }

    /// The text of the records that the kernel itself wrote since then, each once, the last 64 at most.
    pub fn kernel_records(self) -> Vec<String> {
        self.kernel_records_of(64, |_| true)
    }

    /// The text of those among them that are `wanted`, the last `most` of them.
    pub fn kernel_records_of(self, most: usize, wanted: fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        let Some(mut file) = self.0 else { return found };
        let mut buffer = [0; 8192];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break, // it is another file
                Ok(length) => {
                    let text = kernel_text(buffer.get(..length).unwrap_or_default());
                    text.filter(|text| wanted(text))
                        .into_iter()
                        .for_each(|text| keep(&mut found, text, most));
                }
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {} // overwritten meanwhile: the next one
                Err(_) => break,
            }
        }
        found
    }
}

/// Adds what is not there yet; of more than `most`, the first goes.
fn keep(found: &mut Vec<String>, text: String, most: usize) {
    if !found.contains(&text) {
        found.push(text);
        found.drain(..found.len().saturating_sub(most));
    }
}

/// The text of a record `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT` of facility 0, the kernel's own.
fn kernel_text(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (prefix, text) = record.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    let text = text.lines().next()?;
    (priority >> 3 == 0 && !text.is_empty()).then(|| text.to_owned())
}

/// `write("/proc/sys/kernel/printk_devkmsg", "on")`: lets every record through, where the default drops
/// all but ten in five seconds. EPERM where the kernel command line fixed it.
pub fn unlimited() -> Result<(), Error> {
    let path = Path::new("/proc/sys/kernel/printk_devkmsg");
    std::fs::write(path, "on\n").map_err(|e| Error::at("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_each_once() {
        let mut found = Vec::new();
        for text in ["a", "b", "b", "c", "d", "c"] {
            keep(&mut found, text.to_owned(), 3);
        }
        assert_eq!(found, ["b", "c", "d"]);
    }

    #[test]
    fn another_file_in_its_place_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kmsg");
        std::fs::write(&path, "6,339,5140900,-;erofs: mounted\n").unwrap();
        let found = Follower(Some(File::open(path).unwrap())).kernel_records();
        assert_eq!(found, ["erofs: mounted"]);
    }

    #[test]
    fn records() {
        for (record, text) in [
            (
                "6,339,5140900,-;erofs: mounted with root inode\n SUBSYSTEM=x\n",
                Some("erofs: mounted with root inode"),
            ),
            ("14,340,5140901,-;nextroot: from user space\n", None),
            ("3,341,5140902,-;\n", None),
            ("no record", None),
            ("x,1,2,-;text", None),
        ] {
            assert_eq!(kernel_text(record.as_bytes()).as_deref(), text, "{record}");
        }
    }
}
