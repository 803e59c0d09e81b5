//! The time stamps of PID 1 and of its units (org.freedesktop.systemd1(5)).

use std::time::Duration;

use crate::format::system::{systemd_version::SystemdVersion, unit_properties::UnitProperties};

/// What is asked of PID 1.
pub const MANAGER_PROPERTIES: &[&str] = &[
    "FinishTimestampMonotonic",
    "GeneratorsFinishTimestampMonotonic",
    "GeneratorsStartTimestampMonotonic",
    "PreviousShutdownStartTimestampMonotonic",
    "ShutdownStartTimestampMonotonic",
    "SoftRebootsCount",
    "UnitsLoadFinishTimestampMonotonic",
    "UserspaceTimestamp",
    "UserspaceTimestampMonotonic",
    "Version",
];

/// What is asked of units.
pub const UNIT_PROPERTIES: &[&str] = &[
    "ActiveEnterTimestampMonotonic",
    "ActiveExitTimestampMonotonic",
    "ActiveState",
    "Id",
    "InactiveExitTimestampMonotonic",
    "Type",
];

/// When PID 1 did what, since it is PID 1 of this userspace.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    /// The version of its systemd; `None` where that is not known.
    pub version: Option<u32>,
    /// It began.
    pub userspace: Option<Duration>,
    /// The same by the wall clock of then, since 1970; `None` where systemctl does not tell.
    pub userspace_clock: Option<Duration>,
    /// The shutdown before began; `None` before systemd 256.
    pub shutdown: Option<Duration>,
    /// Generators: from, to.
    pub generators: [Option<Duration>; 2],
    /// Units were loaded, and what the PID 1 before left was taken in.
    pub loaded: Option<Duration>,
    /// Start-up was over.
    pub finished: Option<Duration>,
    /// How many soft reboots there were; `None` before systemd 256.
    pub soft_reboots: Option<u32>,
}

impl Manager {
    /// By its properties.
    #[must_use]
    pub fn of(properties: &UnitProperties) -> Self {
        let at = |name| stamp(properties, name);
        // From 262 on it has a name of its own, as the shutdown that is under way has one, too.
        let shutdown =
            at("PreviousShutdownStartTimestampMonotonic").or_else(|| at("ShutdownStartTimestampMonotonic"));
        let version = properties.get("Version").and_then(|version| version.parse::<SystemdVersion>().ok());
        Self {
            version: version.map(|version| version.number),
            userspace: at("UserspaceTimestampMonotonic"),
            // `systemctl --timestamp=unix`
            userspace_clock: properties
                .get("UserspaceTimestamp")
                .and_then(|clock| clock.strip_prefix('@')?.parse().ok().map(Duration::from_secs)),
            shutdown,
            generators: ["GeneratorsStartTimestampMonotonic", "GeneratorsFinishTimestampMonotonic"].map(at),
            loaded: at("UnitsLoadFinishTimestampMonotonic"),
            finished: at("FinishTimestampMonotonic"),
            soft_reboots: properties.number("SoftRebootsCount"),
        }
    }
}

/// A unit that is active.
#[derive(Clone, Debug)]
pub struct Active {
    /// Its name.
    pub id: String,
    /// `Type=` of a service.
    pub kind: Option<String>,
    /// When it was last started.
    pub starting: Option<Duration>,
    /// When it last became active.
    pub entered: Option<Duration>,
    /// When it was last active before that.
    pub left: Option<Duration>,
}

impl Active {
    /// By its properties; `None` where it is not active.
    #[must_use]
    pub fn of(properties: &UnitProperties) -> Option<Self> {
        let is_active = matches!(properties.get("ActiveState"), Some("active" | "reloading" | "refreshing"));
        let id = properties.get("Id").filter(|_| is_active)?.to_owned();
        let at = |name| stamp(properties, name);
        Some(Self {
            id,
            kind: properties.get("Type").map(str::to_owned),
            starting: at("InactiveExitTimestampMonotonic"),
            entered: at("ActiveEnterTimestampMonotonic"),
            left: at("ActiveExitTimestampMonotonic"),
        })
    }
}

/// Microseconds; 0 is never.
fn stamp(properties: &UnitProperties, name: &str) -> Option<Duration> {
    let micros: u64 = properties.get(name)?.parse().ok()?;
    (1..u64::MAX).contains(&micros).then(|| Duration::from_micros(micros))
}
