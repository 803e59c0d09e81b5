//! One file a role or subcommand. They join probing, deciding and executing, and touch the kernel only
//! through [`crate::run`].

use std::io::Write;

#[cfg(feature = "cli")]
pub mod bless;
#[cfg(feature = "cli")]
pub mod cancel;
#[cfg(feature = "cli")]
pub mod client;
#[cfg(feature = "cli")]
pub mod doctor;
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
pub mod preflight;
#[cfg(feature = "cli")]
pub mod reboot;
#[cfg(feature = "cli")]
pub mod relay;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "cli")]
pub mod request;
pub mod shutdown;
#[cfg(feature = "cli")]
pub mod stage;
#[cfg(feature = "cli")]
pub mod status;
#[cfg(feature = "cli")]
pub mod verity;
#[cfg(feature = "cli")]
pub mod watch;

/// Writes a line for whoever typed the command. Nobody may be listening any more, and what is under way goes on:
/// println! would panic in the middle of it.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The same to standard error.
pub fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether this system is an initramfs.
#[must_use]
pub fn is_initrd() -> bool {
    crate::run::machine::is_initrd()
}

/// Whether this process may do what only root may.
#[must_use]
pub fn is_root() -> bool {
    crate::run::machine::is_root()
}
