//! The root hash of a dm-verity hash tree.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::format::disk::guid::Guid;

/// A root hash: as many bytes as the tree's digest has, 16 at least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RootHash(Vec<u8>);

/// Text that is no root hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARootHash {
    /// A character that is no hexadecimal digit.
    #[error("\"{text}\" has the character {found:?} at position {at}, which is no hexadecimal digit")]
    Digit {
        /// What was given.
        text: String,
        /// The character.
        found: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// An odd number of digits, too few, or too many.
    #[error(
        "\"{text}\" has {digits} hexadecimal digits; a root hash has an even number, 32 to 128 (64 for sha256)"
    )]
    Length {
        /// What was given.
        text: String,
        /// How many digits it has.
        digits: usize,
    },
}

/// Bytes of the longest digest that dm-verity takes (sha512).
const MAX_BYTES: usize = 64;

impl RootHash {
    /// The digest's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The partition UUIDs that the Discoverable Partitions Specification derives from this root hash: the
    /// first 128 bits for the data partition, the last 128 for the hash partition.
    #[must_use]
    pub fn partition_uuids(&self) -> (Guid, Guid) {
        let first = self.0.first_chunk::<16>().copied().unwrap_or_default();
        let last = self.0.last_chunk::<16>().copied().unwrap_or_default();
        (Guid::from_bytes(first), Guid::from_bytes(last))
    }

    /// The root hash of 256 bits whose halves are these partition UUIDs. It says no more than the partition table
    /// does, which nobody signs.
    #[must_use]
    pub fn of_partition_uuids(data: Guid, hash: Guid) -> Self {
        Self([data.bytes(), hash.bytes()].concat())
    }
}

impl FromStr for RootHash {
    type Err = NotARootHash;

    fn from_str(text: &str) -> Result<Self, NotARootHash> {
        let mut nibbles = Vec::with_capacity(text.len());
        for (at, found) in text.chars().enumerate() {
            let Some(nibble) = found.to_digit(16) else {
                return Err(NotARootHash::Digit { text: text.to_owned(), found, at: at + 1 });
            };
            nibbles.push(nibble as u8);
        }
        let (pairs, odd) = nibbles.as_chunks::<2>();
        if !odd.is_empty() || !(16..=MAX_BYTES).contains(&pairs.len()) {
            return Err(NotARootHash::Length { text: text.to_owned(), digits: nibbles.len() });
        }
        Ok(Self(pairs.iter().map(|[high, low]| high << 4 | low).collect()))
    }
}

impl fmt::Display for RootHash {
    /// Lower-case hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for RootHash {
    type Error = NotARootHash;
    fn try_from(text: String) -> Result<Self, NotARootHash> {
        text.parse()
    }
}

impl From<RootHash> for String {
    fn from(hash: RootHash) -> String {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_partition_uuids() {
        let hash: RootHash =
            "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef".parse().unwrap();
        let (data, verity) = hash.partition_uuids();
        assert_eq!(data.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(verity.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(RootHash::of_partition_uuids(data, verity), hash);
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn malformed() {
        for (text, message) in [
            ("", "\"\" has 0 hexadecimal digits; a root hash has an even number, 32 to 128 (64 for sha256)"),
            (
                "abc",
                "\"abc\" has 3 hexadecimal digits; a root hash has an even number, 32 to 128 (64 for sha256)",
            ),
            ("0x00", "\"0x00\" has the character 'x' at position 2, which is no hexadecimal digit"),
            (
                "a\u{e9}",
                "\"a\u{e9}\" has the character '\u{e9}' at position 2, which is no hexadecimal digit",
            ),
        ] {
            assert_eq!(text.parse::<RootHash>().unwrap_err().to_string(), message);
        }
        assert!("a".repeat(130).parse::<RootHash>().is_err());
        assert!("a".repeat(128).parse::<RootHash>().is_ok());
    }
}
