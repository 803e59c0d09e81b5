//! The place of this program at the end of the machine's run. Another may have it, as dracut's, or an older copy: that is kept
//! beside it, and put back where what was staged is taken back.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::{
    plan::stage::Exitrd,
    run::{failure::Error, own_copy::SELF, shutdown::PROGRAM, whole},
    sys::file::whole_at,
    units::Bytes,
};

use super::staging::write_error;

/// What is there.
#[must_use]
pub fn found() -> Exitrd {
    at(Path::new(PROGRAM))
}

/// Moves another out of the way.
pub(in crate::run) fn keep_aside() -> Result<(), Error> {
    keep(Path::new(PROGRAM)).map_err(failed)
}

/// Puts it back, unless it was not moved.
pub(super) fn put_back() -> Result<(), Error> {
    give_back(Path::new(PROGRAM)).map_err(failed)
}

/// Removes this program, and what was made for it.
pub(super) fn remove() -> Result<(), Error> {
    take_away(Path::new(PROGRAM)).map_err(failed)
}

fn failed(source: io::Error) -> Error {
    write_error(Path::new(PROGRAM), source)
}

fn at(place: &Path) -> Exitrd {
    match place.symlink_metadata() {
        Err(_) => Exitrd::None,
        Ok(there) if there.is_file() && is_copy_of_self(place, there.len()) => Exitrd::Same,
        Ok(_) => Exitrd::Other,
    }
}

fn is_copy_of_self(place: &Path, size: u64) -> bool {
    if fs::metadata(SELF).map(|own| own.len()).ok() != Some(size) {
        return false;
    }
    let read = |path: &Path| whole_at(path, Bytes(size)).ok();
    read(place).is_some_and(|there| Some(there) == read(Path::new(SELF)))
}

/// Beside it: another directory may be another mount.
fn aside(place: &Path) -> PathBuf {
    place.with_extension("before")
}

fn keep(place: &Path) -> io::Result<()> {
    fs::rename(place, aside(place))
}

fn give_back(place: &Path) -> io::Result<()> {
    match place.symlink_metadata() {
        // One that was kept for an earlier switch is of no use any more.
        Ok(_) => Ok(()),
        // There was no other.
        Err(_) => fs::rename(aside(place), place)
            .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }),
    }
}

fn take_away(place: &Path) -> io::Result<()> {
    whole::take_away(place, |place| at(place) == Exitrd::Same)?;
    // The directory is somebody else's, too, where anything is in it, ignoring.
    place.parent().into_iter().for_each(|directory| drop(fs::remove_dir(directory)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cancel and a stage that failed left behind once: this program, and nothing of another that it had taken the place of.
    #[test]
    fn what_is_taken_back_leaves_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("initramfs/shutdown");
        let leave = || {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(SELF, &place).unwrap();
        };
        assert_eq!(at(&place), Exitrd::None);
        leave();
        assert_eq!(at(&place), Exitrd::Same);
        fs::write(whole::unfinished(&place), "half").unwrap();
        take_away(&place).unwrap();
        assert!(!root.path().join("initramfs").exists());
        take_away(&place).unwrap();

        leave();
        fs::write(&place, "another").unwrap();
        assert_eq!(at(&place), Exitrd::Other);
        // It was ended before anything was done, then in between, and then it was whole.
        for steps in 0..3 {
            if steps > 0 {
                keep(&place).unwrap();
                assert_eq!(at(&place), Exitrd::None);
            }
            if steps > 1 {
                leave();
            }
            take_away(&place).unwrap();
            give_back(&place).unwrap();
            assert_eq!(fs::read(&place).unwrap(), b"another", "{steps}");
            assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1, "{steps}");
        }
        // A stage in a later life: what was kept for an earlier switch does not come back.
        fs::write(aside(&place), "of an earlier life").unwrap();
        give_back(&place).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"another");
    }
}
