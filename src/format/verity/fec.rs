//! Which bytes dm-verity's forward error correction ties together (drivers/md/dm-verity-fec.c; cryptsetup,
//! lib/verity/verity_fec.c).
//!
//! What is covered is one row of blocks: the data, and behind it its hash device from the tree's beginning on, to its end,
//! or to where the parity begins on it. It is cut into stripes of equal length, as many as a code word has bytes without
//! its parity; past the end are zeros. A column, which is the bytes at one place of every stripe, is a code word; so bytes
//! of one block are in different words. The parity of column after column is the area on the FEC device.

use crate::units::{BlockSize, Bytes};

use super::reed_solomon::{ROOTS, WORD};

/// Bytes of parity in a code word where nobody says how many (cryptsetup, `DEFAULT_VERITY_FEC_ROOTS`; systemd).
pub const DEFAULT_ROOTS: u32 = 2;

/// The shape of what is covered, and of its parity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of parity in a code word.
    pub roots: u32,
    /// The size of blocks of data, hash tree and parity.
    pub block: BlockSize,
    /// How many data blocks there are.
    pub data_blocks: u64,
    /// Hash blocks, with what lies behind the tree.
    pub hash_blocks: u64,
}

/// A block that is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    /// Of the data.
    Data(u64),
    /// Of the hash device, counted from the tree's beginning.
    Hash(u64),
}

/// What cannot be corrected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too few or too many.
    #[error("{0} roots: error correction has 2 to 24")]
    Roots(u32),
    /// Two sizes.
    #[error(
        "data blocks of {data} bytes and hash blocks of {hash}: error correction needs both of the same size"
    )]
    BlockSizes {
        /// Bytes of a data block.
        data: BlockSize,
        /// Bytes of a hash block.
        hash: BlockSize,
    },
    /// An offset that the kernel cannot be told.
    #[error(
        "parity from byte {offset} on: it has to begin at a multiple of {block} bytes, which is the size of a block"
    )]
    Offset {
        /// Where it would begin.
        offset: u64,
        /// The size of a block.
        block: BlockSize,
    },
    /// The tree is not there.
    #[error(
        "what is covered of the hash device ends at byte {end}, before the hash tree does, at {tree}: is it the right device, and the offset of the parity large enough?"
    )]
    Tree {
        /// Where what is covered ends.
        end: u64,
        /// Where the tree ends.
        tree: u64,
    },
    /// More than numbers can count.
    #[error("what error correction would cover is longer than a device can be")]
    Large,
}

impl Layout {
    /// For a tree of `blocks` hash blocks that begins `start` of them into its device, of which the bytes up to `end` are
    /// covered.
    pub fn new(
        roots: u32,
        sizes: (BlockSize, BlockSize),
        data_blocks: u64,
        (start, blocks): (u64, u64),
        end: Bytes,
    ) -> Result<Self, Error> {
        let (data, hash) = sizes;
        if data != hash {
            return Err(Error::BlockSizes { data, hash });
        }
        if !ROOTS.contains(&roots) {
            return Err(Error::Roots(roots));
        }
        let tree = start.checked_add(blocks).ok_or(Error::Large)?;
        let covered = end.0 / u64::from(hash.get());
        if covered < tree {
            return Err(Error::Tree { end: end.0, tree: hash.times(tree).ok_or(Error::Large)?.0 });
        }
        let layout = Self { roots, block: data, data_blocks, hash_blocks: covered - start };
        let all = data_blocks.checked_add(layout.hash_blocks).and_then(|blocks| data.times(blocks));
        // Rounded up to whole stripes it is still no more than the kernel's loff_t can say.
        let fits = all.is_some_and(|all| i64::try_from(all.0).is_ok_and(|all| all < i64::MAX >> 1));
        if fits { Ok(layout) } else { Err(Error::Large) }
    }

    /// Blocks that are covered.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.data_blocks + self.hash_blocks
    }

    /// Blocks of a stripe.
    #[must_use]
    pub fn stripe(&self) -> u64 {
        self.blocks().div_ceil(self.stripes() as u64)
    }

    /// How many stripes there are: bytes of a code word without its parity.
    #[must_use]
    pub fn stripes(&self) -> usize {
        WORD.saturating_sub(self.roots as usize)
    }

    /// How many columns there are: bytes of a stripe.
    #[must_use]
    pub fn columns(&self) -> u64 {
        self.stripe() * u64::from(self.block.get())
    }

    /// Bytes that parity is made of, with the zeros behind the last block.
    #[must_use]
    pub fn encoded(&self) -> Bytes {
        Bytes(self.columns().saturating_mul(self.stripes() as u64))
    }

    /// Blocks of parity.
    #[must_use]
    pub fn parity_blocks(&self) -> u64 {
        self.stripe() * u64::from(self.roots)
    }

    /// Bytes of parity.
    #[must_use]
    pub fn parity(&self) -> Bytes {
        Bytes(self.columns() * u64::from(self.roots))
    }

    /// The block at a place of a stripe, counted from 0; `None` past the end, where zeros are.
    #[must_use]
    pub fn covered(&self, stripe: usize, place: u64) -> Option<Covered> {
        let number = (stripe as u64).checked_mul(self.stripe())?.checked_add(place)?;
        match number.checked_sub(self.data_blocks) {
            None => Some(Covered::Data(number)),
            Some(number) => (number < self.hash_blocks).then_some(Covered::Hash(number)),
        }
    }

    /// The stripe of a block, and its place in that.
    #[must_use]
    pub fn place(&self, block: Covered) -> (usize, u64) {
        let number = match block {
            Covered::Data(number) => number,
            Covered::Hash(number) => self.data_blocks.saturating_add(number),
        };
        let stripe = self.stripe().max(1);
        (usize::try_from(number / stripe).unwrap_or(usize::MAX), number % stripe)
    }
}

/// Where parity begins, in blocks, as the kernel counts.
pub fn start(offset: Bytes, block: BlockSize) -> Result<u64, Error> {
    let size = u64::from(block.get());
    if offset.0.is_multiple_of(size) {
        Ok(offset.0 / size)
    } else {
        Err(Error::Offset { offset: offset.0, block })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: BlockSize = BlockSize::B4096;

    fn layout(roots: u32, data_blocks: u64, end: u64) -> Result<Layout, Error> {
        Layout::new(roots, (B, B), data_blocks, (1, 4), Bytes(end))
    }

    /// What veritysetup says of its "FEC blocks".
    #[test]
    fn shapes() {
        for (roots, data_blocks, end, blocks, stripe, parity) in [
            (2, 300, 5 * 4096, 304, 2, 4),
            (2, 249, 5 * 4096, 253, 1, 2),
            (2, 250, 5 * 4096, 254, 2, 4),
            (24, 300, 5 * 4096, 304, 2, 48),
            (24, 300, 9 * 4096 + 4095, 308, 2, 48),
        ] {
            let layout = layout(roots, data_blocks, end).unwrap();
            let found = (layout.blocks(), layout.stripe(), layout.parity_blocks());
            assert_eq!(found, (blocks, stripe, parity), "{roots} {data_blocks} {end}");
            assert_eq!(layout.parity(), B.times(parity).unwrap());
        }
    }

    #[test]
    fn every_block_has_one_place() {
        let layout = layout(2, 300, 5 * 4096).unwrap();
        let mut seen = Vec::new();
        for stripe in 0..layout.stripes() {
            for place in 0..layout.stripe() {
                let Some(block) = layout.covered(stripe, place) else { continue };
                assert_eq!(layout.place(block), (stripe, place));
                seen.push(block);
            }
        }
        let all = (0..300).map(Covered::Data).chain((0..4).map(Covered::Hash));
        assert_eq!(seen, all.collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be() {
        let sizes = Layout::new(2, (BlockSize::B512, B), 300, (1, 4), Bytes(5 * 4096));
        for (found, expected) in [
            (layout(1, 300, 5 * 4096).map(drop), "1 roots: error correction has 2 to 24"),
            (layout(25, 300, 5 * 4096).map(drop), "25 roots: error correction has 2 to 24"),
            (
                layout(2, 300, 5 * 4096 - 1).map(drop),
                "ends at byte 20479, before the hash tree does, at 20480: is it the right device",
            ),
            (layout(2, u64::MAX, 5 * 4096).map(drop), "is longer than a device can be"),
            (layout(2, 1 << 51, 5 * 4096).map(drop), "is longer than a device can be"),
            (sizes.map(drop), "data blocks of 512 bytes and hash blocks of 4096"),
            (start(Bytes(512), B).map(drop), "it has to begin at a multiple of 4096 bytes"),
        ] {
            let error = found.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(start(Bytes(8192), B), Ok(2));
    }
}
