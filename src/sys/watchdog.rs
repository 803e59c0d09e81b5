//! Hardware watchdogs (Documentation/watchdog/watchdog-api.rst, include/uapi/linux/watchdog.h).

use std::{fs::File, io::Write, os::fd::AsRawFd, path::Path, time::Duration};

use super::Error;

mod ioctl {
    nix::ioctl_readwrite!(set_timeout, b'W', 6, nix::libc::c_int);
}

/// One that runs, as long as this is held. Closed without a word, which happens when another program is executed at the
/// latest, it runs on where its driver has `WDIOF_MAGICCLOSE`: unless somebody opens and feeds it within the time-out, it
/// resets the machine. Other drivers stop it.
#[derive(Debug)]
pub struct Armed {
    _file: File,
}

/// `open(device, O_WRONLY | O_CLOEXEC); ioctl(WDIOC_SETTIMEOUT); write("\0")`: starts it. The kernel keeps the word of whoever
/// closed it before, by which closing stops it, until something else is written (drivers/watchdog/watchdog_dev.c,
/// `watchdog_write`).
///
/// Errors: ENOENT, EBUSY where somebody has it open, EINVAL for a time-out that it cannot do.
pub fn arm(device: &Path, timeout: Option<Duration>) -> Result<Armed, Error> {
    let mut file = File::options().write(true).open(device).map_err(|e| Error::at("open", device, e))?;
    if let Some(timeout) = timeout {
        let mut seconds = nix::libc::c_int::try_from(timeout.as_secs()).unwrap_or(nix::libc::c_int::MAX);
        // SAFETY: the descriptor is open for the call, which reads and writes one integer through the pointer.
        unsafe { ioctl::set_timeout(file.as_raw_fd(), &raw mut seconds) }
            .map_err(|e| Error::at("ioctl WDIOC_SETTIMEOUT", device, e))?;
    }
    file.write_all(b"\0").map_err(|e| Error::at("write", device, e))?;
    Ok(Armed { _file: file })
}
