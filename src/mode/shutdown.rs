//! The shutdown role: PID 1 after systemd-shutdown, in /run/initramfs, with the root that the system ran from at /oldroot.
//! Nothing of that root is in use any more: so it can be let go, and what it lies on.

use std::time::{Duration, Instant};

use crate::{
    plan::shutdown::{LONGEST, Orders, Pin, parted},
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
    Release { log: &log, patience: orders.patience, end: Instant::now() + LONGEST }.all();
    log.info(&format!("shutdown: {}", orders.verb));
    let error = shutdown::end(orders.verb, orders.patience);
    log.error(&format!("shutdown: {}: {}; restarting", orders.verb, error.in_one_line()));
    let error = shutdown::restart();
    log.error(&format!("shutdown: reboot: {}; nothing is left to do", error.in_one_line()));
    loop {
        machine::pause(Duration::from_secs(3600));
    }
}

/// More than a disk takes that answers at all.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Lets go what pins storage.
struct Release<'a> {
    log: &'a Log,
    /// How long one mount or device may take.
    patience: Duration,
    /// When all of it has to be over.
    end: Instant,
}

impl Release<'_> {
    /// How long the next call may take. Also where others took all of the time, what answers at once is let go.
    fn time(&self) -> Duration {
        self.patience.min(self.end.saturating_duration_since(Instant::now()).max(AT_ONCE))
    }

    fn all(&self) {
        let pins = shutdown::look();
        for what in &pins.unread {
            self.log.warning(&format!("shutdown: {what}, ignoring: what it is about may stay"));
        }
        for (pin, why) in self.turns(pins.in_order()) {
            self.log.error(&format!("shutdown: {pin} could not be let go: {why}"));
            // One that took too long may be gone from sight, with another at its place.
            if let Pin::Mount { at, writable: true, .. } = &pin
                && shutdown::look().in_order().contains(&pin)
            {
                match shutdown::make_read_only(at, self.time()) {
                    Ok(()) => self.log.info(&format!("shutdown: {pin} is read-only now")),
                    Err(failure) => {
                        self.log.error(&format!("shutdown: {pin} stays writable: {}", failure.why));
                    }
                }
            }
        }
    }

    /// Turn by turn, as long as something goes: what is left, and why.
    fn turns(&self, mut pins: Vec<Pin>) -> Vec<(Pin, String)> {
        let mut late: Vec<(Pin, String)> = Vec::new();
        loop {
            let mut kept: Vec<(Pin, String)> = Vec::new();
            for pin in &pins {
                match shutdown::release(pin, self.time()) {
                    Ok(()) => {}
                    Err(Failure { why, late: true }) => late.push((pin.clone(), why)),
                    Err(Failure { why, late: false }) => kept.push((pin.clone(), why)),
                }
            }
            let is_late = |pin: &Pin| late.iter().any(|(other, _)| other == pin);
            // What is in use may only promise to go.
            let (mut gone, mut left) = parted(&pins, shutdown::look().in_order());
            gone.retain(|pin| !is_late(pin));
            left.retain(|pin| !is_late(pin));
            gone.iter().for_each(|pin| self.log.info(&format!("shutdown: let {pin} go")));
            if gone.is_empty() || left.is_empty() {
                let told = |pin: Pin| {
                    let why = kept.iter().find(|(other, _)| *other == pin).map(|(_, why)| why.clone());
                    (pin, why.unwrap_or_else(|| "it is still in use".to_owned()))
                };
                return left.into_iter().map(told).chain(late).collect();
            }
            pins = left;
        }
    }
}
