//! The watcher's place on the machine: a copy of this program in /run and a service of it, which outlive a soft reboot.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use crate::{
    format::kernel::process,
    plan::health::Duty,
    run::{
        bounded::{self, Ended, SELF},
        failure::Error,
        own_copy::copy_of_self,
        soft_reboot::state::Store,
    },
    sys::changes,
};

use super::{
    staging::write_unit,
    state::DIRECTORY,
    survivor::{self, Survivor},
};

/// The copy of this program.
const PROGRAM: &str = "/run/nextroot-state/nextroot";
pub use crate::plan::preflight::survivors::WATCHER as UNIT;
/// How long systemd may take to start it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Rescue and emergency mode, which end other survivors, are what it is there for. Each stage starts it, however many a minute has; and
/// it is the last that should give up, unless its program is gone (exit code 203: systemd.exec(5)).
const SURVIVOR: Survivor = Survivor {
    comment: "sees the root of the next soft reboot come up, and goes back where it is not healthy.",
    description: "Watch over the root that nextroot staged",
    unit: "StartLimitIntervalSec=0\n",
    command: "watch",
    service: "\
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=203
OOMScoreAdjust=-900
",
};

/// Whether this process is the watcher, or was started by it: by its control group, as its program may be anybody's.
fn is_watcher() -> bool {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    process::control_group(&group).is_some_and(|group| group.rsplit('/').next() == Some(UNIT))
}

/// Whether the watcher is a copy in /run; else it is this program in the root that it was left in.
#[must_use]
pub fn is_copy() -> bool {
    Path::new(PROGRAM).exists()
}

/// A program that another survivor can be made of, as the watcher was; `None` where there is no watcher.
pub(super) fn program() -> Option<String> {
    match is_copy() {
        true => Some(PROGRAM.to_owned()),
        false => survivor::unit(UNIT).exists().then(program_in_root).flatten(),
    }
}

/// Where this program lies in the running root; `None` where it is anywhere else, as on a tmpfs. The watcher itself may run
/// from the root before, which nobody else sees any more: it is there, and that is enough.
pub(in crate::run) fn program_in_root() -> Option<String> {
    let path = fs::read_link(SELF).ok()?;
    let id = |file: fs::Metadata| (file.dev(), file.ino());
    let is_there = fs::metadata(&path).map(id).ok() == fs::metadata(SELF).map(id).ok();
    let device = |path: &str| fs::metadata(path).map(|file| file.dev()).ok();
    let own = device(SELF);
    let is_in_root = is_there && ["/", "/usr"].iter().any(|root| device(root) == own);
    // As a unit has it, without quotes.
    let plain =
        |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    let path = path.to_str().filter(|path| plain(path))?;
    (is_in_root || is_watcher()).then(|| path.to_owned())
}

/// Leaves it, and starts it; one that runs begins anew, as what it knows may have changed. `program` lies in the running
/// root; without it, a copy of this one is left.
pub(in crate::run) fn leave(program: Option<&str>) -> Result<(), Error> {
    if is_watcher() {
        return Ok(()); // it runs, and looks into the state when that changes
    }
    match program {
        None => copy_of_self(Path::new(PROGRAM), 0o700)?,
        Some(_) => remove()?,
    }
    let text = SURVIVOR.text(program.unwrap_or(PROGRAM));
    // systemd tells whoever starts it that a file that it knows has changed.
    if fs::read_to_string(survivor::unit(UNIT)).is_ok_and(|old| old == text) {
        return start();
    }
    write_unit(UNIT, &text)?;
    start()
}

fn start() -> Result<(), Error> {
    let failed = |why: String| {
        // It would be tried again and again, ignoring: whether it failed is known.
        for verb in ["stop", "reset-failed"] {
            let _ = bounded::run("systemctl", &["--no-ask-password", "--no-block", verb, UNIT], PATIENCE);
        }
        Err(Error::Watcher { unit: UNIT, why })
    };
    match bounded::run("systemctl", &["--no-ask-password", "restart", UNIT], PATIENCE) {
        Ok(Ended::Exit(Some(0))) => Ok(()),
        Ok(ended @ Ended::Exit(_)) => failed(format!("systemctl restart {ended}, see the journal")),
        Ok(Ended::Killed) => failed(format!("PID 1 has not answered for {} s", PATIENCE.as_secs())),
        Err(error) => failed(format!("run systemctl: {error}")),
    }
}

/// Takes its files away, unless the running root is on trial; the service ends by itself once nothing is staged.
pub fn take_away() -> Result<(), Error> {
    let state = Store::default().load();
    if is_watcher() || state.is_ok_and(|state| matches!(Duty::of(&state), Duty::Judge { .. })) {
        return Ok(());
    }
    remove()
}

/// Takes its files away.
pub fn remove() -> Result<(), Error> {
    survivor::remove(UNIT, Path::new(PROGRAM))
}

/// What the watcher waits for: mounts, and what is remembered.
#[derive(Debug)]
pub struct Changes(changes::Changes);

impl Changes {
    /// From now on.
    pub fn follow() -> Result<Self, Error> {
        Ok(Self(changes::Changes::of(Path::new(DIRECTORY))?))
    }

    /// Waits for the next.
    pub fn wait(&self) -> Result<(), Error> {
        Ok(self.0.wait(None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sixth stage within a minute failed: "start of the service was attempted too often".
    #[test]
    fn as_many_stages_as_somebody_likes() {
        let text = SURVIVOR.text(PROGRAM);
        let set: Vec<&str> =
            text.lines().filter(|line| line.contains("Limit") || line.contains("Restart")).collect();
        let expected =
            ["StartLimitIntervalSec=0", "Restart=on-failure", "RestartSec=2", "RestartPreventExitStatus=203"];
        assert_eq!(set, expected);
    }
}
