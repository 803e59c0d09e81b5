//! What nextroot takes, beside what its peers take: the same work, on the same machine, in turn.

use std::process::ExitCode;

use argh::FromArgs;

mod chart;
mod growth;
mod initramfs;
mod mkinitrd;
mod runs;
mod soft_reboot;
mod verity;

use nextroot_qemu::Outcome;

/// Measure nextroot beside its peers, and write the figures as JSON.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Growth(growth::Asked),
    Initramfs(initramfs::Asked),
    Mkinitrd(mkinitrd::Asked),
    SoftReboot(soft_reboot::Asked),
    Verity(verity::Asked),
}

fn main() -> ExitCode {
    let outcome = nextroot_qemu::inside().unwrap_or_else(|| match argh::from_env::<Arguments>().command {
        Command::Growth(asked) => growth::run(&asked),
        Command::Initramfs(asked) => initramfs::run(&asked),
        Command::Mkinitrd(asked) => mkinitrd::run(&asked),
        Command::SoftReboot(asked) => soft_reboot::run(&asked),
        Command::Verity(asked) => verity::run(&asked),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nextroot-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
