//! Bytes and text to values and back: no I/O, no log, no clock.
//!
//! Everything here reads what comes from outside (disks, the kernel, users), so nothing is trusted:
//! each offset, length and count is checked against the bytes at hand.

pub mod devno;
pub mod guid;
pub mod root_hash;
