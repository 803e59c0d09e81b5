//! A unit of the running system, as far as a soft reboot cares.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::format::system::{unit_file, unit_properties::UnitProperties};

/// A unit that systemd has in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Unit {
    /// Its name.
    pub id: String,
    /// All its names.
    pub names: BTreeSet<String>,
    /// `active`, `inactive`, `failed` ...
    pub active: String,
    /// `running`, `exited`, `listening` ...
    pub sub: String,
    /// Its file.
    pub file: Option<String>,
    /// Made by a call, not by a file; it is kept below /run.
    pub transient: bool,
    /// It cannot be stopped.
    pub perpetual: bool,
    /// `SurviveFinalKillSignal=`; unknown to 254.
    pub survives_final_kill: Option<bool>,
    /// `IgnoreOnIsolate=`
    pub ignores_isolate: bool,
    /// `RootImage=` or `RootDirectory=`: the file system that it runs from.
    pub root: Option<String>,
    /// How many descriptors are stored for it.
    pub descriptors: u32,
    /// `FileDescriptorStorePreserve=`
    pub preserve: Option<String>,
    /// What it listens on.
    pub listens: Vec<String>,
    /// Units that it starts, as a socket its service.
    pub triggers: BTreeSet<String>,
    /// `DeferTrigger=` of a socket; unknown before 258.
    pub defer_trigger: Option<String>,
    /// Its control group.
    pub control_group: Option<String>,
    /// Units that cannot be started without it being stopped, and the other way round.
    pub conflicts: BTreeSet<String>,
    /// Units that want, require, uphold or trigger it: while one of them is there, systemd does not forget it.
    pub named_by: BTreeSet<String>,
    /// Units that it is started after.
    pub after: BTreeSet<String>,
    /// Whether it has a name on the bus, by which it is started when it is called.
    pub on_bus: bool,
    /// Units whose stop stops it: what it requires, is bound to, or is part of.
    pub stopped_with: BTreeSet<String>,
}

/// What is asked of systemd for each unit.
pub const PROPERTIES: [&str; 31] = [
    "Id",
    "Names",
    "BusName",
    "ActiveState",
    "SubState",
    "FragmentPath",
    "Transient",
    "Perpetual",
    "SurviveFinalKillSignal",
    "IgnoreOnIsolate",
    "RootImage",
    "RootDirectory",
    "NFileDescriptorStore",
    "FileDescriptorStorePreserve",
    "Listen",
    "Triggers",
    "DeferTrigger",
    "ControlGroup",
    "Conflicts",
    "ConflictedBy",
    "After",
    "Requires",
    "Requisite",
    "BindsTo",
    "PartOf",
    "StopPropagatedFrom",
    "WantedBy",
    "RequiredBy",
    "BoundBy",
    "UpheldBy",
    "TriggeredBy",
];

impl Unit {
    /// A unit by its properties; `None` where they name none.
    #[must_use]
    pub fn of(properties: &UnitProperties) -> Option<Self> {
        let text = |name| properties.get(name).map(str::to_owned);
        let yes = |name| properties.yes(name).unwrap_or(false);
        let names = |lists: &[&str]| {
            lists.iter().flat_map(|list| properties.words(list)).map(str::to_owned).collect()
        };
        Some(Self {
            id: text("Id")?,
            names: names(&["Names"]),
            on_bus: text("BusName").is_some(),
            active: text("ActiveState").unwrap_or_default(),
            sub: text("SubState").unwrap_or_default(),
            file: text("FragmentPath"),
            transient: yes("Transient"),
            perpetual: yes("Perpetual"),
            survives_final_kill: properties.yes("SurviveFinalKillSignal"),
            ignores_isolate: yes("IgnoreOnIsolate"),
            root: text("RootImage").or_else(|| text("RootDirectory").filter(|root| root != "/")),
            descriptors: properties.number("NFileDescriptorStore").unwrap_or_default(),
            preserve: text("FileDescriptorStorePreserve"),
            listens: properties.all("Listen").map(str::to_owned).collect(),
            triggers: names(&["Triggers"]),
            defer_trigger: text("DeferTrigger"),
            control_group: text("ControlGroup"),
            conflicts: names(&["Conflicts", "ConflictedBy"]),
            named_by: names(&["WantedBy", "RequiredBy", "BoundBy", "UpheldBy", "TriggeredBy"]),
            after: names(&["After"]),
            stopped_with: names(&["Requires", "Requisite", "BindsTo", "PartOf", "StopPropagatedFrom"]),
        })
    }

    /// `service`, `socket` ...
    #[must_use]
    pub fn kind(&self) -> &str {
        unit_file::kind(&self.id)
    }

    /// Whether it is up, or on its way.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading" | "refreshing" | "maintenance")
    }

    /// Whether it has processes, as far as its state tells.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self.kind(), "service" | "scope")
            && self.is_up()
            && self.sub != "exited"
            && self.sub != "auto-restart"
    }

    /// Whether a process is in its control group.
    #[must_use]
    pub fn holds(&self, control_group: &str) -> bool {
        let below = self.control_group.as_deref().and_then(|group| control_group.strip_prefix(group));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The names that its file may have: its own, then its template's.
    #[must_use]
    pub fn file_names(&self) -> Vec<String> {
        let template = self.id.split_once('@').and_then(|(name, rest)| {
            let (instance, kind) = rest.rsplit_once('.')?;
            (!instance.is_empty()).then(|| format!("{name}@.{kind}"))
        });
        std::iter::once(self.id.clone()).chain(template).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_properties() {
        let text = "Id=a@b.service\nActiveState=active\nSubState=running\nTransient=no\nSurviveFinalKillSignal=yes\n\
            RootDirectory=/\nNFileDescriptorStore=3\nFileDescriptorStorePreserve=yes\nConflicts=reboot.target\n\
            ConflictedBy=x.target\nWantedBy=z.target\nTriggeredBy=a.socket\nRequires=system.slice\nPartOf=y.target\nControlGroup=/system.slice/a\n";
        let all = UnitProperties::parse_all(text).unwrap();
        let unit = Unit::of(&all[0]).unwrap();
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(unit.conflicts, set(&["reboot.target", "x.target"]));
        assert_eq!(unit.stopped_with, set(&["system.slice", "y.target"]));
        assert_eq!(unit.named_by, set(&["z.target", "a.socket"]));
        assert_eq!((unit.survives_final_kill, unit.root.as_deref(), unit.descriptors), (Some(true), None, 3));
        assert_eq!(unit.file_names(), ["a@b.service", "a@.service"]);
        assert!(unit.runs());
        for (group, held) in [
            ("/system.slice/a", true),
            ("/system.slice/a/x", true),
            ("/system.slice/ab", false),
            ("/", false),
        ] {
            assert_eq!(unit.holds(group), held, "{group}");
        }
        let unit = Unit::of(&UnitProperties::parse_all("Id=a.service\nRootImage=/r\n").unwrap()[0]).unwrap();
        assert_eq!((unit.root.as_deref(), unit.survives_final_kill, unit.runs()), (Some("/r"), None, false));
        assert!(!unit.holds("/"));
        let text = "Id=a.socket\nTriggers=a.service\nDeferTrigger=patient\n";
        let socket = Unit::of(&UnitProperties::parse_all(text).unwrap()[0]).unwrap();
        assert_eq!(
            (socket.triggers, socket.defer_trigger.as_deref()),
            (set(&["a.service"]), Some("patient"))
        );
        assert_eq!(unit.file_names(), ["a.service"]);
        assert_eq!(Unit::of(&UnitProperties::default()), None);
    }
}
