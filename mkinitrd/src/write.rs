//! Puts the result in its place, whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {path}: what was there before is unchanged")]
pub(crate) struct Error {
    path: String,
    #[source]
    source: io::Error,
}

/// Writes beside the target, with permissions for the owner only, then renames over it; both are synced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new().prefix(".mkinitrd.").tempfile_in(directory)?;
        file.write_all(bytes)?;
        fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| Error { path: path.display().to_string(), source })
}
