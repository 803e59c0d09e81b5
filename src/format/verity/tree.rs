//! Where the digests of a hash tree lie (drivers/md/dm-verity-target.c, `verity_hash_at_level` and
//! `hash_per_block_bits`): levels of hash blocks, the topmost first on the device, each with the digests of the
//! level below it. One data block needs no level: its digest is the root hash.

use crate::units::BlockSize;

use super::{digest_size, superblock::VeritySuperblock};

/// A hash tree's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Bytes of a digest.
    pub digest: usize,
    /// Bytes from one digest to the next in a hash block.
    pub slot: usize,
    /// Digests in a hash block.
    pub per_block: u64,
    /// The levels, the lowest first: it has the digests of the data.
    pub levels: Vec<Level>,
}

/// A level of hash blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Where it begins: hash blocks from the tree's start.
    pub start: u64,
    /// How many hash blocks it has.
    pub blocks: u64,
}

/// How many digests of so many bytes a hash block holds: as many as fit, rounded down to a power of two; `None` if that
/// is not two at least.
pub(super) fn digests_per_block(block: BlockSize, digest: usize) -> Option<u64> {
    let fit = u64::from(block.get()) / (digest.max(1) as u64);
    (fit >= 2).then(|| 1 << fit.ilog2())
}

/// Hash blocks of each level over so many data blocks, the lowest first. A hash block holds two digests at least.
pub(super) fn level_sizes(data_blocks: u64, per_block: u64) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(per_block);
        sizes.push(below);
    }
    sizes
}

/// Parameters of which no tree can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A hash that is not known.
    #[error("the length of a digest of {0} is not known: write sha256 or sha512")]
    Algorithm(String),
    /// Each hash block has to hold two digests at least.
    #[error(
        "a hash block of {block} bytes holds no two digests of {algorithm}, which have {digest}: take larger hash blocks"
    )]
    Block {
        /// Bytes of a hash block.
        block: u32,
        /// The algorithm.
        algorithm: String,
        /// Bytes of a digest.
        digest: usize,
    },
    /// No data.
    #[error("there are no data blocks to be hashed")]
    Empty,
    /// More than numbers can count.
    #[error("the hash tree of {0} data blocks is longer than a device can be")]
    Large(u64),
}

impl Tree {
    /// The tree for the parameters of a superblock.
    pub fn of(superblock: &VeritySuperblock) -> Result<Self, Error> {
        let VeritySuperblock { algorithm, hash_block_size, data_blocks, format, .. } = superblock;
        let digest = digest_size(algorithm).ok_or_else(|| Error::Algorithm(algorithm.clone()))?;
        let block = hash_block_size.get();
        let Some(per_block) = digests_per_block(*hash_block_size, digest) else {
            return Err(Error::Block { block, algorithm: algorithm.clone(), digest });
        };
        if *data_blocks == 0 {
            return Err(Error::Empty);
        }
        let large = || Error::Large(*data_blocks);
        let slot = match format {
            0 => digest,
            _ => usize::try_from(u64::from(block) / per_block).map_err(|_| large())?,
        };
        let sizes = level_sizes(*data_blocks, per_block);
        let mut start = 0_u64;
        let mut levels = Vec::with_capacity(sizes.len());
        for blocks in sizes.into_iter().rev() {
            levels.push(Level { start, blocks });
            start = start.checked_add(blocks).ok_or_else(large)?;
        }
        levels.reverse();
        let tree = Self { digest, slot, per_block, levels };
        tree.end(0, *hash_block_size).map(|_| tree).ok_or_else(large)
    }

    /// Hash blocks of all levels.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.levels.iter().map(|level| level.blocks).sum()
    }

    /// Where it ends, in bytes from its device's start, if it begins so many hash blocks after that; `None` past what a
    /// file or a device can have.
    #[must_use]
    pub fn end(&self, start: u64, block: BlockSize) -> Option<u64> {
        let end = block.times(start.checked_add(self.blocks())?)?;
        i64::try_from(end.0).is_ok().then_some(end.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::disk::guid::Guid;

    fn tree(algorithm: &str, format: u32, hash_block: u32, data_blocks: u64) -> Result<Tree, Error> {
        Tree::of(&VeritySuperblock {
            uuid: Guid::default(),
            format,
            algorithm: algorithm.to_owned(),
            data_block_size: BlockSize::B4096,
            hash_block_size: BlockSize::new(hash_block).unwrap(),
            data_blocks,
            salt: Vec::new(),
        })
    }

    #[test]
    fn shapes() {
        for (algorithm, format, block, data_blocks, slot, levels) in [
            ("sha256", 1, 4096, 1, 32, &[][..]),
            ("sha256", 1, 4096, 2, 32, &[(0, 1)]),
            ("sha256", 1, 4096, 128, 32, &[(0, 1)]),
            ("sha256", 1, 4096, 129, 32, &[(1, 2), (0, 1)]),
            ("sha256", 1, 4096, 128 * 128 + 1, 32, &[(3, 129), (1, 2), (0, 1)]),
            ("sha1", 1, 4096, 129, 32, &[(1, 2), (0, 1)]),
            ("sha1", 0, 4096, 129, 20, &[(1, 2), (0, 1)]),
            ("sha384", 0, 512, 9, 48, &[(1, 2), (0, 1)]),
            ("sha512", 1, 512, 8, 64, &[(0, 1)]),
        ] {
            let tree = tree(algorithm, format, block, data_blocks).unwrap();
            let found: Vec<_> = tree.levels.iter().map(|level| (level.start, level.blocks)).collect();
            assert_eq!((tree.slot, found.as_slice()), (slot, levels), "{algorithm} {data_blocks}");
        }
    }

    #[test]
    fn what_cannot_be() {
        for (algorithm, block, data_blocks, expected) in [
            ("md4", 4096, 1, "digest of md4 is not known"),
            ("sha256", 4096, 0, "no data blocks"),
            ("sha256", 4096, u64::MAX, "longer than a device can be"),
            ("sha256", 512, 1 << 58, "longer than a device can be"),
        ] {
            let error = tree(algorithm, 1, block, data_blocks).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
