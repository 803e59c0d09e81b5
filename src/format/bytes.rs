//! Fixed fields at fixed places of untrusted bytes, and the sum that some of them are held to.

use crc::{CRC_32_ISO_HDLC, Crc};

/// The CRC-32 of Ethernet, which GUID partition tables have, too (UEFI Specification 2.10, section 5.3.2).
pub static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The `N` bytes at `offset`; `None` where they are not all there.
#[must_use]
pub fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk::<N>().copied()
}

/// A little-endian 16-bit number.
#[must_use]
pub fn le16(bytes: &[u8], offset: usize) -> Option<u16> {
    array(bytes, offset).map(u16::from_le_bytes)
}

/// A little-endian 32-bit number.
#[must_use]
pub fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

/// A little-endian 64-bit number.
#[must_use]
pub fn le64(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

/// Text that ends with a zero, or with the field; `None` where it is empty. What is not UTF-8 is replaced.
#[must_use]
pub fn text(bytes: &[u8], offset: usize, length: usize) -> Option<String> {
    let field = bytes.get(offset..offset.checked_add(length)?)?;
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = String::from_utf8_lossy(field.get(..end)?).trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}
/// What somebody else wrote, without characters by which it would begin a line of its own or steer a terminal.
/// `instead` stands for each.
pub(crate) fn printable(text: &str, instead: char) -> String {
    text.chars().map(|c| if c.is_control() { instead } else { c }).collect()
}
