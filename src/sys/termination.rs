//! A wish that this process ends, which is heard instead of obeyed.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::Error;

static ENDING: AtomicBool = AtomicBool::new(false);

extern "C" fn end(_: libc::c_int) {
    ENDING.store(true, Ordering::Relaxed);
}

/// `sigaction({SIGHUP, SIGINT, SIGTERM})`: from here on these do not end this process: [`is_to_end`] says that one came, and whoever asks it sees to
/// the end. One that is ignored, as by nohup(1), stays so.
///
/// sigaction(2).
pub fn end_by_asking() -> Result<(), Error> {
    let action = SigAction::new(SigHandler::Handler(end), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        let set = |action: &SigAction| {
            // SAFETY: the handler stores to an atomic and calls nothing; what was set before was set by nobody here.
            unsafe { sigaction(signal, action) }.map_err(|e| Error::new("sigaction", signal.as_str(), e))
        };
        let before = set(&action)?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            set(&before)?;
        }
    }
    Ok(())
}

/// Whether this process was asked to end, since [`end_by_asking`].
#[must_use]
pub fn is_to_end() -> bool {
    ENDING.load(Ordering::Relaxed)
}
