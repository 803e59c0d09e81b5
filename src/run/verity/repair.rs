//! Repairs an image in memory, as the kernel does while it reads (drivers/md/dm-verity-fec.c): from the root's block
//! down, each block that does not match its digest is made of its parity and of what that ties it to. First nothing is
//! known of which of those are wrong, then what digests tell of them. A block counts as repaired when it has its digest.
//! Repaired hash blocks are kept: the digests below are theirs.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
};

use crate::format::verity::{
    fec::Covered,
    reed_solomon::{Lost, WORD},
    tree::Level,
};

use super::{
    correction::Correction,
    levels::{Below, Failure, Levels, Of},
    parallel,
};

/// Neighbours that share a fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) of: Of,
    /// The first; of hash blocks counted from the tree's start.
    pub(super) first: u64,
    pub(super) blocks: u64,
    pub(super) fate: Fate,
}

/// What became of a block that does not match its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// So many bytes of it were wrong.
    Repaired { bytes: u64 },
    /// There is too little parity.
    Lost,
    /// The block with its digest is lost.
    Unknown,
}

/// An image that is being repaired.
pub(super) struct Repair<'a> {
    levels: Levels<'a>,
    correction: Correction<'a>,
    root_hash: &'a [u8],
    /// Hash blocks that were repaired, by their number from the tree's start.
    repaired: BTreeMap<u64, Vec<u8>>,
    /// Those that were not.
    lost: BTreeSet<u64>,
}

/// What a look at some blocks found.
#[derive(Default)]
struct Found {
    runs: Vec<Run>,
    repaired: Vec<(u64, Vec<u8>)>,
}

impl<'a> Repair<'a> {
    pub(super) fn new(levels: Levels<'a>, correction: Correction<'a>, root_hash: &'a [u8]) -> Self {
        Self { levels, correction, root_hash, repaired: BTreeMap::new(), lost: BTreeSet::new() }
    }

    /// All blocks that do not match their digests, in order, the upper levels first.
    pub(super) fn run(mut self) -> Result<Vec<Run>, Failure> {
        let mut runs = Vec::new();
        for number in (0..=self.levels.tree.levels.len()).rev() {
            let mut found = self.level(number)?;
            found.runs.sort_by_key(|run| run.first);
            for run in found.runs {
                if run.of == Of::Tree && !matches!(run.fate, Fate::Repaired { .. }) {
                    self.lost.extend(run.first..run.first + run.blocks);
                }
                join(&mut runs, run);
            }
            self.repaired.extend(found.repaired);
        }
        Ok(runs)
    }

    /// The blocks whose digests are on the level of this number; above the last one is the root hash.
    fn level(&self, number: usize) -> Result<Found, Failure> {
        let below = self.levels.below(number);
        let parents = self.levels.tree.levels.get(number).map_or(1, |level| level.blocks);
        let all = Mutex::new(Found::default());
        let piece = self.levels.piece(below);
        // A block is repaired with all the others that are in its words.
        let words = self.correction.word() * self.correction.layout.block.get() as usize;
        parallel::each(
            parents,
            piece + words,
            || vec![0; piece],
            |piece, parent| {
                let found = self.children(number, parent, below, piece)?;
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.runs.extend(found.runs);
                all.repaired.extend(found.repaired);
                Ok(())
            },
        )?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The blocks whose digests are in one hash block.
    fn children(
        &self,
        number: usize,
        parent: u64,
        below: Below<'_>,
        piece: &mut [u8],
    ) -> Result<Found, Failure> {
        let first = parent * self.levels.tree.per_block;
        let count = self.levels.tree.per_block.min(below.blocks.saturating_sub(first));
        let base = if below.of == Of::Tree { below.start - self.levels.start } else { 0 };
        let run = |child: u64, blocks, fate| Run { of: below.of, first: base + child, blocks, fate };
        let mut found = Found::default();
        let Some(digests) = self.digests(number, parent)? else {
            found.runs.push(run(first, count, Fate::Unknown));
            return Ok(found);
        };
        let mut slots = digests.chunks(self.levels.tree.slot.max(1));
        let mut child = first;
        while child < first + count {
            let at_once = ((piece.len() / below.size) as u64).min(first + count - child);
            let length = usize::try_from(at_once).unwrap_or(1) * below.size;
            let piece = piece.get_mut(..length).unwrap_or_default();
            below.read(child, piece)?;
            for (block, slot) in piece.chunks_exact(below.size).zip(&mut slots) {
                let wanted = slot.get(..self.levels.tree.digest).unwrap_or_default();
                if self.digest(block) != wanted {
                    let fate = match self.repair(number, base + child, below.of, wanted)? {
                        None => Fate::Lost,
                        Some(whole) => {
                            let bytes = block.iter().zip(&whole).filter(|(a, b)| a != b).count() as u64;
                            if below.of == Of::Tree {
                                found.repaired.push((base + child, whole));
                            }
                            Fate::Repaired { bytes }
                        }
                    };
                    join(&mut found.runs, run(child, 1, fate));
                }
                child += 1;
            }
        }
        Ok(found)
    }

    /// A block as it has to be, if its parity can tell.
    fn repair(&self, number: usize, block: u64, of: Of, wanted: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let layout = self.correction.layout;
        let covered = if of == Of::Data { Covered::Data(block) } else { Covered::Hash(block) };
        let (stripe, place) = layout.place(covered);
        let size = layout.block.get() as usize;
        let first = place * size as u64;
        let mut stripes = Vec::new();
        self.correction.read(first, size, &mut stripes)?;
        for (number, to) in stripes.chunks_exact_mut(size).enumerate() {
            if let Some(Covered::Hash(hash)) = layout.covered(number, place)
                && let Some(repaired) = self.repaired.get(&hash)
            {
                to.copy_from_slice(repaired);
            }
        }
        let parity = self.correction.read_parity(first, size)?;
        let attempt = |erasures: &[usize]| {
            let whole = self.mend(&stripes, &parity, stripe, erasures).ok()?;
            (self.digest(&whole) == wanted).then_some(whole)
        };
        match attempt(&[]) {
            Some(whole) => Ok(Some(whole)),
            None => Ok(attempt(&self.erasures(number, place, &stripes)?)),
        }
    }

    /// The bytes of one stripe, each by its code word.
    fn mend(
        &self,
        stripes: &[u8],
        parity: &[u8],
        stripe: usize,
        erasures: &[usize],
    ) -> Result<Vec<u8>, Lost> {
        let size = self.correction.layout.block.get() as usize;
        let columns = parity.chunks_exact(self.correction.code.roots()).enumerate();
        let mend = |(column, parity): (usize, &[u8])| {
            let mut word = [0; WORD];
            let bytes = stripes.iter().skip(column).step_by(size).chain(parity);
            word.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
            self.correction.code.mend(&mut word, erasures)?;
            word.get(stripe).copied().ok_or(Lost)
        };
        columns.map(mend).collect()
    }

    /// Which stripes have another block at this place than their digests say, as far as those are known by now: one more
    /// than parity can bear is enough.
    fn erasures(&self, number: usize, place: u64, stripes: &[u8]) -> Result<Vec<usize>, Failure> {
        let layout = self.correction.layout;
        let mut erasures = Vec::new();
        for (stripe, block) in stripes.chunks_exact(layout.block.get() as usize).enumerate() {
            let Some(covered) = layout.covered(stripe, place) else { break };
            if self.wanted(number, covered)?.is_some_and(|wanted| wanted != self.digest(block)) {
                erasures.push(stripe);
            }
            if erasures.len() > self.correction.code.roots() {
                break;
            }
        }
        Ok(erasures)
    }

    /// The digest that a block has to have, where it stands on the level of this number or above.
    fn wanted(&self, number: usize, block: Covered) -> Result<Option<Vec<u8>>, Failure> {
        let tree = self.levels.tree;
        let (above, child) = match block {
            Covered::Data(block) => (0, block),
            Covered::Hash(block) => {
                let is_on = |level: &Level| block.checked_sub(level.start).is_some_and(|n| n < level.blocks);
                match tree.levels.iter().enumerate().find(|(_, level)| is_on(level)) {
                    Some((number, level)) => (number + 1, block - level.start),
                    // What lies behind the tree.
                    None => return Ok(None),
                }
            }
        };
        if above < number {
            return Ok(None);
        }
        let (parent, slot) =
            (child / tree.per_block, usize::try_from(child % tree.per_block).unwrap_or(usize::MAX));
        let Some(digests) = self.digests(above, parent)? else { return Ok(None) };
        let digest = digests.chunks(tree.slot.max(1)).nth(slot).and_then(|slot| slot.get(..tree.digest));
        Ok(digest.map(<[u8]>::to_vec))
    }

    /// A block of digests of a level that was seen to; `None` where it is lost.
    fn digests(&self, number: usize, block: u64) -> Result<Option<Cow<'_, [u8]>>, Failure> {
        let Some(level) = self.levels.tree.levels.get(number) else {
            return Ok(Some(Cow::Borrowed(self.root_hash)));
        };
        let place = level.start + block;
        if self.lost.contains(&place) {
            return Ok(None);
        }
        match self.repaired.get(&place) {
            Some(repaired) => Ok(Some(Cow::Borrowed(repaired))),
            None => read(self.levels.hash, self.levels.start + place, self.levels.hash_block.get()).map(Some),
        }
    }

    fn digest(&self, block: &[u8]) -> Vec<u8> {
        let mut digest = vec![0; self.levels.tree.digest];
        self.levels.digest.write(block, &mut digest);
        digest
    }
}

/// Adds a run, to the last one where it goes on.
fn join(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) =
        runs.last_mut().filter(|last| last.of == run.of && last.first + last.blocks == run.first)
    {
        let fate = match (last.fate, run.fate) {
            (Fate::Repaired { bytes }, Fate::Repaired { bytes: more }) => {
                Some(Fate::Repaired { bytes: bytes + more })
            }
            (one, other) => (one == other).then_some(one),
        };
        if let Some(fate) = fate {
            last.blocks += run.blocks;
            last.fate = fate;
            return;
        }
    }
    runs.push(run);
}

fn read(hash: &File, block: u64, size: u32) -> Result<Cow<'static, [u8]>, Failure> {
    let at = block * u64::from(size);
    let mut bytes = vec![0; size as usize];
    let failed = |source| Failure::Io { what: "read", of: Of::Tree, at, source };
    hash.read_exact_at(&mut bytes, at).map_err(failed)?;
    Ok(Cow::Owned(bytes))
}
