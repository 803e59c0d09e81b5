//! Chooses the role by what is true, runs it, prints the error chain.

use std::{process::ExitCode, time::Instant};

#[cfg(feature = "cli")]
mod cli;

fn main() -> ExitCode {
    let start = Instant::now();
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let name = arguments.next().unwrap_or_default();
    match name.rsplit('/').next() {
        // dracut may have unpacked an initramfs around it, with /etc/initrd-release; the kernel never starts /shutdown.
        _ if std::process::id() == 1 && nextroot::mode::shutdown::is_exitrd(&name) => {
            nextroot::mode::shutdown::run(start, &arguments.collect::<Vec<_>>())
        }
        _ if std::process::id() == 1 && nextroot::mode::is_initrd() => {
            nextroot::mode::init::run(start, arguments.collect())
        }
        #[cfg(feature = "cli")]
        _ if std::process::id() == 1 && nextroot::mode::relay::is_relay() => {
            nextroot::mode::relay::run(start, arguments.collect())
        }
        _ if std::process::id() == 1 => {
            eprintln!(
                "nextroot: started as PID 1, but this is neither an initramfs (no /etc/initrd-release) nor a staged relay (no /relay.json), nor what systemd-shutdown starts (/shutdown)"
            );
            ExitCode::FAILURE
        }
        Some("modprobe") => nextroot::mode::modprobe::run(start, &arguments.collect::<Vec<_>>()),
        _ => command_line(),
    }
}

#[cfg(feature = "cli")]
fn command_line() -> ExitCode {
    cli::run()
}

#[cfg(not(feature = "cli"))]
fn command_line() -> ExitCode {
    eprintln!("nextroot: this build has the roles of an initramfs only; the full build has the commands");
    ExitCode::FAILURE
}
