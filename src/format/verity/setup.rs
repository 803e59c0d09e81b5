//! From a superblock or options, a root hash and two devices to a table, as libcryptsetup does it
//! (lib/verity/verity.c, lib/libdevmapper.c).

use super::{
    digest_size,
    fec::{self, DEFAULT_ROOTS, Layout},
    options::{Corruption, VerityOptions},
    superblock::{self, VeritySuperblock},
    table::{FEC_DEVICE, VerityTable},
    tree,
};
use crate::{
    format::{
        disk::guid::Guid,
        kernel::{devno::Devno, kernel_release},
        verity::root_hash::RootHash,
    },
    units::{BlockSize, Bytes},
};

/// A device that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub devno: Devno,
    /// Its length.
    pub size: Bytes,
}

/// Parameters that do not fit together, or not onto the devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option that says other than the superblock.
    #[error(
        "{option} is given, but the superblock says {superblock}: leave the option out, or name the right hash device"
    )]
    Mismatch {
        /// The option with its value.
        option: String,
        /// What the superblock says.
        superblock: String,
    },
    /// Without a superblock, all has to be given.
    #[error("superblock=no needs {0}")]
    Needed(&'static str),
    /// The root hash is not of this algorithm.
    #[error("the root hash has {got} bytes, but a digest of {algorithm} has {want}")]
    Digest {
        /// Bytes of the root hash.
        got: usize,
        /// The algorithm.
        algorithm: String,
        /// Bytes of its digests.
        want: usize,
    },
    /// The data does not fit on its device.
    #[error(
        "the data needs {needs:#} and its device has {has:#}: it is cut off, or the hash tree is of another image"
    )]
    DataTooLarge {
        /// Bytes of the data.
        needs: Bytes,
        /// Bytes of the device.
        has: Bytes,
    },
    /// The tree does not fit on its device.
    #[error(
        "the hash tree ends {needs:#} into its device, which has {has:#}: it is cut off, or another device"
    )]
    TreeTooLarge {
        /// Where the tree ends.
        needs: Bytes,
        /// Bytes of the device.
        has: Bytes,
    },
    /// Data and hash tree share blocks of one device.
    #[error(
        "the data reaches {data} into the device that also has the hash tree, at {tree}: hash-offset= is needed"
    )]
    Overlap {
        /// Where the data ends.
        data: Bytes,
        /// Where the tree begins.
        tree: Bytes,
    },
    /// Parity that cannot be.
    #[error(transparent)]
    Correction(#[from] fec::Error),
    /// The parity does not fit on its device.
    #[error(
        "the parity ends {needs:#} into its device, which has {has:#}: it is cut off, or of another image, or fec-roots= or fec-offset= is wrong"
    )]
    ParityTooLarge {
        /// Where the parity ends.
        needs: Bytes,
        /// Bytes of the device.
        has: Bytes,
    },
    /// Data and parity share blocks of one device.
    #[error(
        "the data reaches {data} into the device that also has the parity, at {parity}: fec-offset= is needed"
    )]
    ParityOverlap {
        /// Where the data ends.
        data: Bytes,
        /// Where the parity begins.
        parity: Bytes,
    },
}

/// Whether the kernel has `restart_on_error` and `panic_on_error`: without them an I/O error goes past the action that
/// corruption has.
pub type HasOnError = bool;

/// Whether the kernel of this release has them: they came with 6.12.
#[must_use]
pub fn has_on_error(release: &str) -> HasOnError {
    kernel_release::version(release) >= Some((6, 12))
}

/// The longest dm name in bytes (include/uapi/linux/dm-ioctl.h, `DM_NAME_LEN` without the zero at its end).
pub const LONGEST_NAME: usize = 127;

/// The table for a data and a hash device, and one with parity where there is one.
pub fn table(
    data: Part,
    hash: Part,
    parity: Option<Part>,
    root_hash: &RootHash,
    options: &VerityOptions,
    superblock: Option<&VeritySuperblock>,
    has_on_error: HasOnError,
) -> Result<VerityTable, Error> {
    let base = match superblock {
        Some(superblock) => agreed(options, superblock)?,
        None => given(options, data.size, data.devno == hash.devno)?,
    };
    let block = u64::from(base.hash_block_size.get());
    let hash_start = match superblock {
        Some(_) => options.hash_offset.0.saturating_add(superblock::SIZE as u64).div_ceil(block),
        None => options.hash_offset.0 / block,
    };
    let mut table = VerityTable {
        version: base.format,
        data: data.devno,
        hash: hash.devno,
        data_block_size: base.data_block_size,
        hash_block_size: base.hash_block_size,
        data_blocks: base.data_blocks,
        hash_start,
        algorithm: base.algorithm,
        root_hash: root_hash.clone(),
        salt: base.salt,
        options: words(options, has_on_error),
    };
    fits(&table, data, hash, options.hash_offset)?;
    if let Some(parity) = parity {
        table.options.extend(correction(&table, data, hash, parity, options)?);
    }
    Ok(table)
}

/// The dm UUID: `CRYPT-VERITY-UUID-NAME`, without the UUID where there is none; 128 bytes at most.
#[must_use]
pub fn dm_uuid(uuid: Option<Guid>, name: &str) -> String {
    let uuid = uuid.map(|uuid| uuid.to_string().replace('-', "") + "-").unwrap_or_default();
    let mut text = format!("CRYPT-VERITY-{uuid}{name}");
    while text.len() > 128 {
        text.pop();
    }
    text
}

/// The description of the key with the signature of the root hash: `cryptsetup:UUID-NAME`, without the UUID where there
/// is none.
#[must_use]
pub fn signature_key(uuid: Option<Guid>, name: &str) -> String {
    let uuid = uuid.map(|uuid| format!("{uuid}-")).unwrap_or_default();
    format!("cryptsetup:{uuid}{name}")
}

/// What the superblock says, where no option says other.
fn agreed(options: &VerityOptions, superblock: &VeritySuperblock) -> Result<VeritySuperblock, Error> {
    fn same<T: PartialEq + ToString>(name: &str, option: Option<&T>, superblock: &T) -> Result<(), Error> {
        match option {
            Some(option) if option != superblock => Err(Error::Mismatch {
                option: format!("{name}={}", option.to_string()),
                superblock: superblock.to_string(),
            }),
            _ => Ok(()),
        }
    }
    same("format", options.format.as_ref(), &superblock.format)?;
    same("data-block-size", options.data_block_size.as_ref(), &superblock.data_block_size)?;
    same("hash-block-size", options.hash_block_size.as_ref(), &superblock.hash_block_size)?;
    same("data-blocks", options.data_blocks.as_ref(), &superblock.data_blocks)?;
    same("hash", options.algorithm.as_ref(), &superblock.algorithm)?;
    same("uuid", options.uuid.as_ref(), &superblock.uuid)?;
    let salt = options.salt.as_ref().map(|salt| super::hex(salt));
    same("salt", salt.as_ref(), &super::hex(&superblock.salt))?;
    Ok(superblock.clone())
}

/// What the options say, with veritysetup's defaults.
fn given(options: &VerityOptions, data: Bytes, one_device: bool) -> Result<VeritySuperblock, Error> {
    let data_block_size = options.data_block_size.unwrap_or(BlockSize::B4096);
    let data_blocks = match options.data_blocks {
        Some(blocks) => blocks,
        None if one_device => {
            return Err(Error::Needed("data-blocks= where data and hash tree share a device"));
        }
        None => data.0 / u64::from(data_block_size.get()),
    };
    Ok(VeritySuperblock {
        uuid: options.uuid.unwrap_or_default(),
        format: options.format.unwrap_or(1),
        algorithm: options.algorithm.clone().unwrap_or_else(|| "sha256".to_owned()),
        data_block_size,
        hash_block_size: options.hash_block_size.unwrap_or(BlockSize::B4096),
        data_blocks,
        salt: options.salt.clone().ok_or(Error::Needed("salt= (salt=- for none)"))?,
    })
}

fn words(options: &VerityOptions, has_on_error: HasOnError) -> Vec<String> {
    let mut words = match options.corruption {
        Corruption::Fail => Vec::new(),
        Corruption::Ignore => vec!["ignore_corruption"],
        Corruption::Restart if has_on_error => vec!["restart_on_corruption", "restart_on_error"],
        Corruption::Restart => vec!["restart_on_corruption"],
        Corruption::Panic if has_on_error => vec!["panic_on_corruption", "panic_on_error"],
        Corruption::Panic => vec!["panic_on_corruption"],
    };
    words.extend(options.ignore_zero_blocks.then_some("ignore_zero_blocks"));
    words.extend(options.check_at_most_once.then_some("check_at_most_once"));
    words.into_iter().map(str::to_owned).collect()
}

/// The words for error correction: the values are those of libcryptsetup (lib/verity/verity_fec.c,
/// `VERITY_FEC_blocks`), the order is the kernel's own, in which it tells them again.
fn correction(
    table: &VerityTable,
    data: Part,
    hash: Part,
    parity: Part,
    options: &VerityOptions,
) -> Result<[String; 8], Error> {
    let offset = options.fec_offset;
    let sizes = (table.data_block_size, table.hash_block_size);
    let tree = (table.hash_start, tree_blocks(table, table.root_hash.bytes().len()));
    let end = if parity.devno == hash.devno { offset } else { hash.size };
    let roots = options.fec_roots.unwrap_or(DEFAULT_ROOTS);
    let layout = Layout::new(roots, sizes, table.data_blocks, tree, end)?;
    let start = fec::start(offset, layout.block)?;
    let of_data = layout.block.times(table.data_blocks).unwrap_or(Bytes(u64::MAX));
    if parity.devno == data.devno && offset < of_data {
        return Err(Error::ParityOverlap { data: of_data, parity: offset });
    }
    let needs = Bytes(offset.0.saturating_add(layout.parity().0));
    if needs > parity.size {
        return Err(Error::ParityTooLarge { needs, has: parity.size });
    }
    let word = str::to_owned;
    Ok([
        word(FEC_DEVICE),
        parity.devno.to_string(),
        word("fec_blocks"),
        layout.blocks().to_string(),
        word("fec_start"),
        start.to_string(),
        word("fec_roots"),
        roots.to_string(),
    ])
}

fn fits(table: &VerityTable, data: Part, hash: Part, hash_offset: Bytes) -> Result<(), Error> {
    const WRAPS: Bytes = Bytes(u64::MAX);
    let got = table.root_hash.bytes().len();
    if let Some(want) = digest_size(&table.algorithm).filter(|want| *want != got) {
        return Err(Error::Digest { got, algorithm: table.algorithm.clone(), want });
    }
    let needs = table.data_block_size.times(table.data_blocks.max(1)).unwrap_or(WRAPS);
    if needs > data.size {
        return Err(Error::DataTooLarge { needs, has: data.size });
    }
    let tree = table.hash_block_size.times(table.hash_start).unwrap_or(WRAPS).min(hash_offset);
    if data.devno == hash.devno && tree < needs {
        return Err(Error::Overlap { data: needs, tree });
    }
    let end = table.hash_start.checked_add(tree_blocks(table, got));
    let needs = end.and_then(|blocks| table.hash_block_size.times(blocks)).unwrap_or(WRAPS);
    if needs > hash.size {
        return Err(Error::TreeTooLarge { needs, has: hash.size });
    }
    Ok(())
}

/// Hash blocks of all levels; more than any device has where a hash block holds no two digests.
fn tree_blocks(table: &VerityTable, digest: usize) -> u64 {
    tree::digests_per_block(table.hash_block_size, digest).map_or(u64::MAX, |per_block| {
        tree::level_sizes(table.data_blocks, per_block).into_iter().fold(0, u64::saturating_add)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Part = Part { devno: Devno { major: 254, minor: 1 }, size: Bytes(1000 * 4096) };
    // 1000 blocks: 8 blocks of digests and one above them, after the superblock's.
    const HASH: Part = Part { devno: Devno { major: 254, minor: 2 }, size: Bytes(10 * 4096) };

    // 1009 blocks are covered, by two roots in stripes of four blocks: eight of parity, and one before it.
    const PARITY: Part = Part { devno: Devno { major: 254, minor: 3 }, size: Bytes(9 * 4096) };

    fn superblock() -> VeritySuperblock {
        VeritySuperblock {
            uuid: Guid::from_bytes([0x42; 16]),
            format: 1,
            algorithm: "sha256".to_owned(),
            data_block_size: BlockSize::B4096,
            hash_block_size: BlockSize::B4096,
            data_blocks: 1000,
            salt: vec![1, 2],
        }
    }

    fn root_hash(bytes: usize) -> RootHash {
        "ab".repeat(bytes).parse().unwrap()
    }

    fn line(data: Part, hash: Part, options: &str, superblock: Option<&VeritySuperblock>) -> String {
        let options = VerityOptions::parse(options).unwrap();
        // Parity on the hash device, or on one of its own.
        let parity = match options.fec_device.as_deref() {
            Some("hash") => Some(hash),
            Some("data") => Some(data),
            Some(_) => Some(PARITY),
            None => None,
        };
        match table(data, hash, parity, &root_hash(32), &options, superblock, true) {
            Ok(table) => table.to_string().replace(&"ab".repeat(32), "ROOT"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tables() {
        let one = |size| Part { size: Bytes(size), ..DATA };
        let s = superblock();
        let single = VeritySuperblock { data_blocks: 1, ..superblock() };
        let tree_only = |size| Part { size: Bytes(size), ..HASH };
        for (data, hash, options, superblock, expected) in [
            (DATA, HASH, "", Some(&s), "1 254:1 254:2 4096 4096 1000 1 sha256 ROOT 0102"),
            (
                DATA,
                HASH,
                "data-blocks=1000,hash=sha256,salt=0102",
                Some(&s),
                "1 254:1 254:2 4096 4096 1000 1 sha256 ROOT 0102",
            ),
            (
                DATA,
                HASH,
                "restart-on-corruption,ignore-zero-blocks",
                Some(&s),
                "1 254:1 254:2 4096 4096 1000 1 sha256 ROOT 0102 3 restart_on_corruption restart_on_error ignore_zero_blocks",
            ),
            (DATA, HASH, "superblock=no,salt=-", None, "1 254:1 254:2 4096 4096 1000 0 sha256 ROOT -"),
            (
                DATA,
                tree_only(11 * 4096),
                "superblock=no,salt=-,hash-offset=6144",
                None,
                "1 254:1 254:2 4096 4096 1000 1 sha256 ROOT -",
            ),
            (one(4096), tree_only(4096), "", Some(&single), "1 254:1 254:2 4096 4096 1 1 sha256 ROOT 0102"),
            (
                one(1010 * 4096),
                one(1010 * 4096),
                "hash-offset=4096000",
                Some(&s),
                "1 254:1 254:1 4096 4096 1000 1001 sha256 ROOT 0102",
            ),
        ] {
            assert_eq!(line(data, hash, options, superblock), expected);
        }
    }

    #[test]
    fn what_does_not_fit() {
        let sized = |part: Part, size| Part { size: Bytes(size), ..part };
        let s = superblock();
        for (got, expected) in [
            (
                line(sized(DATA, 4096), HASH, "", Some(&s)),
                "the data needs 3.9 MiB (4096000 B) and its device has 4.0 KiB (4096 B): it is cut off, or the hash tree is of another image",
            ),
            (
                line(DATA, sized(HASH, 9 * 4096), "", Some(&s)),
                "the hash tree ends 40.0 KiB (40960 B) into its device, which has 36.0 KiB (36864 B): it is cut off, or another device",
            ),
            (
                line(DATA, DATA, "", Some(&s)),
                "the data reaches 3.9 MiB into the device that also has the hash tree, at 0 B: hash-offset= is needed",
            ),
            (
                line(sized(DATA, 512), HASH, "superblock=no,salt=-", None),
                "the data needs 4.0 KiB (4096 B) and its device has 512 B: it is cut off, or the hash tree is of another image",
            ),
            (
                line(
                    sized(DATA, 4 << 20),
                    sized(DATA, 4 << 20),
                    "superblock=no,salt=-,data-block-size=512,data-blocks=3,hash-offset=1536",
                    None,
                ),
                "the data reaches 1.5 KiB into the device that also has the hash tree, at 0 B: hash-offset= is needed",
            ),
            (
                line(DATA, HASH, "hash=sha512", Some(&s)),
                "hash=sha512 is given, but the superblock says sha256: leave the option out, or name the right hash device",
            ),
            (line(DATA, HASH, "superblock=no", None), "superblock=no needs salt= (salt=- for none)"),
            (
                line(DATA, DATA, "superblock=no,salt=-", None),
                "superblock=no needs data-blocks= where data and hash tree share a device",
            ),
            (
                line(DATA, HASH, "superblock=no,salt=-,hash=sha512", None),
                "the root hash has 32 bytes, but a digest of sha512 has 64",
            ),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn error_correction() {
        let s = superblock();
        let small = VeritySuperblock { hash_block_size: BlockSize::B512, ..superblock() };
        let sized = |size| Part { size: Bytes(size), ..HASH };
        let (longer, long) = (sized(12 * 4096 + 512), sized(75 * 4096));
        let start = "1 254:1 254:2 4096 4096 1000 1 sha256 ROOT 0102 ";
        for (hash, options, superblock, expected) in [
            (HASH, "fec-device=x", &s, "8 use_fec_from_device 254:3 fec_blocks 1009 fec_start 0 fec_roots 2"),
            (
                HASH,
                "fec-device=x,fec-offset=4096,check-at-most-once",
                &s,
                "9 check_at_most_once use_fec_from_device 254:3 fec_blocks 1009 fec_start 1 fec_roots 2",
            ),
            // What lies behind the tree is covered, too.
            (
                longer,
                "fec-device=x",
                &s,
                "8 use_fec_from_device 254:3 fec_blocks 1011 fec_start 0 fec_roots 2",
            ),
            (
                long,
                "fec-device=hash,fec-offset=40960,fec-roots=13",
                &s,
                "8 use_fec_from_device 254:2 fec_blocks 1009 fec_start 10 fec_roots 13",
            ),
            (
                HASH,
                "fec-device=x,fec-roots=3",
                &s,
                "the parity ends 60.0 KiB (61440 B) into its device, which has 36.0 KiB (36864 B): it is cut off, or of another image, or fec-roots= or fec-offset= is wrong",
            ),
            (HASH, "fec-device=x,fec-offset=8192", &s, "the parity ends 40.0 KiB (40960 B) into its device"),
            (HASH, "fec-device=x,fec-offset=512", &s, "it has to begin at a multiple of 4096 bytes"),
            (HASH, "fec-device=hash", &s, "ends at byte 0, before the hash tree does, at 40960"),
            (
                HASH,
                "fec-device=data,fec-offset=4096",
                &s,
                "the data reaches 3.9 MiB into the device that also has the parity, at 4.0 KiB: fec-offset= is needed",
            ),
            (sized(1 << 20), "fec-device=x", &small, "error correction needs both of the same size"),
        ] {
            let line = line(DATA, hash, options, Some(superblock));
            match line.strip_prefix(start) {
                Some(words) => assert_eq!(words, expected, "{options}"),
                None => assert!(line.contains(expected), "{options}: {line}"),
            }
        }
    }

    #[test]
    fn uuids() {
        let uuid = Guid::from_bytes([0xab; 16]);
        assert_eq!(dm_uuid(Some(uuid), "root"), format!("CRYPT-VERITY-{}-root", "ab".repeat(16)));
        assert_eq!(dm_uuid(None, "usr"), "CRYPT-VERITY-usr");
        let key = signature_key(Some(uuid), "root");
        assert_eq!(key, "cryptsetup:abababab-abab-abab-abab-abababababab-root");
        assert_eq!(signature_key(None, "usr"), "cryptsetup:usr");
        assert_eq!(dm_uuid(Some(uuid), &"n".repeat(127)).len(), 128);
    }
}
