//! One file a role or subcommand. They join probing, deciding and executing, and touch the kernel only
//! through [`crate::run`].

#[cfg(feature = "cli")]
pub mod cancel;
pub mod emergency;
#[cfg(feature = "cli")]
pub mod gc;
#[cfg(feature = "cli")]
pub mod hook;
pub mod init;
pub mod modprobe;
#[cfg(feature = "cli")]
pub mod plan;
#[cfg(feature = "cli")]
pub mod reboot;
#[cfg(feature = "cli")]
pub mod relay;
#[cfg(feature = "cli")]
pub mod stage;
#[cfg(feature = "cli")]
pub mod status;

/// Whether this system is an initramfs.
#[must_use]
pub fn is_initrd() -> bool {
    crate::run::machine::is_initrd()
}
