//! `format/system/journal_entry.rs`, and what `plan/report` makes of it: no more entries than lines; phases follow each other without a
//! hole, a unit is away from its last moment to its first, and what ran on was not away.

use std::time::Duration;

use nextroot::{
    format::system::journal_entry,
    plan::report::{Active, Fate, Given, Manager, Report},
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(entries) = journal_entry::parse(&text) else { return };
    assert!(entries.len() <= text.lines().count());
    // Each unit that is spoken of is active now, as of the last that was said of it.
    let active = |entry: &journal_entry::Entry| Active {
        id: entry.unit.clone(),
        kind: None,
        starting: Some(entry.at),
        entered: Some(entry.at),
        left: None,
    };
    let units = entries.iter().filter(|entry| !entry.unit.is_empty()).map(active).collect();
    let at = |second| Some(Duration::from_secs(second));
    let shutdown = at(100).filter(|_| !text.contains("254"));
    let soft_reboots = shutdown.map(|_| 1);
    let manager = Manager {
        version: None,
        userspace_clock: None,
        userspace: at(120),
        shutdown,
        generators: [at(121), at(122)],
        loaded: at(125),
        finished: at(150),
        soft_reboots,
    };
    let Ok(report) = Report::of(&Given { manager, units, entries, ..Given::default() }) else { return };
    let mut end = report.asked_us;
    for phase in &report.phases {
        assert_eq!(phase.begin_us, end);
        assert!(phase.end_us >= phase.begin_us);
        end = phase.end_us;
    }
    assert!(report.asked_us < report.switched_us && end <= 150_000_000);
    for unit in &report.units {
        match unit.fate {
            Fate::Survived => assert_eq!((unit.interruption_us, unit.stopping_us), (Some(0), None)),
            Fate::Interrupted => {
                assert_eq!(
                    unit.interruption_us,
                    unit.active_us.zip(unit.stopping_us).and_then(|(to, from)| to.checked_sub(from))
                );
            }
            Fate::Gone => assert_eq!((unit.interruption_us, unit.active_us), (None, None)),
        }
    }
}
