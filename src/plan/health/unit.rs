//! PID 1 and its units, as far as the health of a system depends on them.

use std::{collections::BTreeSet, time::Duration};

use crate::format::system::{systemd_version::SystemdVersion, unit_properties::UnitProperties};

/// What systemd says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// It is starting up.
    Starting,
    /// It has started up; jobs have failed, so many since the machine was booted.
    Up {
        /// How many.
        failed_jobs: u32,
    },
    /// It is in rescue or emergency mode.
    Maintenance,
    /// It is shutting down, or on its way into another root.
    Stopping,
}

/// What is asked of the manager itself.
pub const MANAGER_PROPERTIES: [&str; 5] =
    ["Version", "SystemState", "NJobs", "NFailedJobs", "SoftRebootsCount"];

/// What systemd answers when it is asked about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What it is at; `None` where it says nothing that is known.
    pub manager: Option<Manager>,
    /// How many soft reboots there were; `None` before systemd 256.
    pub soft_reboots: Option<u32>,
}

impl Told {
    /// By its properties.
    #[must_use]
    pub fn of(properties: &UnitProperties) -> Self {
        Self { manager: Manager::of(properties), soft_reboots: properties.number("SoftRebootsCount") }
    }
}

impl Manager {
    /// By its properties; `None` where they say nothing that is known.
    #[must_use]
    pub fn of(properties: &UnitProperties) -> Option<Self> {
        // Up to 254 it keeps from its life before that start-up has finished (manager_timestamp_shall_serialize of
        // src/core/manager-serialize.c): it has, where nothing is left to be started.
        let version = properties.get("Version").and_then(|text| text.parse::<SystemdVersion>().ok());
        let tells = version.is_some_and(|version| version.number > 254);
        let has_jobs = || properties.number("NJobs") != Some(0);
        match properties.get("SystemState")? {
            "initializing" | "starting" => Some(Self::Starting),
            "running" | "degraded" if !tells && has_jobs() => Some(Self::Starting),
            "running" | "degraded" => {
                Some(Self::Up { failed_jobs: properties.number("NFailedJobs").unwrap_or_default() })
            }
            "maintenance" => Some(Self::Maintenance),
            "stopping" => Some(Self::Stopping),
            _ => None,
        }
    }
}

/// A unit, as far as the health of a system depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub(super) id: String,
    /// All its names.
    pub(super) names: BTreeSet<String>,
    /// `active`, `inactive`, `failed` ...
    pub(super) active: String,
    /// Whether it failed, and waits for being started again: `activating`, as a matter of form.
    restarts: bool,
    /// Whether it came to that in this life of the system: what failed in one before is failed until it is started again.
    is_new: bool,
    /// Units that it pulls in.
    pub(super) pulls: BTreeSet<String>,
}

/// What is asked of systemd for each unit.
pub const UNIT_PROPERTIES: [&str; 10] = [
    "Id",
    "Names",
    "ActiveState",
    "SubState",
    "Result",
    "StateChangeTimestampMonotonic",
    "Requires",
    "BindsTo",
    "Wants",
    "Upholds",
];

impl Unit {
    /// A unit by its properties, in a system that runs `since` then by CLOCK_MONOTONIC; `None` where they name none.
    #[must_use]
    pub fn of(properties: &UnitProperties, since: Duration) -> Option<Self> {
        let id = properties.get("Id")?.to_owned();
        let changed = properties.get("StateChangeTimestampMonotonic").and_then(|text| text.parse().ok());
        let words = |name| properties.words(name).map(str::to_owned);
        Some(Self {
            names: words("Names").chain([id.clone()]).collect(),
            active: properties.get("ActiveState").unwrap_or_default().to_owned(),
            restarts: properties.get("SubState").is_some_and(waits_for_restart)
                && properties.get("Result") != Some("success"),
            is_new: changed.is_none_or(|changed| Duration::from_micros(changed) >= since),
            pulls: ["Requires", "BindsTo", "Wants", "Upholds"].into_iter().flat_map(words).collect(),
            id,
        })
    }

    pub(super) fn is_failed(&self) -> bool {
        self.active == "failed" && self.is_new
    }

    /// Whether it failed, also where it is started again for that.
    pub(super) fn has_failed(&self) -> bool {
        self.is_failed() || self.restarts && self.is_new
    }
}

/// `auto-restart`, since 254 `auto-restart-queued` as well (src/basic/unit-def.c).
pub(super) fn waits_for_restart(sub_state: &str) -> bool {
    sub_state.starts_with("auto-restart")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const UP: Manager = Manager::Up { failed_jobs: 0 };

    /// Of `NAME=NAME STATE/SUB=RESULT@SINCE > PULLS`.
    pub(in super::super) fn unit(line: &str) -> Unit {
        let (names, rest) = line.split_once(' ').unwrap();
        let (active, pulls) = rest.split_once(" > ").unwrap_or((rest, ""));
        let (active, changed) = active.split_once('@').unwrap_or((active, "9000001"));
        let (active, sub) = active.split_once('/').unwrap_or((active, active));
        let (sub, result) = sub.split_once('=').unwrap_or((sub, "success"));
        let names: Vec<&str> = names.split('=').collect();
        let text = format!(
            "Id={}\nNames={}\nActiveState={active}\nSubState={sub}\nResult={result}\nStateChangeTimestampMonotonic={changed}\nWants={pulls}\n",
            names[0],
            names.join(" ")
        );
        Unit::of(&UnitProperties::parse_all(&text).unwrap()[0], Duration::from_secs(9)).unwrap()
    }

    #[test]
    fn what_systemd_says_of_itself() {
        for (text, expected) in [
            ("SystemState=initializing\nNJobs=3", Some(Manager::Starting)),
            ("Version=257\nSystemState=starting\nNJobs=0", Some(Manager::Starting)),
            ("Version=254.26-1~bpo12+1\nSystemState=running\nNJobs=2", Some(Manager::Starting)),
            ("Version=254.26-1~bpo12+1\nSystemState=running\nNJobs=0", Some(UP)),
            ("SystemState=running", Some(Manager::Starting)),
            // A job that a timer began says nothing of start-up.
            ("Version=257.9-1\nSystemState=running\nNJobs=2", Some(UP)),
            ("Version=257.9-1\nSystemState=degraded\nNJobs=0", Some(UP)),
            (
                "Version=257.9-1\nSystemState=degraded\nNJobs=0\nNFailedJobs=7",
                Some(Manager::Up { failed_jobs: 7 }),
            ),
            ("SystemState=maintenance\nNJobs=0", Some(Manager::Maintenance)),
            ("SystemState=stopping\nNJobs=9", Some(Manager::Stopping)),
            ("SystemState=offline\nNJobs=9", None),
            ("NJobs=9", None),
        ] {
            assert_eq!(Manager::of(&UnitProperties::parse_all(text).unwrap()[0]), expected, "{text}");
        }
    }
}
