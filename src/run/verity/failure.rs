//! What can be wrong with an image and its hash tree, or with getting at them.

use std::{io, path::PathBuf};

use crate::{
    format::verity::{
        digest::Unknown,
        fec,
        root_hash::NotARootHash,
        superblock::{self, VeritySuperblock},
        tree,
    },
    units::Bytes,
};

use super::levels::{Failure, Of};

/// What cannot be done, or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or device.
    #[error("{what} {}", .path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or device that is not there.
    #[error("open {}", .path.display())]
    Missing {
        /// Its path.
        path: PathBuf,
        /// ENOENT.
        #[source]
        source: io::Error,
    },
    /// At some place.
    #[error("{what} {} at byte {at}", .path.display())]
    At {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Bytes from its start.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No superblock, or none that can be.
    #[error("read the superblock of {} at byte {offset}: is it the hash device, and --hash-offset right?", .path.display())]
    Superblock {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: superblock::Error,
    },
    /// A superblock cannot say it.
    #[error("write a superblock")]
    Unwritable(#[source] superblock::Error),
    /// Parameters that make no tree.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// Parameters that make no parity.
    #[error("error correction")]
    Correction(#[from] fec::Error),
    /// A hash.
    #[error(transparent)]
    Digest(#[from] Unknown),
    /// A hash that proves nothing any more.
    #[error("{0} is broken: whoever makes an image can make two with one root hash; take sha256")]
    Broken(String),
    /// A digest that is no root hash.
    #[error("the root's digest")]
    RootHash(#[from] NotARootHash),
    /// What a superblock would say.
    #[error("without a superblock {0} is needed")]
    Needed(&'static str),
    /// An offset that cannot be.
    #[error("--hash-offset={offset}: it has to be a multiple of {of} bytes")]
    Offset {
        /// What was given.
        offset: u64,
        /// What it has to be a multiple of.
        of: u32,
    },
    /// Less data than was said.
    #[error("{} has {has:#}, and {needs:#} of data are asked for: take fewer --data-blocks", .path.display())]
    Short {
        /// The data.
        path: PathBuf,
        /// What is needed.
        needs: Bytes,
        /// What is there.
        has: Bytes,
    },
    /// Data that the tree would overwrite.
    #[error("the data reaches to byte {data} of {}, and the hash tree would begin at byte {tree}: take --data-blocks and a --hash-offset behind them", .path.display())]
    Overlap {
        /// The file.
        path: PathBuf,
        /// Where the data ends.
        data: u64,
        /// Where the tree begins.
        tree: u64,
    },
    /// A device that is too short.
    #[error("the hash tree needs {needs:#} of {}, which has {has:#}", .path.display())]
    Full {
        /// The device.
        path: PathBuf,
        /// What is needed.
        needs: Bytes,
        /// What is there.
        has: Bytes,
    },
    /// Data that the parity would overwrite.
    #[error("the data reaches to byte {data} of {}, and the parity would begin at byte {parity}: take an --fec-offset behind it", .path.display())]
    ParityOverlap {
        /// The file.
        path: PathBuf,
        /// Where the data ends.
        data: u64,
        /// Where the parity begins.
        parity: u64,
    },
    /// A device that is too short for parity.
    #[error("the parity needs {needs} of {}, which has {has}", .path.display())]
    ParityFull {
        /// The device.
        path: PathBuf,
        /// What is needed.
        needs: Bytes,
        /// What is there.
        has: Bytes,
    },
    /// Another root hash.
    #[error("the root hash of {} is {found}, not {wanted}: it is another image's, or its hash tree is damaged", .path.display())]
    OtherRoot {
        /// The hash device.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What was given.
        wanted: String,
    },
    /// A block that is wrong.
    #[error("{what} {number} of {} does not match its digest: at byte {at}", .path.display())]
    Block {
        /// What kind of block.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its number, counted from 0; of a hash block, from the start of its device.
        number: u64,
        /// Bytes from the file's start.
        at: u64,
    },
    /// Something between the digests.
    #[error("hash block {number} of {} has other than zeros where no digest is: at byte {at}", .path.display())]
    Spare {
        /// The file.
        path: PathBuf,
        /// Its number, counted from 0 from the start of its device.
        number: u64,
        /// Bytes from the file's start.
        at: u64,
    },
}

impl Error {
    /// Whether it was looked at as a whole, and does not hold.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::OtherRoot { .. } | Self::Block { .. } | Self::Spare { .. })
    }

    /// The same of a file that was to be made: that one cannot be is another thing than that it is missing.
    pub(super) fn of_making(self) -> Self {
        match self {
            Self::Missing { path, source } => Self::File { what: "make", path, source },
            other => other,
        }
    }

    /// Whether a file or device is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// A failure with the names of the files that it is of.
pub(super) fn told(
    failure: Failure,
    path: impl Fn(Of) -> PathBuf,
    superblock: &VeritySuperblock,
    start: u64,
) -> Error {
    let of_tree =
        |number: u64| (start + number, (start + number) * u64::from(superblock.hash_block_size.get()));
    match failure {
        Failure::Io { what, of, at, source } => Error::At { what, path: path(of), at, source },
        Failure::Block { of: Of::Tree, number } => {
            let (number, at) = of_tree(number);
            Error::Block { what: "hash block", path: path(Of::Tree), number, at }
        }
        Failure::Block { of, number } => {
            let at = number * u64::from(superblock.data_block_size.get());
            Error::Block { what: "data block", path: path(of), number, at }
        }
        Failure::Spare { number } => {
            let (number, at) = of_tree(number);
            Error::Spare { path: path(Of::Tree), number, at }
        }
    }
}
