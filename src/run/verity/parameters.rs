//! How a hash tree is made: options, and what a superblock says of them.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    format::{
        disk::guid::Guid,
        verity::superblock::{self, VeritySuperblock},
    },
    units::{BlockSize, Bytes},
};

use super::failure::Error;

/// How a hash tree is to be made, or what is said of one that has no superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The kernel's name of the hash.
    pub algorithm: String,
    /// 1, or 0 as Chromium OS had it.
    pub format: u32,
    /// What is hashed at once.
    pub data_block_size: BlockSize,
    /// What holds the digests.
    pub hash_block_size: BlockSize,
    /// How many data blocks; default: as many as the data has.
    pub data_blocks: Option<u64>,
    /// Where the superblock, or without one the tree, begins on its device.
    pub hash_offset: Bytes,
    /// Hashed with each block; default: 32 bytes that nobody knows before.
    pub salt: Option<Vec<u8>>,
    /// The tree's UUID; default: a random one.
    pub uuid: Option<Guid>,
    /// Whether there is no superblock.
    pub no_superblock: bool,
    /// Error correction; default: none.
    pub fec: Option<Fec>,
}

/// Where parity is, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fec {
    /// The file or device.
    pub device: PathBuf,
    /// Where it begins on it.
    pub offset: Bytes,
    /// Bytes of parity in 255.
    pub roots: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            algorithm: "sha256".to_owned(),
            format: 1,
            data_block_size: BlockSize::B4096,
            hash_block_size: BlockSize::B4096,
            data_blocks: None,
            hash_offset: Bytes(0),
            salt: None,
            uuid: None,
            no_superblock: false,
            fec: None,
        }
    }
}

impl Parameters {
    /// What a superblock would say of what is asked for.
    pub(super) fn superblock(&self, data: Bytes) -> Result<VeritySuperblock, Error> {
        let Self { algorithm, format, data_block_size, hash_block_size, .. } = self;
        let random = |bytes: &mut [u8]| {
            let path = Path::new("/dev/urandom");
            let read = File::open(path).and_then(|mut file| file.read_exact(bytes));
            read.map_err(|source| Error::File { what: "read", path: path.to_owned(), source })
        };
        let salt = match &self.salt {
            Some(salt) => salt.clone(),
            None => {
                let mut salt = vec![0; 32];
                random(&mut salt)?;
                salt
            }
        };
        let uuid = match self.uuid {
            Some(uuid) => uuid,
            None => {
                let mut bytes = [0; 16];
                random(&mut bytes)?;
                Guid::random(bytes)
            }
        };
        let data_blocks = self.data_blocks.unwrap_or(data.0 / u64::from(data_block_size.get()));
        Ok(VeritySuperblock {
            uuid,
            format: *format,
            algorithm: algorithm.clone(),
            data_block_size: *data_block_size,
            hash_block_size: *hash_block_size,
            data_blocks,
            salt,
        })
    }

    /// Where the tree begins, in hash blocks (cryptsetup, lib/verity/verity.c, `VERITY_hash_offset_block`).
    pub(super) fn start(&self, block: BlockSize) -> Result<u64, Error> {
        let (offset, size) = (self.hash_offset.0, u64::from(block.get()));
        let of = if self.no_superblock { block.get() } else { 512 };
        if !offset.is_multiple_of(u64::from(of)) {
            return Err(Error::Offset { offset, of });
        }
        let behind = if self.no_superblock { 0 } else { superblock::SIZE as u64 };
        Ok(offset.saturating_add(behind).div_ceil(size))
    }
}
