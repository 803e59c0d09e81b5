//! Plans against golden files: for each `tests/golden/NAME.cmdline`, the plan, refusal or wait that its
//! facts give. `NEXTROOT_BLESS=1 cargo test` writes the files anew; read the difference before committing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use nextroot::{
    format::{cmdline::CommandLine, config::Config},
    plan::{
        boot::{self, Decision},
        facts::Facts,
        intent::Intent,
        request,
    },
};

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn outcome(line: &str, config: &Config, facts: &Facts) -> String {
    let intent = match Intent::resolve(&CommandLine::parse(line), config) {
        Ok(intent) => intent,
        Err(error) => return format!("refused: {}\n", chain(&error)),
    };
    let notes: String = intent.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let decision = match boot::decide(&intent, facts) {
        Decision::Go(plan) => plan.to_string(),
        Decision::Wait(wants) => boot::waiting(&wants, facts, &[]) + "\n",
        Decision::Read(reads) => format!("read first: {reads:?}\n"),
        Decision::Refuse(error) => format!("refused: {}\n", chain(&error)),
    };
    notes + &decision
}

#[test]
fn plans() {
    let facts: Facts =
        serde_json::from_str(&fs::read_to_string(directory().join("facts.json")).unwrap()).unwrap();
    let cases = fs::read_to_string(directory().join("plans.txt")).unwrap();
    let mut blessed = String::new();
    let mut count = 0;
    for case in cases.split("\n---\n").map(str::trim).filter(|case| !case.is_empty()) {
        let head: Vec<&str> =
            case.lines().take_while(|line| line.starts_with('$') || line.starts_with("# ")).collect();
        let line = head.iter().find_map(|line| line.strip_prefix('$')).expect("a line that begins with $");
        let policy = head.contains(&"# Verity=required");
        let config =
            Config { file: "nextroot.conf".to_owned(), verity_required: policy, ..Config::default() };
        blessed += &format!("{}\n{}---\n", head.join("\n"), outcome(line, &config, &facts));
        count += 1;
    }
    assert!(count >= 20, "only {count} cases");
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(directory().join("plans.txt"), &blessed).unwrap();
        return;
    }
    assert_eq!(cases, blessed, "a plan changed: NEXTROOT_BLESS=1 writes the golden file anew");
}

#[test]
fn malformed_command_lines() {
    let table = fs::read_to_string(directory().join("malformed.txt")).unwrap();
    let rows = table.lines().filter(|line| !line.starts_with(['#', ' ']) && !line.is_empty());
    let mut blessed: String =
        table.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let mut count = 0;
    for line in rows {
        let message = match Intent::resolve(&CommandLine::parse(line), &Config::default()) {
            Ok(intent) => panic!("\"{line}\" is accepted: {intent:?}"),
            Err(error) => chain(&error),
        };
        // Whoever reads the message has to find the parameter, and what was wrong with it.
        let named = line.split_whitespace().any(|word| message.contains(word.split('=').next().unwrap()));
        assert!(named, "\"{message}\" names no parameter of \"{line}\"");
        blessed += &format!("{line}\n    {message}\n");
        count += 1;
    }
    assert!(count >= 40, "only {count} rows");
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(directory().join("malformed.txt"), &blessed).unwrap();
        return;
    }
    assert_eq!(table, blessed, "a message changed: NEXTROOT_BLESS=1 writes the golden file anew");
}

#[test]
fn every_parameter_is_documented() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cmdline.md")).unwrap();
    let documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|word| word.split('=').next().unwrap_or(word))
        .collect();
    for name in request::known_parameters() {
        assert!(documented.contains(&name), "docs/cmdline.md has no row for {name}");
    }
    for name in &documented {
        assert!(
            request::known_parameters().any(|known| known == *name),
            "docs/cmdline.md has {name}, which is not known"
        );
    }
}
