//! The relay role: PID 1 between two systemds (docs/soft-reboot.md).

use std::time::Instant;

use crate::run::{
    log::Log,
    machine,
    soft_reboot::handover::{Handover, chain},
};

pub use crate::run::soft_reboot::handover::is_relay;

/// Hands over to the new root, or back to the old one. Where neither can be had, the machine restarts: that
/// is the only way that is left to a system that serves.
pub fn run(start: Instant, arguments: Vec<String>) -> ! {
    let log = Log::open(start);
    // Where the power goes, or the kernel stops, the last line says at what.
    log.set_debug(true);
    log.info("relay: begins");
    let error = Handover::new(&log, arguments).run();
    log.error(&format!("relay: FAILED: {}; neither root can be had, restarting the machine", chain(&error)));
    loop {
        let error = machine::end(crate::plan::intent::EmergencyAction::Reboot);
        log.error(&format!("reboot: {}", error.in_one_line()));
        machine::pause(std::time::Duration::from_secs(60));
    }
}
