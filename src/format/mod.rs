//! Bytes and text to values and back: no I/O, no log, no clock.
//!
//! Everything here reads what comes from outside (disks, the kernel, users), so nothing is trusted:
//! each offset, length and count is checked against the bytes at hand.

pub mod bytes;
pub mod cmdline;
pub mod config;
pub mod cpio;
pub mod devno;
pub mod discoverable;
pub mod drop_ins;
pub mod elf;
pub mod fstab;
pub mod gpt;
pub mod guid;
pub mod host_config;
pub mod inhibitor;
pub mod ini;
pub mod kernel_release;
pub mod mbr;
pub mod meminfo;
pub mod modindex;
pub mod modules;
pub mod mount_options;
pub mod mountinfo;
pub mod os_release;
pub mod process;
pub mod root_hash;
pub mod superblock;
pub mod systemd_version;
pub mod sysupdate;
pub mod time_span;
pub mod uevent;
pub mod unit_file;
pub mod unit_properties;
pub mod verity;
pub mod version;
pub mod versioned_directory;
