//! What the kernel says of itself.

use std::time::Duration;

use nix::{
    sys::utsname::uname,
    time::{ClockId, clock_gettime},
};

/// `uname()`: the release, `6.12.48+deb13-amd64`.
#[must_use]
pub fn release() -> String {
    uname().map(|names| names.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// `clock_gettime(CLOCK_BOOTTIME)`: time since the kernel began to count. Zero where there is no such clock
/// (before Linux 2.6.39).
#[must_use]
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// `clock_gettime(CLOCK_MONOTONIC)`: the clock of systemd's time stamps that end in Monotonic. It stands still while the
/// machine sleeps.
#[must_use]
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

/// `sysconf(_SC_NPROCESSORS_ONLN)`: how many processors are running; one where the kernel does not tell.
///
/// sysconf(3). What std offers reads the quota of a cgroup, too, and takes 6 KiB of an init.
#[must_use]
pub fn processors() -> usize {
    // SAFETY: the call takes a number and touches no memory of ours.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1).max(1)
}
