//! File systems by their superblocks.
//!
//! Only what choosing a driver and comparing UUID= and LABEL= needs. Offsets and magic numbers are those of
//! the kernel's headers, named at each; texts are printed as blkid(8) prints them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::format::{
    bytes::{array, le16, le32, le64, printable, text},
    disk::guid::Guid,
};
use crate::units::Bytes;

/// How many bytes from the start of a device are needed: btrfs has its superblock at 64 KiB.
pub const PREFIX: usize = 72 << 10;

/// What a device holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Superblock {
    /// Which file system, or other content.
    pub kind: Kind,
    /// What UUID= compares with.
    pub uuid: Option<String>,
    /// What LABEL= compares with.
    pub label: Option<String>,
    /// How much of the device it claims, where the superblock says so: more than the device has is an image
    /// that was cut off.
    pub size: Option<Bytes>,
}

/// Contents that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// EROFS
    Erofs,
    /// squashfs 4
    Squashfs,
    /// ext2: no journal
    Ext2,
    /// ext3: a journal, and nothing that only ext4 knows
    Ext3,
    /// ext4
    Ext4,
    /// Btrfs
    Btrfs,
    /// XFS
    Xfs,
    /// F2FS
    F2fs,
    /// FAT
    Vfat,
    /// A dm-verity hash tree; no file system
    Verity,
    /// LUKS; no file system
    Luks,
    /// Swap space; no file system
    Swap,
}

/// Each kind's name: the kernel's where it is a file system.
const NAMES: [(Kind, &str); 12] = [
    (Kind::Erofs, "erofs"),
    (Kind::Squashfs, "squashfs"),
    (Kind::Ext2, "ext2"),
    (Kind::Ext3, "ext3"),
    (Kind::Ext4, "ext4"),
    (Kind::Btrfs, "btrfs"),
    (Kind::Xfs, "xfs"),
    (Kind::F2fs, "f2fs"),
    (Kind::Vfat, "vfat"),
    (Kind::Verity, "DM_verity_hash"),
    (Kind::Luks, "crypto_LUKS"),
    (Kind::Swap, "swap"),
];

/// A name of no kind that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a content that is recognised")]
pub struct UnknownKind(pub String);

impl Superblock {
    /// Recognises a device by its first [`PREFIX`] bytes, or by all of them where it is shorter.
    #[must_use]
    pub fn recognise(start: &[u8]) -> Option<Self> {
        [erofs, squashfs, ext, btrfs, xfs, f2fs, verity, luks, swap, vfat]
            .iter()
            .find_map(|probe| probe(start))
    }
}

impl Kind {
    /// Whether it can be mounted.
    #[must_use]
    pub fn is_filesystem(self) -> bool {
        !matches!(self, Self::Verity | Self::Luks | Self::Swap)
    }

    /// The kernel module that mounts it.
    #[must_use]
    pub fn module(self) -> Option<&'static str> {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 => Some("ext4"),
            Self::Verity | Self::Luks | Self::Swap => None,
            other => Some(other.name()),
        }
    }

    /// The kernel's name of the file system.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

fn uuid(bytes: &[u8], offset: usize) -> Option<String> {
    array(bytes, offset).map(Guid::from_bytes).filter(|uuid| !uuid.is_nil()).map(|uuid| uuid.to_string())
}

fn found(kind: Kind, uuid: Option<String>, label: Option<String>, size: Option<u64>) -> Option<Superblock> {
    let [uuid, label] = [uuid, label].map(|text| text.map(|text| printable(&text, '?')));
    Some(Superblock { kind, uuid, label, size: size.map(Bytes) })
}

/// The length of `count` blocks of 2^`bits` bytes; `None` where `bits` is absurd or the length wraps.
fn blocks(count: impl Into<u64>, bits: u32) -> Option<u64> {
    const LARGEST: u32 = 16;
    (bits <= LARGEST).then(|| count.into().checked_mul(1 << bits)).flatten()
}

/// fs/erofs/erofs_fs.h, `struct erofs_super_block` at 1024.
fn erofs(start: &[u8]) -> Option<Superblock> {
    (le32(start, 1024)? == 0xe0f5_e1e2).then_some(())?;
    let size = blocks(le32(start, 1024 + 36)?, u32::from(*start.get(1024 + 12)?));
    found(Kind::Erofs, uuid(start, 1024 + 48), text(start, 1024 + 64, 16), size)
}

/// fs/squashfs/squashfs_fs.h, `struct squashfs_super_block`; only version 4 is little-endian for sure.
fn squashfs(start: &[u8]) -> Option<Superblock> {
    (array(start, 0)? == *b"hsqs" && le16(start, 28)? == 4).then_some(())?;
    found(Kind::Squashfs, None, None, le64(start, 40))
}

/// fs/ext4/ext4.h, `struct ext4_super_block` at 1024; told apart as libblkid does. A journal of its own, which
/// has the same magic number and no files, is not recognised.
fn ext(start: &[u8]) -> Option<Superblock> {
    const JOURNAL: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    const RECOVER: u32 = 0x4;
    const SIXTY_FOUR_BIT: u32 = 0x80;
    /// Incompatible features that ext2 knows: filetype, meta block groups.
    const OLD_INCOMPATIBLE: u32 = 0x12;
    /// Read-only compatible ones: sparse superblocks, large files, directory hashes.
    const OLD_READ_ONLY: u32 = 0x7;
    (le16(start, 1024 + 56)? == 0xef53).then_some(())?;
    let journal = le32(start, 1024 + 92)? & JOURNAL != 0;
    let incompatible = le32(start, 1024 + 96)?;
    (incompatible & JOURNAL_DEVICE == 0).then_some(())?;
    let known = OLD_INCOMPATIBLE | if journal { RECOVER } else { 0 };
    let newer = incompatible & !known != 0 || le32(start, 1024 + 100)? & !OLD_READ_ONLY != 0;
    let kind = match (newer, journal) {
        (true, _) => Kind::Ext4,
        (false, true) => Kind::Ext3,
        (false, false) => Kind::Ext2,
    };
    let high = if incompatible & SIXTY_FOUR_BIT != 0 { le32(start, 1024 + 336)? } else { 0 };
    let count = u64::from(high) << 32 | u64::from(le32(start, 1024 + 4)?);
    let size = blocks(count, le32(start, 1024 + 24)?.saturating_add(10));
    found(kind, uuid(start, 1024 + 104), text(start, 1024 + 120, 16), size)
}

/// include/uapi/linux/btrfs_tree.h, `struct btrfs_super_block` at 64 KiB.
fn btrfs(start: &[u8]) -> Option<Superblock> {
    const AT: usize = 64 << 10;
    (array(start, AT + 64)? == *b"_BHRfS_M").then_some(())?;
    // The sum of all its devices: what one of several claims is not in this field.
    let size = if le64(start, AT + 136)? == 1 { le64(start, AT + 112) } else { None };
    found(Kind::Btrfs, uuid(start, AT + 32), text(start, AT + 299, 256), size)
}

/// fs/xfs/libxfs/xfs_format.h, `struct xfs_dsb`, big-endian.
fn xfs(start: &[u8]) -> Option<Superblock> {
    (array(start, 0)? == *b"XFSB").then_some(())?;
    let size = u64::from_be_bytes(array(start, 8)?).checked_mul(u32::from_be_bytes(array(start, 4)?).into());
    found(Kind::Xfs, uuid(start, 32), text(start, 108, 12), size)
}

/// include/linux/f2fs_fs.h, `struct f2fs_super_block` at 1024; the label is UTF-16.
fn f2fs(start: &[u8]) -> Option<Superblock> {
    (le32(start, 1024)? == 0xf2f5_2010).then_some(())?;
    let units: Vec<u16> =
        (0..512).map_while(|i| le16(start, 1024 + 124 + 2 * i)).take_while(|unit| *unit != 0).collect();
    let label = String::from_utf16_lossy(&units);
    let size = blocks(le64(start, 1024 + 36)?, le32(start, 1024 + 16)?);
    found(Kind::F2fs, uuid(start, 1024 + 108), (!label.is_empty()).then_some(label), size)
}

/// The superblock of veritysetup at 0; its UUID names the tree, not a file system.
fn verity(start: &[u8]) -> Option<Superblock> {
    (array(start, 0)? == *b"verity\0\0").then_some(())?;
    found(Kind::Verity, uuid(start, 16), None, None)
}

/// The LUKS1 and LUKS2 on-disk formats, big-endian: both have the UUID as text at 168, the second a label.
fn luks(start: &[u8]) -> Option<Superblock> {
    (array(start, 0)? == *b"LUKS\xba\xbe").then_some(())?;
    let label = if array(start, 6)? == [0, 2] { text(start, 24, 48) } else { None };
    found(Kind::Luks, text(start, 168, 40), label, None)
}

/// include/linux/swap.h, `union swap_header`: the magic ends the first page, whose size is the machine's that
/// made it.
fn swap(start: &[u8]) -> Option<Superblock> {
    const PAGES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];
    PAGES.iter().find(|page| array(start, *page - 10) == Some(*b"SWAPSPACE2"))?;
    found(Kind::Swap, uuid(start, 1024 + 12), text(start, 1024 + 28, 16), None)
}

/// Microsoft's FAT specification, the BIOS parameter block; the last to be tried, since any boot sector
/// ends like it. The label is the boot sector's; one that only the root directory has is not seen.
fn vfat(start: &[u8]) -> Option<Superblock> {
    (array(start, 510)? == [0x55, 0xaa]).then_some(())?;
    let (is_fat32, is_fat16) = (array(start, 82)? == *b"FAT32   ", array::<3>(start, 54)? == *b"FAT");
    let at = match (is_fat32, is_fat16) {
        (true, _) => 67,
        (false, true) => 39,
        (false, false) => return None,
    };
    let serial = le32(start, at)?;
    let label = text(start, at + 4, 11).filter(|label| label != "NO NAME");
    let uuid = (serial != 0).then(|| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff));
    let sectors = match le16(start, 19)? {
        0 => le32(start, 32)?,
        few => few.into(),
    };
    found(Kind::Vfat, uuid, label, Some(u64::from(sectors) * u64::from(le16(start, 11)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; PREFIX];
        for (at, field) in fields {
            bytes[*at..*at + field.len()].copy_from_slice(field);
        }
        bytes
    }

    const UUID: [u8; 16] =
        [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0];
    const UUID_TEXT: &str = "11223344-5566-7788-99aa-bbccddeeff00";

    struct Row<'a> {
        fields: &'a [(usize, &'a [u8])],
        kind: Kind,
        uuid: Option<&'a str>,
        label: Option<&'a str>,
        size: u64,
    }

    /// Names are as `blkid -p` prints them for images of the file systems' own tools.
    #[test]
    fn kinds() {
        let row = |fields, kind, uuid, label, size| Row { fields, kind, uuid, label, size };
        let rows = [
            row(
                &[(1024, b"\xe2\xe1\xf5\xe0"), (1036, &[12]), (1060, &[76]), (1072, &UUID), (1088, b"root")],
                Kind::Erofs,
                Some(UUID_TEXT),
                Some("root"),
                311_296,
            ),
            row(&[(0, b"hsqs"), (28, &[4, 0]), (40, &[0xfc, 0xb0, 4])], Kind::Squashfs, None, None, 307_452),
            row(
                &[(1028, &[0, 0x20]), (1080, b"\x53\xef"), (1128, &UUID), (1144, b"sixteen bytes ok")],
                Kind::Ext2,
                Some(UUID_TEXT),
                Some("sixteen bytes ok"),
                8 << 20,
            ),
            row(
                &[(1028, &[0, 0x40]), (1080, b"\x53\xef"), (1116, &[4]), (1120, &[6]), (1128, &UUID)],
                Kind::Ext3,
                Some(UUID_TEXT),
                None,
                16 << 20,
            ),
            row(
                &[(1028, &[2]), (1048, &[2]), (1080, b"\x53\xef"), (1116, &[4]), (1120, &[0x42])],
                Kind::Ext4,
                None,
                None,
                8192,
            ),
            row(&[(1028, &[2]), (1080, b"\x53\xef"), (1120, &[6])], Kind::Ext4, None, None, 2048),
            row(
                &[(1080, b"\x53\xef"), (1120, &[0xc2]), (1048, &[2]), (1360, &[1])],
                Kind::Ext4,
                None,
                None,
                1 << 44,
            ),
            row(
                &[(65600, b"_BHRfS_M"), (65568, &UUID), (65651, &[8]), (65672, &[1]), (65835, b"b")],
                Kind::Btrfs,
                Some(UUID_TEXT),
                Some("b"),
                128 << 20,
            ),
            row(
                &[(0, b"XFSB\0\0\x10\0\0\0\0\0\0\x01\x40\0"), (32, &UUID), (108, b"x")],
                Kind::Xfs,
                Some(UUID_TEXT),
                Some("x"),
                320 << 20,
            ),
            row(
                &[
                    (1024, b"\x10\x20\xf5\xf2"),
                    (1040, &[12]),
                    (1061, &[0x40]),
                    (1132, &UUID),
                    (1148, b"f\0\xdf\0"),
                ],
                Kind::F2fs,
                Some(UUID_TEXT),
                Some("f\u{df}"),
                64 << 20,
            ),
            row(
                &[
                    (11, &[0, 2]),
                    (34, &[2]),
                    (510, b"\x55\xaa"),
                    (82, b"FAT32   "),
                    (67, &[0xcd, 0xab, 0x34, 0x12]),
                    (71, b"MY ESP     "),
                ],
                Kind::Vfat,
                Some("1234-ABCD"),
                Some("MY ESP"),
                64 << 20,
            ),
            row(
                &[
                    (11, &[0, 2]),
                    (19, &[0, 8]),
                    (510, b"\x55\xaa"),
                    (54, b"FAT12   "),
                    (39, &[1, 0, 0, 0]),
                    (43, b"NO NAME    "),
                ],
                Kind::Vfat,
                Some("0000-0001"),
                None,
                1 << 20,
            ),
        ];
        for Row { fields, kind, uuid, label, size } in rows {
            let got = Superblock::recognise(&image(fields)).unwrap();
            assert_eq!((got.kind, got.uuid.as_deref(), got.label.as_deref()), (kind, uuid, label));
            assert_eq!(got.size, Some(Bytes(size)), "{kind}");
            assert!(kind.is_filesystem() && kind.module().is_some());
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn contents_that_are_no_file_system() {
        type Row<'a> = (&'a [(usize, &'a [u8])], Kind, Option<&'a str>, Option<&'a str>);
        let rows: [Row<'_>; 6] = [
            (&[(0, b"verity\0\0"), (16, &UUID)], Kind::Verity, Some(UUID_TEXT), None),
            (&[(0, b"LUKS\xba\xbe\0\x01"), (168, b"some-uuid")], Kind::Luks, Some("some-uuid"), None),
            (
                &[(0, b"LUKS\xba\xbe\0\x02"), (24, b"l"), (168, b"some-uuid")],
                Kind::Luks,
                Some("some-uuid"),
                Some("l"),
            ),
            (&[(4086, b"SWAPSPACE2"), (1036, &UUID), (1052, b"sw")], Kind::Swap, Some(UUID_TEXT), Some("sw")),
            (&[(16374, b"SWAPSPACE2")], Kind::Swap, None, None),
            (&[(65526, b"SWAPSPACE2")], Kind::Swap, None, None),
        ];
        for (fields, kind, uuid, label) in rows {
            let got = Superblock::recognise(&image(fields)).unwrap();
            assert_eq!((got.kind, got.uuid.as_deref(), got.label.as_deref()), (kind, uuid, label));
            assert_eq!((kind.is_filesystem(), kind.module(), got.size), (false, None, None));
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn sizes_that_are_absurd() {
        let rows: [&[(usize, &[u8])]; 5] = [
            &[(1024, b"\xe2\xe1\xf5\xe0"), (1036, &[64])],
            &[(1080, b"\x53\xef"), (1048, &[0xff; 4])],
            &[(1024, b"\x10\x20\xf5\xf2"), (1040, &[12]), (1060, &[0xff; 8])],
            &[(0, b"XFSB\0\0\x10\0\xff\xff\xff\xff\xff\xff\xff\xff")],
            &[(65600, b"_BHRfS_M"), (65648, &[1]), (65672, &[2])],
        ];
        for fields in rows {
            assert_eq!(Superblock::recognise(&image(fields)).unwrap().size, None, "{fields:?}");
        }
    }

    #[test]
    fn nothing() {
        assert_eq!(Superblock::recognise(&[]), None);
        assert_eq!(Superblock::recognise(&image(&[])), None);
        assert_eq!(Superblock::recognise(&image(&[(510, b"\x55\xaa")])), None, "a boot sector is no FAT");
        assert_eq!(Superblock::recognise(&image(&[(0, b"hsqs"), (28, &[3, 0])])), None, "squashfs 3");
        let journal = image(&[(1080, b"\x53\xef"), (1120, &[8]), (1128, &UUID)]);
        assert_eq!(Superblock::recognise(&journal), None, "an ext4 journal on its own device");
    }

    #[test]
    fn every_truncation_is_survived() {
        let whole = image(&[(65600, b"_BHRfS_M"), (65568, &UUID)]);
        for length in [0, 1, 3, 511, 512, 1023, 1024, 1080, 65599, 65607, 65834, PREFIX] {
            let _ = Superblock::recognise(&whole[..length]);
        }
        assert_eq!(Superblock::recognise(&whole[..65607]), None);
    }
}
