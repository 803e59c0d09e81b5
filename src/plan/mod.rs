//! Pure decisions: what was asked ([`intent`]) and what was found ([`facts`]) become an ordered list of
//! steps. No I/O, no file descriptors; the text of a [`Plan`] is what people read, golden tests compare
//! and the kernel log shows.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod boot;
pub mod carry;
pub mod choose;
mod decision;
mod discover;
pub mod facts;
mod find;
pub mod image_file;
pub mod intent;
mod invalid;
mod look;
mod pair;
mod partitioned;
mod policy;
pub mod preflight;
pub mod request;
mod resolve;
mod settings;
pub mod slot;
pub mod source;
pub mod stage;
pub mod state;
pub mod step;
mod tag;
mod verified;

pub use step::Step;

/// Steps in the order in which they are done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan as text, a step a line, with `>>` before the step at `failed`.
    #[must_use]
    pub fn with_failed(&self, failed: usize) -> String {
        self.lines(Some(failed))
    }

    fn lines(&self, failed: Option<usize>) -> String {
        let line = |(index, step): (usize, &Step)| {
            let mark = if failed == Some(index) { ">>" } else { "  " };
            format!("{mark}{:2}. {step} [undo: {}]\n", index + 1, step.undo())
        };
        self.steps.iter().enumerate().map(line).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines(None))
    }
}
