//! The hardware watchdog across a switch: PID 1 disarms it when it hands over (src/core/main.c, `do_reexecute`), and the next
//! arms it again once it has read its configuration. In between nothing resets a machine that hangs, but for the relay.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::format::{config::time_span, system::unit_properties::UnitProperties};

/// A watchdog that PID 1 feeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    /// Its device: `/dev/watchdog0`.
    pub device: String,
    /// How long it waits for a sign of life, in seconds; `None` where that is left as the device has it.
    pub timeout_sec: Option<u32>,
    /// Whether it runs on where it is closed without a word (`WDIOF_MAGICCLOSE`); else closing it stops it.
    #[serde(default)]
    pub runs_on: bool,
}

/// By `options` of sysfs, in hexadecimal (Documentation/ABI/testing/sysfs-class-watchdog, include/uapi/linux/watchdog.h).
#[must_use]
pub fn runs_on(options: &str) -> bool {
    const MAGICCLOSE: u32 = 0x0100;
    let digits = options.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).is_ok_and(|options| options & MAGICCLOSE != 0)
}

/// What becomes of it at a switch by the relay, which arms it at once where the next PID 1 goes on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rearming {
    /// What the running system feeds, and does again where the switch comes back.
    pub watchdog: Watchdog,
    /// Whether the new root feeds it, too: else it would reset the machine.
    pub forward: bool,
}

/// What is asked of PID 1.
pub const PROPERTIES: [&str; 2] = ["WatchdogDevice", "RuntimeWatchdogUSec"];

impl Watchdog {
    /// By the manager's properties (org.freedesktop.systemd1(5)); `None` where it feeds none.
    #[must_use]
    pub fn of(properties: &UnitProperties) -> Option<Self> {
        let device = properties.get("WatchdogDevice")?.to_owned();
        // `RuntimeWatchdogSec=default` is told so.
        let timeout = properties.get("RuntimeWatchdogUSec")?;
        if timeout == "infinity" {
            return Some(Self { device, timeout_sec: None, runs_on: false });
        }
        let timeout = time_span::parse(timeout)?;
        // Rounded up: a reset that comes late is none that comes for nothing.
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        let timeout_sec = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
        Some(Self { device, timeout_sec: Some(timeout_sec), runs_on: false })
    }
}

impl fmt::Display for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timeout_sec {
            Some(timeout) => write!(f, "watchdog {} ({timeout} s)", self.device),
            None => write!(f, "watchdog {}", self.device),
        }
    }
}

/// Whether `RuntimeWatchdogSec=` has a value by which systemd arms a watchdog (systemd-system.conf(5)). What is not
/// understood does not: one that is armed and never fed resets the machine.
#[must_use]
pub fn is_armed_by(value: &str) -> bool {
    match value.trim() {
        "default" | "infinity" => true,
        "off" => false,
        span => time_span::parse(span).is_some_and(|span| span > Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_properties() {
        for (text, expected) in [
            ("WatchdogDevice=/dev/watchdog0\nRuntimeWatchdogUSec=20s\n", Some(("/dev/watchdog0", Some(20)))),
            (
                "WatchdogDevice=/dev/watchdog0\nRuntimeWatchdogUSec=1min 30s\n",
                Some(("/dev/watchdog0", Some(90))),
            ),
            (
                "WatchdogDevice=/dev/watchdog0\nRuntimeWatchdogUSec=1s 500ms\n",
                Some(("/dev/watchdog0", Some(2))),
            ),
            ("WatchdogDevice=/dev/watchdog0\nRuntimeWatchdogUSec=0\n", None),
            ("WatchdogDevice=/dev/watchdog0\nRuntimeWatchdogUSec=infinity\n", Some(("/dev/watchdog0", None))),
            ("RuntimeWatchdogUSec=20s\n", None),
            ("", None),
        ] {
            let properties = UnitProperties::parse_all(text).unwrap().pop().unwrap_or_default();
            let found = Watchdog::of(&properties);
            let found = found.as_ref().map(|found| (found.device.as_str(), found.timeout_sec));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn options() {
        for (text, expected) in
            [("0x8180\n", true), ("0x100", true), ("0x8080\n", false), ("", false), ("0x", false)]
        {
            assert_eq!(runs_on(text), expected, "{text}");
        }
    }

    #[test]
    fn values() {
        for (value, armed) in [
            ("30", true),
            ("1min", true),
            ("default", true),
            ("0", false),
            ("off", false),
            ("infinity", true),
            ("soon", false),
            ("", false),
        ] {
            assert_eq!(is_armed_by(value), armed, "{value}");
        }
    }
}
