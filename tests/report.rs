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

/// A value of an element's attribute.
fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    line.split_once(&format!(" {name}=\"")).unwrap().1.split_once('"').unwrap().0
}

fn pixels(line: &str, name: &str) -> f64 {
    attribute(line, name).parse().unwrap()
}

/// What an element has in it.
fn content<'a>(line: &'a str, end: &str) -> &'a str {
    line.strip_suffix(end).unwrap().rsplit_once('>').unwrap().1
}

/// Microseconds to the place in the picture, as its own scale says: by the marks that are farthest from each other.
fn scale(svg: &str, asked_us: u64) -> impl Fn(u64) -> f64 {
    let is_mark = |line: &&str| line.contains("class=\"small middle\"") && line.contains(" y=\"102.0\"");
    let mark = |line: &str| {
        let seconds: f64 = content(line, "</text>").strip_suffix(" s").unwrap().parse().unwrap();
        (seconds * 1e6, pixels(line, "x"))
    };
    let marks: Vec<(f64, f64)> = svg.lines().filter(is_mark).map(mark).collect();
    let ((from, left), (to, right)) = (marks[0], marks[marks.len() - 1]);
    assert!(from < to && left < right);
    move |at| left + (at as f64 - asked_us as f64 - from) / (to - from) * (right - left)
}

/// Bars of a picture, from where to where.
type Bars = Vec<(String, f64, f64)>;

fn bar(line: &str) -> (String, f64, f64) {
    let from = pixels(line, "x");
    (attribute(line, "class").to_owned(), from, from + pixels(line, "width"))
}

/// Held against each other as far as tenths of a pixel go.
fn agree(what: &str, drawn: &Bars, told: &Bars) {
    let is_near = |a: f64, b: f64| (a - b).abs() < 0.21;
    let agrees = drawn.len() == told.len()
        && drawn.iter().zip(told).all(|(a, b)| a.0 == b.0 && is_near(a.1, b.1) && is_near(a.2, b.2));
    assert!(agrees, "{what}: {drawn:?} for {told:?}");
}

#[test]
fn the_picture_has_the_times_of_the_json() {
    for entry in fs::read_dir("tests/golden/report").unwrap() {
        let directory = entry.unwrap().path();
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        let (svg, json) = (read("report.svg"), read("report.json"));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let x = scale(&svg, json["asked_us"].as_u64().unwrap());
        let at = |of: &serde_json::Value, name: &str| of[name].as_u64().map(&x);
        let list = |of: &serde_json::Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
        let lines: Vec<&str> = svg.lines().collect();
        let dashed = lines.iter().find(|line| line.contains("class=\"mark\"")).unwrap();
        assert!((pixels(dashed, "x1") - at(&json, "switched_us").unwrap()).abs() < 0.21);

        let drawn: Bars =
            lines.iter().filter(|line| line.contains(" y=\"68\" ")).map(|line| bar(line)).collect();
        let classes = ["even", "odd"].into_iter().cycle();
        let phases = list(&json, "phases");
        let told = phases.iter().zip(classes).map(|(phase, class)| {
            (class.to_owned(), at(phase, "begin_us").unwrap(), at(phase, "end_us").unwrap())
        });
        agree("phases", &drawn, &told.collect());
        assert!(!drawn.is_empty());

        // A line has its name, its bars, and how long it was away.
        let begin = 280.0;
        let end = begin + 900.0;
        let mut rows = 0;
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("class=\"end\"")) {
            let name = content(line, "</text>");
            let bars = lines[number + 1..].iter().take_while(|line| line.starts_with("<rect"));
            let drawn: Bars = bars.map(|line| bar(line)).collect();
            let of = |what: &str, key: &str| list(&json, what).into_iter().find(|one| one[key] == name);
            let told = match (of("units", "unit"), of("probed", "address")) {
                (Some(unit), _) if unit["fate"] == "survived" => vec![("survived", begin, end)],
                (Some(unit), _) => {
                    let time = |name: &str| at(&unit, name).unwrap();
                    let stopping = time("stopping_us");
                    // Of what ended when there was no journal nobody knows.
                    let stopped = at(&unit, "stopped_us").unwrap_or(stopping);
                    let (starting, active) = (time("starting_us"), time("active_us"));
                    vec![
                        ("active", begin, stopping),
                        ("stopping", stopping, stopped),
                        ("away", stopped, starting),
                        ("starting", starting, active),
                        ("active", active, end),
                    ]
                }
                (None, Some(client)) => {
                    let away = list(&client, "away").into_iter();
                    let away = away.map(|away| {
                        ("unanswered", at(&away, "begin_us").unwrap(), at(&away, "end_us").unwrap_or(end))
                    });
                    [("answered", begin, end)].into_iter().chain(away).collect()
                }
                (None, None) => panic!("{name} is in no report"),
            };
            let told = told.into_iter().map(|(class, from, to)| (class.to_owned(), from, to)).collect();
            agree(name, &drawn, &told);
            rows += 1;
        }
        assert!(rows > 5, "{rows}");
    }
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
