//! The program that becomes /init.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nextroot::{
    format::system::elf::{self, Program},
    mode::init::CHECKS_SIGNATURES,
};

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
    #[error(
        "{path} leaves signatures to the kernel, and {need}: name nextroot-init-signatures with --nextroot"
    )]
    NoCheck { path: PathBuf, need: String },
}

/// Names of the binary: the build for an initramfs only, then those that have more.
const NAMES: [&str; 3] = ["nextroot-init", CHECKING, "nextroot"];
/// Names of those that check signatures.
const CHECKING_NAMES: [&str; 2] = [CHECKING, "nextroot"];
const CHECKING: &str = "nextroot-init-signatures";

/// A program, and where it was read.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// Reads the binary that is given, or the first of those that are installed. Where there is a `need` for it, it has to be
/// one that checks signatures.
pub(crate) fn read(given: Option<&Path>, need: Option<String>) -> Result<Init, Error> {
    let any = || installed(&NAMES).ok_or(Error::Nowhere);
    let path = match (given, &need) {
        (Some(given), _) => given.to_owned(),
        (None, None) => any()?,
        // That it cannot is said of the one that is there.
        (None, Some(_)) => installed(&CHECKING_NAMES).map_or_else(any, Ok)?,
    };
    let bytes = fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    if let Some(why) = dependence(&bytes) {
        return Err(Error::Unfit { path, why });
    }
    match need {
        Some(need) if memchr::memmem::find(&bytes, CHECKS_SIGNATURES.as_bytes()).is_none() => {
            Err(Error::NoCheck { path, need })
        }
        _ => Ok(Init { path, bytes }),
    }
}

fn installed(names: &[&str]) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let directories = [beside, Some(PathBuf::from("/usr/lib/nextroot"))];
    let mut places = directories
        .into_iter()
        .flatten()
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    places.find(|path| path.is_file())
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
