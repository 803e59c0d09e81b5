//! The modprobe role: the kernel itself starts us when it needs a file system, a cipher or a dm target
//! (kernel/module/kmod.c: `modprobe -q -- NAME`).

use std::{process::ExitCode, sync::Arc, time::Instant};

use crate::{
    format::kernel::cmdline::CommandLine,
    plan::intent::{Modules, Verbosity},
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
    // The init role tells why these cannot be read, and ends the boot.
    let (Ok(line), Ok(config)) = (machine::command_line(), init::config()) else { return ExitCode::FAILURE };
    let (modules, verbosity) = Modules::asked(&CommandLine::parse(&line), &config);
    log.set_debug(verbosity == Verbosity::Debug);
    log.debug(|| format!("the kernel asks for {}", names.join(" ")));
    let Ok(loader) = init::loader(&modules, &log) else { return ExitCode::FAILURE };
    match loader.load(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.debug(|| format!("{error}"));
            ExitCode::FAILURE
        }
    }
}
