//! What the running kernel is told and tells: its command line, modules, mounts, processes and announcements.

pub mod cmdline;
pub mod devno;
pub mod kernel_release;
pub mod meminfo;
pub mod modindex;
pub mod modules;
pub mod mount_options;
pub mod mountinfo;
pub mod process;
pub mod uevent;
#[cfg(feature = "cli")]
pub mod uki;
