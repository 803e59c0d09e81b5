//! Files and devices, opened once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{sys::file::NO_LINK, units::Bytes};

use super::failure::Error;

/// A file or device that is open, with its length.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) size: Bytes,
    pub(super) is_device: bool,
    /// A file that was not there: it has its name once it is whole.
    unfinished: Option<Unfinished>,
}

/// A file under another name, which goes where it is not finished.
struct Unfinished {
    path: PathBuf,
    is_finished: bool,
}

impl Opened {
    pub(super) fn new(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let failed = |what| move |source| Error::File { what, path: path.to_owned(), source };
        let mut file = options.open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: path.to_owned(), source },
            _ => failed("open")(source),
        })?;
        let is_device = file.metadata().map_err(failed("stat"))?.file_type().is_block_device();
        let size = Bytes(file.seek(SeekFrom::End(0)).map_err(failed("measure"))?);
        Ok(Self { file, path: path.to_owned(), size, is_device, unfinished: None })
    }

    /// Opens what is to be written. A file that is not there yet is made under another name until [`Self::finish`]: by its
    /// length it would look complete.
    pub(super) fn to_write(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Self::new(path, options.create(true).truncate(false)).map_err(Error::of_making),
        }
        let name = unfinished(path);
        // What another run left there; who writes both parts into one file has it open already. A link that somebody else put there
        // leads to a file that nobody named.
        let options = options.create(true).truncate(false).custom_flags(NO_LINK);
        let opened = Self::new(&name, options).map_err(Error::of_making)?;
        let unfinished = Some(Unfinished { path: name, is_finished: false });
        Ok(Self { path: path.to_owned(), unfinished, ..opened })
    }

    /// Gives what was made its name, once all of it is on the disk.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let Some(unfinished) = self.unfinished.as_mut().filter(|unfinished| !unfinished.is_finished) else {
            return Ok(());
        };
        put_in_place(&self.file, &unfinished.path, &self.path)?;
        unfinished.is_finished = true;
        Ok(())
    }

    /// Leaves it to the other part, where both are one file, to give that its name.
    pub(super) fn left_to(mut self, other: &Self) -> Self {
        if self.is(other)
            && let Some(unfinished) = &mut self.unfinished
        {
            unfinished.is_finished = true;
        }
        self
    }

    /// Whether both are one file or device, whatever it is called.
    pub(super) fn is(&self, other: &Self) -> bool {
        let what = |opened: &Self| {
            let metadata = opened.file.metadata().ok()?;
            Some(if opened.is_device { (0, metadata.rdev()) } else { (metadata.dev(), metadata.ino()) })
        };
        self.is_device == other.is_device && what(self).is_some() && what(self) == what(other)
    }

    /// Empties what another run left, where it is new.
    pub(super) fn emptied(mut self) -> Result<Self, Error> {
        if self.unfinished.as_ref().is_some_and(|unfinished| !unfinished.is_finished) {
            self.file.set_len(0).map_err(self.failed("empty"))?;
            self.size = Bytes(0);
        }
        Ok(self)
    }

    pub(super) fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::File { what, path, source }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            // Where even that fails, it lies there by a name that nobody takes for it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What a file is called until it is whole.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Writes a file out and gives it its name, which lasts then.
pub(super) fn put_in_place(file: &File, unfinished: &Path, path: &Path) -> Result<(), Error> {
    let failed = |what| move |source| Error::File { what, path: path.to_owned(), source };
    file.sync_all().map_err(failed("write out"))?;
    fs::rename(unfinished, path).map_err(failed("rename"))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new("."))).map_err(failed("write out"))?;
    directory.sync_all().map_err(failed("write out"))
}
