//! One file a role or subcommand. They join probing, deciding and executing, and touch the kernel only
//! through [`crate::run`].

pub mod emergency;
pub mod init;
pub mod modprobe;
#[cfg(feature = "cli")]
pub mod plan;

/// Whether this system is an initramfs.
#[must_use]
pub fn is_initrd() -> bool {
    crate::run::machine::is_initrd()
}
