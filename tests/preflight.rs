//! Reports of preflight against golden files.
//!
//! `tests/golden/preflight/base.json` has facts of a soft reboot that would go well, `base.txt` its report. A case
//! in `cases.txt` is a title, what is changed in the facts after `$` (a JSON merge patch, RFC 7396), and the lines
//! of the report that differ. `NEXTROOT_BLESS=1 cargo test --test preflight` writes both anew; read the
//! difference before committing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use nextroot::plan::preflight::{Asked, NewRoot, Report, System, Verdict, examine, inhibitors};
use serde_json::Value;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/preflight").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(&name)),
            value => merge(target.entry(name).or_insert(Value::Null), value),
        }
    }
}

fn report(facts: &Value) -> Report {
    let part = |name: &str| facts[name].clone();
    let asked: Asked = serde_json::from_value(part("asked")).expect("asked");
    let system: System = serde_json::from_value(part("system")).expect("system");
    let new: NewRoot = serde_json::from_value(part("new_root")).expect("new_root");
    examine(&asked, &system, &new)
}

fn base() -> Value {
    serde_json::from_str(&read("base.json")).unwrap()
}

fn compare(name: &str, got: &str) {
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(file(name), got).unwrap();
    }
    let golden = read(name);
    for (number, (golden, got)) in (1..).zip(golden.lines().zip(got.lines())) {
        assert_eq!(golden, got, "{name}:{number} (NEXTROOT_BLESS=1 writes it anew)");
    }
    assert_eq!(golden.lines().count(), got.lines().count(), "{name}");
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the machine's name is in the report")]
fn all_is_well() {
    let report = report(&base());
    compare("base.txt", &report.to_string());
    assert_eq!(report.verdict(), Verdict::Ok, "{report}");
}

#[test]
fn cases() {
    let well = report(&base()).to_string();
    let well: BTreeSet<&str> = well.lines().collect();
    let mut blessed = String::new();
    let mut count = 0;
    for case in read("cases.txt").split("---\n").filter(|case| !case.trim().is_empty()) {
        let (title, patch) = case.lines().next().zip(case.lines().nth(1)).unwrap();
        let patch = patch.strip_prefix("$ ").unwrap_or_else(|| panic!("{title}: no $"));
        let mut facts = base();
        merge(&mut facts, serde_json::from_str(patch).unwrap_or_else(|e| panic!("{title}: {e}")));
        let text = report(&facts).to_string();
        let lines: String =
            text.lines().filter(|line| !well.contains(line)).map(|line| format!("{line}\n")).collect();
        blessed += &format!("{title}\n$ {patch}\n{lines}---\n");
        count += 1;
    }
    assert!(count >= 70, "only {count} cases");
    compare("cases.txt", &blessed);
}

#[test]
fn every_check_is_seen_at_its_worst() {
    let cases = read("cases.txt");
    for check in report(&base()).checks {
        let other = |line: &str| {
            (line.starts_with("warn ") || line.starts_with("fail ")) && line[6..].starts_with(check.name)
        };
        assert!(cases.lines().any(other), "no case has {} warn or fail", check.name);
    }
}

#[test]
fn json_has_what_the_text_has() {
    let report = report(&base());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"].as_array().unwrap().len(), report.checks.len());
    assert_eq!(json["checks"][0]["name"], "os-release");
    assert_eq!(json["checks"][0]["result"], "ok");
    assert!(json["checks"][0]["why"].is_string());
    let heartbeat = serde_json::json!({"unit": "heartbeat.service", "what": "processes"});
    assert!(json["survives"].as_array().unwrap().contains(&heartbeat), "{}", json["survives"]);
    assert!(json["stops"][0]["why"].is_string());
}

#[test]
fn every_check_is_documented() {
    let text =
        fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/preflight.md")).unwrap();
    let documented: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let checks: Vec<&str> = report(&base()).checks.iter().map(|check| check.name).collect();
    assert_eq!(documented, checks);
}

/// `reboot` looks at them again, when all else was looked at.
#[test]
fn who_holds_the_shutdown_back_is_a_check_alone() {
    let mut facts = base();
    for mode in ["block", "delay"] {
        let lock = serde_json::json!({"what": ["shutdown"], "who": "a", "why": "b", "mode": mode, "pid": 1});
        facts["system"]["inhibitors"] = serde_json::json!([lock]);
        let system: System = serde_json::from_value(facts["system"].clone()).unwrap();
        let mut expected = report(&facts).checks;
        expected.retain(|check| check.name == "inhibitors");
        assert_eq!(inhibitors(&system), expected);
        assert_eq!(expected[0].result == Verdict::Fail, mode == "block");
    }
}

#[test]
fn words_of_others_stay_in_their_line() {
    let mut facts = base();
    let lock = serde_json::json!({"what": ["shutdown"], "who": "a\nok    all", "why": "\u{1b}[2J", "mode": "block", "pid": 1});
    facts["system"]["inhibitors"] = serde_json::json!([lock]);
    let text = report(&facts).to_string();
    assert_eq!(text.lines().count(), report(&base()).to_string().lines().count());
    assert!(!text.contains('\u{1b}'), "{text}");
}
