//! GUID partition tables (UEFI Specification 2.10, chapter 5).

use crate::format::{
    bytes::{CRC32, array, le16, le32, le64, printable},
    disk::guid::Guid,
};
use crate::units::BlockSize;

/// A header, at LBA 1 or in the last block, whose own checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The disk's GUID.
    pub disk: Guid,
    entries_lba: u64,
    entry_count: u32,
    entry_size: u32,
    entries_crc: u32,
    first_usable: u64,
    last_usable: u64,
    block_size: BlockSize,
}

/// A partition that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its place in the table, counted from 1.
    pub number: u32,
    /// What it is for.
    pub type_uuid: Guid,
    /// Its own GUID.
    pub uuid: Guid,
    /// Its first block.
    pub first_lba: u64,
    /// Its last block.
    pub last_lba: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Its name, 36 UTF-16 units at most.
    pub label: String,
}

/// A table that cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than a header or the entries have.
    #[error("it ends after {got} bytes of {want}")]
    Short {
        /// Bytes there.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
    /// Something else.
    #[error("no GPT signature")]
    Signature,
    /// A checksum.
    #[error("the checksum of the {0} is wrong")]
    Checksum(&'static str),
    /// A field out of its bounds.
    #[error("{field} is {value}, which cannot be")]
    Field {
        /// Its name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// An entry outside of the usable blocks, or that ends before it begins.
    #[error(
        "partition {number} lies at blocks {first} to {last}, outside of the usable {usable_first} to {usable_last}"
    )]
    Outside {
        /// Its number.
        number: u32,
        /// Its first block.
        first: u64,
        /// Its last block.
        last: u64,
        /// The first block that may be used.
        usable_first: u64,
        /// The last one.
        usable_last: u64,
    },
    /// Two entries share blocks.
    #[error("partitions {0} and {1} overlap")]
    Overlap(u32, u32),
}

const HEADER_SIZE: usize = 92;
/// Entries are 128 bytes; the specification allows larger ones.
const LARGEST_ENTRY: u32 = 4096;
/// Bytes of all entries. The kernel sees no partitions in a larger table either (block/partitions/efi.c,
/// where KMALLOC_MAX_SIZE is the limit).
const LARGEST_TABLE: u64 = 4 << 20;

impl Header {
    /// Reads the header in the block at `lba` of a disk with `blocks` blocks.
    pub fn parse(block: &[u8], block_size: BlockSize, lba: u64, blocks: u64) -> Result<Self, Error> {
        let short = Error::Short { got: block.len(), want: HEADER_SIZE };
        let read32 = |at| le32(block, at).ok_or_else(|| short.clone());
        let read64 = |at| le64(block, at).ok_or_else(|| short.clone());
        if block.first_chunk::<8>() != Some(b"EFI PART") {
            return Err(Error::Signature);
        }
        let size = read32(12)?;
        let header = usize::try_from(size)
            .ok()
            .filter(|size| (HEADER_SIZE..=block_size.get() as usize).contains(size))
            .and_then(|size| block.get(..size))
            .ok_or(Error::Field { field: "the header's size", value: u64::from(size) })?;
        let mut crc = CRC32.digest();
        for (at, part) in [header.get(..16), Some(&[0; 4][..]), header.get(20..)].into_iter().enumerate() {
            crc.update(part.ok_or(Error::Field { field: "the header's size", value: at as u64 })?);
        }
        if crc.finalize() != read32(16)? {
            return Err(Error::Checksum("header"));
        }
        let check =
            |field, value: u64, good: bool| if good { Ok(value) } else { Err(Error::Field { field, value }) };
        check("the header's own block", read64(24)?, read64(24)? == lba)?;
        let (first_usable, last_usable) = (read64(40)?, read64(48)?);
        check("the last usable block", last_usable, last_usable < blocks)?;
        check("the first usable block", first_usable, first_usable <= last_usable)?;
        let (entry_count, entry_size) = (read32(80)?, read32(84)?);
        let size_fits = (128..=LARGEST_ENTRY).contains(&entry_size) && entry_size % 8 == 0;
        check("the size of an entry", entry_size.into(), size_fits)?;
        let table = u64::from(entry_count) * u64::from(entry_size);
        check("the number of entries", entry_count.into(), table <= LARGEST_TABLE)?;
        let entries_lba = read64(72)?;
        let entries_end = entries_lba.checked_add(table.div_ceil(block_size.get().into()));
        let inside = entries_lba >= 2 && entries_end.is_some_and(|end| end <= blocks);
        check("the entries' first block", entries_lba, inside)?;
        Ok(Self {
            disk: Guid::from_disk(array(block, 56).ok_or(short.clone())?),
            entries_lba,
            entry_count,
            entry_size,
            entries_crc: read32(88)?,
            first_usable,
            last_usable,
            block_size,
        })
    }

    /// Where the entries stand: distance from the disk's start and length, in bytes. All of it is on the
    /// disk, and the length is 4 MiB at most.
    #[must_use]
    pub fn entries(&self) -> Option<(u64, usize)> {
        let offset = self.block_size.times(self.entries_lba)?.0;
        Some((offset, usize::try_from(u64::from(self.entry_count) * u64::from(self.entry_size)).ok()?))
    }

    /// Reads the entries: those in use, each inside the usable blocks and none over another.
    pub fn parse_entries(&self, bytes: &[u8]) -> Result<Vec<Partition>, Error> {
        let want = self.entries().map_or(usize::MAX, |(_, length)| length);
        let bytes = bytes.get(..want).ok_or(Error::Short { got: bytes.len(), want })?;
        if CRC32.checksum(bytes) != self.entries_crc {
            return Err(Error::Checksum("entries"));
        }
        let mut found = Vec::new();
        for (number, entry) in (1..).zip(bytes.chunks_exact(self.entry_size as usize)) {
            found.extend(self.entry(number, entry)?);
        }
        let mut by_place: Vec<&Partition> = found.iter().collect();
        by_place.sort_by_key(|partition| partition.first_lba);
        for (one, next) in by_place.iter().zip(by_place.iter().skip(1)) {
            if next.first_lba <= one.last_lba {
                return Err(Error::Overlap(one.number.min(next.number), one.number.max(next.number)));
            }
        }
        Ok(found)
    }

    fn entry(&self, number: u32, entry: &[u8]) -> Result<Option<Partition>, Error> {
        let short = || Error::Short { got: entry.len(), want: 128 };
        let type_uuid = Guid::from_disk(array(entry, 0).ok_or_else(short)?);
        if type_uuid.is_nil() {
            return Ok(None);
        }
        let (first, last) = (le64(entry, 32).ok_or_else(short)?, le64(entry, 40).ok_or_else(short)?);
        if first > last || first < self.first_usable || last > self.last_usable {
            let (usable_first, usable_last) = (self.first_usable, self.last_usable);
            return Err(Error::Outside { number, first, last, usable_first, usable_last });
        }
        let units: Vec<u16> =
            (0..36).map_while(|i| le16(entry, 56 + 2 * i)).take_while(|unit| *unit != 0).collect();
        Ok(Some(Partition {
            number,
            type_uuid,
            uuid: Guid::from_disk(array(entry, 16).ok_or_else(short)?),
            first_lba: first,
            last_lba: last,
            attributes: le64(entry, 48).ok_or_else(short)?,
            label: printable(&String::from_utf16_lossy(&units), '?'),
        }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const BLOCKS: u64 = 2048;

    fn entry(kind: u8, first: u64, last: u64, label: &str) -> Vec<u8> {
        let mut entry = vec![0; 128];
        entry[..16].fill(kind);
        entry[16..32].fill(kind + 1);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        for (place, unit) in entry[56..].chunks_exact_mut(2).zip(label.encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
        entry
    }

    fn table(entries: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
        let entries = entries.concat();
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        for (at, value) in [(24, 1), (32, BLOCKS - 1), (40, 34), (48, BLOCKS - 34), (72, 2)] {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let count = (entries.len() / 128) as u32;
        for (at, value) in [(80, count), (84, 128), (88, CRC32.checksum(&entries))] {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        seal(&mut header);
        (header, entries)
    }

    fn seal(header: &mut [u8]) {
        header[16..20].fill(0);
        let crc = CRC32.checksum(&header[..92]);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
    }

    fn read(header: &[u8], entries: &[u8]) -> Result<Vec<Partition>, Error> {
        Header::parse(header, BlockSize::B512, 1, BLOCKS)?.parse_entries(entries)
    }

    #[test]
    fn a_table() {
        let (header, entries) =
            table(&[entry(0, 0, 0, ""), entry(7, 34, 99, "root_1.2"), entry(9, 100, 100, "")]);
        let found = read(&header, &entries).unwrap();
        let summary: Vec<_> =
            found.iter().map(|p| (p.number, p.first_lba, p.last_lba, p.label.as_str())).collect();
        assert_eq!(summary, [(2, 34, 99, "root_1.2"), (3, 100, 100, "")]);
        assert_eq!(found[0].uuid, Guid::from_bytes([8; 16]));
    }

    /// A label began a line of its own in the kernel log, and cleared the screen.
    #[test]
    fn labels_stay_in_their_line() {
        let (header, entries) = table(&[entry(7, 34, 99, "os\n\u{1b}[2J_1")]);
        assert_eq!(read(&header, &entries).unwrap()[0].label, "os??[2J_1");
    }

    #[test]
    fn tables_that_cannot_be_believed() {
        type Case<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>), Error);
        let cases: [Case<'_>; 12] = [
            ("signature", &|h| h[0] = b'X', Error::Signature),
            ("header size", &|h| h[12] = 91, Error::Field { field: "the header's size", value: 91 }),
            (
                "header size past the block",
                &|h| h[14] = 1,
                Error::Field { field: "the header's size", value: 65628 },
            ),
            ("checksum", &|h| h[60] ^= 1, Error::Checksum("header")),
            (
                "own block",
                &|h| {
                    h[24] = 2;
                    seal(h)
                },
                Error::Field { field: "the header's own block", value: 2 },
            ),
            (
                "2^31 entries",
                &|h| {
                    h[83] = 0x80;
                    seal(h)
                },
                Error::Field { field: "the number of entries", value: (1 << 31) + 1 },
            ),
            (
                "one entry past 4 MiB",
                &|h| {
                    h[80..84].copy_from_slice(&32769_u32.to_le_bytes());
                    seal(h)
                },
                Error::Field { field: "the number of entries", value: 32769 },
            ),
            (
                "entries that end past the disk",
                &|h| {
                    h[80] = 5;
                    h[72..80].copy_from_slice(&(BLOCKS - 1).to_le_bytes());
                    seal(h)
                },
                Error::Field { field: "the entries' first block", value: BLOCKS - 1 },
            ),
            (
                "entries whose end wraps",
                &|h| {
                    h[72..80].fill(0xff);
                    seal(h)
                },
                Error::Field { field: "the entries' first block", value: u64::MAX },
            ),
            (
                "nothing usable",
                &|h| {
                    h[40..48].copy_from_slice(&(BLOCKS - 33).to_le_bytes());
                    seal(h)
                },
                Error::Field { field: "the first usable block", value: BLOCKS - 33 },
            ),
            (
                "entry size",
                &|h| {
                    h[84] = 129;
                    seal(h)
                },
                Error::Field { field: "the size of an entry", value: 129 },
            ),
            (
                "usable",
                &|h| {
                    h[55] = 0xff;
                    seal(h)
                },
                Error::Field { field: "the last usable block", value: 0xff00_0000_0000_07de },
            ),
        ];
        for (name, damage, error) in cases {
            let (mut header, entries) = table(&[entry(7, 34, 99, "")]);
            damage(&mut header);
            assert_eq!(read(&header, &entries), Err(error), "{name}");
        }
    }

    #[test]
    fn entries_that_cannot_be_believed() {
        let outside = |number, first, last| Error::Outside {
            number,
            first,
            last,
            usable_first: 34,
            usable_last: BLOCKS - 34,
        };
        for (entries, error) in [
            (vec![entry(7, 33, 99, "")], outside(1, 33, 99)),
            (vec![entry(7, 99, 98, "")], outside(1, 99, 98)),
            (vec![entry(7, 34, u64::MAX, "")], outside(1, 34, u64::MAX)),
            (vec![entry(7, 90, 99, ""), entry(7, 34, 90, "")], Error::Overlap(1, 2)),
        ] {
            let (header, entries) = table(&entries);
            assert_eq!(read(&header, &entries), Err(error));
        }
        let (header, mut entries) = table(&[entry(7, 34, 99, "")]);
        entries[20] ^= 1;
        assert_eq!(read(&header, &entries), Err(Error::Checksum("entries")));
        assert_eq!(read(&header, &entries[..100]), Err(Error::Short { got: 100, want: 128 }));
    }

    #[test]
    fn the_backup_is_read_like_the_primary() {
        let (mut header, entries) = table(&[entry(7, 34, 99, "root")]);
        header[24..32].copy_from_slice(&(BLOCKS - 1).to_le_bytes());
        header[72..80].copy_from_slice(&(BLOCKS - 2).to_le_bytes());
        seal(&mut header);
        let backup = Header::parse(&header, BlockSize::B512, BLOCKS - 1, BLOCKS).unwrap();
        assert_eq!(backup.entries(), Some(((BLOCKS - 2) * 512, 128)));
        assert_eq!(backup.parse_entries(&entries).unwrap()[0].label, "root");
        let elsewhere = Error::Field { field: "the header's own block", value: BLOCKS - 1 };
        assert_eq!(Header::parse(&header, BlockSize::B512, 1, BLOCKS), Err(elsewhere));
    }

    #[test]
    fn larger_blocks_and_entries() {
        let mut large = entry(7, 34, 99, "root");
        large.resize(256, 0);
        let (mut header, entries) = table(&[large]);
        header.resize(4096, 0);
        header[80] = 1;
        header[84..88].copy_from_slice(&256_u32.to_le_bytes());
        seal(&mut header);
        let header = Header::parse(&header, BlockSize::B4096, 1, BLOCKS).unwrap();
        assert_eq!(header.entries(), Some((2 * 4096, 256)));
        assert_eq!(header.parse_entries(&entries).unwrap().len(), 1);
    }

    #[test]
    fn labels_that_are_no_utf16() {
        let mut lone = entry(7, 34, 99, "");
        lone[56..60].copy_from_slice(&[b'a', 0, 0, 0xd8]);
        let (header, entries) = table(&[lone, entry(9, 100, 100, &"x".repeat(36))]);
        let labels: Vec<String> =
            read(&header, &entries).unwrap().into_iter().map(|partition| partition.label).collect();
        assert_eq!(labels, ["a\u{fffd}".to_owned(), "x".repeat(36)]);
    }

    #[test]
    fn truncated_headers() {
        let (header, _) = table(&[entry(7, 34, 99, "")]);
        for length in [0, 7, 8, 15, 16, 91] {
            assert!(Header::parse(&header[..length], BlockSize::B512, 1, BLOCKS).is_err(), "{length}");
        }
    }
}
