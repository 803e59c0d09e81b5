//! The program that becomes /init.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nextroot::format::system::elf::{self, Program};

/// A binary that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no nextroot binary beside mkinitrd nor in /usr/lib/nextroot: name it with --nextroot")]
    Nowhere,
    #[error("read the nextroot binary {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} cannot be an init: {why}: take a static build of nextroot")]
    Unfit { path: PathBuf, why: String },
}

/// Names of the binary: the build for an initramfs only, then the one that has all commands.
const NAMES: [&str; 2] = ["nextroot-init", "nextroot"];

/// Reads the binary that is given, or the first of those that are installed.
pub(crate) fn read(given: Option<&Path>) -> Result<Vec<u8>, Error> {
    let path = match given {
        Some(given) => given.to_owned(),
        None => installed().ok_or(Error::Nowhere)?,
    };
    let bytes = fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    match dependence(&bytes) {
        None => Ok(bytes),
        Some(why) => Err(Error::Unfit { path, why }),
    }
}

fn installed() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let directories = [beside, Some(PathBuf::from("/usr/lib/nextroot"))];
    let places =
        directories.into_iter().flatten().flat_map(|directory| NAMES.map(|name| directory.join(name)));
    places.into_iter().find(|path| path.is_file())
}

/// What a program needs beside itself and the kernel, in words; `None`: nothing.
fn dependence(binary: &[u8]) -> Option<String> {
    match Program::parse(binary.get(..elf::PREFIX).unwrap_or(binary)) {
        Ok(Program::Elf(elf)) => {
            elf.interpreter.map(|loader| format!("it is linked dynamically and needs {loader}"))
        }
        Ok(Program::Script { interpreter }) => Some(format!("it is a script for {interpreter}")),
        Err(error) => Some(error.to_string()),
    }
}
