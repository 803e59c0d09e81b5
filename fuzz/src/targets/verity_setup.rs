//! `format/verity/setup.rs`, `format/verity/tree.rs`: a table that is made fits on its devices, data and hash tree share
//! no block, and its line reads back. (The first line has the options, two words of digits are the devices' sizes, and
//! the rest is a superblock.)

use nextroot::{
    format::{
        kernel::devno::Devno,
        verity::{
            digest_size,
            options::VerityOptions,
            root_hash::RootHash,
            setup::{Part, dm_uuid, table},
            superblock::VeritySuperblock,
            table::VerityTable,
            tree::Tree,
        },
    },
    units::Bytes,
};

pub(super) fn run(data: &[u8]) {
    let mut parts = data.splitn(4, |byte| *byte == b'\n').map(super::text);
    let mut next = || parts.next().unwrap_or_default();
    let (options, data_size, hash_size) = (next(), next(), next());
    let at = options.len() + data_size.len() + hash_size.len() + 3;
    let superblock = data.get(at..).and_then(|bytes| VeritySuperblock::parse(bytes).ok());
    let Ok(options) = VerityOptions::parse(&options) else { return };
    let (Ok(data_size), Ok(hash_size)) = (data_size.parse(), hash_size.parse()) else { return };
    let device = |minor| Devno { major: 254, minor };
    let of = superblock.as_ref().map(|superblock| superblock.algorithm.clone());
    let name = options.algorithm.clone().or(of).unwrap_or_else(|| "sha256".to_owned());
    let digest = digest_size(&name).unwrap_or(32);
    let Ok(root_hash) = "ab".repeat(digest).parse::<RootHash>() else { return };
    for hash_device in [1, 2] {
        let on_data = Part { devno: device(1), size: Bytes(data_size) };
        let on_hash = Part { devno: device(hash_device), size: Bytes(hash_size) };
        let made = table(on_data, on_hash, None, &root_hash, &options, superblock.as_ref(), true);
        let Ok(table) = made else { continue };
        assert_eq!(table.to_string().parse::<VerityTable>(), Ok(table.clone()));
        let end = table.data_block_size.times(table.data_blocks).expect("the data ends somewhere").0;
        assert!(end <= data_size);
        let start = table.hash_block_size.times(table.hash_start).expect("the tree begins somewhere").0;
        assert!(hash_device == 2 || start >= end, "data to {end}, tree from {start}");
        assert!(start <= hash_size);
        if let Some(superblock) = &superblock
            && let Ok(tree) = Tree::of(superblock)
        {
            let end = tree.end(table.hash_start, superblock.hash_block_size);
            assert!(end.is_some_and(|end| end <= hash_size), "{end:?} {hash_size}");
        }
    }
    assert!(dm_uuid(options.uuid, &name).len() <= 128);
}
