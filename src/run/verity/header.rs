//! What is told of a hash tree.

use std::{fmt, path::PathBuf};

use crate::{
    format::{
        disk::guid::Guid,
        verity::{hex, root_hash::RootHash, superblock::VeritySuperblock, tree::Tree},
    },
    units::Bytes,
};

use super::{parameters::Parameters, parity::Parity};

/// What is known of a hash tree: what veritysetup(8) calls its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The file or device with the tree.
    pub path: PathBuf,
    /// Its parameters.
    pub superblock: VeritySuperblock,
    /// Hash blocks of all levels.
    pub hash_blocks: u64,
    /// What the tree needs of a device of its own, with parity that follows it; `None` where it begins further on.
    pub size: Option<Bytes>,
    /// Error correction.
    pub fec: Option<FecHeader>,
    /// The root hash, where it was computed.
    pub root_hash: Option<RootHash>,
}

/// What is known of the parity of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FecHeader {
    /// Bytes of parity in 255.
    pub roots: u32,
    /// Blocks of parity.
    pub blocks: u64,
    /// What it needs of a device of its own; `None` where it begins further on, or beside the tree.
    pub size: Option<Bytes>,
}

impl Header {
    pub(super) fn of(
        path: PathBuf,
        superblock: VeritySuperblock,
        tree: &Tree,
        parameters: &Parameters,
        start: u64,
        parity: Option<&Parity>,
    ) -> Self {
        let behind = parity.filter(|parity| parity.beside_tree).map_or(0, |parity| parity.layout.parity().0);
        let size = tree.end(start, superblock.hash_block_size).and_then(|end| end.checked_add(behind));
        let size = size.filter(|_| parameters.hash_offset == Bytes(0)).map(Bytes);
        let fec = parity.map(|parity| FecHeader {
            roots: parity.layout.roots,
            blocks: parity.layout.parity_blocks(),
            size: (parity.offset == Bytes(0) && !parity.beside_tree).then(|| parity.layout.parity()),
        });
        Self { path, superblock, hash_blocks: tree.blocks(), size, fec, root_hash: None }
    }
}

impl fmt::Display for Header {
    /// As veritysetup(8) prints it, for people and scripts that know that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VeritySuperblock { uuid, format, algorithm, data_block_size, hash_block_size, data_blocks, salt } =
            &self.superblock;
        writeln!(f, "VERITY header information for {}", self.path.display())?;
        let uuid = if *uuid == Guid::default() { String::new() } else { uuid.to_string() };
        writeln!(f, "UUID:            \t{uuid}")?;
        writeln!(f, "Hash type:       \t{format}")?;
        writeln!(f, "Data blocks:     \t{data_blocks}")?;
        writeln!(f, "Data block size: \t{}", data_block_size.get())?;
        writeln!(f, "Hash blocks:     \t{}", self.hash_blocks)?;
        writeln!(f, "Hash block size: \t{}", hash_block_size.get())?;
        writeln!(f, "Hash algorithm:  \t{algorithm}")?;
        if let Some(fec) = &self.fec {
            writeln!(f, "FEC RS roots:   \t{}", fec.roots)?;
            writeln!(f, "FEC blocks:     \t{}", fec.blocks)?;
        }
        writeln!(f, "Salt:            \t{}", hex(salt))?;
        if let Some(root_hash) = &self.root_hash {
            writeln!(f, "Root hash:      \t{root_hash}")?;
        }
        if let Some(size) = self.size {
            writeln!(f, "Hash device size: \t{} [bytes]", size.0)?;
        }
        match self.fec.as_ref().and_then(|fec| fec.size) {
            Some(size) => writeln!(f, "FEC device size: \t{} [bytes]", size.0),
            None => Ok(()),
        }
    }
}
