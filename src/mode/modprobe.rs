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
    // The init role reports a command line that cannot be read; here it only means: no extra rules.
    let intent = machine::command_line()
        .ok()
        .and_then(|text| Intent::resolve(&CommandLine::parse(&text), &Config::default()).ok());
    log.set_debug(intent.as_ref().is_some_and(|intent| intent.verbosity == Verbosity::Debug));
    log.debug(|| format!("the kernel asks for {}", names.join(" ")));
    let modules = intent.map(|intent| intent.modules).unwrap_or_default();
    let Ok(loader) = init::loader(&modules, &log) else { return ExitCode::FAILURE };
    match loader.load(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.debug(|| format!("{error}"));
            ExitCode::FAILURE
        }
    }
}
