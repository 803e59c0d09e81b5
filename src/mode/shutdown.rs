//! The shutdown role: PID 1 after systemd-shutdown, in /run/initramfs, with the root that the system ran from at /oldroot.
//! Nothing of that root is in use any more: so it can be let go, and what it lies on.

use std::time::{Duration, Instant};

use crate::{
    plan::shutdown::{Orders, Pin, Verb, parted},
    run::{
        log::Log,
        machine,
        shutdown::{self, Failure},
    },
};

/// Whether this is it, by how it was executed: systemd-shutdown's root is /run/initramfs then.
#[must_use]
pub fn is_exitrd(program: &str) -> bool {
    program == "/shutdown"
}

/// Lets go what pins storage, and ends the machine's run.
pub fn run(start: Instant, arguments: &[String]) -> ! {
    let log = Log::open(start);
    let orders = Orders::of(arguments);
    log.info(&format!("shutdown: begins, {} is next: {}", orders.verb, arguments.join(" ")));
    for note in &orders.notes {
        log.warning(&format!("shutdown: {note}"));
    }
    for (pin, why) in release_all(&log, orders.patience) {
        log.error(&format!("shutdown: {pin} could not be let go: {why}"));
        if let Pin::Mount { at, writable: true, .. } = &pin {
            match shutdown::make_read_only(at, orders.patience) {
                Ok(()) => log.info(&format!("shutdown: {pin} is read-only now")),
                Err(failure) => log.error(&format!("shutdown: {pin} stays writable: {}", failure.why)),
            }
        }
    }
    log.info(&format!("shutdown: {}", orders.verb));
    let error = shutdown::end(orders.verb, orders.patience);
    log.error(&format!("shutdown: {}: {}", orders.verb, error.in_one_line()));
    if orders.verb == Verb::Kexec {
        log.error("shutdown: no kernel is loaded: reboot");
        let error = shutdown::end(Verb::Reboot, orders.patience);
        log.error(&format!("shutdown: reboot: {}", error.in_one_line()));
    }
    loop {
        machine::pause(Duration::from_secs(3600));
    }
}

/// Turn by turn, as long as something goes: what is left, and why.
fn release_all(log: &Log, patience: Duration) -> Vec<(Pin, String)> {
    let mut late: Vec<(Pin, String)> = Vec::new();
    loop {
        let (mut before, mut kept) = (shutdown::look().in_order(), Vec::new());
        before.retain(|pin| !late.iter().any(|(other, _)| other == pin));
        for pin in &before {
            match shutdown::release(pin, patience) {
                Ok(()) => {}
                Err(Failure { why, late: true }) => late.push((pin.clone(), why)),
                Err(Failure { why, late: false }) => kept.push((pin, why)),
            }
        }
        // What is in use may only promise to go.
        let (gone, left) = parted(&before, shutdown::look().in_order());
        gone.iter().for_each(|pin| log.info(&format!("shutdown: let {pin} go")));
        if gone.is_empty() || left.is_empty() {
            let why = |pin: &Pin| kept.iter().find(|(other, _)| *other == pin).map(|(_, why)| why.clone());
            let left = left.into_iter().filter(|pin| !late.iter().any(|(other, _)| other == pin));
            let left = left.map(|pin| (why(&pin).unwrap_or_else(|| "it is still in use".to_owned()), pin));
            return left.map(|(why, pin)| (pin, why)).chain(late.clone()).collect();
        }
    }
}
