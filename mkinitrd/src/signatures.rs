//! Signatures of root hashes that the configured command line names by a file (`root-hash-signature=`).

use std::{
    io::{self, Read},
    path::{Component, Path},
};

use nextroot::{
    format::{
        config::initramfs::Config,
        verity::{
            options::{self, GivenSignature, VerityOptions},
            signature::{LONGEST, NotASignature, Signature},
        },
    },
    sys::{self, root},
};

use crate::config::last;

/// A signature that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the configuration says {parameter}={value}, which the init would refuse")]
    Options {
        parameter: String,
        value: String,
        #[source]
        source: options::Error,
    },
    #[error(
        "the configuration names the signature {0}, where it cannot lie in an initramfs: write an absolute path without \
         . and .., outside of /dev, /proc, /run and /sys, and base64:... where the kernel command line is the place for it"
    )]
    Place(String),
    #[error("take the signature {path} that the configuration names")]
    Open {
        path: String,
        #[source]
        source: sys::Error,
    },
    #[error("read the signature {path} that the configuration names")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("take the signature {path} that the configuration names")]
    Parse {
        path: String,
        #[source]
        source: NotASignature,
    },
}

const PARAMETERS: [&str; 2] = ["systemd.verity_root_options", "systemd.verity_usr_options"];
/// What is mounted over before a signature is read.
const HIDDEN: [&str; 4] = ["dev", "proc", "run", "sys"];

/// Whether the root that a configuration names is looked for with its signature partition.
pub(crate) fn by_partition(config: &Config) -> bool {
    last(config, "root") == Some("dissect")
}

/// The signatures that a configuration names, by their paths, from the system below `root`: in DER, as the kernel and
/// every init take it.
pub(crate) fn read(root: &Path, config: &Config) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for parameter in PARAMETERS {
        let Some(value) = last(config, parameter) else { continue };
        let parsed = VerityOptions::parse(value).map_err(|source| Error::Options {
            parameter: parameter.to_owned(),
            value: value.to_owned(),
            source,
        })?;
        if let Some(GivenSignature::File(path)) = parsed.signature
            && !files.iter().any(|(other, _)| *other == path)
        {
            let bytes = file(root, &path)?;
            files.push((path, bytes));
        }
    }
    Ok(files)
}

fn file(root: &Path, path: &str) -> Result<Vec<u8>, Error> {
    if !can_lie_at(path) {
        return Err(Error::Place(path.to_owned()));
    }
    let opened =
        root::open_below(root, path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let mut bytes = Vec::new();
    // What has more is none.
    let read = opened.take(LONGEST as u64 * 2).read_to_end(&mut bytes);
    read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let signature =
        Signature::read(&bytes).map_err(|source| Error::Parse { path: path.to_owned(), source })?;
    Ok(signature.der().to_vec())
}

fn can_lie_at(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let absolute = parts.next() == Some(Component::RootDir);
    let first = parts.clone().next();
    let hidden = HIDDEN.iter().any(|name| first == Some(Component::Normal(name.as_ref())));
    // `components` passes over `.` and repeated slashes.
    let plain = !path.contains("//") && !path.contains("/./") && !path.ends_with(['/', '.']);
    absolute && first.is_some() && !hidden && plain && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, expected) in [
            ("/etc/root.p7s", true),
            ("/root.p7s", true),
            ("/running/root.p7s", true),
            ("etc/root.p7s", false),
            ("/", false),
            ("", false),
            ("/run/root.p7s", false),
            ("/dev/root.p7s", false),
            ("/etc/../run/root.p7s", false),
            ("/etc//root.p7s", false),
            ("/etc/./root.p7s", false),
            ("/etc/", false),
        ] {
            assert_eq!(can_lie_at(path), expected, "{path}");
        }
    }
}
