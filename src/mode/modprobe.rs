//! The modprobe role: the kernel itself starts us when it needs a file system, a cipher or a dm target
//! (kernel/module/kmod.c: `modprobe -q -- NAME`).

use std::{process::ExitCode, sync::Arc, time::Instant};

use crate::{
    format::{config::initramfs::Config, kernel::cmdline::CommandLine},
    plan::intent::{Intent, Verbosity},
    run::{log::Log, machine},
};

use super::init;

/// Loads what is named after the options. A name that nobody knows is the kernel's business: it asks for
/// many that need not be there.
#[must_use]
pub fn run(start: Instant, arguments: &[String]) -> ExitCode {
    let log = Arc::new(Log::open(start));
    let names: Vec<String> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).cloned().collect();
    // Where it cannot be meant, the init role tells why, and ends the boot.
    let Some(intent) = intent() else { return ExitCode::FAILURE };
    log.set_debug(intent.verbosity == Verbosity::Debug);
    log.debug(|| format!("the kernel asks for {}", names.join(" ")));
    let Ok(loader) = init::loader(&intent.modules, &log) else { return ExitCode::FAILURE };
    match loader.load(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.debug(|| format!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// What is asked for, by the kernel command line and the configuration of this initramfs.
fn intent() -> Option<Intent> {
    let config = machine::read(init::CONFIG).ok()?.unwrap_or_default();
    let config = Config::parse(&config, init::CONFIG).ok()?;
    Intent::resolve(&CommandLine::parse(&machine::command_line().ok()?), &config).ok()
}
