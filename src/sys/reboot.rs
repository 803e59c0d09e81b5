//! The end of the machine's run: reboot(2).

use nix::sys::reboot::{RebootMode, reboot};

use super::Error;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start again.
    Reboot,
    /// Switch the power off.
    PowerOff,
    /// Stop and stay.
    Halt,
}

/// `sync()`: writes out what is in memory; returns when that is done, which a disk that does not answer can hold up for ever.
///
/// sync(2).
pub fn sync() {
    nix::unistd::sync();
}

/// `reboot(action)`: returns only where the kernel refuses. What is not written out is lost ([`sync`]).
///
/// reboot(2). Errors: EPERM without CAP_SYS_BOOT.
pub fn now(action: Action) -> Error {
    let (mode, name) = match action {
        Action::Reboot => (RebootMode::RB_AUTOBOOT, "RB_AUTOBOOT"),
        Action::PowerOff => (RebootMode::RB_POWER_OFF, "RB_POWER_OFF"),
        Action::Halt => (RebootMode::RB_HALT_SYSTEM, "RB_HALT_SYSTEM"),
    };
    match reboot(mode) {
        Err(errno) => Error::new("reboot", name, errno),
        Ok(never) => match never {},
    }
}
