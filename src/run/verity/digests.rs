//! Digests of many blocks at once, by what is fastest on this processor.

use crate::{
    format::verity::{
        digest::{BlockDigest, Unknown, around},
        superblock::VeritySuperblock,
    },
    sys::sha256_lanes::{LANES, Sha256Lanes},
};

/// Fewer blocks than these are faster one after the other: sixteen at once cost as much as eight or so.
const WORTH_IT: usize = 8;

/// What makes digests; it may be used by several threads.
#[derive(Debug)]
pub(super) struct Digests {
    one: BlockDigest,
    lanes: Option<Sha256Lanes>,
}

impl Digests {
    /// For the parameters of a superblock.
    pub(super) fn new(superblock: &VeritySuperblock) -> Result<Self, Unknown> {
        let VeritySuperblock { algorithm, salt, format, .. } = superblock;
        let (before, after) = around(salt, *format);
        let lanes = if algorithm == "sha256" { Sha256Lanes::new(before, after) } else { None };
        Ok(Self { one: BlockDigest::new(algorithm, salt, *format)?, lanes })
    }

    /// Writes the digest of a block, as much of it as there is room for.
    pub(super) fn write(&self, block: &[u8], to: &mut [u8]) {
        self.one.write(block, to);
    }

    /// Writes the digest of each block to where it belongs, as much of it as there is room for.
    pub(super) fn write_all<'a>(&self, blocks: impl Iterator<Item = (&'a [u8], &'a mut [u8])>) {
        let mut waiting: Vec<(&[u8], &mut [u8])> = Vec::with_capacity(LANES);
        for pair in blocks {
            waiting.push(pair);
            if waiting.len() == LANES {
                self.together(&mut waiting);
            }
        }
        self.together(&mut waiting);
    }

    fn together(&self, waiting: &mut Vec<(&[u8], &mut [u8])>) {
        let digests = match (&self.lanes, waiting.as_slice()) {
            (Some(lanes), [(first, _), ..]) if waiting.len() >= WORTH_IT => {
                let mut messages = [*first; LANES];
                messages.iter_mut().zip(waiting.iter()).for_each(|(message, (block, _))| *message = block);
                lanes.digest(&messages)
            }
            _ => None,
        };
        match digests {
            Some(digests) => {
                for ((_, to), digest) in waiting.drain(..).zip(digests) {
                    to.iter_mut().zip(digest).for_each(|(to, byte)| *to = byte);
                }
            }
            None => waiting.drain(..).for_each(|(block, to)| self.one.write(block, to)),
        }
    }
}
