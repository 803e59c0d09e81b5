//! A hash tree from data, or data against a hash tree: level by level, a hash block at a time, on all processors. What
//! is in memory at once is one hash block and a piece of what it covers for each of them: 64 MiB in all at most, whatever the
//! image's size and however many processors there are.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::{
    format::verity::tree::{Level, Tree},
    sys::file::next_data,
    units::BlockSize,
};

use super::{digests::Digests, parallel, progress::Progress};

/// The most bytes that a thread reads at once.
const PIECE: usize = 1 << 18;

/// Data, its hash tree, and how they belong together.
#[derive(Debug)]
pub(super) struct Levels<'a> {
    pub(super) tree: &'a Tree,
    pub(super) digest: &'a Digests,
    pub(super) data: &'a File,
    pub(super) data_blocks: u64,
    pub(super) data_block: BlockSize,
    pub(super) hash: &'a File,
    pub(super) hash_block: BlockSize,
    /// Where the tree begins, in hash blocks from the start of its device.
    pub(super) start: u64,
    /// Told of every block that digests were made of.
    pub(super) progress: &'a Progress<'a>,
}

/// What is wrong with a tree, or with getting at it.
#[derive(Debug)]
pub(super) enum Failure {
    /// Reading or writing, so many bytes from the start of its file.
    Io { what: &'static str, of: Of, at: u64, source: io::Error },
    /// A block does not match its digest: which, counted from 0.
    Block { of: Of, number: u64 },
    /// A hash block has other than zeros where no digest is.
    Spare { number: u64 },
}

/// What a block is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Data,
    /// Hash blocks from the tree's start.
    Tree,
    /// The parity of error correction.
    Parity,
}

/// What is to be done with the digests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Write,
    Compare,
}

/// Blocks that digests are made of.
#[derive(Clone, Copy)]
pub(super) struct Below<'a> {
    file: &'a File,
    pub(super) of: Of,
    pub(super) size: usize,
    /// The first, counted in blocks of this size from its file's start.
    pub(super) start: u64,
    pub(super) blocks: u64,
}

impl Levels<'_> {
    /// Writes the tree; the root's digest. Its topmost block is zeros meanwhile: what is interrupted has no root hash that
    /// anybody could have been told.
    pub(super) fn build(&self) -> Result<Vec<u8>, Failure> {
        let top = self.below(self.tree.levels.len());
        if let Some(last) = self.tree.levels.len().checked_sub(1) {
            top.write(&vec![0; top.size])?;
            (0..last).try_for_each(|number| self.level(number, Purpose::Write))?;
            let failed = |source| Failure::Io { what: "write out", of: Of::Tree, at: top.at(0), source };
            self.hash.sync_data().map_err(failed)?;
            self.level(last, Purpose::Write)?;
        }
        self.root()
    }

    /// Holds the data against the tree, the upper levels first: what is told is the highest block that is wrong.
    pub(super) fn check(&self) -> Result<(), Failure> {
        (0..self.tree.levels.len()).rev().try_for_each(|number| self.level(number, Purpose::Compare))
    }

    /// The digest of the topmost block.
    pub(super) fn root(&self) -> Result<Vec<u8>, Failure> {
        let top = self.below(self.tree.levels.len());
        let mut block = vec![0; top.size];
        top.read(0, &mut block)?;
        let mut digest = vec![0; self.tree.digest];
        self.digest.write(&block, &mut digest);
        Ok(digest)
    }

    /// What the level of this number has the digests of.
    pub(super) fn below(&self, number: usize) -> Below<'_> {
        match number.checked_sub(1).and_then(|below| self.tree.levels.get(below)) {
            Some(level) => Below {
                file: self.hash,
                of: Of::Tree,
                size: self.hash_block.get() as usize,
                start: self.start + level.start,
                blocks: level.blocks,
            },
            None => Below {
                file: self.data,
                of: Of::Data,
                size: self.data_block.get() as usize,
                start: 0,
                blocks: self.data_blocks,
            },
        }
    }

    fn level(&self, number: usize, purpose: Purpose) -> Result<(), Failure> {
        let Some(level) = self.tree.levels.get(number).copied() else { return Ok(()) };
        let below = self.below(number);
        let zeros = vec![0; below.size];
        let mut of_zeros = vec![0; self.tree.digest];
        self.digest.write(&zeros, &mut of_zeros);
        let (piece, block) = (self.piece(below), self.hash_block.get() as usize);
        let unit = || Unit {
            levels: self,
            level,
            below,
            purpose,
            zeros: &zeros,
            of_zeros: &of_zeros,
            piece: vec![0; piece],
            block: vec![0; block],
            found: vec![0; block],
        };
        parallel::each(level.blocks, piece + 2 * block, unit, Unit::work)
    }

    /// Bytes that a thread reads at once: whole blocks, one at least.
    pub(super) fn piece(&self, below: Below<'_>) -> usize {
        parallel::share(2 * self.hash_block.get() as usize, below.size, PIECE, parallel::processors())
    }
}

/// What a thread works with.
struct Unit<'a> {
    levels: &'a Levels<'a>,
    level: Level,
    below: Below<'a>,
    purpose: Purpose,
    zeros: &'a [u8],
    of_zeros: &'a [u8],
    piece: Vec<u8>,
    block: Vec<u8>,
    found: Vec<u8>,
}

impl Unit<'_> {
    /// One hash block of the level.
    fn work(&mut self, number: u64) -> Result<(), Failure> {
        let Tree { digest, slot, per_block, .. } = *self.levels.tree;
        let first = number * per_block;
        let count = per_block.min(self.below.blocks.saturating_sub(first));
        self.block.fill(0);
        let mut slots = self.block.chunks_mut(slot).map(|slot| slot.get_mut(..digest).unwrap_or_default());
        let mut done = 0;
        if self.below.is_hole(first, count)? {
            let taken = usize::try_from(count).unwrap_or(usize::MAX);
            slots.by_ref().take(taken).for_each(|to| to.copy_from_slice(self.of_zeros));
            done = count;
        }
        while done < count {
            let at_once = (self.piece.len() / self.below.size) as u64;
            let length = usize::try_from(at_once.min(count - done)).unwrap_or(1) * self.below.size;
            let piece = self.piece.get_mut(..length).unwrap_or_default();
            self.below.read(first + done, piece)?;
            let pairs = piece.chunks_exact(self.below.size).zip(&mut slots);
            self.levels.digest.write_all(pairs.filter_map(|(block, to)| {
                done += 1;
                if block == self.zeros {
                    to.copy_from_slice(self.of_zeros);
                    return None;
                }
                Some((block, to))
            }));
        }
        self.levels.progress.add(count * self.below.size as u64);
        let place = self.level.start + number;
        let at = (self.levels.start + place) * u64::from(self.levels.hash_block.get());
        let failed = |what| move |source| Failure::Io { what, of: Of::Tree, at, source };
        if self.purpose == Purpose::Write {
            return self.levels.hash.write_all_at(&self.block, at).map_err(failed("write"));
        }
        self.levels.hash.read_exact_at(&mut self.found, at).map_err(failed("read"))?;
        if self.found == self.block {
            return Ok(());
        }
        let pairs = self
            .found
            .chunks(slot)
            .zip(self.block.chunks(slot))
            .take(usize::try_from(count).unwrap_or(usize::MAX));
        let wrong =
            pairs.zip(first..).find(|((found, wanted), _)| found.get(..digest) != wanted.get(..digest));
        Err(match (wrong, self.below.of) {
            (Some((_, number)), Of::Tree) => {
                Failure::Block { of: Of::Tree, number: self.below.start - self.levels.start + number }
            }
            (Some((_, number)), of) => Failure::Block { of, number },
            (None, _) => Failure::Spare { number: place },
        })
    }
}

impl Below<'_> {
    /// Whether so many blocks from the one of this number on were never written: zeros that need no reading.
    fn is_hole(&self, number: u64, count: u64) -> Result<bool, Failure> {
        let at = self.at(number);
        match next_data(self.file, at) {
            Ok(data) => Ok(data.is_none_or(|data| data >= at + count * self.size as u64)),
            Err(source) => Err(Failure::Io { what: "look for data in", of: self.of, at, source }),
        }
    }

    /// Reads blocks from the one of this number on.
    pub(super) fn read(&self, number: u64, to: &mut [u8]) -> Result<(), Failure> {
        let at = self.at(number);
        let failed = |source| Failure::Io { what: "read", of: self.of, at, source };
        self.file.read_exact_at(to, at).map_err(failed)
    }

    /// Writes the first block.
    fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let at = self.at(0);
        let failed = |source| Failure::Io { what: "write", of: self.of, at, source };
        self.file.write_all_at(bytes, at).map_err(failed)
    }

    /// Where the block of this number is, from its file's start.
    fn at(&self, number: u64) -> u64 {
        (self.start + number) * self.size as u64
    }
}
