//! `nextroot report` of real switches: what PID 1 and the journal said in a guest (tests/golden/report/SYSTEMD: `systemctl show` of the
//! manager and of units, `journalctl --output=json`), and what is made of it. `NEXTROOT_BLESS=1` writes what is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path, time::Duration};

use nextroot::{
    format::system::{journal_entry, probe_log, unit_properties::UnitProperties},
    mode::report::Report,
    plan::{
        report::{self, Active, Given, Manager, Phase},
        state::{On, Root, State, Verity},
        step::HashOrigin,
    },
};

/// When they were asked for; of the guest it does not matter.
const ASKED_AT: u64 = 1_795_537_000;

fn given(directory: &Path) -> Given {
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let properties = |name: &str| UnitProperties::parse_all(&read(name)).unwrap();
    Given {
        manager: Manager::of(&properties("manager")[0]),
        units: properties("units").iter().filter_map(Active::of).collect(),
        entries: journal_entry::parse(&read("journal.json")).unwrap(),
        ..Given::default()
    }
}

/// From one root to the next.
fn state() -> State {
    let root = |hash: &str, version: &str| Root {
        source: "slot:other".to_owned(),
        on: On::Verity(Verity {
            name: format!("{hash}-verity"),
            root_hash: hash.to_owned(),
            root_hash_from: HashOrigin::Arguments,
            signed_by: None,
        }),
        system: Some("Debian GNU/Linux 13 (trixie)".to_owned()),
        version: Some(version.to_owned()),
    };
    let at = Duration::from_millis;
    let stage = vec![
        Phase::new("find", at(521_000), at(522_500)),
        Phase::new("read ahead", at(522_500), at(528_000)),
    ];
    State {
        switched_us: Some(80_000_000),
        generation: 2,
        stage,
        previous: Some(root("0a0f", "1.2")),
        current: Some(root("1b1f", "1.3")),
        ..State::default()
    }
}

fn held(path: &Path, text: &str) {
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(text == expected, "{} is not:\n{text}", path.display());
}

#[test]
fn switches_of_guests() {
    let mut count = 0;
    for entry in fs::read_dir("tests/golden/report").unwrap() {
        let directory = entry.unwrap().path();
        let report = report::Report::of(&given(&directory)).unwrap();
        let mut report = Report::of(report, &state(), ASKED_AT);
        if let Ok(log) = fs::read_to_string(directory.join("probe.log")) {
            report = report.with_probed(&probe_log::parse(&log).unwrap(), Duration::from_secs(1));
        }
        held(&directory.join("report.txt"), &report.to_string());
        held(&directory.join("report.json"), &report.json().unwrap());
        held(&directory.join("report.svg"), &report.svg().unwrap());
        count += 1;
    }
    assert!(count > 0);
}

/// It had the roots, and the stage, of the last switch that nextroot made, whenever that was.
#[test]
fn a_soft_reboot_that_nextroot_had_nothing_to_do_with() {
    let report = report::Report::of(&given(Path::new("tests/golden/report/257"))).unwrap();
    for (switched_us, expected) in [
        (Some(report.asked_us - 1), (true, 0)),
        (Some(report.asked_us + 1), (false, 2)),
        // No switch led to the running root.
        (None, (true, 0)),
    ] {
        let told = Report::of(report.clone(), &State { switched_us, ..state() }, ASKED_AT).json().unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let seen = (told["from"] == told["to"], told["stage"].as_array().unwrap().len());
        assert_eq!(seen, expected, "{switched_us:?}");
    }
}
