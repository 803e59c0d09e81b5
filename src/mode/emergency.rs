//! The end of a boot that failed: one block of text for whoever reads the console, then the action of
//! `rd.emergency=`. There is no shell.

use std::{error::Error, sync::Arc, time::Duration};

use crate::{
    plan::{
        Plan,
        intent::{Emergency, EmergencyAction},
    },
    run::{log::Log, machine},
};

/// How far a boot came: what its failure is told with.
#[derive(Debug, Default)]
pub struct Progress {
    /// What follows a failure.
    pub emergency: Emergency,
    /// The plan, once there is one, and the step that was begun last.
    pub reached: Option<(Plan, usize)>,
}

/// Says what failed, waits as long as a person may need to read it, and ends the machine's run.
pub fn end(log: &Log, error: &dyn Error, progress: &Progress) -> ! {
    log.error(&text(error, progress));
    act(log, progress.emergency)
}

/// Does the same for a panic, which only a mistake of ours can be.
pub fn on_panic(log: &Arc<Log>) {
    let log = Arc::clone(log);
    std::panic::set_hook(Box::new(move |panic| {
        log.error(&format!("FAILED: a mistake in nextroot, please report it: {panic}"));
        act(&log, Emergency::default())
    }));
}

/// The block of text: what was attempted on what, why it failed and what to do, and the plan.
fn text(error: &dyn Error, progress: &Progress) -> String {
    let mut text = format!("FAILED: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("  because: {cause}\n"));
        source = cause.source();
    }
    if let Some((plan, failed)) = &progress.reached {
        text.push_str("  the plan, with the failed step marked:\n");
        text.push_str(&plan.with_failed(*failed));
    }
    let Emergency { action, pause } = progress.emergency;
    text.push_str(&format!("  next: {} in {} s (rd.emergency=)\n", verb(action), pause.as_secs()));
    text
}

fn verb(action: EmergencyAction) -> &'static str {
    match action {
        EmergencyAction::Reboot => "reboot",
        EmergencyAction::Poweroff => "power off",
        EmergencyAction::Halt => "halt",
    }
}

fn act(log: &Log, emergency: Emergency) -> ! {
    machine::pause(emergency.pause);
    let error = machine::end(emergency.action);
    log.error(&format!("{}: {error}; nothing is left to do", verb(emergency.action)));
    loop {
        machine::pause(Duration::from_secs(3600));
    }
}
