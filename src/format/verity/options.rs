//! `systemd.verity_root_options=` and its likes (systemd-veritysetup-generator(8), veritytab(5)).

use serde::Serialize;

use super::{
    from_hex,
    reed_solomon::ROOTS,
    signature::{NotASignature, Signature},
    superblock::{LARGEST_BLOCK, LONGEST_SALT, is_algorithm},
};
use crate::{
    format::{config::ini::boolean, disk::guid::Guid},
    units::{BlockSize, Bytes},
};

/// The options, as given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerityOptions {
    /// `superblock=no`: everything below is given here.
    pub no_superblock: bool,
    /// `format=`
    pub format: Option<u32>,
    /// `data-block-size=`
    pub data_block_size: Option<BlockSize>,
    /// `hash-block-size=`
    pub hash_block_size: Option<BlockSize>,
    /// `data-blocks=`
    pub data_blocks: Option<u64>,
    /// `hash-offset=`
    pub hash_offset: Bytes,
    /// `salt=`; empty for `-`.
    pub salt: Option<Vec<u8>>,
    /// `uuid=`
    pub uuid: Option<Guid>,
    /// `hash=`
    pub algorithm: Option<String>,
    /// What happens when a block does not match.
    pub corruption: Corruption,
    /// `ignore-zero-blocks`
    pub ignore_zero_blocks: bool,
    /// `check-at-most-once`
    pub check_at_most_once: bool,
    /// `fec-device=`, as it is written: where parity is.
    pub fec_device: Option<String>,
    /// `fec-offset=`
    pub fec_offset: Bytes,
    /// `fec-roots=`
    pub fec_roots: Option<u32>,
    /// `root-hash-signature=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<GivenSignature>,
}

/// `root-hash-signature=`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenSignature {
    /// `base64:...`
    Here(Signature),
    /// The path of a file.
    File(String),
}

/// What happens when a block does not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corruption {
    /// The read fails.
    #[default]
    Fail,
    /// It is logged, and the read succeeds.
    Ignore,
    /// The machine restarts.
    Restart,
    /// The kernel panics.
    Panic,
}

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value.
    #[error("{option}={value}: {allowed} is needed")]
    Value {
        /// The option.
        option: String,
        /// What was given.
        value: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// A value where there is none, or the other way round.
    #[error("{option} {problem}")]
    Shape {
        /// The option.
        option: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A word that nobody knows.
    #[error("the option \"{0}\" is not known")]
    Unknown(String),
    /// A signature that is none.
    #[error("root-hash-signature=base64:...: {0}")]
    Signature(NotASignature),
    /// Two actions for one event.
    #[error("{0} and {1} exclude each other")]
    Contradiction(&'static str, &'static str),
}

impl VerityOptions {
    /// Reads a comma-separated list.
    pub fn parse(list: &str) -> Result<Self, Error> {
        let mut options = Self::default();
        for word in list.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some((option, value)) => options.set(option, value)?,
                None => options.flag(word)?,
            }
        }
        Ok(options)
    }

    fn flag(&mut self, word: &str) -> Result<(), Error> {
        match word {
            "ignore-corruption" => self.on_corruption(Corruption::Ignore),
            "restart-on-corruption" => self.on_corruption(Corruption::Restart),
            "panic-on-corruption" => self.on_corruption(Corruption::Panic),
            "ignore-zero-blocks" => {
                self.ignore_zero_blocks = true;
                Ok(())
            }
            "check-at-most-once" => {
                self.check_at_most_once = true;
                Ok(())
            }
            _ if VALUED.contains(&word) => {
                Err(Error::Shape { option: word.to_owned(), problem: "needs a value" })
            }
            _ => Err(Error::Unknown(word.to_owned())),
        }
    }

    fn on_corruption(&mut self, action: Corruption) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.corruption, action);
        if before == Corruption::Fail || before == action {
            return Ok(());
        }
        Err(Error::Contradiction(before.option(), action.option()))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), Error> {
        let wrong = |allowed| Error::Value { option: option.to_owned(), value: value.to_owned(), allowed };
        match option {
            "superblock" => self.no_superblock = !boolean(value).ok_or(wrong("yes or no"))?,
            "format" => {
                self.format = Some(match value {
                    "0" => 0,
                    "1" => 1,
                    _ => return Err(wrong("0 or 1")),
                });
            }
            "data-block-size" => self.data_block_size = Some(block_size(value).ok_or(wrong(BLOCK_SIZE))?),
            "hash-block-size" => self.hash_block_size = Some(block_size(value).ok_or(wrong(BLOCK_SIZE))?),
            "data-blocks" => {
                let blocks = value.parse().ok().filter(|blocks| *blocks > 0);
                self.data_blocks = Some(blocks.ok_or(wrong("a number of blocks, 1 at least,"))?);
            }
            "hash-offset" => self.hash_offset = offset(value).ok_or(wrong(OFFSET))?,
            "salt" => {
                let salt = from_hex(value).filter(|salt| salt.len() <= LONGEST_SALT);
                self.salt = Some(salt.ok_or(wrong("- or up to 256 bytes in hexadecimal"))?);
            }
            "uuid" => self.uuid = Some(uuid(value).ok_or(wrong("a UUID"))?),
            "hash" if is_algorithm(value) => self.algorithm = Some(value.to_owned()),
            "hash" => return Err(wrong("the kernel's name of a hash algorithm")),
            "fec-device" if value.is_empty() => return Err(wrong("the name of a device")),
            "fec-device" => self.fec_device = Some(value.to_owned()),
            "fec-offset" => self.fec_offset = offset(value).ok_or(wrong(OFFSET))?,
            "fec-roots" => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let roots = value.parse().ok().filter(|roots| digits && ROOTS.contains(roots));
                self.fec_roots = Some(roots.ok_or(wrong("a number from 2 to 24"))?);
            }
            "root-hash-signature" => {
                self.signature = Some(match value.strip_prefix("base64:") {
                    Some(text) => GivenSignature::Here(text.parse().map_err(Error::Signature)?),
                    None if value.starts_with('/') => GivenSignature::File(value.to_owned()),
                    None => return Err(wrong("the absolute path of a file, or base64: and PKCS#7 in DER,")),
                });
            }
            _ if FLAGS.contains(&option) => {
                return Err(Error::Shape { option: option.to_owned(), problem: "takes no value" });
            }
            _ => return Err(Error::Unknown(option.to_owned())),
        }
        Ok(())
    }
}

impl Corruption {
    fn option(self) -> &'static str {
        match self {
            Self::Fail => "",
            Self::Ignore => "ignore-corruption",
            Self::Restart => "restart-on-corruption",
            Self::Panic => "panic-on-corruption",
        }
    }
}

const OFFSET: &str = "a number of bytes, a multiple of 512,";
const BLOCK_SIZE: &str = "a power of two from 512 to 512K";
const FLAGS: [&str; 5] = [
    "ignore-corruption",
    "restart-on-corruption",
    "panic-on-corruption",
    "ignore-zero-blocks",
    "check-at-most-once",
];
const VALUED: [&str; 13] = [
    "superblock",
    "format",
    "data-block-size",
    "hash-block-size",
    "data-blocks",
    "hash-offset",
    "salt",
    "uuid",
    "hash",
    "fec-device",
    "fec-offset",
    "fec-roots",
    "root-hash-signature",
];

/// Bytes, with systemd's suffixes to the base of 1024.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text.get(digits.len()..)? {
        "" | "B" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        "P" => 1 << 50,
        "E" => 1 << 60,
        _ => return None,
    };
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse::<u64>().ok()?.checked_mul(factor)).flatten()
}

fn offset(text: &str) -> Option<Bytes> {
    size(text).filter(|offset| offset.is_multiple_of(512)).map(Bytes)
}

/// With or without hyphens, as sd_id128_from_string(3) takes it.
fn uuid(text: &str) -> Option<Guid> {
    text.parse().ok().or_else(|| Some(Guid::from_bytes(from_hex(text)?.try_into().ok()?)))
}

fn block_size(text: &str) -> Option<BlockSize> {
    let bytes = u32::try_from(size(text)?).ok()?;
    BlockSize::new(bytes).ok().filter(|_| bytes <= LARGEST_BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let parsed = VerityOptions::parse(
            "superblock=no,format=1,data-block-size=4096,hash-block-size=1K,data-blocks=77,hash-offset=1M,salt=00ff,\
             uuid=4f68bce3-e8cd-4db1-96e7-fbcaf984b709,hash=sha512,panic-on-corruption,ignore-zero-blocks,check-at-most-once,\
             fec-device=PARTLABEL=parity,fec-offset=8K,fec-roots=24,\
             root-hash-signature=/etc/root.p7s",
        );
        let expected = VerityOptions {
            no_superblock: true,
            format: Some(1),
            data_block_size: Some(BlockSize::B4096),
            hash_block_size: BlockSize::new(1024).ok(),
            data_blocks: Some(77),
            hash_offset: Bytes(1 << 20),
            salt: Some(vec![0, 0xff]),
            uuid: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709".parse().ok(),
            algorithm: Some("sha512".to_owned()),
            corruption: Corruption::Panic,
            ignore_zero_blocks: true,
            check_at_most_once: true,
            fec_device: Some("PARTLABEL=parity".to_owned()),
            fec_offset: Bytes(8192),
            fec_roots: Some(24),
            signature: Some(GivenSignature::File("/etc/root.p7s".to_owned())),
        };
        assert_eq!(parsed, Ok(expected));
        assert_eq!(VerityOptions::parse(""), Ok(VerityOptions::default()));
        assert_eq!(VerityOptions::parse("salt=-").unwrap().salt, Some(Vec::new()));
        let plain = VerityOptions::parse("uuid=4f68bce3e8cd4db196e7fbcaf984b709,hash-offset=1P").unwrap();
        assert_eq!(plain.uuid, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709".parse().ok());
        assert_eq!(plain.hash_offset, Bytes(1 << 50));
        let signed = VerityOptions::parse("root-hash-signature=base64:MAMCAQE=").unwrap().signature;
        assert_eq!(signed, Some(GivenSignature::Here("MAMCAQE=".parse().unwrap())));
        assert!(VerityOptions::parse("restart-on-corruption,restart-on-corruption").is_ok());
    }

    #[test]
    fn malformed() {
        for (list, message) in [
            ("format=2", "format=2: 0 or 1 is needed"),
            ("format=", "format=: 0 or 1 is needed"),
            ("format=+1", "format=+1: 0 or 1 is needed"),
            ("uuid=00-11", "uuid=00-11: a UUID is needed"),
            ("uuid=-", "uuid=-: a UUID is needed"),
            ("hash-offset=16E", "hash-offset=16E: a number of bytes, a multiple of 512, is needed"),
            ("superblock=maybe", "superblock=maybe: yes or no is needed"),
            ("data-block-size=4097", "data-block-size=4097: a power of two from 512 to 512K is needed"),
            ("hash-block-size=1M", "hash-block-size=1M: a power of two from 512 to 512K is needed"),
            ("data-blocks=0", "data-blocks=0: a number of blocks, 1 at least, is needed"),
            ("hash-offset=100", "hash-offset=100: a number of bytes, a multiple of 512, is needed"),
            (
                "hash-offset=99999999999T",
                "hash-offset=99999999999T: a number of bytes, a multiple of 512, is needed",
            ),
            ("salt=0", "salt=0: - or up to 256 bytes in hexadecimal is needed"),
            ("salt=", "salt=: - or up to 256 bytes in hexadecimal is needed"),
            ("uuid=1", "uuid=1: a UUID is needed"),
            ("hash=sha 256", "hash=sha 256: the kernel's name of a hash algorithm is needed"),
            ("root-hash-signature", "root-hash-signature needs a value"),
            (
                "root-hash-signature=root.p7s",
                "root-hash-signature=root.p7s: the absolute path of a file, or base64: and PKCS#7 in DER, is needed",
            ),
            (
                "root-hash-signature=base64:MAMC",
                "root-hash-signature=base64:...: it is cut off: 3 of 5 bytes are there",
            ),
            ("hash", "hash needs a value"),
            ("ignore-corruption=yes", "ignore-corruption takes no value"),
            ("nonsense", "the option \"nonsense\" is not known"),
            ("nonsense=1", "the option \"nonsense\" is not known"),
            (
                "ignore-corruption,panic-on-corruption",
                "ignore-corruption and panic-on-corruption exclude each other",
            ),
            ("fec-device=", "fec-device=: the name of a device is needed"),
            ("fec-device", "fec-device needs a value"),
            ("fec-offset=511", "fec-offset=511: a number of bytes, a multiple of 512, is needed"),
            ("fec-roots=1", "fec-roots=1: a number from 2 to 24 is needed"),
            ("fec-roots=25", "fec-roots=25: a number from 2 to 24 is needed"),
            ("fec-roots=+2", "fec-roots=+2: a number from 2 to 24 is needed"),
            (
                "root-hash-signature=x",
                "root-hash-signature=x: the absolute path of a file, or base64: and PKCS#7 in DER, is needed",
            ),
        ] {
            assert_eq!(VerityOptions::parse(list).unwrap_err().to_string(), message);
        }
    }
}
