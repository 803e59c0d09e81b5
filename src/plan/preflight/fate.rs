//! What becomes of each unit: systemd's own transaction, worked out before.
//!
//! A soft reboot starts a handful of units; whatever conflicts with one of them stops, and with it what requires
//! it, is bound to it, or is part of it. Processes of units that do not stop are killed at the end all the same,
//! unless they are marked (SurviveFinalKillSignal= since 255, `@` before).

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{system::System, unit::Unit};

/// Units that a soft reboot starts (soft-reboot.target and what it requires), the same from 254 to 262.
const STARTED: [&str; 5] =
    ["soft-reboot.target", "systemd-soft-reboot.service", "shutdown.target", "umount.target", "final.target"];

/// A unit of which something outlives the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Survivor {
    /// The unit.
    pub unit: String,
    /// What outlives it, and why.
    pub what: Survives,
}

/// What outlives the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Survives {
    /// Its processes, by SurviveFinalKillSignal=yes.
    Processes,
    /// Processes that are marked with `@`.
    Marked(Vec<u32>),
    /// Sockets that stay open.
    Listens(Vec<String>),
    /// Stored descriptors.
    Descriptors {
        /// How many.
        count: u32,
        /// Whether the unit stops, and FileDescriptorStorePreserve=yes keeps them.
        preserved: bool,
    },
}

/// A unit that stops, or whose processes are killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopping {
    /// The unit.
    pub unit: String,
    /// Why.
    pub why: String,
}

/// Both lists.
pub(super) struct Fates {
    pub(super) survives: Vec<Survivor>,
    pub(super) stops: Vec<Stopping>,
}

/// The reason for which each unit stops, active or not.
pub(super) fn stopped(units: &[Unit]) -> BTreeMap<&str, String> {
    let mut stopped: BTreeMap<&str, String> = BTreeMap::new();
    for unit in units.iter().filter(|unit| !unit.perpetual) {
        if let Some(target) = STARTED.iter().find(|target| unit.conflicts.contains(**target)) {
            stopped.insert(&unit.id, format!("conflicts with {target}"));
        }
    }
    loop {
        let found: Vec<(&str, String)> = units
            .iter()
            .filter(|unit| !unit.perpetual && !stopped.contains_key(unit.id.as_str()))
            .filter_map(|unit| {
                let other = unit.stopped_with.iter().find(|other| stopped.contains_key(other.as_str()))?;
                Some((unit.id.as_str(), format!("stops with {other}")))
            })
            .collect();
        if found.is_empty() {
            return stopped;
        }
        stopped.extend(found);
    }
}

pub(super) fn decide(system: &System) -> Fates {
    let stopped = stopped(&system.units);
    let mut fates = Fates { survives: Vec::new(), stops: Vec::new() };
    let mut units: Vec<&Unit> = system.units.iter().filter(|unit| unit.id != "init.scope").collect();
    units.sort_by(|one, other| one.id.cmp(&other.id));
    for unit in units {
        let why = stopped.get(unit.id.as_str());
        descriptors(unit, why.is_some(), &mut fates);
        match (unit.kind(), why) {
            ("socket", Some(why)) if unit.is_up() => fates.stop(unit, why.clone()),
            ("socket", None) if unit.is_up() => fates.survive(unit, Survives::Listens(unit.listens.clone())),
            (_, Some(why)) if unit.runs() => fates.stop(unit, why.clone()),
            (_, None) if unit.runs() => running(unit, system, &mut fates),
            _ => {}
        }
    }
    fates
}

/// A unit with processes that nothing stops.
fn running(unit: &Unit, system: &System, fates: &mut Fates) {
    let marked =
        system.processes.iter().filter(|process| process.marked && unit.holds(&process.control_group));
    let marked: Vec<u32> = marked.map(|process| process.pid).collect();
    match (unit.survives_final_kill, marked.is_empty()) {
        (Some(true), _) => fates.survive(unit, Survives::Processes),
        (_, false) => fates.survive(unit, Survives::Marked(marked)),
        (_, true) => fates.stop(unit, "killed at the end: no SurviveFinalKillSignal=yes".to_owned()),
    }
}

fn descriptors(unit: &Unit, stops: bool, fates: &mut Fates) {
    let preserved = unit.preserve.as_deref() == Some("yes");
    if unit.descriptors > 0 && (preserved || !stops) {
        fates.survive(unit, Survives::Descriptors { count: unit.descriptors, preserved: stops });
    }
}

impl Fates {
    fn survive(&mut self, unit: &Unit, what: Survives) {
        self.survives.push(Survivor { unit: unit.id.clone(), what });
    }

    fn stop(&mut self, unit: &Unit, why: String) {
        self.stops.push(Stopping { unit: unit.id.clone(), why });
    }
}

impl fmt::Display for Survives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes => f.write_str("runs on: SurviveFinalKillSignal=yes, and nothing stops it"),
            Self::Marked(pids) => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                write!(f, "runs on: marked with @ (PID {}), and nothing stops it", pids.join(", "))
            }
            Self::Listens(on) if on.is_empty() => f.write_str("stays open: nothing stops it"),
            Self::Listens(on) => write!(f, "stays open: {}, and nothing stops it", on.join(", ")),
            Self::Descriptors { count, preserved: true } => {
                write!(f, "{count} stored descriptors are kept: FileDescriptorStorePreserve=yes")
            }
            Self::Descriptors { count, preserved: false } => {
                write!(f, "{count} stored descriptors are kept: nothing stops it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::system::Process, *};

    fn unit(id: &str, conflicts: &[&str], stopped_with: &[&str]) -> Unit {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let sub = if id.ends_with(".socket") { "listening" } else { "running" };
        Unit {
            id: id.to_owned(),
            active: "active".to_owned(),
            sub: sub.to_owned(),
            control_group: Some(format!("/system.slice/{id}")),
            conflicts: set(conflicts),
            stopped_with: set(stopped_with),
            ..Unit::default()
        }
    }

    #[test]
    fn stops_spread() {
        let units = [
            unit("a.service", &["shutdown.target"], &[]),
            unit("b.service", &[], &["c.slice"]),
            unit("c.slice", &[], &["var.mount"]),
            unit("var.mount", &["umount.target"], &[]),
            unit("d.service", &["reboot.target"], &["system.slice"]),
            unit("-.mount", &[], &["var.mount"]),
        ];
        let mut units = units.to_vec();
        units[5].perpetual = true;
        let stopped = stopped(&units);
        let got: Vec<_> = stopped.iter().map(|(unit, why)| (*unit, why.as_str())).collect();
        let expected = [
            ("a.service", "conflicts with shutdown.target"),
            ("b.service", "stops with c.slice"),
            ("c.slice", "stops with var.mount"),
            ("var.mount", "conflicts with umount.target"),
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn circles_end() {
        let units =
            [unit("a.service", &["final.target"], &["b.service"]), unit("b.service", &[], &["a.service"])];
        assert_eq!(stopped(&units).len(), 2);
    }

    #[test]
    fn fates() {
        let stopping: &[&str] = &["shutdown.target"];
        let with = |mut unit: Unit, change: fn(&mut Unit)| {
            change(&mut unit);
            unit
        };
        for (unit, survives, stops) in [
            (unit("a.service", stopping, &[]), None, Some("conflicts with shutdown.target")),
            (unit("a.service", &[], &[]), None, Some("killed at the end: no SurviveFinalKillSignal=yes")),
            (with(unit("a.service", &[], &[]), |u| u.sub = "exited".to_owned()), None, None),
            (with(unit("a.service", stopping, &[]), |u| u.active = "inactive".to_owned()), None, None),
            (
                with(unit("a.service", &[], &[]), |u| u.survives_final_kill = Some(true)),
                Some("runs on: SurviveFinalKillSignal=yes, and nothing stops it"),
                None,
            ),
            (
                with(unit("a.service", stopping, &[]), |u| u.survives_final_kill = Some(true)),
                None,
                Some("conflicts with shutdown.target"),
            ),
            (
                unit("marked.service", &[], &[]),
                Some("runs on: marked with @ (PID 7), and nothing stops it"),
                None,
            ),
            (
                with(unit("a.socket", &[], &[]), |u| u.listens = vec!["/run/a (Stream)".to_owned()]),
                Some("stays open: /run/a (Stream), and nothing stops it"),
                None,
            ),
            (unit("a.socket", stopping, &[]), None, Some("conflicts with shutdown.target")),
            (unit("a.timer", stopping, &[]), None, None),
            (
                with(unit("a.service", stopping, &[]), |u| {
                    (u.descriptors, u.preserve) = (2, Some("yes".to_owned()));
                }),
                Some("2 stored descriptors are kept: FileDescriptorStorePreserve=yes"),
                Some("conflicts with shutdown.target"),
            ),
            (
                with(unit("a.service", stopping, &[]), |u| {
                    (u.descriptors, u.preserve) = (2, Some("restart".to_owned()));
                }),
                None,
                Some("conflicts with shutdown.target"),
            ),
        ] {
            let process = Process {
                pid: 7,
                control_group: "/system.slice/marked.service/x".to_owned(),
                marked: true,
                ..Process::default()
            };
            let system = System { units: vec![unit.clone()], processes: vec![process], ..System::default() };
            let fates = decide(&system);
            let survived = fates.survives.first().map(|survivor| survivor.what.to_string());
            let stopped = fates.stops.first().map(|stopping| stopping.why.as_str());
            assert_eq!((survived.as_deref(), stopped), (survives, stops), "{unit:?}");
        }
    }
}
