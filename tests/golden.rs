//! Plans against golden files.
//!
//! A case in `tests/golden/*.plans` is a title, the facts (`# facts: NAME` for NAME.json) and the
//! configuration where they are not the usual, the command line after `$`, and the plan, refusal or wait
//! that comes of them. `malformed.txt` has command lines that cannot be meant, each with what is said of it.
//! `NEXTROOT_BLESS=1 cargo test --test golden` writes the files anew; read the difference before committing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use nextroot::{
    format::{config::initramfs::Config, kernel::cmdline::CommandLine},
    plan::{
        Step,
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

fn facts(name: &str) -> Facts {
    let path = directory().join(name).with_extension("json");
    serde_json::from_str(&fs::read_to_string(&path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The steps of `run/soft_reboot/steps.rs`.
fn is_of_soft_reboot(step: &Step) -> bool {
    matches!(
        step,
        Step::AttachLoop { .. }
            | Step::CheckPlain { .. }
            | Step::ReuseVerity { .. }
            | Step::Isolate { .. }
            | Step::Follow { .. }
            | Step::FurnishRelay { .. }
            | Step::Carry { .. }
            | Step::LeaveUnits { .. }
            | Step::Watch { .. }
            | Step::Publish { .. }
            | Step::ArmWatchdog(_)
            | Step::Move { .. }
            | Step::Pivot { .. }
    )
}

fn outcome(line: &str, config: &Config, facts: &Facts) -> String {
    let intent = match Intent::resolve(&CommandLine::parse(line), config) {
        Ok(intent) => intent,
        Err(error) => return format!("refused: {}\n", chain(&error)),
    };
    let notes: String = intent.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let decision = match boot::decide(&intent, facts) {
        Decision::Go(plan) => {
            let missing = plan.steps.iter().find(|step| is_of_soft_reboot(step));
            assert_eq!(missing, None, "{line}: the init is built without it");
            plan.to_string()
        }
        Decision::Wait(wants) => boot::waiting(&wants, facts, &[]) + "\n",
        Decision::Read(reads) => reads.iter().map(|read| format!("read {read}\n")).collect(),
        Decision::Refuse(error) => format!("refused: {}\n", chain(&error)),
    };
    notes + &decision
}

/// A case's first lines, up to the command line, and what comes of them.
fn case(text: &str) -> String {
    let (mut head, mut name, mut settings) = (String::new(), "facts", String::new());
    for line in text.lines() {
        head += line;
        head += "\n";
        name = line.strip_prefix("# facts: ").unwrap_or(name);
        settings.extend(line.strip_prefix("# config: ").map(|setting| format!("{setting}\n")));
        if let Some(line) = line.strip_prefix('$') {
            let config = Config::parse(&settings, "nextroot.conf").unwrap();
            return head + &outcome(line, &config, &facts(name)) + "---\n";
        }
    }
    panic!("no line of this begins with $:\n{text}");
}

/// Compares with what was blessed before, or blesses.
fn compare(path: &Path, text: &str) {
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(path, text).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap();
    for (number, (golden, got)) in (1..).zip(golden.lines().zip(text.lines())) {
        assert_eq!(golden, got, "{}:{number} (NEXTROOT_BLESS=1 writes it anew)", path.display());
    }
    assert_eq!(golden.lines().count(), text.lines().count(), "{}", path.display());
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the facts have partition types of x86-64")]
fn plans() {
    let mut count = 0;
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "plans") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let cases = text.split("---\n").filter(|text| !text.trim().is_empty());
        let blessed: String = cases.map(case).inspect(|_| count += 1).collect();
        compare(&path, &blessed);
    }
    assert!(count >= 60, "only {count} cases");
}

#[test]
fn malformed_command_lines() {
    let path = directory().join("malformed.txt");
    let table = fs::read_to_string(&path).unwrap();
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
        let named = CommandLine::parse(line).parameters.iter().any(|parameter| {
            message.contains(&parameter.name) && message.contains(parameter.value.as_deref().unwrap_or(""))
        });
        assert!(named, "\"{message}\" names no parameter of \"{line}\" with its value");
        blessed += &format!("{line}\n    {message}\n");
        count += 1;
    }
    assert!(count >= 40, "only {count} rows");
    compare(&path, &blessed);
}

#[test]
fn every_parameter_is_documented() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cmdline.md")).unwrap();
    let documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|word| !word.starts_with('[')) // keys of the configuration
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
