//! The dm-verity target's table line and status (Documentation/admin-guide/device-mapper/verity.rst).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{from_hex, hex};
use crate::{
    format::{kernel::devno::Devno, verity::root_hash::RootHash},
    units::{BlockSize, Sectors},
};

/// A table line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VerityTable {
    /// The format: 0 or 1.
    pub version: u32,
    /// The data device.
    pub data: Devno,
    /// The device with the hash tree.
    pub hash: Devno,
    /// What is hashed at once.
    pub data_block_size: BlockSize,
    /// What holds the digests.
    pub hash_block_size: BlockSize,
    /// How many data blocks there are.
    pub data_blocks: u64,
    /// Where the tree begins, in hash blocks from the start of its device.
    pub hash_start: u64,
    /// The hash algorithm.
    pub algorithm: String,
    /// The digest of the tree's root.
    pub root_hash: RootHash,
    /// Hashed before each block.
    pub salt: Vec<u8>,
    /// Optional words, in order.
    pub options: Vec<String>,
}

/// What the kernel has seen of a device so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerityStatus {
    /// `V`: every block that was read matched.
    Verified,
    /// `C`: one did not.
    Corrupted,
}

/// The word that names the device with parity.
pub const FEC_DEVICE: &str = "use_fec_from_device";

/// The word by which a block is checked only once.
pub const CHECKS_ONCE: &str = "check_at_most_once";

/// A line that is no dm-verity table or status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{line}\" is no dm-verity {what}")]
pub struct Error {
    what: &'static str,
    line: String,
}

/// The option that names the key with the signature.
const SIGNATURE: &str = "root_hash_sig_key_desc";

impl VerityTable {
    /// The length of the device.
    #[must_use]
    pub fn sectors(&self) -> Sectors {
        self.data_block_size.times(self.data_blocks).map_or(Sectors(0), crate::units::Bytes::to_sectors)
    }

    /// What follows an optional word that takes a value.
    #[must_use]
    pub fn value(&self, word: &str) -> Option<&str> {
        let place = self.options.iter().position(|option| option == word)?;
        self.options.get(place + 1).map(String::as_str)
    }

    /// Names another device with parity, where there is one already.
    pub fn set_fec_device(&mut self, devno: Devno) {
        let mut words = self.options.iter_mut().skip_while(|word| *word != FEC_DEVICE);
        if let (Some(_), Some(value)) = (words.next(), words.next()) {
            *value = devno.to_string();
        }
    }

    /// With the description of the key that holds the signature of the root hash: the kernel makes the device only where
    /// that holds (since Linux 5.4, where built with `CONFIG_DM_VERITY_VERIFY_ROOTHASH_SIG`).
    #[must_use]
    pub fn signed(&self, key: &str) -> Self {
        let mut table = self.without_signature();
        table.options.extend([SIGNATURE.to_owned(), key.to_owned()]);
        table
    }

    /// Whether a block is checked only the first time that it is read.
    #[must_use]
    pub fn checks_once(&self) -> bool {
        self.options.iter().any(|word| word == CHECKS_ONCE)
    }

    /// Whether the kernel checked a signature when it made the device.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.options.iter().any(|word| word == SIGNATURE)
    }

    /// Without that description: what else the device is made of.
    #[must_use]
    pub fn without_signature(&self) -> Self {
        let mut table = self.clone();
        if let Some(at) = table.options.iter().position(|word| word == SIGNATURE) {
            let end = table.options.len().min(at + 2);
            table.options.drain(at..end);
        }
        table
    }
}

impl fmt::Display for VerityTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, data, hash, data_block_size, hash_block_size, data_blocks, hash_start, .. } =
            self;
        write!(f, "{version} {data} {hash} {data_block_size} {hash_block_size} {data_blocks} {hash_start} ")?;
        write!(f, "{} {} {}", self.algorithm, self.root_hash, hex(&self.salt))?;
        if self.options.is_empty() {
            return Ok(());
        }
        write!(f, " {} {}", self.options.len(), self.options.join(" "))
    }
}

impl FromStr for VerityTable {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        fn field<T: FromStr>(words: &mut std::str::Split<'_, char>) -> Option<T> {
            words.next()?.parse().ok()
        }
        let read = || {
            let mut words = line.split(' ');
            let words = &mut words;
            let mut table = Self {
                version: field(words)?,
                data: field(words)?,
                hash: field(words)?,
                data_block_size: BlockSize::new(field(words)?).ok()?,
                hash_block_size: BlockSize::new(field(words)?).ok()?,
                data_blocks: field(words)?,
                hash_start: field(words)?,
                algorithm: field(words)?,
                root_hash: field(words)?,
                salt: from_hex(words.next()?)?,
                options: Vec::new(),
            };
            if let Some(count) = words.next() {
                table.options = words.map(str::to_owned).collect();
                (count.parse() == Ok(table.options.len())).then_some(())?;
            }
            Some(table)
        };
        read().ok_or_else(|| Error { what: "table", line: line.to_owned() })
    }
}

impl VerityStatus {
    /// Reads a status; newer kernels add words for error correction.
    pub fn parse(line: &str) -> Result<Self, Error> {
        match line.split(' ').next() {
            Some("V") => Ok(Self::Verified),
            Some("C") => Ok(Self::Corrupted),
            _ => Err(Error { what: "status", line: line.to_owned() }),
        }
    }
}

impl TryFrom<String> for VerityTable {
    type Error = Error;
    fn try_from(line: String) -> Result<Self, Error> {
        line.parse()
    }
}

impl From<VerityTable> for String {
    fn from(table: VerityTable) -> String {
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "4f68bce3e8cd4db196e7fbcaf984b7094f68bce3e8cd4db196e7fbcaf984b709";

    #[test]
    fn words_with_values() {
        let hash = "ab".repeat(32);
        let line = format!(
            "1 254:1 254:2 4096 4096 8 1 sha256 {hash} - 3 ignore_zero_blocks use_fec_from_device 0:3"
        );
        let mut table: VerityTable = line.parse().unwrap();
        assert_eq!(
            (table.value(FEC_DEVICE), table.value("fec_start"), table.value("0:3")),
            (Some("0:3"), None, None)
        );
        table.set_fec_device(Devno { major: 7, minor: 1 });
        assert_eq!(table.to_string(), line.replace("0:3", "7:1"));
        table.options.clear();
        table.set_fec_device(Devno { major: 7, minor: 1 });
        assert!(table.options.is_empty());
    }

    #[test]
    fn lines_round_trip() {
        for line in [
            format!("1 254:1 254:2 4096 4096 1000 1 sha256 {HASH} -"),
            format!("0 8:1 8:1 512 4096 7 99 sha256 {HASH} 00ff"),
            format!(
                "1 254:1 254:2 4096 4096 1000 1 sha256 {HASH} 01 2 restart_on_corruption ignore_zero_blocks"
            ),
        ] {
            assert_eq!(line.parse::<VerityTable>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn signatures() {
        let plain = format!("1 254:1 254:2 4096 4096 1000 1 sha256 {HASH} -");
        for (options, signed, without) in [
            ("", " 2 root_hash_sig_key_desc k", ""),
            (
                " 1 ignore_zero_blocks",
                " 3 ignore_zero_blocks root_hash_sig_key_desc k",
                " 1 ignore_zero_blocks",
            ),
            (" 3 root_hash_sig_key_desc j a", " 3 a root_hash_sig_key_desc k", " 1 a"),
            (" 1 root_hash_sig_key_desc", " 2 root_hash_sig_key_desc k", ""),
        ] {
            let table: VerityTable = format!("{plain}{options}").parse().unwrap();
            assert_eq!(table.is_signed(), options.contains("sig_key"), "{options}");
            assert_eq!(table.signed("k").to_string(), format!("{plain}{signed}"), "{options}");
            assert!(table.signed("k").is_signed());
            assert_eq!(table.without_signature().to_string(), format!("{plain}{without}"), "{options}");
        }
    }

    #[test]
    fn no_lines() {
        for line in [
            String::new(),
            format!("1 254:1 254:2 4096 4096 1000 1 sha256 {HASH}"),
            format!("1 vda1 254:2 4096 4096 1000 1 sha256 {HASH} -"),
            format!("1 254:1 254:2 4095 4096 1000 1 sha256 {HASH} -"),
            format!("1 254:1 254:2 4096 4096 1000 1 sha256 {HASH} - 2 one"),
        ] {
            assert!(line.parse::<VerityTable>().is_err(), "{line}");
        }
    }

    #[test]
    fn statuses() {
        for (line, status) in [
            ("V", Some(VerityStatus::Verified)),
            ("C", Some(VerityStatus::Corrupted)),
            ("V 0", Some(VerityStatus::Verified)),
            ("", None),
            ("X", None),
        ] {
            assert_eq!(VerityStatus::parse(line).ok(), status, "{line}");
        }
    }
}
