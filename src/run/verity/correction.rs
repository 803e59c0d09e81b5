//! Error correction of an image: its parity is made, in columns of all stripes at once, on all processors, in as much memory
//! whatever the image's size; and what is tied to a block is read.

use std::{fs::File, os::unix::fs::FileExt};

use crate::format::verity::{fec::Layout, reed_solomon::ReedSolomon};

use super::{
    levels::{Failure, Of},
    parallel,
    progress::Progress,
};

/// The most columns that a thread reads at once.
const PIECE: usize = 256 << 10;
/// Columns whose registers stay in a processor's nearest memory.
const TILE: usize = 512;

/// What is covered, its parity, and how they belong together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction<'a> {
    pub(super) layout: &'a Layout,
    pub(super) code: &'a ReedSolomon,
    pub(super) data: &'a File,
    pub(super) hash: &'a File,
    /// Where the tree begins, in blocks from the start of its device.
    pub(super) start: u64,
    pub(super) parity: &'a File,
    /// Where the parity begins, in bytes from the start of its device.
    pub(super) offset: u64,
}

impl Correction<'_> {
    /// Writes the parity.
    pub(super) fn encode(&self, progress: &Progress<'_>) -> Result<(), Failure> {
        let (word, registers) = (self.word(), TILE * self.code.register());
        let share =
            parallel::share(registers, TILE * word, PIECE.saturating_mul(word), parallel::processors());
        self.encode_by(share / word, progress)
    }

    /// Bytes of a column, with those of its parity.
    pub(super) fn word(&self) -> usize {
        self.layout.stripes() + self.code.roots()
    }

    /// So many columns at once in each thread.
    fn encode_by(&self, piece: usize, progress: &Progress<'_>) -> Result<(), Failure> {
        let columns = self.layout.columns();
        let own = || (Vec::new(), Vec::new(), vec![0; TILE * self.code.register()]);
        let each = piece * self.word() + TILE * self.code.register();
        parallel::each(columns.div_ceil(piece as u64), each, own, |(stripes, parity, registers), number| {
            let first = number * piece as u64;
            let length = usize::try_from(columns - first).unwrap_or(usize::MAX).min(piece);
            self.read(first, length, stripes)?;
            parity.resize(length * self.code.roots(), 0);
            for (tile, to) in (0..length).step_by(TILE).zip(parity.chunks_mut(TILE * self.code.roots())) {
                registers.fill(0);
                for stripe in stripes.chunks_exact(length) {
                    let bytes = stripe.get(tile..(tile + TILE).min(length)).unwrap_or_default();
                    self.code.feed(registers, bytes);
                }
                self.code.parity(registers, to);
            }
            let at = self.offset + first * self.code.roots() as u64;
            let failed = |source| Failure::Io { what: "write", of: Of::Parity, at, source };
            self.parity.write_all_at(parity, at).map_err(failed)?;
            progress.add(stripes.len() as u64);
            Ok(())
        })
    }

    /// Reads so many columns, from the one of this number on: stripe after stripe.
    pub(super) fn read(&self, first: u64, length: usize, to: &mut Vec<u8>) -> Result<(), Failure> {
        to.resize(length * self.layout.stripes(), 0);
        let stripes = to.chunks_exact_mut(length.max(1));
        (0..)
            .zip(stripes)
            .try_for_each(|(stripe, to)| self.covered(stripe * self.layout.columns() + first, to))
    }

    /// Reads the parity of so many columns.
    pub(super) fn read_parity(&self, first: u64, length: usize) -> Result<Vec<u8>, Failure> {
        let mut parity = vec![0; length * self.code.roots()];
        let at = self.offset + first * self.code.roots() as u64;
        let failed = |source| Failure::Io { what: "read", of: Of::Parity, at, source };
        self.parity.read_exact_at(&mut parity, at).map_err(failed)?;
        Ok(parity)
    }

    /// Reads what is covered from this byte on: data, then the hash device, then zeros.
    fn covered(&self, at: u64, to: &mut [u8]) -> Result<(), Failure> {
        let block = u64::from(self.layout.block.get());
        let (data, all) = (self.layout.data_blocks * block, self.layout.blocks() * block);
        let until = |end: u64| usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(to.len());
        let (of_data, of_both) = (until(data), until(all));
        let (covered, zeros) = to.split_at_mut(of_both);
        let (from_data, from_hash) = covered.split_at_mut(of_data);
        zeros.fill(0);
        read(self.data, Of::Data, at, from_data)?;
        let at = (at + of_data as u64).saturating_sub(data) + self.start * block;
        read(self.hash, Of::Tree, at, from_hash)
    }
}

fn read(file: &File, of: Of, at: u64, to: &mut [u8]) -> Result<(), Failure> {
    if to.is_empty() {
        return Ok(());
    }
    file.read_exact_at(to, at).map_err(|source| Failure::Io { what: "read", of, at, source })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::units::{BlockSize, Bytes};

    /// What is made in many pieces is what is made in one, and its words are code words.
    #[test]
    fn pieces_are_as_the_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let bytes: Vec<u8> =
            (0..600 * 512_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(path("data"), &bytes).unwrap();
        fs::write(path("hash"), &bytes[512..6 * 512]).unwrap();
        let open = |name: &str| {
            File::options().read(true).write(true).create(true).truncate(false).open(path(name)).unwrap()
        };
        let (data, hash) = (open("data"), open("hash"));
        let sizes = (BlockSize::B512, BlockSize::B512);
        let layout = Layout::new(4, sizes, 600, (1, 2), Bytes(5 * 512)).unwrap();
        let code = ReedSolomon::new(4).unwrap();
        let made = |name: &str, piece| {
            let parity = open(name);
            let correction = Correction {
                layout: &layout,
                code: &code,
                data: &data,
                hash: &hash,
                start: 1,
                parity: &parity,
                offset: 1024,
            };
            let told = AtomicU64::new(0);
            let watch = |done: Bytes, of: Bytes| {
                assert!(done <= of);
                told.fetch_max(done.0, Ordering::Relaxed);
            };
            correction.encode_by(piece, &Progress::new(layout.encoded(), &watch)).unwrap();
            assert_eq!(told.into_inner(), layout.encoded().0, "the bar stood still while parity was made");
            let (mut stripes, parity) = (Vec::new(), correction.read_parity(700, 1).unwrap());
            correction.read(700, 1, &mut stripes).unwrap();
            let mut word: [u8; 255] = [stripes, parity].concat().try_into().unwrap();
            assert_eq!(code.mend(&mut word, &[]), Ok(0));
            fs::read(path(name)).unwrap()
        };
        assert_eq!(layout.columns(), 3 * 512);
        let (one, many) = (made("one", 4096), made("many", 512));
        assert_eq!(one.len() as u64, 1024 + layout.parity().0);
        assert!(one == many);
    }
}
