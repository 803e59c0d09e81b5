//! The files of the initramfs.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use nextroot::{
    format::{
        cpio::{self, CHARACTER_DEVICE, DIRECTORY, Entry, FILE, SYMLINK},
        kernel::modindex::ModuleIndex,
    },
    mode::init,
    units::Bytes,
};

use crate::{
    drivers::Driver,
    sysroot::{self, Sysroot},
};

/// Files by path, without a leading `/`.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    files: BTreeMap<String, File>,
    /// What was not found and may not be missed.
    pub(crate) notes: Vec<String>,
}

/// A file that cannot be where it should.
#[derive(Debug, thiserror::Error)]
#[error("put {path} into the initramfs: {there} is there for another purpose: choose another path")]
pub(crate) struct Occupied {
    path: String,
    there: String,
}

#[derive(Debug)]
struct File {
    mode: u32,
    device: (u32, u32),
    data: Vec<u8>,
}

impl Contents {
    /// Everything but modules: the binary as init, the directories and nodes that it needs before /dev is
    /// mounted, and the configuration.
    pub(crate) fn new(binary: Vec<u8>, config: Option<String>) -> Self {
        let mut contents = Self::default();
        for directory in ["dev", "proc", "run", "sys", "sysroot", "tmp"] {
            contents.add(directory, DIRECTORY | 0o755, Vec::new());
        }
        contents.add_device("dev/console", 0o600, (5, 1));
        contents.add_device("dev/null", 0o666, (1, 3));
        contents.add("init", FILE | 0o755, binary);
        contents.add("lib", SYMLINK | 0o777, b"usr/lib".to_vec());
        contents.add("sbin/modprobe", SYMLINK | 0o777, b"../init".to_vec());
        contents.add("etc/initrd-release", FILE | 0o644, release().into_bytes());
        if let Some(config) = config {
            contents.add(init::CONFIG, FILE | 0o644, config.into_bytes());
        }
        contents
    }

    /// Adds files that are there for what the operator said.
    pub(crate) fn add_files(&mut self, files: Vec<(String, Vec<u8>)>) -> Result<(), Occupied> {
        for (path, bytes) in files {
            // What is in /lib lies in /usr/lib, as below the root.
            let place = match path.strip_prefix("/lib/") {
                Some(rest) => format!("usr/lib/{rest}"),
                None => path.trim_start_matches('/').to_owned(),
            };
            let parents = place.match_indices('/').filter_map(|(at, _)| place.get(..at));
            let is_file = |parent: &&str| {
                self.files.get(*parent).is_some_and(|file| file.mode & 0o170_000 != DIRECTORY)
            };
            let there =
                parents.into_iter().find(is_file).or(self.files.contains_key(&place).then_some(&place));
            if let Some(there) = there {
                return Err(Occupied { there: format!("/{there}"), path });
            }
            self.add(&place, FILE | 0o644, bytes);
        }
        Ok(())
    }

    /// Adds modules, their firmware, and the index to load them by.
    pub(crate) fn add_drivers(
        &mut self,
        sysroot: &Sysroot,
        index: &ModuleIndex,
        drivers: Vec<Driver>,
    ) -> Result<(), sysroot::Error> {
        self.add(init::INDEX, FILE | 0o644, index.to_string().into_bytes());
        for driver in drivers {
            for name in &driver.firmware {
                match sysroot.firmware(name) {
                    Some(bytes) => self.add(&format!("usr/lib/firmware/{name}"), FILE | 0o644, bytes?),
                    None => self
                        .notes
                        .push(format!("{} may ask for firmware {name}, which is not installed", driver.name)),
                }
            }
            self.add(&driver.place, FILE | 0o644, driver.bytes);
        }
        Ok(())
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The archive: sorted, each directory before what is in it. The time is in seconds since 1970.
    pub(crate) fn archive(&self, time: u32) -> Result<Vec<u8>, cpio::Error> {
        fn entry<'a>((path, file): (&String, &'a File)) -> Entry<'a> {
            let data = Cow::Borrowed(file.data.as_slice());
            Entry { path: path.clone(), mode: file.mode, device: file.device, data }
        }
        let entries: Vec<Entry<'_>> = self.files.iter().map(entry).collect();
        cpio::write(&entries, time)
    }

    /// A line a file: kind, permissions, size, path.
    pub(crate) fn listing(&self) -> String {
        let mut text = String::new();
        for (path, file) in &self.files {
            let size = Bytes(file.data.len() as u64).to_string();
            let kind = match file.mode & 0o170_000 {
                DIRECTORY => 'd',
                SYMLINK => 'l',
                CHARACTER_DEVICE => 'c',
                _ => '-',
            };
            let target = match kind {
                'l' => format!(" -> {}", String::from_utf8_lossy(&file.data)),
                _ => String::new(),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{kind}{:04o} {size:>10}  /{path}{target}", file.mode & 0o7777);
        }
        text
    }

    fn add(&mut self, path: &str, mode: u32, data: Vec<u8>) {
        let path = path.trim_start_matches('/');
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        for parent in parents {
            let directory = || File { mode: DIRECTORY | 0o755, device: (0, 0), data: Vec::new() };
            self.files.entry(parent.to_owned()).or_insert_with(directory);
        }
        self.files.insert(path.to_owned(), File { mode, device: (0, 0), data });
    }

    fn add_device(&mut self, path: &str, mode: u32, device: (u32, u32)) {
        self.add(path, CHARACTER_DEVICE | mode, Vec::new());
        if let Some(file) = self.files.get_mut(path) {
            file.device = device;
        }
    }
}

/// /etc/initrd-release, in the format of os-release(5).
fn release() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("NAME=nextroot\nID=nextroot\nVERSION_ID={version}\nPRETTY_NAME=\"nextroot {version}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_places_of_their_own() {
        for (path, expected) in [
            ("/etc/verity.d/a.crt", Ok("etc/verity.d/a.crt")),
            ("/lib/a.p7s", Ok("usr/lib/a.p7s")),
            ("/init", Err("/init")),
            ("/init/a.p7s", Err("/init")),
            ("/sbin/modprobe", Err("/sbin/modprobe")),
            ("/lib", Err("/lib")),
            ("/etc/nextroot/nextroot.conf", Err("/etc/nextroot/nextroot.conf")),
            ("/etc", Err("/etc")),
        ] {
            let mut contents = Contents::new(Vec::new(), Some(String::new()));
            let added = contents.add_files(vec![(path.to_owned(), b"x".to_vec())]);
            match (added, expected) {
                (Ok(()), Ok(expected)) => assert_eq!(contents.files[expected].data, b"x"),
                (Err(error), Err(there)) => {
                    assert_eq!((error.path.as_str(), error.there.as_str()), (path, there))
                }
                (added, _) => panic!("{path}: {added:?}"),
            }
        }
    }

    #[test]
    fn parents_come_first() {
        let mut contents = Contents::default();
        contents.add("/a-b", FILE | 0o644, Vec::new());
        contents.add("/a/b/c", FILE | 0o644, b"x".to_vec());
        let archive = contents.archive(0).unwrap();
        let paths: Vec<String> = cpio::read(&archive).unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["a", "a-b", "a/b", "a/b/c"]);
    }
}
