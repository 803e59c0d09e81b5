//! This process: its identity, its signals, and what it becomes.

use std::{ffi::CString, io, os::unix::ffi::OsStrExt, path::Path};

use nix::sys::signal::{SigHandler, Signal, signal};

use super::Error;

/// `getpid()`
#[must_use]
pub fn id() -> u32 {
    std::process::id()
}

/// The first real-time signal as systemd counts it, which is glibc's: musl keeps one more to itself.
const SIGRTMIN: libc::c_int = 34;

/// `geteuid() == 0`
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// `kill(1, SIGRTMIN+number)`: asks PID 1 for something, by the numbers of systemd(1), "Signals".
///
/// kill(2). Errors: EPERM without privilege.
pub fn signal_init(number: u8) -> Result<(), Error> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    match unsafe { libc::kill(1, SIGRTMIN + libc::c_int::from(number)) } {
        0 => Ok(()),
        _ => Err(Error::new("kill", format!("1 with SIGRTMIN+{number}"), io::Error::last_os_error())),
    }
}

/// `sigaction(SIGPIPE, SIG_DFL)`: Rust's start-up ignores it, and a program that is executed would inherit
/// that.
pub fn restore_sigpipe() -> Result<(), Error> {
    // SAFETY: installs no handler of ours, so no code of ours runs in signal context.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }
        .map(drop)
        .map_err(|e| Error::new("sigaction", "SIGPIPE", e))
}

/// `ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE); setpriority(PRIO_PROCESS, 0, 19)`: this thread's requests to disks wait
/// for those of others, and others go before it on processors.
///
/// ioprio_set(2), setpriority(2). Which schedulers of requests look at it: Documentation/block/ioprio.rst. Giving way can always
/// be asked for; that it is not granted costs nothing, ignoring.
#[cfg(feature = "cli")]
pub fn give_way() {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: both calls take numbers only.
    unsafe {
        libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE);
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

/// `execv(path, [path, arguments...])`: becomes another program, with the environment as it is; returns
/// only where that failed.
///
/// execve(2). Errors: ENOENT (also for the ELF interpreter), EACCES, ENOEXEC, ELIBBAD.
pub fn execute(path: &Path, arguments: &[String]) -> Error {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let all: io::Result<Vec<CString>> = std::iter::once(text(path.as_os_str().as_bytes()))
        .chain(arguments.iter().map(|argument| text(argument.as_bytes())))
        .collect();
    let failed = match all {
        Ok(all) => match all.first().map(|program| nix::unistd::execv(program, &all)) {
            Some(Err(errno)) => errno.into(),
            Some(Ok(never)) => match never {},
            None => io::Error::from(io::ErrorKind::InvalidInput),
        },
        Err(error) => error,
    };
    Error::at("execve", path, failed)
}
