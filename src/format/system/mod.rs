//! What an operating system says of itself: its release, programs, units, fstab, and the images of it that lie about.

pub mod boot_entry;
pub mod elf;
pub mod fstab;
pub mod inhibitor;
pub mod job_list;
pub mod journal;
pub mod journal_entry;
pub mod mount_unit;
pub mod os_release;
pub mod probe_log;
pub mod systemd_version;
pub mod sysupdate;
pub mod tries;
pub mod unit_file;
pub mod unit_list;
pub mod unit_properties;
pub mod version;
pub mod versioned_directory;
