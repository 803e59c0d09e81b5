//! Bytes and text to values and back: no I/O, no log, no clock.
//!
//! Everything here reads what comes from outside (disks, the kernel, users), so nothing is trusted:
//! each offset, length and count is checked against the bytes at hand.

pub mod bytes;
pub mod config;
pub mod cpio;
pub mod disk;
pub mod kernel;
pub mod system;
pub mod verity;
