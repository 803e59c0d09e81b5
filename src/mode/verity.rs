//! `nextroot verity`: hash trees of images, as veritysetup(8) makes, checks and shows them.

use std::path::{Path, PathBuf};

use crate::{
    format::{
        disk::guid::NotAGuid,
        verity::{
            fec::DEFAULT_ROOTS,
            from_hex,
            root_hash::{NotARootHash, RootHash},
            superblock::LONGEST_SALT,
        },
    },
    run::verity::{
        failure, image,
        parameters::{Fec, Parameters},
    },
    units::{BlockSize, Bytes, NotABlockSize},
};

pub use crate::run::verity::{header::Header, report::Report};

/// Options as they are written; what is not written is veritysetup's default, or what the superblock says.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// `--hash`
    pub algorithm: Option<String>,
    /// `--format`
    pub format: Option<u32>,
    /// `--data-block-size`
    pub data_block_size: Option<u32>,
    /// `--hash-block-size`
    pub hash_block_size: Option<u32>,
    /// `--data-blocks`
    pub data_blocks: Option<u64>,
    /// `--hash-offset`
    pub hash_offset: Option<u64>,
    /// `--salt`
    pub salt: Option<String>,
    /// `--uuid`
    pub uuid: Option<String>,
    /// `--no-superblock`
    pub no_superblock: bool,
    /// `--fec-device`
    pub fec_device: Option<PathBuf>,
    /// `--fec-offset`
    pub fec_offset: Option<u64>,
    /// `--fec-roots`
    pub fec_roots: Option<u32>,
}

/// What cannot be meant, done or verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A block size.
    #[error("{option}")]
    BlockSize {
        /// The option.
        option: &'static str,
        /// Why.
        #[source]
        source: NotABlockSize,
    },
    /// A format that nobody has.
    #[error("--format={0}: write 1, or 0 as Chromium OS had it")]
    Format(u32),
    /// A salt.
    #[error("--salt={0}: write hexadecimal digits, two a byte, {LONGEST_SALT} bytes at most, or - for none")]
    Salt(String),
    /// A UUID.
    #[error("--uuid")]
    Uuid(#[from] NotAGuid),
    /// A root hash.
    #[error("the root hash")]
    RootHash(#[from] NotARootHash),
    /// Neither or both.
    #[error("write the root hash, or --root-hash-file, and not both")]
    NoRootHash,
    /// Parity nowhere.
    #[error("--fec-offset and --fec-roots say how error correction is done: name its --fec-device, too")]
    NoFecDevice,
    /// Files and devices.
    #[error(transparent)]
    Image(#[from] failure::Error),
}

impl Error {
    /// Whether everything could be read, and does not hold.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Image(error) if error.is_mismatch())
    }
}

impl Written {
    fn parameters(&self) -> Result<Parameters, Error> {
        let default = Parameters::default();
        let block = |option, bytes: Option<u32>, default| match bytes {
            Some(bytes) => BlockSize::new(bytes).map_err(|source| Error::BlockSize { option, source }),
            None => Ok(default),
        };
        let salt = |text: &String| {
            let bytes = from_hex(text).filter(|salt| salt.len() <= LONGEST_SALT);
            bytes.ok_or_else(|| Error::Salt(text.clone()))
        };
        Ok(Parameters {
            algorithm: self.algorithm.clone().unwrap_or(default.algorithm),
            format: match self.format {
                Some(format) if format > 1 => return Err(Error::Format(format)),
                format => format.unwrap_or(default.format),
            },
            data_block_size: block("--data-block-size", self.data_block_size, default.data_block_size)?,
            hash_block_size: block("--hash-block-size", self.hash_block_size, default.hash_block_size)?,
            data_blocks: self.data_blocks,
            hash_offset: Bytes(self.hash_offset.unwrap_or(default.hash_offset.0)),
            salt: self.salt.as_ref().map(salt).transpose()?,
            uuid: self.uuid.as_deref().map(str::parse).transpose()?,
            no_superblock: self.no_superblock,
            fec: self.fec()?,
        })
    }
}

impl Written {
    fn fec(&self) -> Result<Option<Fec>, Error> {
        let offset = Bytes(self.fec_offset.unwrap_or(0));
        match (&self.fec_device, self.fec_offset, self.fec_roots) {
            (Some(device), _, roots) => {
                Ok(Some(Fec { device: device.clone(), offset, roots: roots.unwrap_or(DEFAULT_ROOTS) }))
            }
            (None, None, None) => Ok(None),
            (None, ..) => Err(Error::NoFecDevice),
        }
    }
}

/// Makes a hash tree, and parity where a device for it is named; the root hash goes into a file, too, where one is named.
pub fn format(
    data: &Path,
    hash: &Path,
    root_hash_file: Option<&Path>,
    written: &Written,
) -> Result<Header, Error> {
    let header = image::format(data, hash, &written.parameters()?)?;
    if let (Some(file), Some(root_hash)) = (root_hash_file, &header.root_hash) {
        image::save(root_hash, file)?;
    }
    Ok(header)
}

/// Checks every block of data and hash tree; the root hash is given, or stands in a file.
pub fn verify(
    data: &Path,
    hash: &Path,
    root_hash: Option<&str>,
    root_hash_file: Option<&Path>,
    written: &Written,
) -> Result<Report, Error> {
    let root_hash: RootHash = match (root_hash, root_hash_file) {
        (Some(root_hash), None) => root_hash.parse()?,
        (None, Some(file)) => image::load(file)?.parse()?,
        _ => return Err(Error::NoRootHash),
    };
    Ok(image::verify(data, hash, &root_hash, &written.parameters()?)?)
}

/// What a superblock says.
pub fn dump(hash: &Path, written: &Written) -> Result<Header, Error> {
    Ok(image::dump(hash, &written.parameters()?)?)
}
