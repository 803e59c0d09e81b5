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

/// All Rust files below a directory.
fn sources(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// The last cell of each row of the table that has one: what holds the assumption.
fn holders(table: &str) -> Vec<&str> {
    let rows = table.lines().filter(|line| {
        line.starts_with("| ") && !line.starts_with("| assumption") && !line.starts_with("| promise")
    });
    rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap()).collect()
}

/// Holds a table to the sources: files, tests and scenarios that it names are there. How many scenarios it names.
fn named(document: &str, code: &str, scenarios: &str) -> usize {
    let table = text(document);
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).collect();
    for file in named.iter().filter(|name| name.ends_with(".rs")) {
        let there = home().join(file).is_file() || home().join("src").join(file).is_file();
        assert!(there, "{document}: no file {file}");
    }
    let mut seen = 0;
    for holder in holders(&table) {
        let is_test = |name: &&str| !name.contains(['.', '[', '@']);
        for test in holder.split('`').skip(1).step_by(2).filter(is_test) {
            assert!(code.contains(&format!("fn {test}(")), "{document}: no test {test}");
        }
        // What is in brackets is a version of systemd.
        let plain: String =
            holder.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect();
        let outside = plain.split('`').step_by(2);
        let words = outside.flat_map(|part| part.split(|c: char| !c.is_ascii_digit()));
        for number in words.filter(|word| word.len() == 2) {
            assert!(scenarios.contains(&format!("name = \"{number}-")), "{document}: no scenario {number}");
            seen += 1;
        }
    }
    seen
}

#[test]
fn what_is_named_is_there() {
    let mut files = Vec::new();
    for directory in ["src", "tests", "fuzz/tests", "mkinitrd/tests"] {
        sources(&home().join(directory), &mut files);
    }
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let scenarios: String = fs::read_dir(home().join("qemu/scenarios"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for (document, least) in [("docs/systemd-interface.md", 30), ("docs/threat-model.md", 12)] {
        let seen = named(document, &code, &scenarios);
        assert!(seen > least, "{document}: only {seen} scenarios are named");
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
