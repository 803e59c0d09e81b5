//! Copies of this program, left where it is to be run later.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{sys::file::whole_at, units::Bytes};

use super::{failure::Error, whole};

/// This program, for a run of its own that can be ended.
pub(crate) const SELF: &str = "/proc/self/exe";

/// More than this program will ever have.
const LARGEST: Bytes = Bytes(64 << 20);

/// Writes this program to a path, whole or not at all.
pub(super) fn copy_of_self(at: &Path, mode: u32) -> Result<(), Error> {
    let unfinished = whole::unfinished(at);
    // fs::copy would do, and takes 5 KiB of an init.
    whole_at(Path::new(SELF), LARGEST)
        .and_then(|program| fs::write(&unfinished, program))
        .and_then(|()| fs::set_permissions(&unfinished, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&unfinished, at))
        .map_err(|source| Error::Write { path: at.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_the_place_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("shutdown");
        fs::write(&at, "another").unwrap();
        copy_of_self(&at, 0o755).unwrap();
        assert_eq!(fs::read(&at).unwrap(), fs::read(SELF).unwrap());
        assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let failure = copy_of_self(&directory.path().join("none/here"), 0o755).unwrap_err().to_string();
        assert!(failure.ends_with("none/here"), "{failure}");
    }
}
