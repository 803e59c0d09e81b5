//! The place on the machine of the client that asks while a soft reboot goes on: a service in /run, which outlives it.

use std::path::{Path, PathBuf};

use crate::run::{failure, own_copy::copy_of_self};

use super::{
    asking::{self, ask},
    staging::write_unit,
    state::DIRECTORY,
    survivor::{self, Survivor},
    watcher,
};

const UNIT: &str = "nextroot-probe.service";

/// It survives as the watcher does. One that ends too early is not started again: its log would begin anew.
const SURVIVOR: Survivor = Survivor {
    comment: "asks what [Probe] of nextroot.conf says, while a soft reboot goes on.",
    description: "Client that sees a soft reboot, for nextroot report --probe",
    unit: "",
    command: "probe",
    service: "",
};

/// Its program, where the watcher has none in /run.
fn own_program() -> PathBuf {
    Path::new(DIRECTORY).join("nextroot-probe")
}

/// Why nobody asks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files.
    #[error(transparent)]
    Files(#[from] failure::Error),
    /// systemd.
    #[error(transparent)]
    Start(#[from] asking::Error),
}

/// Starts it; one that runs begins anew.
pub fn start() -> Result<(), Error> {
    let program = match watcher::program() {
        Some(program) => program,
        None => {
            copy_of_self(&own_program(), 0o700)?;
            own_program().display().to_string()
        }
    };
    write_unit(UNIT, &SURVIVOR.text(&program))?;
    systemctl(&["--no-ask-password", "restart", UNIT])?;
    Ok(())
}

/// Ends it, where it was started.
pub fn stop() -> Result<(), failure::Error> {
    if survivor::unit(UNIT).exists() {
        // It ends by itself, later, ignoring.
        let _ = systemctl(&["--no-ask-password", "--no-block", "stop", UNIT]);
    }
    remove()
}

fn systemctl(arguments: &[&str]) -> Result<String, asking::Error> {
    ask("systemctl", arguments, &format!("systemctl {}", arguments.join(" ")))
}

/// Takes its files away.
pub fn remove() -> Result<(), failure::Error> {
    survivor::remove(UNIT, &own_program())
}
