//! What would make the next soft reboot shorter, by what this one shows.

use super::{Fate, Phase, Unit, seconds};

/// What takes less is not worth a word.
const SLOW_US: u64 = 500_000;

/// What costs most comes first.
pub(super) fn hints(phases: &[Phase], units: &[Unit]) -> Vec<String> {
    let mut found: Vec<(u64, String)> = Vec::new();
    let mut tell = |took: u64, text: String| {
        if took >= SLOW_US {
            found.push((took, text));
        }
    };
    let waited_for = waited_for(units);
    for unit in units {
        let [stop, start] = unit.took();
        let name = &unit.unit;
        if let Some(took) = stop {
            let waited =
                if waited_for.contains(&name.as_str()) { ", and the switch waited for it" } else { "" };
            tell(
                took,
                format!(
                    "{name} took {:.3} s to stop{waited}: see its ExecStop=, KillSignal= and TimeoutStopSec=",
                    seconds(took)
                ),
            );
        }
        if let Some(took) = start {
            tell(took, format!("{name} took {:.3} s to start", seconds(took)));
        }
        if let (Fate::Interrupted, true, Some(away)) =
            (unit.fate, name.ends_with(".socket") && !name.starts_with("systemd-"), unit.interruption_us)
        {
            tell(
                away,
                format!(
                    "{name} was closed for {:.3} s: with DefaultDependencies=no in it connections would have waited (systemd-soft-reboot.service(8))",
                    seconds(away)
                ),
            );
        }
    }
    let is_relayed = phases.iter().any(|phase| phase.name == "relay");
    for (name, text) in [
        ("kill what is left", "systemd waited {} s for what it killed: stop it by a unit"),
        ("execute systemd", "systemd took {} s to be executed: read it ahead (Prewarm=)"),
        (
            "run generators",
            "generators took {} s (systemd.generator(7)): each that is not there is not waited for",
        ),
        (
            "load units",
            "systemd took {} s to load its units: fewer units, or reading them ahead (Prewarm=), make it shorter",
        ),
    ] {
        // Where a phase begins with what is not known, how long it took tells nothing.
        let known = |phase: &&Phase| phase.name == name && (name != "execute systemd" || is_relayed);
        if let Some(phase) = phases.iter().find(known) {
            tell(phase.took_us(), text.replace("{}", &format!("{:.3}", seconds(phase.took_us()))));
        }
    }
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    found.into_iter().map(|(_, text)| text).collect()
}

/// Those that the switch waited for: the last that stopped, the last of those that had stopped when it was told to, and so on.
fn waited_for(units: &[Unit]) -> Vec<&str> {
    let stopped: Vec<(u64, u64, &str)> = units
        .iter()
        .filter(|unit| !unit.killed)
        .filter_map(|unit| Some((unit.stopped_us?, unit.stopping_us?, unit.unit.as_str())))
        .collect();
    let (mut found, mut before) = (Vec::new(), u64::MAX);
    while let Some((_, stopping, name)) =
        stopped.iter().filter(|(stopped, _, name)| *stopped <= before && !found.contains(name)).max()
    {
        found.push(*name);
        before = *stopping;
    }
    found
}
