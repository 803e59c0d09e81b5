//! What nextroot takes, beside what its peers take: the same work, on the same machine, in turn.

use std::process::ExitCode;

use argh::FromArgs;

mod runs;
mod verity;

/// What fails ends a benchmark.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Measure nextroot beside its peers, and write the figures as JSON.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Verity(verity::Asked),
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let Command::Verity(asked) = arguments.command;
    match verity::run(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nextroot-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
