//! The shutdown role (exitrd): what systemd-shutdown(8) hands over, and in which order what still pins storage is let go.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::format::kernel::mountinfo::Mount;

/// Where systemd-shutdown leaves the root that the system ran from.
pub const OLD_ROOT: &str = "/oldroot";
/// How long one mount or device may take at least: a slow disk has much to write out. What systemd says is how long a process may
/// take to stop, which may be shorter.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long all of them may take: systemd may say "infinity".
pub const LONGEST: Duration = Duration::from_secs(600);

/// How the machine's run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start again.
    Reboot,
    /// Switch the power off.
    PowerOff,
    /// Stop and stay.
    Halt,
    /// Into the kernel that was loaded.
    Kexec,
}

impl Verb {
    /// By its word in systemd (`manager_objective_table` of src/core/manager.c).
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "reboot" => Self::Reboot,
            // There is nobody to exit to (src/shutdown/shutdown.c).
            "poweroff" | "exit" => Self::PowerOff,
            "halt" => Self::Halt,
            "kexec" => Self::Kexec,
            _ => return None,
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Halt => "halt",
            Self::Kexec => "kexec",
        })
    }
}

/// What is asked of the shutdown role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// How it is to end.
    pub verb: Verb,
    /// How long one mount or device may take.
    pub patience: Duration,
    /// What was not understood.
    pub notes: Vec<String>,
}

impl Orders {
    /// By the arguments of systemd-shutdown, which hands on its own: a verb, and options of which `--timeout` counts here
    /// (src/core/main.c, `become_shutdown`; src/shutdown/shutdown.c). A verb that is not known is a reboot: a machine
    /// that does nothing needs a visit.
    #[must_use]
    pub fn of(arguments: &[String]) -> Self {
        let mut orders = Self { verb: Verb::Reboot, patience: PATIENCE, notes: Vec::new() };
        let mut verb = None;
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                verb = verb.or(Some(word));
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None if TAKE_A_VALUE.contains(&option) => (option, words.next()),
                None => (option, None),
            };
            if name == "timeout" {
                match value.and_then(microseconds) {
                    Some(time) => orders.patience = time.clamp(PATIENCE, LONGEST),
                    None => orders.notes.push(format!("--timeout {}: no time", value.unwrap_or_default())),
                }
            }
        }
        match verb.map(|word| (word, Verb::of(word))) {
            Some((_, Some(verb))) => orders.verb = verb,
            Some((word, None)) => orders.notes.push(format!("\"{word}\" is no end of a run: reboot")),
            None => orders.notes.push("no end of the run is named: reboot".to_owned()),
        }
        orders
    }
}

/// Options whose value may be the next word.
const TAKE_A_VALUE: [&str; 6] =
    ["timeout", "log-level", "log-target", "log-location", "log-time", "exit-code"];

/// A time as PID 1 writes it: `90000000us`.
fn microseconds(text: &str) -> Option<Duration> {
    text.strip_suffix("us").unwrap_or(text).parse().ok().map(Duration::from_micros)
}

/// What may still pin storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// All mounts, in the kernel's order.
    pub mounts: Vec<Mount>,
    /// dm devices by name, as the kernel counts them.
    pub dm: Vec<String>,
    /// Loop devices, with the file that is attached.
    pub loops: Vec<(String, String)>,
    /// What could not be read.
    pub unread: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// A mount.
    Mount {
        /// Where.
        at: PathBuf,
        /// Of what.
        what: String,
        /// Whether its file system may be written to, and is no tmpfs (or devtmpfs), which ends here anyway.
        writable: bool,
    },
    /// A dm device.
    Dm(String),
    /// A loop device.
    Loop {
        /// Its name.
        name: String,
        /// What is attached.
        file: String,
    },
}

impl Pins {
    /// All that is to be let go: mounts, last mounted first; dm devices; loop devices. What still has something on it refuses, and
    /// goes in a later turn.
    #[must_use]
    pub fn in_order(&self) -> Vec<Pin> {
        let mounts = self.mounts.iter().rev().filter(|mount| mount.mount_point.starts_with(OLD_ROOT));
        let mounts = mounts.map(|mount| Pin::Mount {
            at: mount.mount_point.clone(),
            what: format!("{} {}", mount.source.to_string_lossy(), mount.fstype),
            writable: has(&mount.super_options, "rw") && !mount.fstype.ends_with("tmpfs"),
        });
        let dm = self.dm.iter().rev().cloned().map(Pin::Dm);
        let loops =
            self.loops.iter().rev().map(|(name, file)| Pin::Loop { name: name.clone(), file: file.clone() });
        mounts.chain(dm).chain(loops).collect()
    }
}

/// Of what was there before, what is gone; and what is left.
#[must_use]
pub fn parted(before: &[Pin], after: Vec<Pin>) -> (Vec<Pin>, Vec<Pin>) {
    let mut same = after.clone();
    let mut gone = before.to_vec();
    // Two mounts at one place look alike.
    gone.retain(|pin| match same.iter().position(|other| other == pin) {
        Some(place) => {
            same.remove(place);
            false
        }
        None => true,
    });
    (gone, after)
}

fn has(options: &str, word: &str) -> bool {
    options.split(',').any(|option| option == word)
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { at, what, .. } => {
                // As the system that is left knew it.
                let at = at.strip_prefix(OLD_ROOT).unwrap_or(at);
                write!(f, "{} ({what})", Path::new("/").join(at).display())
            }
            Self::Dm(name) => write!(f, "dm device {name}"),
            Self::Loop { name, file } => write!(f, "{name} ({file})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let seconds = Duration::from_secs;
        for (line, verb, patience, notes) in [
            ("reboot", Verb::Reboot, seconds(90), ""),
            (
                "poweroff --timeout 45000000us --log-level 6 --log-target kmsg --log-color",
                Verb::PowerOff,
                seconds(90),
                "",
            ),
            ("halt --timeout=120000000us --exit-code=3", Verb::Halt, seconds(120), ""),
            ("exit --exit-code 3", Verb::PowerOff, seconds(90), ""),
            ("--log-target kexec kexec", Verb::Kexec, seconds(90), ""),
            ("kexec --timeout 18446744073709551615us", Verb::Kexec, seconds(600), ""),
            ("reboot --timeout soon", Verb::Reboot, seconds(90), "--timeout soon: no time"),
            ("reboot --timeout", Verb::Reboot, seconds(90), "--timeout : no time"),
            ("explode", Verb::Reboot, seconds(90), "\"explode\" is no end of a run: reboot"),
            ("", Verb::Reboot, seconds(90), "no end of the run is named: reboot"),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let orders = Orders::of(&words);
            assert_eq!((orders.verb, orders.patience), (verb, patience), "{line}");
            assert_eq!(orders.notes.join("; "), notes, "{line}");
        }
    }

    /// LOOP_CLR_FD succeeds where the device is in use: it was counted as gone, turn after turn.
    #[test]
    fn what_only_promises_to_go() {
        let dm = |name: &str| Pin::Dm(name.to_owned());
        for (before, after, gone) in [
            (vec![dm("a"), dm("b")], vec![dm("b")], vec![dm("a")]),
            (vec![dm("a"), dm("a")], vec![dm("a")], vec![dm("a")]),
            (vec![dm("a")], vec![dm("a")], vec![]),
            (vec![dm("a")], vec![dm("a"), dm("new")], vec![]),
            (vec![], vec![], vec![]),
        ] {
            assert_eq!(parted(&before, after.clone()), (gone, after));
        }
    }

    #[test]
    fn each_before_what_it_lies_on() {
        let line = |at: &str, what: &str, options: &str| {
            format!("1 1 0:1 / {at} ro - ext4 {what} {options}").parse().unwrap()
        };
        let pins = Pins {
            mounts: vec![
                line("/", "none", "rw"),
                line("/proc", "proc", "rw"),
                line("/oldroot", "/dev/dm-0", "ro"),
                line("/oldrooted", "/dev/sda9", "rw"),
                line("/oldroot/srv", "/dev/sda1", "rw"),
                line("/oldroot/srv/image", "/dev/loop0", "ro"),
                "1 1 0:1 / /oldroot/run ro - tmpfs none rw".parse().unwrap(),
            ],
            dm: vec!["root".to_owned(), "above".to_owned()],
            loops: vec![("loop0".to_owned(), "/srv/a.raw".to_owned())],
            unread: Vec::new(),
        };
        let order: Vec<String> = pins.in_order().iter().map(Pin::to_string).collect();
        assert_eq!(
            order,
            [
                "/run (none tmpfs)",
                "/srv/image (/dev/loop0 ext4)",
                "/srv (/dev/sda1 ext4)",
                "/ (/dev/dm-0 ext4)",
                "dm device above",
                "dm device root",
                "loop0 (/srv/a.raw)",
            ]
        );
        let writable =
            pins.in_order().into_iter().map(|pin| matches!(pin, Pin::Mount { writable: true, .. }));
        assert_eq!(writable.collect::<Vec<_>>(), [false, false, true, false, false, false, false]);
    }
}
