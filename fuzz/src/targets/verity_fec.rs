//! `format/verity/fec.rs`: every block that is covered has one place in one stripe, and stands there; what is past the end
//! has none; there is parity for each column, and no count leaves its number. (Words of digits: roots, the size of a
//! block, data blocks, where the tree begins, its blocks, where what is covered ends, then blocks to ask for.)

use nextroot::{
    format::verity::fec::{Covered, Layout, start},
    units::{BlockSize, Bytes},
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let mut numbers = text.split_whitespace().map_while(|word| word.parse::<u64>().ok());
    let mut next = || numbers.next();
    let (Some(roots), Some(size), Some(blocks)) = (next(), next(), next()) else { return };
    let (Some(first), Some(of_tree), Some(end)) = (next(), next(), next()) else { return };
    let (Ok(roots), Ok(size)) = (u32::try_from(roots), u32::try_from(size)) else { return };
    let Ok(block) = BlockSize::new(size) else { return };
    let at = start(Bytes(end), block);
    assert!(at.is_ok_and(|at| at * u64::from(size) == end) == end.is_multiple_of(size.into()));
    let Ok(layout) = Layout::new(roots, (block, block), blocks, (first, of_tree), Bytes(end)) else { return };
    assert!(layout.hash_blocks >= of_tree && layout.stripes() + roots as usize == 255);
    assert!(layout.blocks() <= layout.stripe() * layout.stripes() as u64);
    assert!(layout.stripe() == 0 || (layout.stripe() - 1) * (layout.stripes() as u64) < layout.blocks());
    assert_eq!(layout.parity().0, layout.columns() * u64::from(roots));
    assert_eq!(layout.parity().0, layout.parity_blocks() * u64::from(size));
    for number in numbers.chain([0, blocks, layout.blocks(), u64::MAX]) {
        let (stripe, place) = layout.place(Covered::Data(number));
        let found = layout.covered(stripe, place);
        let expected = match number.checked_sub(blocks) {
            None => Some(Covered::Data(number)),
            Some(number) => (number < layout.hash_blocks).then_some(Covered::Hash(number)),
        };
        assert!(layout.stripe() == 0 || found == expected, "{number}: {found:?}, not {expected:?}");
        if let Some(covered) = expected {
            assert!(stripe < layout.stripes() && place < layout.stripe());
            assert_eq!(layout.place(covered), (stripe, place));
        }
    }
}
