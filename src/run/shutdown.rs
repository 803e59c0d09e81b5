//! What the shutdown role finds and lets go. A disk that does not answer holds up whoever asks it, for ever: each call has its
//! time, and is left behind where it takes longer.

use std::{fs, path::Path, time::Duration};

use crate::{
    format::kernel::mountinfo::Mount,
    plan::shutdown::{Pin, Pins, Verb},
    run::{
        failure::Error,
        machine::{self, Call},
        own_copy::copy_of_self,
    },
    sys::{
        self, block,
        dm::Control,
        file::{text_at, whole_at},
        loopdev::{self, LoopDevice},
        mount,
        reboot::{self, Action},
    },
    units::Bytes,
};

/// Where systemd-shutdown looks for what it executes last (systemd's docs/INITRD_INTERFACE.md).
pub(super) const PROGRAM: &str = "/run/initramfs/shutdown";
/// More than any machine mounts.
const LONGEST: Bytes = Bytes(64 << 20);
/// What `systemctl reboot --reboot-argument=` leaves (src/shared/reboot-util.c).
const PARAMETER: &str = "/run/systemd/reboot-param";

/// Leaves this program for the end of the machine's run, in the place of one that is there.
pub(in crate::run) fn leave() -> Result<(), Error> {
    let at = Path::new(PROGRAM);
    let made = at.parent().map_or(Ok(()), fs::create_dir_all);
    made.map_err(|source| Error::Write { path: at.display().to_string(), source })?;
    copy_of_self(at, 0o755)
}

/// What there is.
#[must_use]
pub fn look() -> Pins {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let mut pins = Pins::default();
    match whole_at(Path::new(MOUNTS), LONGEST) {
        Ok(mounts) => {
            for line in mounts.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match Mount::parse(line) {
                    Ok(mount) => pins.mounts.push(mount),
                    Err(error) => pins.unread.push(error.to_string()),
                }
            }
        }
        Err(error) => pins.unread.push(format!("read {MOUNTS}: {error}")),
    }
    for entry in block::list().map_err(|error| pins.unread.push(error.in_one_line())).unwrap_or_default() {
        if let Some(name) = entry.attribute("dm/name") {
            pins.dm.push(name);
        } else if let Some(file) = entry.attribute("loop/backing_file") {
            pins.loops.push((entry.name, file));
        }
    }
    pins
}

/// Why something could not be done.
#[derive(Debug)]
pub struct Failure {
    /// The reason.
    pub why: String,
    /// Whether it took too long: it would again.
    pub late: bool,
}

/// Lets it go, in this time.
pub fn release(pin: &Pin, patience: Duration) -> Result<(), Failure> {
    let pin = pin.clone();
    let call = move || match &pin {
        Pin::Mount { at, .. } => mount::unmount(at),
        Pin::Dm(name) => Control::open()?.remove(name),
        Pin::Loop { name, .. } => {
            let devno = block::Entry { name: name.clone() }.devno().unwrap_or_default();
            loopdev::detach(&LoopDevice { name: name.clone(), devno, diskseq: None }).map(drop)
        }
    };
    within(patience, Box::new(call))
}

/// Takes write access from a mount that stays, with what was written to it.
pub fn make_read_only(at: &Path, patience: Duration) -> Result<(), Failure> {
    let at = at.to_owned();
    within(patience, Box::new(move || mount::make_read_only(&at)))
}

fn within(patience: Duration, call: Call) -> Result<(), Failure> {
    let failure = |why, late| Failure { why, late };
    match machine::in_time(patience, call) {
        Ok(Some(done)) => done.map_err(|error| failure(error.in_one_line(), false)),
        Err(error) => Err(failure(format!("make a thread for it: {error}"), false)),
        Ok(None) => Err(failure(format!("it has not answered for {} s", patience.as_secs()), true)),
    }
}

/// Ends the machine's run; returns only where the kernel refuses. What is in memory is written out first, as far as the
/// disks answer.
pub fn end(verb: Verb, patience: Duration) -> sys::Error {
    machine::write_out(patience);
    let parameter = text_at(Path::new(PARAMETER), LONGEST).unwrap_or_default();
    match (verb, parameter.trim()) {
        (Verb::Reboot, "") => reboot::now(Action::Reboot),
        (Verb::Reboot, parameter) => reboot::with_parameter(parameter),
        (Verb::PowerOff, _) => reboot::now(Action::PowerOff),
        (Verb::Halt, _) => reboot::now(Action::Halt),
        (Verb::Kexec, _) => reboot::now(Action::Kexec),
    }
}

/// Starts the machine again, where it could not be ended as it was to be.
pub fn restart() -> sys::Error {
    reboot::now(Action::Reboot)
}
