//! Files that others read or run: they are there whole or not at all, and are taken away only where they are ours.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What a file is called until it is whole: systemd takes it for no unit, and for no drop-in.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(format!(".{}.new", name.display()))
}

/// Writes a file, and the directory for it.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(unfinished(path), content)?;
    fs::rename(unfinished(path), path)
}

/// Removes a file where it is ours, and what was not whole yet; whether it was there.
#[cfg(feature = "cli")]
pub(super) fn take_away(path: &Path, is_ours: impl FnOnce(&Path) -> bool) -> io::Result<bool> {
    remove(&unfinished(path))?;
    Ok(is_ours(path) && remove(path)?)
}

/// Whether it was there.
#[cfg(feature = "cli")]
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_goes_and_what_is_not_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.d/50-b.conf");
        let left = || fs::read_dir(path.parent().unwrap()).unwrap().count();
        for (is_unfinished, is_ours, was_there, stays) in
            [(false, true, true, 0), (true, true, false, 0), (false, false, false, 1)]
        {
            write(&path, b"ours").unwrap();
            assert_eq!((fs::read(&path).unwrap(), left()), (b"ours".to_vec(), 1));
            if is_unfinished {
                fs::rename(&path, unfinished(&path)).unwrap();
            }
            assert_eq!(take_away(&path, |_| is_ours).unwrap(), was_there);
            assert_eq!(left(), stays);
        }
        assert!(write(&path.join("c"), b"").is_err());
    }
}
