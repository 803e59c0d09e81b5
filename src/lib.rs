//! nextroot finds, verifies, mounts and switches into the next root file system.
//!
//! One straight line, the same in every role: the kernel command line and the configuration become an
//! [`plan::intent::Intent`]; what the machine has becomes [`plan::facts::Facts`]; both become a
//! [`plan::Plan`], which is executed step by step.
//!
//! The layers, an arrow pointing at what is imported: `units <- format <- plan <- run -> sys`, with
//! [`mode`] on top of `run`. `tests/layers.rs` holds the sources to them.

pub mod format;
pub mod mode;
pub mod plan;
pub mod run;
pub mod sys;
pub mod units;

#[cfg(test)]
#[path = "../tests/left_out/mod.rs"]
mod left_out;
