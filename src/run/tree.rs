//! Reads files below a root that may not be ours: links stay inside of it, sizes are bounded, and what cannot be
//! read is noted and passed over.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use crate::sys::{self, directory, file::LONGEST_TEXT, root::open_below};

/// A root directory, and what could not be read in it.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// Files that are there and could not be read, with the reason.
    pub(super) unread: Vec<String>,
}

impl Tree {
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), unread: Vec::new() }
    }

    /// A file's first bytes, `most` at most; `None` where it is not there, or is no regular file.
    pub(super) fn bytes(&mut self, path: &str, most: u64) -> Option<Vec<u8>> {
        let read = open_below(&self.root, path).and_then(|file| {
            let at = |source: io::Error| sys::Error::new("read", path, source);
            if !file.metadata().map_err(at)?.is_file() {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            file.take(most).read_to_end(&mut bytes).map_err(at)?;
            Ok(Some(bytes))
        });
        self.noted(read).flatten()
    }

    /// A file's text. What is not UTF-8 is replaced. One that is longer than any such file is noted and passed over: half
    /// of it might say something else than the whole.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        let bytes = self.bytes(path, LONGEST_TEXT.0 + 1)?;
        if bytes.len() as u64 > LONGEST_TEXT.0 {
            self.unread.push(format!("{path}: it has more than {LONGEST_TEXT}"));
            return None;
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first of several files that is there: its path and text.
    pub(super) fn first(&mut self, paths: &[&str]) -> Option<(String, String)> {
        paths.iter().find_map(|path| Some(((*path).to_owned(), self.text(path)?)))
    }

    /// The names in a directory, sorted; none where it is not there.
    pub(super) fn names(&mut self, path: &str) -> Vec<String> {
        let names = open_below(&self.root, path).and_then(|file| directory::names(file, path));
        self.noted(names).unwrap_or_default()
    }

    /// Files of one ending in several directories, each name once, from the first directory that has it, in the
    /// order of names: how systemd and kmod read their drop-ins. What is masked by a link to /dev/null is left out
    /// by whoever reads it: it is no regular file.
    pub(super) fn drop_ins(&mut self, directories: &[&str], ending: &str) -> Vec<String> {
        let mut found = std::collections::BTreeMap::new();
        for directory in directories {
            for name in self.names(directory).into_iter().filter(|name| name.ends_with(ending)) {
                let path = format!("{directory}/{name}");
                found.entry(name).or_insert(path);
            }
        }
        found.into_values().collect()
    }

    /// Whether there is anything of that name, and links lead somewhere.
    pub(super) fn has(&self, path: &str) -> bool {
        open_below(&self.root, path).is_ok()
    }

    /// Whether there is a regular file of that name, also by a link.
    pub(super) fn has_file(&self, path: &str) -> bool {
        open_below(&self.root, path)
            .and_then(|file| file.metadata().map_err(|source| sys::Error::new("stat", path, source)))
            .is_ok_and(|metadata| metadata.is_file())
    }

    /// Whether it is read-only.
    pub(super) fn is_read_only(&mut self) -> bool {
        let read_only = open_below(&self.root, "/").and_then(|file| directory::is_read_only(&file, "/"));
        self.noted(read_only).unwrap_or(true)
    }

    fn noted<T>(&mut self, read: Result<T, sys::Error>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
                if !absent.contains(&error.source.kind()) {
                    self.unread.push(error.in_one_line());
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_longer_than_text_is_noted() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("short"), "text").unwrap();
        fs::File::create(path("long")).unwrap().set_len(100 << 30).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut tree = Tree::new(directory.path());
        assert_eq!(tree.text("short").as_deref(), Some("text"));
        assert_eq!((tree.text("long"), tree.text("fifo"), tree.text("missing")), (None, None, None));
        assert_eq!(tree.unread, ["long: it has more than 16.0 MiB"]);
        assert_eq!(tree.bytes("long", 5).map(|bytes| bytes.len()), Some(5));
    }
}
