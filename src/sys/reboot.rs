//! The end of the machine's run: reboot(2).

use std::{ffi::CString, io};

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
    /// Start the kernel that kexec_load(2) left.
    Kexec,
}

/// `sync()`: writes out what is in memory; returns when that is done, which a disk that does not answer can hold up for ever.
///
/// sync(2).
pub fn sync() {
    nix::unistd::sync();
}

/// `reboot(action)`: returns only where the kernel refuses. What is not written out is lost ([`sync`]).
///
/// reboot(2). Errors: EPERM without CAP_SYS_BOOT; EINVAL from [`Action::Kexec`] where no kernel is loaded.
pub fn now(action: Action) -> Error {
    let (mode, name) = match action {
        Action::Reboot => (RebootMode::RB_AUTOBOOT, "RB_AUTOBOOT"),
        Action::PowerOff => (RebootMode::RB_POWER_OFF, "RB_POWER_OFF"),
        Action::Halt => (RebootMode::RB_HALT_SYSTEM, "RB_HALT_SYSTEM"),
        Action::Kexec => (RebootMode::RB_KEXEC, "RB_KEXEC"),
    };
    match reboot(mode) {
        Err(errno) => Error::new("reboot", name, errno),
        Ok(never) => match never {},
    }
}

/// `reboot(LINUX_REBOOT_CMD_RESTART2, parameter)`: starts again, with a word for the firmware; returns only where the kernel
/// refuses.
///
/// reboot(2). Errors: EPERM without CAP_SYS_BOOT.
pub fn with_parameter(parameter: &str) -> Error {
    let failed = |source: io::Error| Error::new("reboot LINUX_REBOOT_CMD_RESTART2", parameter, source);
    let text = match CString::new(parameter) {
        Ok(text) => text,
        Err(error) => return failed(error.into()),
    };
    // SAFETY: `text` is a string that ends with a zero, and lives until the call returns.
    unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            text.as_ptr(),
        );
    }
    failed(io::Error::last_os_error())
}
