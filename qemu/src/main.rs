//! The rig's commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match nextroot_qemu::inside() {
        Some(entered) => entered.map(|()| ExitCode::SUCCESS),
        None => nextroot_qemu::run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("nextroot-qemu: {error}");
        ExitCode::FAILURE
    })
}
