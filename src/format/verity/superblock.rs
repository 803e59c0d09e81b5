//! The superblock of a hash tree: 512 bytes, little-endian (cryptsetup's wiki page "DMVerity", "Verity
//! superblock format").

use serde::{Deserialize, Serialize};

use crate::{
    format::{
        bytes::{array, le16, le32, le64},
        disk::guid::Guid,
    },
    units::BlockSize,
};

/// Its length in bytes.
pub const SIZE: usize = 512;
/// The largest block that dm-verity could ever take; the kernel's own limit is the page size.
pub const LARGEST_BLOCK: u32 = 512 << 10;
/// Bytes of the longest salt.
pub const LONGEST_SALT: usize = 256;

/// What a superblock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VeritySuperblock {
    /// The tree's UUID.
    pub uuid: Guid,
    /// 0: as Chromium OS wrote it; 1: the usual format.
    pub format: u32,
    /// The hash algorithm.
    pub algorithm: String,
    /// What is hashed at once.
    pub data_block_size: BlockSize,
    /// What holds the digests.
    pub hash_block_size: BlockSize,
    /// How many blocks are covered.
    pub data_blocks: u64,
    /// Hashed before each block.
    pub salt: Vec<u8>,
}

/// Bytes that are no superblock, or one that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else.
    #[error("there is no verity superblock")]
    Signature,
    /// Fewer bytes.
    #[error("the verity superblock is cut off")]
    Short,
    /// A field that cannot be.
    #[error("the verity superblock has {field} {value}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
}

impl VeritySuperblock {
    /// Reads a superblock.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if !bytes.starts_with(b"verity\0\0") {
            return Err(Error::Signature);
        }
        let word = |at| le32(bytes, at).ok_or(Error::Short);
        let wrong = |field, value: &dyn ToString| Error::Field { field, value: value.to_string() };
        let version = word(8)?;
        if version != 1 {
            return Err(wrong("version", &version));
        }
        let format = word(12)?;
        if format > 1 {
            return Err(wrong("format", &format));
        }
        let block_size = |field, bytes| match BlockSize::new(bytes) {
            Ok(size) if bytes <= LARGEST_BLOCK => Ok(size),
            _ => Err(wrong(field, &bytes)),
        };
        let data_block_size = block_size("data block size", word(64)?)?;
        let hash_block_size = block_size("hash block size", word(68)?)?;
        let data_blocks = le64(bytes, 72).ok_or(Error::Short)?;
        if data_blocks == 0 || data_block_size.times(data_blocks).is_none() {
            return Err(wrong("data blocks", &data_blocks));
        }
        let salt_size = usize::from(le16(bytes, 80).ok_or(Error::Short)?);
        if salt_size > LONGEST_SALT {
            return Err(wrong("salt size", &salt_size));
        }
        let salt = bytes.get(88..88 + salt_size).ok_or(Error::Short)?.to_vec();
        Ok(Self {
            uuid: Guid::from_bytes(array(bytes, 16).ok_or(Error::Short)?),
            format,
            algorithm: algorithm(&array(bytes, 32).ok_or(Error::Short)?)?,
            data_block_size,
            hash_block_size,
            data_blocks,
            salt,
        })
    }

    /// The bytes that [`parse`](Self::parse) reads this from, under the same conditions.
    pub fn encode(&self) -> Result<[u8; SIZE], Error> {
        let wrong = |field, value: String| Error::Field { field, value };
        if !is_algorithm(&self.algorithm) {
            return Err(wrong("algorithm", format!("{:?}", self.algorithm)));
        }
        let salt_size = u16::try_from(self.salt.len()).ok().filter(|size| usize::from(*size) <= LONGEST_SALT);
        let salt_size = salt_size.ok_or_else(|| wrong("salt size", self.salt.len().to_string()))?;
        let mut bytes = Vec::with_capacity(SIZE);
        bytes.extend_from_slice(b"verity\0\0");
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&self.format.to_le_bytes());
        bytes.extend_from_slice(&self.uuid.bytes());
        bytes.extend_from_slice(self.algorithm.as_bytes());
        bytes.resize(64, 0);
        bytes.extend_from_slice(&self.data_block_size.get().to_le_bytes());
        bytes.extend_from_slice(&self.hash_block_size.get().to_le_bytes());
        bytes.extend_from_slice(&self.data_blocks.to_le_bytes());
        bytes.extend_from_slice(&salt_size.to_le_bytes());
        bytes.resize(88, 0);
        bytes.extend_from_slice(&self.salt);
        bytes.resize(SIZE, 0);
        Self::parse(&bytes)?;
        array(&bytes, 0).ok_or(Error::Short)
    }
}

/// A name ended by a zero: letters, digits and what crypto templates are written with.
fn algorithm(field: &[u8; 32]) -> Result<String, Error> {
    let length = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let name: String = field.iter().take(length).map(|byte| char::from(*byte)).collect();
    if is_algorithm(&name) {
        Ok(name)
    } else {
        Err(Error::Field { field: "algorithm", value: format!("{name:?}") })
    }
}

/// Whether a text can be a hash algorithm's name: it goes into a line of words.
pub(super) fn is_algorithm(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_().".contains(c);
    !name.is_empty() && name.len() < 32 && name.chars().all(good)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        bytes[..8].copy_from_slice(b"verity\0\0");
        bytes[8] = 1;
        bytes[12] = 1;
        bytes[16..32].fill(0x42);
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[65] = 0x10;
        bytes[69] = 0x10;
        bytes[72..80].copy_from_slice(&1000_u64.to_le_bytes());
        bytes[80] = 4;
        bytes[88..92].copy_from_slice(&[1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn a_superblock() {
        let superblock = VeritySuperblock::parse(&bytes()).unwrap();
        let expected = VeritySuperblock {
            uuid: Guid::from_bytes([0x42; 16]),
            format: 1,
            algorithm: "sha256".to_owned(),
            data_block_size: BlockSize::B4096,
            hash_block_size: BlockSize::B4096,
            data_blocks: 1000,
            salt: vec![1, 2, 3, 4],
        };
        assert_eq!(superblock, expected);
    }

    #[test]
    fn veritysetups_own() {
        // What veritysetup 2.7.5 wrote for 4096 blocks.
        let written = "7665726974790000 01000000 01000000 bb5c2b78bed7493d838b57dccdcc1664 \
            7368613235360000000000000000000000000000000000000000000000000000 \
            00100000 00100000 0010000000000000 2000000000000000 \
            b30bd64a4d887c4e0064eda220a475760b0b50eb18a46f500aa107a1c41df7f1";
        let mut bytes = crate::format::verity::from_hex(&written.replace([' ', '\n'], "")).unwrap();
        bytes.resize(SIZE, 0);
        let superblock = VeritySuperblock::parse(&bytes).unwrap();
        assert_eq!(superblock.uuid.to_string(), "bb5c2b78-bed7-493d-838b-57dccdcc1664");
        assert_eq!((superblock.data_blocks, superblock.salt.len()), (4096, 32));
        assert_eq!(superblock.encode().unwrap().as_slice(), bytes);
    }

    #[test]
    fn what_cannot_be_written() {
        let field = |field, value: &str| Err(Error::Field { field, value: value.to_owned() });
        let good = VeritySuperblock::parse(&bytes()).unwrap();
        type Case<'a> = (&'a dyn Fn(&mut VeritySuperblock), Result<(), Error>);
        let cases: [Case<'_>; 7] = [
            (&|s| s.salt = vec![7; 256], Ok(())),
            (&|s| s.salt = vec![7; 257], field("salt size", "257")),
            (&|s| s.salt = vec![7; 65536], field("salt size", "65536")),
            (&|s| s.algorithm = String::new(), field("algorithm", "\"\"")),
            (&|s| s.algorithm = "x".repeat(32), field("algorithm", &format!("{:?}", "x".repeat(32)))),
            (&|s| s.format = 2, field("format", "2")),
            (&|s| s.data_blocks = u64::MAX, field("data blocks", "18446744073709551615")),
        ];
        for (change, expected) in cases {
            let mut superblock = good.clone();
            change(&mut superblock);
            assert_eq!(superblock.encode().map(|_| ()), expected);
            if expected.is_ok() {
                assert_eq!(VeritySuperblock::parse(&superblock.encode().unwrap()), Ok(superblock));
            }
        }
    }

    #[test]
    fn damaged() {
        let field = |field, value: &str| Error::Field { field, value: value.to_owned() };
        let rows: [(usize, &[u8], Error); 9] = [
            (0, b"V", Error::Signature),
            (8, &[2], field("version", "2")),
            (12, &[2], field("format", "2")),
            (64, &[1], field("data block size", "4097")),
            (70, &[0x10], field("hash block size", "1052672")),
            (72, &[0; 8], field("data blocks", "0")),
            (72, &[0xff; 8], field("data blocks", "18446744073709551615")),
            (80, &[1, 1], field("salt size", "257")),
            (32, b"sha 256", field("algorithm", "\"sha 256\"")),
        ];
        for (at, new, error) in rows {
            let mut bytes = bytes();
            bytes[at..at + new.len()].copy_from_slice(new);
            assert_eq!(VeritySuperblock::parse(&bytes), Err(error));
        }
        for length in [8, 11, 40, 79, 81, 89] {
            assert_eq!(VeritySuperblock::parse(&bytes()[..length]), Err(Error::Short), "{length}");
        }
    }
}
