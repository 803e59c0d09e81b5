//! `format/verity/options.rs`: sizes are those that dm-verity can take, a salt is no longer than a superblock's, a hash
//! name is one word, and a list that is read twice over is the same.

use nextroot::format::verity::{
    options::VerityOptions,
    superblock::{LARGEST_BLOCK, LONGEST_SALT},
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(options) = VerityOptions::parse(&text) else { return };
    for size in [options.data_block_size, options.hash_block_size].into_iter().flatten() {
        assert!(size.get().is_power_of_two() && (512..=LARGEST_BLOCK).contains(&size.get()));
    }
    assert!(options.hash_offset.0.is_multiple_of(512));
    assert!(options.format.is_none_or(|format| format < 2));
    assert!(options.data_blocks != Some(0));
    assert!(options.salt.as_ref().is_none_or(|salt| salt.len() <= LONGEST_SALT));
    let is_word = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(options.algorithm.as_ref().is_none_or(is_word));
    assert_eq!(VerityOptions::parse(&format!("{text},{text}")), Ok(options));
}
