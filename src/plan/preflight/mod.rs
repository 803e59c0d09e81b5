//! Whether a soft reboot into a new root would go well: what was found of the running system and of the new
//! root, held against a table of checks, and what becomes of each unit.

use serde::Serialize;

use super::{order::Order, stage::Watcher, watchdog::Rearming};

mod critical;
mod fate;
mod image;
mod kernel;
pub mod new_root;
mod places;
mod policy;
mod running;
pub mod survivors;
pub mod system;
mod text;
pub mod unit;

pub use critical::{UnitOrder, orders};
pub use fate::{Stopping, Survives, Survivor};
pub use new_root::NewRoot;
pub use policy::{Asked, DmName, HashFrom, Refused, RootHashUse, Wanted};
pub use running::watcher;
pub use system::System;
pub use unit::Unit;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// The soft reboot goes on; somebody should know.
    Warn,
    /// The soft reboot is refused, or would not end well.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, stable: scripts ask for it.
    pub name: &'static str,
    /// How it came out.
    pub result: Verdict,
    /// What was found.
    pub found: String,
    /// What to do.
    pub advice: Option<String>,
    /// Why it is looked at.
    pub why: &'static str,
}

impl Check {
    /// Whether it holds a root against policy, which nothing goes over.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        matches!(self.name, "root-hash" | "image-version")
    }

    /// Whether it is about the kernel that a soft reboot keeps: a full reboot settles it.
    #[must_use]
    pub fn is_of_running_kernel(&self) -> bool {
        matches!(self.name, "modules" | "modules-load" | "kernel")
    }
}

/// All that an operator wants to read before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks, in the order of the table.
    pub checks: Vec<Check>,
    /// Whether the new root was opened and looked into; else a check that failed says why not.
    pub opened: bool,
    /// Units of which something runs on or stays open, with the reason.
    pub survives: Vec<Survivor>,
    /// Units that stop, with the reason.
    pub stops: Vec<Stopping>,
    /// What sees the new root come up; `None` where nobody does. For people it is a check.
    #[serde(skip)]
    pub watcher: Option<Watcher>,
    /// What becomes of the watchdog. For people it is a check.
    #[serde(skip)]
    pub watchdog: Option<Rearming>,
    /// What is put behind critical units. For people it is a check.
    #[serde(skip)]
    pub orders: Vec<Order>,
}

impl Report {
    /// The worst of the checks.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.result).max().unwrap_or(Verdict::Ok)
    }
}

/// Holds a new root against the running system.
#[must_use]
pub fn examine(asked: &Asked, system: &System, new: &NewRoot) -> Report {
    let fates = fate::decide(system);
    let orders = critical::orders(&asked.critical, &system.units, &new.unit_orders);
    let given = Given { asked, system, new, survives: &fates.survives, orders: &orders };
    let unopened = policy::unopened(&given);
    let check = |row: &Row| match unopened {
        Some(failed) if row.of_new_root && row.name != failed => row.says(Finding::not_looked_at(failed)),
        _ => row.says((row.look)(&given)),
    };
    Report {
        checks: TABLE.iter().map(check).collect(),
        opened: unopened.is_none(),
        survives: fates.survives,
        stops: fates.stops,
        watcher: running::watcher(asked, system),
        watchdog: running::rearming(system, new),
        orders,
    }
}

/// The checks that are of the running system alone.
#[must_use]
pub fn of_system(asked: &Asked, system: &System) -> Vec<Check> {
    let fates = fate::decide(system);
    let given = Given { asked, system, new: &NewRoot::default(), survives: &fates.survives, orders: &[] };
    TABLE.iter().filter(|row| !row.of_new_root).map(|row| row.says((row.look)(&given))).collect()
}

/// The check of who holds a shutdown back, alone: that may change until the last moment.
#[must_use]
pub fn inhibitors(system: &System) -> Vec<Check> {
    let checks = of_system(&Asked::default(), system).into_iter();
    checks.filter(|check| check.name == "inhibitors").collect()
}

/// What a check looks at.
struct Given<'a> {
    asked: &'a Asked,
    system: &'a System,
    new: &'a NewRoot,
    survives: &'a [Survivor],
    orders: &'a [Order],
}

/// A check and the reason for it.
struct Row {
    name: &'static str,
    /// Whether it needs the new root, so that nothing can be said where that was not opened.
    of_new_root: bool,
    why: &'static str,
    look: fn(&Given<'_>) -> Finding,
}

impl Row {
    fn says(&self, finding: Finding) -> Check {
        let Finding { result, found, advice } = finding;
        Check { name: self.name, result, found, advice, why: self.why }
    }
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    result: Verdict,
    found: String,
    advice: Option<String>,
}

impl Finding {
    fn ok(found: impl Into<String>) -> Self {
        Self { result: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warn(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { result: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { result: Verdict::Fail, ..Self::warn(found, advice) }
    }

    /// Where the check of this name kept the new root closed.
    fn not_looked_at(failed: &str) -> Self {
        Self::warn(
            format!("not looked at: the new root was not opened, see {failed}"),
            format!("mend {failed}, and ask again"),
        )
    }

    /// Several as one, the worst of them first; `none` where there are none.
    fn worst_of(mut all: Vec<Self>, none: &str) -> Self {
        all.sort_by_key(|finding| std::cmp::Reverse(finding.result));
        let Some(worst) = all.first().map(|finding| finding.result) else { return Self::ok(none) };
        let mut advice: Vec<String> = Vec::new();
        for line in all.iter().filter_map(|finding| finding.advice.clone()) {
            if !advice.contains(&line) {
                advice.push(line);
            }
        }
        let found: Vec<String> = all.into_iter().map(|finding| finding.found).collect();
        Self {
            result: worst,
            found: found.join("; "),
            advice: (!advice.is_empty()).then(|| advice.join("; ")),
        }
    }
}

/// The checks, in the order in which they are printed.
const TABLE: [Row; 28] = [
    Row {
        name: "os-release",
        of_new_root: true,
        why: "without it systemd starts the old root again and says nothing; its IMAGE_VERSION tells images apart",
        look: image::os_release,
    },
    Row {
        name: "initrd-release",
        of_new_root: true,
        why: "with it systemd takes the root for an initrd and waits for another one",
        look: image::initrd_release,
    },
    Row {
        name: "init",
        of_new_root: true,
        why: "PID 1 freezes where it cannot execute the new root's init",
        look: image::init,
    },
    Row {
        name: "systemd",
        of_new_root: true,
        why: "soft reboot came with 254; an older systemd reads the state that a newer one wrote",
        look: image::systemd,
    },
    Row {
        name: "root-hash",
        of_new_root: true,
        why: "where the root hash comes from decides what it proves",
        look: policy::root_hash,
    },
    Row {
        name: "image-version",
        of_new_root: true,
        why: "an older image brings back the holes that a newer one closed",
        look: policy::image_version,
    },
    Row {
        name: "dm-name",
        of_new_root: true,
        why: "a device of that name with another table would be the wrong root",
        look: policy::dm_name,
    },
    Row {
        name: "modules",
        of_new_root: true,
        why: "after the switch modules come from the new root, for the kernel that keeps running",
        look: kernel::modules,
    },
    Row {
        name: "modules-load",
        of_new_root: true,
        why: "what the new root asks for at start has to be there for the running kernel",
        look: kernel::modules_load,
    },
    Row { name: "kernel", of_new_root: true, why: "a soft reboot keeps the kernel", look: kernel::newer },
    Row {
        name: "directories",
        of_new_root: true,
        why: "nothing can be mounted on a directory that a read-only root lacks",
        look: places::directories,
    },
    Row {
        name: "var",
        of_new_root: true,
        why: "logind and others do not start without a writable /var",
        look: places::var,
    },
    Row {
        name: "machine-id",
        of_new_root: true,
        why: "journals, leases and licences hang on it",
        look: places::machine_id,
    },
    Row {
        name: "selinux",
        of_new_root: true,
        why: "a soft reboot does not load the new root's policy",
        look: places::selinux,
    },
    Row {
        name: "extensions",
        of_new_root: true,
        why: "extensions are merged into /usr and /etc of one root, and have to fit the next",
        look: running::extensions,
    },
    Row {
        name: "network",
        of_new_root: true,
        why: "addresses go when networkd stops, where nothing keeps them",
        look: running::network,
    },
    Row {
        name: "execution",
        of_new_root: false,
        why: "RestrictFileSystemAccess= forbids programs on tmpfs, where the relay would be",
        look: running::execution,
    },
    Row {
        name: "watcher",
        of_new_root: false,
        why: "a root that is not healthy costs seconds where somebody leaves it again, and a visit else",
        look: running::automatic_return,
    },
    Row {
        name: "watchdog",
        of_new_root: true,
        why: "a hardware watchdog that nobody arms again resets nothing; one that nobody feeds resets a machine that is well",
        look: running::watchdog,
    },
    Row {
        name: "inhibitors",
        of_new_root: false,
        why: "somebody may have asked not to be interrupted",
        look: running::inhibitors,
    },
    Row {
        name: "memory",
        of_new_root: false,
        why: "reading ahead into the page cache must not push out what is in use",
        look: running::memory,
    },
    Row {
        name: "survivors",
        of_new_root: false,
        why: "a survivor that lacks a setting is killed late, or never stops",
        look: survivors::settings,
    },
    Row {
        name: "survivor-roots",
        of_new_root: false,
        why: "a survivor that runs from the old root keeps it mounted",
        look: survivors::roots,
    },
    Row {
        name: "survivor-units",
        of_new_root: true,
        why: "the new systemd has to know the unit of what runs on",
        look: survivors::units,
    },
    Row {
        name: "critical",
        of_new_root: true,
        why: "a critical unit is away for as long as what it waits for takes to stop and to start",
        look: critical::check,
    },
    Row {
        name: "descriptors",
        of_new_root: false,
        why: "stored descriptors of a unit that stops are closed unless it keeps them",
        look: survivors::descriptors,
    },
    Row {
        name: "sockets",
        of_new_root: false,
        why: "a socket whose service must not start any more is closed by the next connection",
        look: survivors::sockets,
    },
    Row {
        name: "facts",
        of_new_root: false,
        why: "what could not be read was not checked",
        look: running::facts,
    },
];
