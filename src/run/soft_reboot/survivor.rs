//! Services that nextroot leaves in /run, and that outlive a soft reboot.

use std::path::{Path, PathBuf};

use crate::run::{failure::Error, whole};

use super::staging::{UNITS, write_error};

/// A service that survives, and what it must not depend on: systemd-soft-reboot.service(8), "Resource pass-through". 254 knows a
/// survivor by the `@` of its first argument. It is started by hand, also while all else stops, as by the hook: it must come after nothing
/// that stops. Output into the journal would make it come after systemd-journald.socket.
pub(super) struct Survivor {
    /// What it is left for.
    pub(super) comment: &'static str,
    /// `Description=`
    pub(super) description: &'static str,
    /// More lines of `[Unit]`.
    pub(super) unit: &'static str,
    /// The subcommand.
    pub(super) command: &'static str,
    /// More lines of `[Service]`.
    pub(super) service: &'static str,
}

impl Survivor {
    /// The unit's text, with this program to be executed.
    pub(super) fn text(&self, program: &str) -> String {
        let Self { comment, description, unit, command, service } = self;
        format!(
            "\
# Left by nextroot: {comment}
[Unit]
Description={description}
Documentation=man:nextroot(8)
DefaultDependencies=no
Conflicts=reboot.target kexec.target poweroff.target halt.target
Before=reboot.target kexec.target poweroff.target halt.target
IgnoreOnIsolate=yes
SurviveFinalKillSignal=yes
{unit}
[Service]
Type=exec
ExecStart=@{program} @nextroot {command}
{service}StandardOutput=null
StandardError=null
"
        )
    }
}

/// Where a unit lies.
pub(super) fn unit(name: &str) -> PathBuf {
    Path::new(UNITS).join(name)
}

/// Takes its unit and its program away.
pub(super) fn remove(name: &str, program: &Path) -> Result<(), Error> {
    for path in [&unit(name), program] {
        whole::take_away(path, |_| true).map_err(|e| write_error(path, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit() {
        let survivor =
            Survivor { comment: "a.", description: "B", unit: "C=1\n", command: "d", service: "E=2\n" };
        let text = survivor.text("/run/x");
        assert!(text.starts_with("# Left by nextroot: a.\n[Unit]\nDescription=B\n"), "{text}");
        assert!(text.contains("SurviveFinalKillSignal=yes\nC=1\n\n[Service]\n"), "{text}");
        assert!(
            text.ends_with("ExecStart=@/run/x @nextroot d\nE=2\nStandardOutput=null\nStandardError=null\n"),
            "{text}"
        );
    }
}
