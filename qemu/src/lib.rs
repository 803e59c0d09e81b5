//! The rig: boots nextroot in virtual machines, and checks what they say. What benches measure goes through [`measured`].

use std::process::ExitCode;

pub mod begun;
mod boot;
mod cache;
mod cli;
mod counted;
mod demo;
mod faults;
mod image;
mod initrd;
mod keys;
mod listen;
mod machine;
pub mod measured;
mod parallel;
mod payload;
mod progress;
mod recipe;
mod rig;
mod sandbox;
mod saved;
mod scenario;
mod secure_boot;
mod serving;
mod system;
mod tree;
mod trial;

/// What most of the rig gives: a failure is told to a person and ends the run.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What this process was started again for, inside of a tree; `None` where it was started by a person. A program that uses the
/// rig begins with this.
pub fn inside() -> Option<Outcome<()>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (first, rest) = arguments.split_first()?;
    (first == sandbox::ENTER).then(|| sandbox::enter(rest))
}

/// The rig's own commands.
pub fn run() -> Outcome<ExitCode> {
    cli::run()
}
