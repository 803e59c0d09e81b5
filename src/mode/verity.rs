//! `nextroot verity`: hash trees of images, as veritysetup(8) makes, checks and shows them.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    format::{
        disk::guid::NotAGuid,
        verity::{
            fec::DEFAULT_ROOTS,
            from_hex,
            options::{Corruption, VerityOptions},
            root_hash::{NotARootHash, RootHash},
            superblock::LONGEST_SALT,
        },
    },
    run::verity::{
        device::{self, Wanted},
        failure, image,
        parameters::{Fec, Parameters},
        status,
    },
    units::{BlockSize, NotABlockSize},
};

pub use crate::{
    run::verity::{device::Closing, header::Header, progress::Watch, report::Report, status::Status},
    units::Bytes,
};

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
    #[error("read the root hash")]
    RootHash(#[from] NotARootHash),
    /// Neither or both.
    #[error("no root hash, or two: write ROOT_HASH, or --root-hash-file FILE")]
    NoRootHash,
    /// Corruption has one answer.
    #[error("{0}")]
    Corruption(&'static str),
    /// Parity nowhere.
    #[error("--fec-offset and --fec-roots say how error correction is done: name its --fec-device, too")]
    NoFecDevice,
    /// Files and devices.
    #[error(transparent)]
    Image(#[from] failure::Error),
    /// A device by name.
    #[error(transparent)]
    Device(#[from] device::Error),
}

impl Error {
    /// Whether everything could be read, and does not hold.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        match self {
            Self::Image(error) => error.is_mismatch(),
            Self::Device(error) => error.is_mismatch(),
            _ => false,
        }
    }

    /// Whether a file or device of the image is not there.
    fn is_missing(&self) -> bool {
        match self {
            Self::Image(error) => error.is_missing(),
            Self::Device(error) => error.is_missing(),
            _ => false,
        }
    }

    /// The exit code that veritysetup(8) has for it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.is_missing() {
            return 4;
        }
        let mut cause: Option<&dyn std::error::Error> = Some(self);
        while let Some(error) = cause {
            if let Some(code) = error.downcast_ref::<io::Error>().and_then(code_of) {
                return code;
            }
            cause = error.source();
        }
        if self.is_mismatch() { 2 } else { 1 }
    }
}

/// veritysetup(8), "RETURN CODES": 2 no permission, 3 out of memory, 4 wrong device, 5 it exists or is busy.
fn code_of(error: &io::Error) -> Option<u8> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some(2),
        io::ErrorKind::OutOfMemory => Some(3),
        io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy => Some(5),
        // ENODEV, ENXIO and ENOTBLK.
        _ => matches!(error.raw_os_error(), Some(19 | 6 | 15)).then_some(4),
    }
}

/// What `open` is told of the kernel's part.
#[derive(Clone, Debug, Default)]
pub struct Activation {
    /// `--root-hash-signature`
    pub root_hash_signature: Option<PathBuf>,
    /// `--ignore-corruption`
    pub ignore_corruption: bool,
    /// `--restart-on-corruption`
    pub restart_on_corruption: bool,
    /// `--panic-on-corruption`
    pub panic_on_corruption: bool,
    /// `--error-as-corruption`
    pub error_as_corruption: bool,
    /// `--ignore-zero-blocks`
    pub ignore_zero_blocks: bool,
    /// `--check-at-most-once`
    pub check_at_most_once: bool,
    /// `--use-tasklets`
    pub use_tasklets: bool,
}

impl Activation {
    fn corruption(&self) -> Result<Corruption, Error> {
        let Self { ignore_corruption, restart_on_corruption, panic_on_corruption, .. } = *self;
        let corruption = match (ignore_corruption, restart_on_corruption, panic_on_corruption) {
            (false, false, false) => Corruption::Fail,
            (true, false, false) => Corruption::Ignore,
            (false, true, false) => Corruption::Restart,
            (false, false, true) => Corruption::Panic,
            _ => {
                return Err(Error::Corruption(
                    "--ignore-corruption, --restart-on-corruption and --panic-on-corruption exclude each other",
                ));
            }
        };
        if self.error_as_corruption && !(restart_on_corruption || panic_on_corruption) {
            return Err(Error::Corruption(
                "--error-as-corruption needs --restart-on-corruption or --panic-on-corruption",
            ));
        }
        Ok(corruption)
    }
}

impl Written {
    /// As veritytab(5) would say it; what is not written is what the superblock says.
    fn options(&self, activation: &Activation) -> Result<VerityOptions, Error> {
        let parameters = self.parameters()?;
        Ok(VerityOptions {
            no_superblock: self.no_superblock,
            format: self.format,
            data_block_size: self.data_block_size.map(|_| parameters.data_block_size),
            hash_block_size: self.hash_block_size.map(|_| parameters.hash_block_size),
            data_blocks: self.data_blocks,
            hash_offset: parameters.hash_offset,
            salt: parameters.salt,
            uuid: parameters.uuid,
            algorithm: self.algorithm.clone(),
            corruption: activation.corruption()?,
            ignore_zero_blocks: activation.ignore_zero_blocks,
            check_at_most_once: activation.check_at_most_once,
            signature: None,
            fec_device: self.fec_device.as_ref().map(|path| path.display().to_string()),
            fec_offset: Bytes(self.fec_offset.unwrap_or_default()),
            fec_roots: self.fec_roots,
        })
    }

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
    watch: Watch<'_>,
) -> Result<Header, Error> {
    let header = image::format(data, hash, &written.parameters()?, watch)?;
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
    watch: Watch<'_>,
) -> Result<Report, Error> {
    let root_hash = given(root_hash, root_hash_file)?;
    Ok(image::verify(data, hash, &root_hash, &written.parameters()?, watch)?)
}

fn given(root_hash: Option<&str>, file: Option<&Path>) -> Result<RootHash, Error> {
    match (root_hash, file) {
        (Some(root_hash), None) => Ok(root_hash.parse()?),
        (None, Some(file)) => Ok(image::load(file)?.parse()?),
        _ => Err(Error::NoRootHash),
    }
}

/// Opens a dm-verity device of this name.
pub fn open(
    data: &Path,
    name: &str,
    hash: &Path,
    root_hash: Option<&str>,
    root_hash_file: Option<&Path>,
    written: &Written,
    activation: &Activation,
) -> Result<(), Error> {
    let root_hash = &given(root_hash, root_hash_file)?;
    let options = written.options(activation)?;
    let fec = written.fec_device.as_deref();
    let Activation { error_as_corruption, use_tasklets, .. } = *activation;
    let signature = activation.root_hash_signature.as_deref();
    Ok(device::open(&Wanted {
        name,
        data,
        hash,
        fec,
        root_hash,
        signature,
        options,
        error_as_corruption,
        use_tasklets,
    })?)
}

/// Closes one; whether it is still there.
pub fn close(name: &str, closing: Closing) -> Result<bool, Error> {
    Ok(device::close(name, closing)?)
}

/// Looks at one.
pub fn status(name: &str) -> Result<Status, Error> {
    Ok(status::status(name)?)
}

/// What a superblock says.
pub fn dump(hash: &Path, written: &Written) -> Result<Header, Error> {
    Ok(image::dump(hash, &written.parameters()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_what() {
        const EACH: &str =
            "--ignore-corruption, --restart-on-corruption and --panic-on-corruption exclude each other";
        const ALONE: &str = "--error-as-corruption needs --restart-on-corruption or --panic-on-corruption";
        // Ignore, restart, panic, errors.
        for (asked, expected) in [
            ([false, false, false, false], Ok(Corruption::Fail)),
            ([true, false, false, false], Ok(Corruption::Ignore)),
            ([false, true, false, false], Ok(Corruption::Restart)),
            ([false, false, true, false], Ok(Corruption::Panic)),
            ([false, true, false, true], Ok(Corruption::Restart)),
            ([false, false, true, true], Ok(Corruption::Panic)),
            ([false, false, false, true], Err(ALONE)),
            ([true, false, false, true], Err(ALONE)),
            ([true, true, false, false], Err(EACH)),
            ([true, false, true, false], Err(EACH)),
            ([false, true, true, false], Err(EACH)),
            ([true, true, true, true], Err(EACH)),
        ] {
            let [ignore_corruption, restart_on_corruption, panic_on_corruption, error_as_corruption] = asked;
            let activation = Activation {
                ignore_corruption,
                restart_on_corruption,
                panic_on_corruption,
                error_as_corruption,
                ..Activation::default()
            };
            let found = activation.corruption().map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{asked:?}");
        }
    }
}
