//! `format/verity/superblock.rs`, `format/verity/tree.rs`: what is read is written, and reads back; the data ends
//! somewhere; the tree over it has few levels, one below the other.

use nextroot::format::verity::{
    superblock::{LARGEST_BLOCK, LONGEST_SALT, SIZE, VeritySuperblock},
    tree::Tree,
};

pub(super) fn run(data: &[u8]) {
    let Ok(superblock) = VeritySuperblock::parse(data) else { return };
    assert!(superblock.salt.len() <= LONGEST_SALT && superblock.data_blocks > 0);
    assert!(superblock.data_block_size.get() <= LARGEST_BLOCK);
    assert!(superblock.data_block_size.times(superblock.data_blocks).is_some());
    let written = superblock.encode().expect("what was read can be written");
    assert_eq!(written.len(), SIZE);
    assert_eq!(VeritySuperblock::parse(&written).as_ref(), Ok(&superblock));
    let Ok(tree) = Tree::of(&superblock) else { return };
    assert!(tree.levels.len() <= 64 && tree.slot >= tree.digest);
    assert!(tree.per_block >= 2 && tree.per_block.is_power_of_two());
    assert!(tree.slot as u64 * tree.per_block <= u64::from(superblock.hash_block_size.get()));
    assert!(tree.levels.is_sorted_by(|lower, upper| upper.start + upper.blocks == lower.start));
    assert!(tree.levels.last().is_none_or(|top| (top.start, top.blocks) == (0, 1)));
}
