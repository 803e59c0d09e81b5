//! Checks of what survives: settings that it lacks, the root that it runs from, its unit in the new root.

use super::{Finding, Given, Survives, Unit, fate};

/// Targets that have to stop a survivor, for it does not stop by itself any more (systemd-soft-reboot.service(8)). The manual has
/// rescue.target and emergency.target with them: whoever wants to outlive a root that comes up so leaves these out.
const ENDS: [&str; 4] = ["reboot.target", "kexec.target", "poweroff.target", "halt.target"];

/// What stage leaves to watch over the new root (`run/soft_reboot/watcher.rs`): it keeps to rules of its own.
pub const WATCHER: &str = "nextroot-watcher.service";

/// Units whose processes run on, but for our own: it has what it needs, and what it asks systemd by ends at once.
fn running<'a>(given: &'a Given<'_>) -> impl Iterator<Item = &'a Unit> {
    let runs_on = given
        .survives
        .iter()
        .filter(|survivor| matches!(survivor.what, Survives::Processes | Survives::Marked(_)));
    runs_on.filter(|survivor| survivor.unit != WATCHER).filter_map(|survivor| unit(given, &survivor.unit))
}

fn unit<'a>(given: &'a Given<'_>, id: &str) -> Option<&'a Unit> {
    given.system.units.iter().find(|unit| unit.id == id)
}

pub(super) fn settings(given: &Given<'_>) -> Finding {
    let mut findings = Vec::new();
    let stopped = fate::stopped(&given.system.units);
    for unit in &given.system.units {
        if let Some(why) = stopped.get(unit.id.as_str())
            && unit.survives_final_kill == Some(true)
            && unit.runs()
        {
            findings.push(Finding::warn(
                format!("{} has SurviveFinalKillSignal=yes, and stops: it {why}", unit.id),
                "set DefaultDependencies=no in it, and in its slice; leave out what requires a unit that stops",
            ));
        }
    }
    let mut count = 0;
    for unit in running(given) {
        count += 1;
        let ends: Vec<&str> = ENDS.iter().filter(|end| !unit.conflicts.contains(**end)).copied().collect();
        let mut lacks = Vec::new();
        if !unit.ignores_isolate {
            lacks.push("IgnoreOnIsolate=yes (the new system stops it)".to_owned());
        }
        if !unit.after.contains("basic.target") {
            lacks.push("After=basic.target".to_owned());
        }
        if !ends.is_empty() {
            lacks.push(format!("Conflicts={} (a real shutdown does not stop it)", ends.join(" ")));
        }
        if !lacks.is_empty() {
            findings.push(Finding::warn(
                format!("{} lacks {}", unit.id, lacks.join(", ")),
                "add it to the unit, see systemd-soft-reboot.service(8)",
            ));
        }
    }
    let none = match count {
        0 => "no process runs on".to_owned(),
        count => format!("{count} that run on have what they need"),
    };
    Finding::worst_of(findings, &none)
}

pub(super) fn roots(given: &Given<'_>) -> Finding {
    let mut findings = Vec::new();
    for unit in running(given) {
        let mut own = given.system.processes.iter().filter(|process| unit.holds(&process.control_group));
        let Some(process) = own.find(|process| process.uses_root) else { continue };
        findings.push(Finding::warn(
            format!("{} (PID {} {}) runs from the old root", unit.id, process.pid, process.name),
            "run it from an image of its own (RootImage=, portablectl) or from /run; until it ends, the old root stays in use",
        ));
    }
    Finding::worst_of(findings, "no process that runs on uses the old root")
}

pub(super) fn units(given: &Given<'_>) -> Finding {
    let mut ids: Vec<&str> = given.survives.iter().map(|survivor| survivor.unit.as_str()).collect();
    ids.dedup();
    let missing: Vec<&str> = ids
        .iter()
        .filter_map(|id| unit(given, id))
        .filter(|unit| unit.kind() != "scope" && !in_run(unit))
        .filter(|unit| !unit.file_names().iter().any(|name| given.new.units.contains(name)))
        .map(|unit| unit.id.as_str())
        .collect();
    if missing.is_empty() {
        return Finding::ok(match ids.len() {
            0 => "nothing survives".to_owned(),
            count => format!("all {count} are in the new root or in /run"),
        });
    }
    Finding::warn(
        format!("neither in the new root nor in /run: {}", missing.join(", ")),
        "put the unit files into the image, or attach with portablectl --runtime; without them nothing can stop or restart what survives",
    )
}

/// Whether its file is below /run and nobody clears it away: what generators write is written anew.
pub(super) fn in_run(unit: &Unit) -> bool {
    let file = unit.file.as_deref().unwrap_or_default();
    unit.transient || (file.starts_with("/run/") && !file.starts_with("/run/systemd/generator"))
}

/// The first systemd that does not forget a unit that has stored descriptors (systemd#41435).
const REMEMBERS: u32 = 261;

pub(super) fn descriptors(given: &Given<'_>) -> Finding {
    let stopped = fate::stopped(&given.system.units);
    let forgets = given.system.systemd.as_ref().is_some_and(|systemd| systemd.number < REMEMBERS);
    let stays =
        |name: &String| unit(given, name).is_some_and(Unit::is_up) && !stopped.contains_key(name.as_str());
    let storing = given
        .system
        .units
        .iter()
        .filter(|unit| unit.descriptors > 0 && stopped.contains_key(unit.id.as_str()));
    let findings = storing.filter_map(|unit| match unit.preserve.as_deref() {
        Some("yes") if forgets && !unit.named_by.iter().any(stays) => Some(Finding::warn(
            format!("{} may lose {} stored descriptors: nothing that stays up names it", unit.id, unit.descriptors),
            "systemd before 261 forgets a stopped unit that nothing names, with its descriptors: start a target with DefaultDependencies=no, IgnoreOnIsolate=yes and Wants= of it",
        )),
        Some("yes") => None,
        _ => Some(Finding::warn(
            format!("{} loses {} stored descriptors", unit.id, unit.descriptors),
            "set FileDescriptorStorePreserve=yes where the service wants them back (systemd.service(5))",
        )),
    });
    Finding::worst_of(findings.collect(), "none is lost")
}

pub(super) fn sockets(given: &Given<'_>) -> Finding {
    let stopped = fate::stopped(&given.system.units);
    let open: Vec<&Unit> = given
        .survives
        .iter()
        .filter(|survivor| matches!(survivor.what, Survives::Listens(_)))
        .filter_map(|survivor| unit(given, &survivor.unit))
        // What becomes of its own is systemd's affair.
        .filter(|unit| !unit.id.starts_with("systemd-"))
        .collect();
    let waits = |unit: &Unit| matches!(unit.defer_trigger.as_deref(), Some("yes" | "patient"));
    let closing = open.iter().filter(|unit| !waits(unit)).filter_map(|unit| {
        let service = unit.triggers.iter().find(|service| stopped.contains_key(service.as_str()))?;
        let why = stopped.get(service.as_str())?;
        Some(Finding::warn(
            format!("{} stays open, and {service} {why}: a connection in between closes the socket", unit.id),
            "set DeferTrigger=patient in the socket (systemd 258 and later), or DefaultDependencies=no in the service",
        ))
    });
    let none = match open.len() {
        0 => "none stays open".to_owned(),
        count => format!("{count} that stay open keep what comes meanwhile"),
    };
    Finding::worst_of(closing.collect(), &none)
}
