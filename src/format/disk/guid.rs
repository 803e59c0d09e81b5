//! GUIDs of GPT disks and partitions.
//!
//! On disk the first three fields are little-endian and the rest stands in reading order (UEFI
//! Specification 2.10, appendix A); in text all of it is in reading order.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A GUID, held in reading order: the bytes of its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid([u8; 16]);

/// Text that is no GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in hexadecimal)")]
pub struct NotAGuid(pub String);

/// Hexadecimal digits in each group of the text.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl Guid {
    /// The GUID whose text has these bytes in reading order.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A random UUID, version 4, from bytes that are random (RFC 9562, section 5.4).
    #[must_use]
    pub const fn random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The GUID stored as `disk` in a GPT.
    #[must_use]
    pub const fn from_disk(disk: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = disk;
        let [i, j, k, l, m, n, o, p] = rest;
        Self([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }

    /// The bytes as a GPT stores them.
    #[must_use]
    pub const fn to_disk(self) -> [u8; 16] {
        Self::from_disk(self.0).0 // swapping twice gives the first order again
    }

    /// The bytes in reading order.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// All zero: in a GPT, an entry that is not used.
    #[must_use]
    pub fn is_nil(self) -> bool {
        self.0 == [0; 16]
    }
}

impl FromStr for Guid {
    type Err = NotAGuid;

    /// Accepts the usual text, in either case.
    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let wrong = || NotAGuid(text.to_owned());
        if !text.split('-').map(str::len).eq(GROUPS) {
            return Err(wrong());
        }
        let digits = text.bytes().filter(|b| *b != b'-').map(|b| char::from(b).to_digit(16));
        let nibbles: Option<Vec<u32>> = digits.collect();
        let nibbles = nibbles.ok_or_else(wrong)?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(nibbles.as_chunks::<2>().0) {
            let [high, low] = *pair;
            *byte = u8::try_from(high << 4 | low).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Guid {
    /// Lower case, with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Guid {
    type Error = NotAGuid;
    fn try_from(text: String) -> Result<Self, NotAGuid> {
        text.parse()
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> String {
        guid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, good) in [
            ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", true),
            ("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", true),
            ("4f68bce3e8cd4db196e7fbcaf984b709", false),
            ("4f68bce3-e8cd-4db1-96e7-fbcaf984b70", false),
            ("4f68bce3-e8cd-4db1-96e7-fbcaf984b7099", false),
            ("4f68bce3-e8cd-4db1-96e7-fbcaf984b70g", false),
            ("4f68bce-3e8cd-4db1-96e7-fbcaf984b709", false),
            ("\u{20ac}\u{20ac}ab-e8cd-4db1-96e7-fbcaf984b709", false),
            ("", false),
        ] {
            let got = text.parse::<Guid>();
            assert_eq!(got.is_ok(), good, "{text}");
            if let Ok(guid) = got {
                assert_eq!(guid.to_string(), text.to_lowercase());
            }
        }
    }

    #[test]
    fn disk_order() {
        // SD_GPT_ROOT_X86_64, and its bytes as sfdisk writes them.
        let guid: Guid = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709".parse().unwrap();
        let disk =
            [0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09];
        assert_eq!(guid.to_disk(), disk);
        assert_eq!(Guid::from_disk(disk), guid);
    }
}
