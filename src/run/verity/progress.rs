//! How far a command is.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    format::verity::{superblock::VeritySuperblock, tree::Tree},
    units::Bytes,
};

/// Is told how many bytes are done, of how many; from several threads, often.
pub type Watch<'a> = &'a (dyn Fn(Bytes, Bytes) + Sync);

/// What digests are made of.
pub(super) fn digested(superblock: &VeritySuperblock, tree: &Tree) -> Bytes {
    let of_tree = superblock.hash_block_size.times(tree.blocks()).unwrap_or_default();
    let of_data = superblock.data_block_size.times(superblock.data_blocks).unwrap_or_default();
    Bytes(of_data.0.saturating_add(of_tree.0))
}

/// Counts what is done, and tells.
pub(super) struct Progress<'a> {
    done: AtomicU64,
    of: Bytes,
    watch: Watch<'a>,
}

impl<'a> Progress<'a> {
    /// For so many bytes.
    pub(super) fn new(of: Bytes, watch: Watch<'a>) -> Self {
        Self { done: AtomicU64::new(0), of, watch }
    }

    /// So many bytes more are done.
    pub(super) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        (self.watch)(Bytes(done), self.of);
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("done", &self.done).field("of", &self.of).finish_non_exhaustive()
    }
}
