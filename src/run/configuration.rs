//! Reads the configuration of a running system: nextroot.conf and its drop-ins (nextroot.conf(5)).

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use crate::{
    format::config::{
        drop_ins::{self, Entry, Kind, Listing},
        host_config::{self, HostConfig},
    },
    run::machine,
};

/// Where nextroot.conf is looked for, highest priority first. /run/nextroot is no such place: systemd takes
/// that for the next root.
const DIRECTORIES: [&str; 4] =
    ["/etc/nextroot", "/run/nextroot-conf", "/usr/local/lib/nextroot", "/usr/lib/nextroot"];
const NAME: &str = "nextroot.conf";

/// Configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory.
    #[error("list {directory}: make it readable, or remove it")]
    List {
        /// The directory.
        directory: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] machine::Error),
    /// A file that cannot be meant.
    #[error(transparent)]
    Parse(#[from] host_config::Error),
}

/// The configuration of this system, or of the tree at `root`; symbolic links lead where they lead this
/// process. A system without any file has the defaults.
pub fn read(root: Option<&Path>) -> Result<HostConfig, Error> {
    let mut files = Vec::from_iter(drop_ins::main_file(&listings(root, &DIRECTORIES, "")?, NAME));
    files.extend(drop_ins::drop_ins(&listings(root, &DIRECTORIES, &format!("/{NAME}.d"))?));
    let mut config = HostConfig::default();
    for file in files {
        // One that went away since is as good as none.
        if let Some(text) = machine::read(&file)? {
            config.read(&text, &file)?;
        }
    }
    let contradictions = config.contradictions();
    config.warnings.extend(contradictions);
    Ok(config)
}

/// What is in these directories of this system, or of the tree at `root`, or in the one of each that a suffix names.
pub(super) fn listings(
    root: Option<&Path>,
    directories: &[&str],
    suffix: &str,
) -> Result<Vec<Listing>, Error> {
    let prefix = root.map_or_else(String::new, |root| root.to_string_lossy().into_owned());
    let prefix = prefix.trim_end_matches('/');
    directories.iter().map(|directory| list(format!("{prefix}{directory}{suffix}"))).collect()
}

/// What is in a directory; nothing where there is none.
fn list(directory: String) -> Result<Listing, Error> {
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| look(&entry))).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    };
    match entries {
        Ok(entries) => Ok(Listing { directory, entries }),
        Err(source) => Err(Error::List { directory, source }),
    }
}

fn look(entry: &fs::DirEntry) -> Entry {
    // A link that leads nowhere counts as no file, as in systemd.
    let kind = fs::metadata(entry.path()).map_or(Kind::Other, |found| kind(&found));
    Entry { name: entry.file_name().to_string_lossy().into_owned(), kind }
}

/// What a file counts as among others of its name: one that is empty, or /dev/null, hides them.
#[must_use]
pub fn kind(found: &fs::Metadata) -> Kind {
    match found.is_file() {
        _ if found.file_type().is_char_device() && found.rdev() == NULL => Kind::Mask,
        true if found.len() == 0 => Kind::Mask,
        true => Kind::File,
        false => Kind::Other,
    }
}

/// Device number 1:3, /dev/null, as stat(2) encodes it.
pub(in crate::run) const NULL: u64 = 0x103;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree of files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        tree
    }

    #[test]
    fn nothing_there() {
        let tree = tree(&[]);
        assert_eq!(read(Some(tree.path())).unwrap(), HostConfig::default());
    }

    #[test]
    fn main_file_and_drop_ins() {
        let tree = tree(&[
            ("usr/lib/nextroot/nextroot.conf", "[Stage]\nSource=/vendor\nDirect=yes\n"),
            ("etc/nextroot/nextroot.conf", "[Stage]\nSource=/admin\nColour=blue\n"),
            ("usr/lib/nextroot/nextroot.conf.d/10-a.conf", "[Carry]\nCarry=/a\n"),
            ("usr/lib/nextroot/nextroot.conf.d/20-b.conf", "[Carry]\nCarry=/b\n"),
            ("usr/lib/nextroot/nextroot.conf.d/30-c.conf", "[Carry]\nCarry=/c\n"),
            ("usr/local/lib/nextroot/nextroot.conf.d/15-l.conf", "[Carry]\nCarry=/l\n"),
            ("run/nextroot-conf/nextroot.conf.d/40-d.conf", "[Carry]\nCarry=/d\n"),
            ("etc/nextroot/nextroot.conf.d/10-a.conf", "-> /dev/null"),
            ("etc/nextroot/nextroot.conf.d/20-b.conf", "[Carry]\nCarry=/e\n"),
            ("etc/nextroot/nextroot.conf.d/30-c.conf", "-> nowhere"),
            ("etc/nextroot/nextroot.conf.d/40-d.conf", ""),
        ]);
        let config = read(Some(tree.path())).unwrap();
        assert_eq!(config.stage.source.as_deref(), Some("/admin"));
        assert!(!config.stage.direct);
        assert_eq!(config.carry.paths, ["/l", "/e", "/c"]);
        let place = tree.path().join("etc/nextroot/nextroot.conf");
        assert_eq!(
            config.warnings,
            [format!("{}:3: [Stage] Colour= is not known, ignoring", place.display())]
        );
    }

    #[test]
    fn a_bad_value_names_its_file() {
        let tree = tree(&[("etc/nextroot/nextroot.conf.d/x.conf", "[Hook]\nTimeoutSec=x\n")]);
        let place = tree.path().join("etc/nextroot/nextroot.conf.d/x.conf");
        assert_eq!(
            read(Some(tree.path())).unwrap_err().to_string(),
            format!("{}:2: TimeoutSec=x: a time from 1s to 10min is needed", place.display())
        );
    }

    #[test]
    fn configuration_that_never_ends_is_not_read() {
        let tree = tree(&[("etc/nextroot/nextroot.conf", "")]);
        let file = fs::OpenOptions::new().write(true).open(tree.path().join("etc/nextroot/nextroot.conf"));
        file.unwrap().set_len(100 << 30).unwrap();
        let Err(Error::Read(error)) = read(Some(tree.path())) else { panic!("it was read") };
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("it has more than the 16.0 MiB"), "{error}: {cause}");
    }
}
