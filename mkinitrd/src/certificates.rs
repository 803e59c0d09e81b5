//! Certificates that the init checks signatures of root hashes with: those of the system that the initramfs is for, and
//! those that are named.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use nextroot::{
    format::{
        config::drop_ins::{self, Entry, Kind, Listing},
        verity::signature::certificate::{Certificate, LONGEST},
    },
    run::{
        certificates::{DIRECTORIES, SUFFIX},
        configuration,
    },
    sys::root,
};

/// A certificate that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "list the certificates in {directory}: make it readable, or leave them out with --no-certificates"
    )]
    List {
        directory: String,
        #[source]
        source: io::Error,
    },
    #[error("take the certificate {path}: {why}: name one in PEM with --certificate")]
    Named { path: PathBuf, why: String },
    #[error(
        "take the certificate {path}: another --certificate is {name}, too: give one of them another name"
    )]
    Twice { path: PathBuf, name: String },
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// Files by their paths in the initramfs, which are those that the init reads.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// What of the system was passed over, as the init would.
    pub(crate) warnings: Vec<String>,
}

/// Where this system's administrator puts them, and so does whoever names one.
const FIRST: &str = "/etc/verity.d";
/// What is there only while a system runs.
const RUNTIME: &str = "/run/";

impl Certificates {
    /// Reads those that are `named`, and with `own` those of the system below `root`, by its own rules: a file hides
    /// those of its name in the directories behind.
    pub(crate) fn read(root: &Path, own: bool, named: &[PathBuf]) -> Result<Self, Error> {
        let mut found = Self::default();
        for path in named {
            let bytes = File::open(path).map_err(|e| e.to_string()).and_then(content);
            let bytes = bytes.map_err(|why| Error::Named { path: path.clone(), why })?;
            // What is hidden is not read, and what has another end is none.
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{FIRST}/{}{SUFFIX}", stem.trim_start_matches('.'));
            if found.has(&name) {
                return Err(Error::Twice { path: path.clone(), name });
            }
            found.files.push((name, bytes));
        }
        if own {
            found.read_own(root)?;
        }
        found.files.sort();
        Ok(found)
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Their paths, for messages.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.files.iter().map(|(path, _)| path.as_str()).collect();
        names.join(", ")
    }

    fn read_own(&mut self, root: &Path) -> Result<(), Error> {
        let directories = DIRECTORIES.iter().filter(|directory| !directory.starts_with(RUNTIME));
        let mut listings =
            directories.map(|directory| list(root, directory)).collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = listings.first_mut() {
            // One that is named hides the system's own of that name.
            first.entries.retain(|entry| !self.has(&format!("{FIRST}/{}", entry.name)));
            let named = self.files.iter().filter_map(|(path, _)| path.rsplit_once('/'));
            let hides = |(_, name): (&str, &str)| Entry { name: name.to_owned(), kind: Kind::Mask };
            first.entries.extend(named.map(hides));
        }
        for path in drop_ins::of_suffix(&listings, SUFFIX) {
            match root::open_below(root, &path).map_err(|e| e.in_one_line()).and_then(content) {
                Ok(bytes) => self.files.push((path, bytes)),
                Err(why) => self.warnings.push(format!("{path} is no certificate, and is left out: {why}")),
            }
        }
        Ok(())
    }

    fn has(&self, path: &str) -> bool {
        self.files.iter().any(|(other, _)| other == path)
    }
}

/// What is in a directory of the system; nothing where there is none. Symbolic links lead where they lead that system.
fn list(root: &Path, directory: &str) -> Result<Listing, Error> {
    let mut listing = Listing { directory: directory.to_owned(), entries: Vec::new() };
    let Ok(opened) = root::open_below(root, directory) else { return Ok(listing) };
    let failed = |source: io::Error| Error::List { directory: directory.to_owned(), source };
    let mut opened = nix::dir::Dir::from_fd(opened.into()).map_err(|e| failed(e.into()))?;
    for entry in opened.iter() {
        let name = entry.map_err(|e| failed(e.into()))?.file_name().to_string_lossy().into_owned();
        let kind = kind(root, &format!("{directory}/{name}"));
        listing.entries.push(Entry { name, kind });
    }
    Ok(listing)
}

/// What a name stands for. A link to /dev/null need not lead anywhere: a tree of files has no devices.
fn kind(root: &Path, path: &str) -> Kind {
    if root::link_below(root, path).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Kind::Mask;
    }
    match root::open_below(root, path).map(|file| file.metadata()) {
        Ok(Ok(found)) => configuration::kind(&found),
        _ => Kind::Other,
    }
}

/// The bytes of a certificate, which has to be one. An initramfs is no place for a key.
fn content(file: File) -> Result<Vec<u8>, String> {
    const KEY: &[u8] = b"PRIVATE KEY-----";
    let mut bytes = Vec::new();
    // One byte more, so that what is too long is seen to be.
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Certificate::parse("", &bytes).map_err(|e| e.to_string())?;
    match memchr::memmem::find(&bytes, KEY) {
        Some(_) => Err("a private key is in the file, too".to_owned()),
        None => Ok(bytes),
    }
}
