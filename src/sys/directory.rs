//! What is in a directory that is open, and whether it can be written to.

use std::fs::File;

use nix::{
    dir::Dir,
    sys::statvfs::{FsFlags, fstatvfs},
};

use super::Error;

/// `fdopendir(fd); readdir()...`: the names in a directory, without `.` and `..`, sorted. What is not UTF-8 is
/// replaced, and then not found by whoever opens it.
///
/// readdir(3). Errors: ENOTDIR, EIO.
pub fn names(directory: File, path: &str) -> Result<Vec<String>, Error> {
    let at = |e| Error::new("read directory", path, e);
    let mut directory = Dir::from_fd(directory.into()).map_err(at)?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry.map_err(at)?;
        let name = entry.file_name().to_string_lossy();
        if !matches!(name.as_ref(), "." | "..") {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `fstatvfs(fd)`: whether its mount, or its file system, is read-only.
///
/// fstatvfs(3). Errors: EIO.
pub fn is_read_only(directory: &File, path: &str) -> Result<bool, Error> {
    let status = fstatvfs(directory).map_err(|e| Error::new("fstatvfs", path, e))?;
    Ok(status.flags().contains(FsFlags::ST_RDONLY))
}
