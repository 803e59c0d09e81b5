//! The place on the machine of the client that asks while a soft reboot goes on: a service in /run, which outlives it.

use std::{path::Path, time::Duration};

use crate::run::{
    bounded::{self, Ended},
    failure,
    own_copy::copy_of_self,
    whole,
};

use super::{
    staging::{UNITS, write_error, write_unit},
    state::DIRECTORY,
    watcher,
};

const UNIT: &str = "nextroot-probe.service";
/// Its program, where the watcher has none in /run.
const PROGRAM: &str = "nextroot-probe";
/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// It survives as the watcher does. One that ends too early is not started again: its log would begin anew.
///
/// `{program}`: what is executed.
const TEXT: &str = "\
# Left by nextroot: asks what [Probe] of nextroot.conf says, while a soft reboot goes on.
[Unit]
Description=Client that sees a soft reboot, for nextroot report --probe
Documentation=man:nextroot(8)
DefaultDependencies=no
Conflicts=reboot.target kexec.target poweroff.target halt.target
Before=reboot.target kexec.target poweroff.target halt.target
IgnoreOnIsolate=yes
SurviveFinalKillSignal=yes

[Service]
Type=exec
ExecStart=@{program} @nextroot probe
StandardOutput=null
StandardError=null
";

/// Why nobody asks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files.
    #[error(transparent)]
    Files(#[from] failure::Error),
    /// systemd.
    #[error("start {UNIT}: {0}")]
    Start(String),
}

/// Starts it; one that runs begins anew.
pub fn start() -> Result<(), Error> {
    let own = Path::new(DIRECTORY).join(PROGRAM);
    let program = match watcher::program() {
        Some(program) => program,
        None => {
            copy_of_self(&own, 0o700)?;
            own.display().to_string()
        }
    };
    write_unit(UNIT, &TEXT.replace("{program}", &program))?;
    match bounded::last_words("systemctl", &["--no-ask-password", "restart", UNIT], PATIENCE) {
        Ok((Ended::Exit(Some(0)), _)) => Ok(()),
        Ok((_, Some(last))) => Err(Error::Start(last)),
        Ok((ended, None)) => Err(Error::Start(format!("systemctl restart {ended}"))),
        Err(error) => Err(Error::Start(format!("run systemctl: {error}"))),
    }
}

/// Ends it, where it was started.
pub fn stop() -> Result<(), failure::Error> {
    if Path::new(UNITS).join(UNIT).exists() {
        // It ends by itself, later, ignoring.
        let _ = bounded::run("systemctl", &["--no-ask-password", "--no-block", "stop", UNIT], PATIENCE);
    }
    remove()
}

/// Takes its files away.
pub fn remove() -> Result<(), failure::Error> {
    for path in [Path::new(UNITS).join(UNIT), Path::new(DIRECTORY).join(PROGRAM)] {
        whole::take_away(&path, |_| true).map_err(|e| write_error(&path, e))?;
    }
    Ok(())
}
