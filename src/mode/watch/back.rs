//! What the watcher runs aside, in a process of its own, where a disk or PID 1 may not answer: the way back to the root before.

use std::time::Instant;

use crate::{
    plan::{Step, state::Staged},
    run::{
        execute::Executor,
        log::Log,
        probe::Prober,
        soft_reboot::{handover::chain, running, state::Store, watcher},
    },
};

use super::{
    super::{reboot, request::Way, stage},
    Error,
};

/// Exit code of a return that another nextroot kept from being staged.
pub const LATER: u8 = 75;

/// Goes back to the root before: in a process of its own, which can be ended where a disk or PID 1 does not answer. It
/// speaks through the kernel log.
pub fn back(why: &str) -> Result<Staged, reboot::Error> {
    let log = Log::open(Instant::now());
    let staged = try_back(why, |line| log.info(&format!("watch: back: {line}")));
    // What becomes of a lock that cannot be had, the watcher decides.
    if let Some(error) = staged.as_ref().err().filter(|error| !error.is_locked()) {
        log.error(&format!("watch: back: {}", chain(error)));
    }
    staged
}

fn try_back(why: &str, tell: impl FnMut(&str)) -> Result<Staged, reboot::Error> {
    let mut request = reboot::back(why)?;
    // What nextroot.conf of the unhealthy root says does not count; and preflight warns only, as nothing else is left.
    request.force = true;
    if !watcher::is_copy() {
        request.way = Way::Direct; // where a tmpfs may not have programs
    }
    if let Some(trial) = Store::default().load()?.trial {
        request.configured.trial = trial.rules;
    }
    // Services are away longer if it takes longer.
    request.configured.prewarm.wanted = false;
    reboot::run(&request, None, tell)
}

/// Marks the boot loader's entries of the running root bad: in a process of its own, too, where a disk may not answer.
pub fn mark() -> Result<(), Error> {
    let log = Log::open(Instant::now());
    let marked = || -> Result<(), Error> {
        let state = running::settled::<Error>(&Store::default())?;
        let prober = Prober::of_running_system()?;
        let mut executor = Executor::new(None, Vec::new());
        for renaming in
            stage::bad_entries(&state, prober.facts(), &mut |line| log.warning(&format!("watch: {line}")))
        {
            let step = Step::MarkEntryBad(renaming);
            log.info(&format!("watch: {step}"));
            executor.execute(&step)?;
        }
        Ok(())
    };
    marked().inspect_err(|error| log.error(&format!("watch: {}", chain(error))))
}
