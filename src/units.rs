//! Quantities that carry their unit in the type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The unit in which the kernel counts a block device, whatever its logical block size: 512 bytes
/// (`SECTOR_SIZE`, include/linux/blk_types.h).
pub const SECTOR_SIZE: u64 = 512;

/// The unit of what is in memory, on every machine that we are built for, in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A number of 512-byte sectors, as in a device-mapper table or /sys/class/block/*/size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sectors(pub u64);

/// A block size in bytes: a power of two, 512 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct BlockSize(u32);

/// A number that is no block size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a block size (a power of two, 512 bytes at least)")]
pub struct NotABlockSize(pub u32);

impl Sectors {
    /// The same length in bytes; `None` past 2^64.
    #[must_use]
    pub fn to_bytes(self) -> Option<Bytes> {
        self.0.checked_mul(SECTOR_SIZE).map(Bytes)
    }
}

impl Bytes {
    /// Whole sectors that fit, the rest dropped.
    #[must_use]
    pub fn to_sectors(self) -> Sectors {
        Sectors(self.0 / SECTOR_SIZE)
    }
}

impl BlockSize {
    /// 512 bytes.
    pub const B512: Self = Self(512);
    /// 4096 bytes.
    pub const B4096: Self = Self(4096);

    /// Checks that `bytes` is a power of two and 512 at least.
    pub const fn new(bytes: u32) -> Result<Self, NotABlockSize> {
        if bytes >= 512 && bytes.is_power_of_two() { Ok(Self(bytes)) } else { Err(NotABlockSize(bytes)) }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The length of `blocks` blocks; `None` past 2^64 bytes.
    #[must_use]
    pub fn times(self, blocks: u64) -> Option<Bytes> {
        blocks.checked_mul(u64::from(self.0)).map(Bytes)
    }
}

impl TryFrom<u32> for BlockSize {
    type Error = NotABlockSize;
    fn try_from(bytes: u32) -> Result<Self, NotABlockSize> {
        Self::new(bytes)
    }
}

impl From<BlockSize> for u32 {
    fn from(size: BlockSize) -> u32 {
        size.0
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Bytes {
    /// In the largest binary unit that keeps it readable: `512 B`, `64.0 MiB`. `{:#}` has the bytes, too, as sizes that are held
    /// against each other may differ by less than is shown: `64.0 MiB (67108864 B)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        // In tenths and whole numbers: floating point costs an initramfs 20 KiB.
        let (mut tenths, mut unit) = (u128::from(self.0) * 10, "");
        for next in UNITS {
            if tenths < 10240 {
                break;
            }
            tenths = (tenths + 512) / 1024;
            unit = next;
        }
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)?;
        if f.alternate() { write!(f, " ({} B)", self.0) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes() {
        for (bytes, good) in
            [(0, false), (1, false), (256, false), (512, true), (513, false), (4096, true), (1 << 31, true)]
        {
            assert_eq!(BlockSize::new(bytes).is_ok(), good, "{bytes}");
        }
    }

    #[test]
    fn lengths_do_not_wrap() {
        assert_eq!(Sectors(u64::MAX).to_bytes(), None);
        assert_eq!(BlockSize::B4096.times(u64::MAX), None);
        assert_eq!(Sectors(3).to_bytes(), Some(Bytes(1536)));
        assert_eq!(Bytes(1535).to_sectors(), Sectors(2));
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (67_108_864, "64.0 MiB"),
            (1 << 50, "1024.0 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(format!("{:#} {:#}", Bytes(4 << 20), Bytes(9)), "4.0 MiB (4194304 B) 9 B");
    }
}
