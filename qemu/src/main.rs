//! The rig: boots nextroot in virtual machines, and checks what they say.

use std::process::ExitCode;

mod boot;
mod cache;
mod cli;
mod demo;
mod faults;
mod image;
mod initrd;
mod keys;
mod listen;
mod machine;
mod parallel;
mod payload;
mod progress;
mod recipe;
mod rig;
mod sandbox;
mod saved;
mod scenario;
mod secure_boot;
mod tree;
mod trial;

/// What most of the rig gives: a failure is told to a person and ends the run.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == sandbox::ENTER => sandbox::enter(rest).map(|()| ExitCode::SUCCESS),
        _ => cli::run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("nextroot-qemu: {error}");
        ExitCode::FAILURE
    })
}
