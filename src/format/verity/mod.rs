//! dm-verity: the superblock that veritysetup writes, the options that systemd takes, the table line that
//! the kernel reads, and how the first two and a root hash make the third.

pub mod digest;
pub mod fec;
pub mod options;
pub mod reed_solomon;
pub mod root_hash;
pub mod setup;
pub mod signature;
pub mod superblock;
pub mod table;
pub mod tree;

/// Bytes of a digest, by the kernel's name of the algorithm; `None` for one that is not known here.
#[must_use]
pub fn digest_size(algorithm: &str) -> Option<usize> {
    match algorithm {
        "sha1" => Some(20),
        "sha224" => Some(28),
        "sha256" | "sha3-256" | "sm3" | "blake2s-256" => Some(32),
        "sha384" => Some(48),
        "sha512" | "sha3-512" | "blake2b-512" => Some(64),
        _ => None,
    }
}

/// Bytes as lower-case hexadecimal; `-` for none, as the table line has it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The other way round; `None` where it is no hexadecimal, or half a byte is over.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text == "-" {
        return Some(Vec::new());
    }
    let nibbles: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|nibble| u8::try_from(nibble).ok())).collect();
    let nibbles = nibbles?;
    let (pairs, odd) = nibbles.as_chunks::<2>();
    (odd.is_empty() && !pairs.is_empty()).then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
