//! mkinitrd: collects what the init role needs and writes it as an initramfs.

use std::process::ExitCode;

mod certificates;
mod cli;
mod compress;
mod config;
mod contents;
mod drivers;
mod host;
mod index;
mod init;
mod select;
mod signatures;
mod sysroot;
mod write;

fn main() -> ExitCode {
    let arguments: cli::Arguments = match nextroot_usage::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(early) => return early.tell(),
    };
    match cli::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mkinitrd: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
