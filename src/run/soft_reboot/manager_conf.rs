//! What system.conf and its drop-ins set for PID 1 (systemd-system.conf(5)).

use std::path::Path;

use crate::{format::system::unit_file, plan::watchdog::is_armed_by, run::tree::Tree};

/// Where they lie, the first before the others.
pub(super) const PLACES: [&str; 4] =
    ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];

/// The last value that `[Manager]` assigns to a key, and the file; `None` where it is set nowhere, or taken back.
pub(super) fn assigned(tree: &mut Tree, places: &[&str], key: &str) -> Option<(String, String)> {
    let mains = places.iter().map(|place| format!("{place}/system.conf"));
    let directories: Vec<String> = places.iter().map(|place| format!("{place}/system.conf.d")).collect();
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    let mut files: Vec<String> = mains.filter(|path| tree.has_file(path)).take(1).collect();
    files.extend(tree.drop_ins(&directories, ".conf"));
    let mut last = None;
    for path in files {
        let text = tree.text(&path).unwrap_or_default();
        if let Some(value) = unit_file::values(&text, "Manager", key).pop() {
            last = Some((value, path));
        }
    }
    last
}

/// What makes the systemd of a new root feed a hardware watchdog: its own files, those in /run, which it finds there, and the
/// kernel command line, which goes before both. Where two say different things, one names another device, or one in /run may be
/// covered by a file of the root, it is taken not to: a watchdog that is armed for nobody resets the machine.
#[must_use]
pub fn arms_watchdog(new: &Path, old: &Path, command_line: &str, device: &str) -> Option<String> {
    const PARAMETER: &str = "systemd.watchdog_sec=";
    const KEY: &str = "RuntimeWatchdogSec";
    const DEVICE: &str = "WatchdogDevice";
    let own = ["/etc/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];
    let run = ["/run/systemd"];
    let (mut old, mut new) = (Tree::new(old), Tree::new(new));
    let first = |path: &str| if path == "/dev/watchdog" { "/dev/watchdog0" } else { path }.to_owned();
    let named = [assigned(&mut old, &run, DEVICE), assigned(&mut new, &own, DEVICE)].into_iter().flatten();
    let by_line =
        command_line.split_whitespace().filter_map(|word| word.strip_prefix("systemd.watchdog_device="));
    if named
        .map(|(value, _)| value)
        .chain(by_line.map(str::to_owned))
        .any(|name| first(&name) != first(device))
    {
        return None;
    }
    let mut words = command_line.split_whitespace().filter_map(|word| word.strip_prefix(PARAMETER));
    if let Some(value) = words.next_back() {
        return is_armed_by(value).then(|| format!("{PARAMETER}{value} on the kernel command line"));
    }
    // A link to /dev/null covers it, too.
    let is_covered = |path: &str, new: &mut Tree| {
        let etc = path.replacen("/run/", "/etc/", 1);
        etc.rsplit_once('/').is_some_and(|(directory, name)| new.names(directory).iter().any(|it| it == name))
    };
    let in_run = assigned(&mut old, &run, KEY).filter(|(_, path)| !is_covered(path, &mut new));
    let found: Vec<(String, String)> = in_run.into_iter().chain(assigned(&mut new, &own, KEY)).collect();
    let (value, path) = found.first().filter(|_| found.iter().all(|(value, _)| is_armed_by(value)))?;
    Some(format!("{KEY}={value} in {path}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory with files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("[Manager]\n{text}\n")).unwrap();
        }
        root
    }

    #[test]
    fn watchdogs() {
        const ETC: &str = "etc/systemd/system.conf";
        const LIB: &str = "usr/lib/systemd/system.conf.d/50-watchdog.conf";
        const RUN: &str = "run/systemd/system.conf.d/50-watchdog.conf";
        let in_etc = Some("RuntimeWatchdogSec=30 in /etc/systemd/system.conf");
        for (new, old, line, expected) in [
            (&[][..], &[][..], "quiet", None),
            (&[(ETC, "RuntimeWatchdogSec=30")], &[], "", in_etc),
            (&[(ETC, "#RuntimeWatchdogSec=off")], &[], "", None),
            // Drop-ins go before the main file.
            (&[(ETC, "RuntimeWatchdogSec=30"), (LIB, "RuntimeWatchdogSec=off")], &[], "", None),
            (&[(ETC, "RuntimeWatchdogSec=30")], &[(RUN, "RuntimeWatchdogSec=0")], "", None),
            (
                &[],
                &[(RUN, "RuntimeWatchdogSec=1min")],
                "",
                Some("RuntimeWatchdogSec=1min in /run/systemd/system.conf.d/50-watchdog.conf"),
            ),
            // What the old root has is not the new one's.
            (&[], &[(ETC, "RuntimeWatchdogSec=30")], "", None),
            (&[(ETC, "RuntimeWatchdogSec=30")], &[], "systemd.watchdog_sec=0", None),
            // Nobody would feed the one that is fed now.
            (&[(ETC, "RuntimeWatchdogSec=30\nWatchdogDevice=/dev/watchdog1")], &[], "", None),
            (&[(ETC, "RuntimeWatchdogSec=30\nWatchdogDevice=/dev/watchdog")], &[], "", in_etc),
            (&[(ETC, "RuntimeWatchdogSec=30")], &[], "systemd.watchdog_device=/dev/watchdog1", None),
            (
                &[("etc/systemd/system.conf.d/50-watchdog.conf", "")],
                &[(RUN, "RuntimeWatchdogSec=1min")],
                "",
                None,
            ),
            (
                &[],
                &[],
                "systemd.watchdog_sec=0 systemd.watchdog_sec=10",
                Some("systemd.watchdog_sec=10 on the kernel command line"),
            ),
        ] {
            let (new, old) = (root(new), root(old));
            assert_eq!(
                arms_watchdog(new.path(), old.path(), line, "/dev/watchdog0").as_deref(),
                expected,
                "{line}"
            );
        }
    }
}
