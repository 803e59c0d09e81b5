//! What a boot leaves behind for those who ask later: /run/nextroot-state/boot.json.

use std::{fs, io, path::Path, time::Duration};

use serde::Serialize;

/// Version of the file's layout: raised whenever a field changes its meaning or goes away.
const VERSION: u32 = 1;

/// A boot, step by step.
#[derive(Debug, Serialize)]
pub struct Boot {
    version: u32,
    nextroot: &'static str,
    /// CLOCK_BOOTTIME at the first instruction, in microseconds: what the kernel took.
    kernel_us: u128,
    steps: Vec<Done>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Done {
    /// The step as the plan prints it.
    step: String,
    /// Microseconds from the first instruction to its begin and to its end.
    begin_us: u128,
    end_us: u128,
}

impl Boot {
    /// A record without steps.
    #[must_use]
    pub fn new(kernel: Duration, notes: Vec<String>) -> Self {
        Self {
            version: VERSION,
            nextroot: env!("CARGO_PKG_VERSION"),
            kernel_us: kernel.as_micros(),
            steps: Vec::new(),
            notes,
        }
    }

    /// Adds a step that was done.
    pub fn add(&mut self, step: String, begin: Duration, end: Duration) {
        self.steps.push(Done { step, begin_us: begin.as_micros(), end_us: end.as_micros() });
    }

    /// Adds what is to be told of it.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Writes it to `directory`/boot.json, whole or not at all.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut text = serde_json::to_vec(self).map_err(io::Error::from)?;
        text.push(b'\n');
        let unfinished = directory.join(".boot.json.new");
        fs::write(&unfinished, text)?;
        fs::rename(&unfinished, directory.join("boot.json"))
    }
}
