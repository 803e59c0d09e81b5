//! Files and devices, opened once.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::units::Bytes;

use super::failure::Error;

/// A file or device that is open, with its length.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) size: Bytes,
    pub(super) is_device: bool,
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
        Ok(Self { file, path: path.to_owned(), size, is_device })
    }

    /// Whether both are one file or device, whatever it is called.
    pub(super) fn is(&self, other: &Self) -> bool {
        let what = |opened: &Self| {
            let metadata = opened.file.metadata().ok()?;
            Some(if opened.is_device { (0, metadata.rdev()) } else { (metadata.dev(), metadata.ino()) })
        };
        self.is_device == other.is_device && what(self).is_some() && what(self) == what(other)
    }

    pub(super) fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::File { what, path, source }
    }
}
