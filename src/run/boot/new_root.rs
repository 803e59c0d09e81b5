//! Makes sure that a root can run before it becomes the root.

use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use crate::{
    format::system::elf::{self, Program},
    sys::{self, root::open_below},
};

/// A new root without an init that can be executed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of the candidates is there.
    #[error(
        "none of {candidates} can be opened in {root}: is this a root file system? Name its init with init="
    )]
    Missing {
        /// The root.
        root: String,
        /// What was looked for.
        candidates: String,
        /// Why the last one could not be opened.
        #[source]
        source: sys::Error,
    },
    /// It is there, but nothing that can be executed here.
    #[error("{path} in {root} cannot be executed: {why}")]
    NotExecutable {
        /// The candidate.
        path: String,
        /// The root.
        root: String,
        /// Why.
        why: String,
    },
    /// A directory or link that could not be made.
    #[error("make {path}")]
    Fill {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is there and cannot be read.
    #[error("read {path} in {root}")]
    Unreadable {
        /// The candidate.
        path: String,
        /// The root.
        root: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Links into /usr, as the usual merged layout has them.
const LINKS: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];
/// Directories, with their permissions.
const DIRECTORIES: [(&str, u32); 4] = [("etc", 0o755), ("var", 0o755), ("root", 0o750), ("tmp", 0o1777)];

/// Makes the links and directories that an empty root lacks. What is there stays as it is.
pub fn fill(root: &str) -> Result<(), Error> {
    let root = Path::new(root);
    let failed = |path: &Path, source| Error::Fill { path: path.display().to_string(), source };
    for name in LINKS {
        let (target, link) = (Path::new("usr").join(name), root.join(name));
        if root.join(&target).is_dir() && link.symlink_metadata().is_err() {
            symlink(&target, &link).map_err(|e| failed(&link, e))?;
        }
    }
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        if path.symlink_metadata().is_err() {
            fs::create_dir(&path)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
                .map_err(|e| failed(&path, e))?;
        }
    }
    Ok(())
}

/// Interpreters of interpreters: a script may name a program that names a loader.
const DEEPEST: u32 = 4;

/// The first of `candidates` that is there, if it can be executed.
pub fn find_init(root: &str, candidates: &[String]) -> Result<String, Error> {
    let mut last = None;
    for path in candidates {
        match open_below(Path::new(root), path) {
            Ok(file) => {
                drop(file);
                return executable(root, path, 0).map(|()| path.clone());
            }
            Err(error) if is_absent(&error) => last = Some(error),
            Err(source) => return Err(missing(root, candidates, source)),
        }
    }
    let nothing = || sys::Error::new("open", "nothing", std::io::Error::from(std::io::ErrorKind::NotFound));
    Err(missing(root, candidates, last.unwrap_or_else(nothing)))
}

fn missing(root: &str, candidates: &[String], source: sys::Error) -> Error {
    Error::Missing { root: root.to_owned(), candidates: candidates.join(", "), source }
}

fn is_absent(error: &sys::Error) -> bool {
    error.source.kind() == std::io::ErrorKind::NotFound
}

/// Checks a program's header, and the interpreter that it names.
fn executable(root: &str, path: &str, depth: u32) -> Result<(), Error> {
    let refuse = |why: String| Error::NotExecutable { path: path.to_owned(), root: root.to_owned(), why };
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), root: root.to_owned(), source };
    let file = open_below(Path::new(root), path).map_err(|e| refuse(e.in_one_line()))?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse("it is no regular file".to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(refuse("it has no execute permission".to_owned()));
    }
    let mut head = Vec::new();
    file.take(elf::PREFIX as u64).read_to_end(&mut head).map_err(unreadable)?;
    let interpreter = match Program::parse(&head).map_err(|e| refuse(e.to_string()))? {
        Program::Elf(elf) if !elf.runs_here() => {
            return Err(refuse(format!(
                "it is built for {}, this machine is {}",
                elf.machine_name(),
                std::env::consts::ARCH
            )));
        }
        Program::Elf(elf) => elf.interpreter,
        Program::Script { interpreter } => Some(interpreter),
    };
    match interpreter {
        Some(_) if depth >= DEEPEST => Err(refuse("its interpreters do not end".to_owned())),
        Some(interpreter) => executable(root, &interpreter, depth + 1).map_err(|error| {
            refuse(format!("its interpreter {interpreter} does not work: {}", said(&error)))
        }),
        None => Ok(()),
    }
}

fn said(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
