//! What the guide and the table of assumptions name, held to the sources: the rules of what is carried, files,
//! functions and scenarios.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    let path = home().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Default)]
struct Strings(Vec<String>);

impl<'a> Visit<'a> for Strings {
    fn visit_lit_str(&mut self, literal: &'a syn::LitStr) {
        self.0.push(literal.value());
    }

    fn visit_expr_closure(&mut self, _: &'a syn::ExprClosure) {}
}

#[test]
fn every_rule_of_what_is_carried_is_in_the_guide() {
    let file = syn::parse_file(&text("src/plan/carry.rs")).unwrap();
    let mut reasons = Strings::default();
    for item in &file.items {
        if let syn::Item::Const(item) = item
            && (item.ident == "RULES" || item.ident == "ELSE")
        {
            visit::visit_expr(&mut reasons, &item.expr);
        }
    }
    assert!(reasons.0.len() > 10, "{:?}", reasons.0);
    let guide = text("docs/soft-reboot.md");
    for reason in reasons.0 {
        assert!(guide.contains(&format!("| {reason} |")), "docs/soft-reboot.md lacks the rule: {reason}");
    }
}

/// The last cell of each row of the table that has one: what holds the assumption.
fn holders(table: &str) -> Vec<&str> {
    let rows = table.lines().filter(|line| {
        line.starts_with("| ") && !line.starts_with("| assumption") && !line.starts_with("| promise")
    });
    rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap()).collect()
}

/// Tests by their file: functions that the harness runs, also where no one asks for those that are left out.
#[derive(Default)]
struct Tests(Vec<String>);

impl<'a> Visit<'a> for Tests {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        let has = |name: &str| function.attrs.iter().any(|attribute| attribute.path().is_ident(name));
        if has("test") && !has("ignore") {
            self.0.push(function.sig.ident.to_string());
        }
    }

    /// Those of proptest.
    fn visit_macro(&mut self, body: &'a syn::Macro) {
        let text: String = body.tokens.to_string().split_whitespace().collect();
        let names = text.split("#[test]fn").skip(1).filter_map(|rest| rest.split_once('('));
        self.0.extend(names.map(|(name, _)| name.to_owned()));
    }
}

fn tests_of(file: &Path) -> Vec<String> {
    let mut tests = Tests::default();
    tests.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
    tests.0
}

/// Files by the names that documents have for them: from the repository's root, or from src.
fn file(name: &str) -> Option<PathBuf> {
    [home().join(name), home().join("src").join(name)].into_iter().find(|path| path.is_file())
}

/// Names of scenarios in plain words: two digits, and what follows them where it is there.
fn scenarios_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words
        .filter(|word| {
            let (number, name) = word.split_once('-').unwrap_or((word, "x"));
            number.len() == 2 && number.chars().all(|c| c.is_ascii_digit()) && !name.is_empty()
        })
        .collect()
}

/// What is wrong with what a cell names: each test has its file before it, and is a test of that.
fn wrong(holder: &str, names: &[String]) -> (Vec<String>, usize) {
    let (mut wrong, mut tests, mut seen) = (Vec::new(), None, 0);
    for name in holder.split('`').skip(1).step_by(2).filter(|name| !name.contains(['[', '@'])) {
        if name.ends_with(".rs") {
            tests = file(name).map(|file| (name, tests_of(&file)));
            wrong.extend(tests.is_none().then(|| format!("no file {name}")));
            continue;
        }
        match &tests {
            None => wrong.push(format!("{name} without its file")),
            Some((file, tests)) if !tests.iter().any(|test| test == name) => {
                wrong.push(format!("{file} has no test {name}"));
            }
            Some(_) => {}
        }
    }
    // What is in brackets is a version of systemd.
    let plain: String =
        holder.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect();
    for scenario in plain.split('`').step_by(2).flat_map(scenarios_in) {
        let is_it =
            |name: &String| name == scenario || name.split_once('-').is_some_and(|(n, _)| n == scenario);
        wrong.extend((!names.iter().any(is_it)).then(|| format!("no scenario {scenario}")));
        seen += 1;
    }
    (wrong, seen)
}

/// Holds a table to the sources: files, tests and scenarios that it names are there. How many scenarios it names.
fn named(document: &str, scenarios: &[String]) -> usize {
    let table = text(document);
    for name in table.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs")) {
        assert!(file(name).is_some(), "{document}: no file {name}");
    }
    let mut all = 0;
    for holder in holders(&table) {
        let (wrong, seen) = wrong(holder, scenarios);
        assert!(wrong.is_empty(), "{document}: {holder}: {}", wrong.join("; "));
        all += seen;
    }
    all
}

fn scenarios() -> Vec<String> {
    let files = fs::read_dir(home().join("qemu/scenarios")).unwrap();
    let all: String = files.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    let names = all.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.map(str::to_owned).collect()
}

#[test]
fn what_is_named_is_there() {
    let scenarios = scenarios();
    for (document, least) in [("docs/systemd-interface.md", 30), ("docs/threat-model.md", 12)] {
        let seen = named(document, &scenarios);
        assert!(seen > least, "{document}: only {seen} scenarios are named");
    }
}

/// A function that is no test, one of another file, and the beginning of another scenario's name went through.
#[test]
fn what_is_not_there_is_noticed() {
    let names = ["12-wrong-root-hash", "99-restricted"].map(str::to_owned);
    for (holder, expected) in [
        ("12; `tests/guide.rs` `what_is_named_is_there`", &[][..]),
        ("12-wrong-root-hash; 99-restricted (newest)", &[]),
        ("`plan/slot.rs`; 12 (257, 30)", &[]),
        ("`tests/guide.rs` `scenarios`", &["tests/guide.rs has no test scenarios"]),
        ("`tests/guide.rs` `plans`", &["tests/guide.rs has no test plans"]),
        ("`plans`; `tests/golden.rs`", &["plans without its file"]),
        ("`tests/gone.rs` `plans`", &["no file tests/gone.rs", "plans without its file"]),
        ("12-wrong; 13, 99-restrict", &["no scenario 12-wrong", "no scenario 13", "no scenario 99-restrict"]),
    ] {
        assert_eq!(wrong(holder, &names).0, expected, "{holder}");
    }
}

/// A promise without a test is none.
#[test]
fn every_promise_is_held() {
    let model = text("docs/threat-model.md");
    let promises = model.split("## What is promised\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = promises.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 15);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, held] = cells.as_slice() else { panic!("{row}") };
        assert!(held.contains('`') || held.contains(|c: char| c.is_ascii_digit()), "{row}");
    }
}
