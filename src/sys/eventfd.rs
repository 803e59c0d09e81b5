//! A wake-up between threads that can be waited for together with sockets.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Error;

/// A counter that another thread raises.
#[derive(Debug)]
pub struct Wakeup(EventFd);

impl Wakeup {
    /// `eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)`; eventfd(2).
    pub fn new() -> Result<Self, Error> {
        EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map(Self)
            .map_err(|e| Error::new("eventfd", "", e))
    }

    /// Raises it. A counter that is full is raised already.
    pub fn raise(&self) {
        let _ = self.0.write(1);
    }

    /// Takes it back; whether it was raised.
    pub fn take(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
