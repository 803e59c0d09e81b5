//! What the kernel log is told: each line with the time since the first instruction of this program.

use std::{
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    format::bytes::printable,
    sys::kmsg::{self, Level, Writer},
};

/// The log of one run. Threads share it.
#[derive(Debug)]
pub struct Log {
    start: Instant,
    debug: AtomicBool,
    kmsg: Mutex<Option<Writer>>,
}

impl Log {
    /// A log whose clock began at `start`. Without /dev/kmsg it writes to standard error.
    #[must_use]
    pub fn open(start: Instant) -> Self {
        // Not fatal: at worst the kernel drops records that come too fast.
        let _ = kmsg::unlimited();
        Self { start, debug: AtomicBool::new(false), kmsg: Mutex::new(Writer::open().ok()) }
    }

    /// A log that goes nowhere, for commands that only look.
    #[must_use]
    pub fn quiet(start: Instant) -> Self {
        Self { start, debug: AtomicBool::new(false), kmsg: Mutex::new(None) }
    }

    /// Lets detail through, too.
    pub fn set_debug(&self, debug: bool) {
        self.debug.store(debug, Ordering::Relaxed);
    }

    /// Time since the first instruction.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Progress.
    pub fn info(&self, text: &str) {
        self.write(Level::Info, text);
    }

    /// Something that is tolerated.
    pub fn warning(&self, text: &str) {
        self.write(Level::Warning, text);
    }

    /// A failure; each line of the text is a record.
    pub fn error(&self, text: &str) {
        self.write(Level::Error, text);
    }

    /// Detail, written only where it was asked for.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        if self.debug.load(Ordering::Relaxed) {
            self.write(Level::Debug, &text());
        }
    }

    fn write(&self, level: Level, text: &str) {
        let time = self.elapsed();
        let (seconds, millis) = (time.as_secs(), time.subsec_millis());
        for line in text.lines() {
            let line = format!("nextroot: [{seconds:3}.{millis:03}] {}", printable(line, '?'));
            let mut kmsg = self.kmsg.lock().unwrap_or_else(PoisonError::into_inner);
            let written = kmsg.as_mut().map(|kmsg| kmsg.write(level, &line));
            if !matches!(written, Some(Ok(()))) {
                // PID 1 must not panic because nobody listens, as eprintln! would.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }
}
