//! Holds src/format to its targets: a file that reads what comes from outside is named in the first lines of a target,
//! which say what it is held to; or it stands below with the reason why not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Files that take bytes or text and have no target of their own, with the reason.
const WITHOUT: [(&str, &str); 3] = [
    ("format/bytes.rs", "fields at fixed places: every target of bytes goes through it"),
    ("format/system/journal.rs", "it writes: nothing reads it but journald"),
    (
        "format/verity/mod.rs",
        "hexadecimal and lengths of digests: the targets of tables and options go through it",
    ),
];

/// Whether a source takes bytes or text: a function that others see does, or `FromStr`.
fn reads(source: &str) -> bool {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let takes = |signature: &str| {
        let end = signature.find('{').unwrap_or(signature.len());
        let arguments = signature.get(..end).unwrap_or_default();
        let arguments = arguments.split("->").next().unwrap_or_default();
        ["str", "[u8]"].iter().any(|kind| {
            arguments.match_indices(kind).any(|(at, _)| {
                let before = arguments.get(..at).unwrap_or_default();
                before.ends_with('&')
                    || before.trim_end().rsplit('&').next().is_some_and(|l| l.starts_with('\''))
            })
        })
    };
    let seen = ["pub fn ", "pub(super) fn ", "pub(crate) fn "];
    let any_takes = |begin: &&str| source.split(*begin).skip(1).any(takes);
    source.contains("impl FromStr for ") || seen.iter().any(any_takes)
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// What the first lines of all targets say: those that begin with `//!`.
fn named() -> Vec<(String, String)> {
    let mut targets = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/targets"), &mut targets);
    let head = |path: &PathBuf| {
        let source = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("//!")).collect();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), lines.concat())
    };
    targets.iter().map(head).filter(|(name, _)| name != "mod").collect()
}

#[test]
fn every_parser_has_a_target() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let (mut all, mut without) = (Vec::new(), Vec::new());
    files(&source.join("format"), &mut all);
    let heads: String = named().into_iter().map(|(_, head)| head).collect();
    let mut reading = BTreeSet::new();
    for file in &all {
        let name = file.strip_prefix(&source).unwrap().to_str().unwrap();
        if reads(&fs::read_to_string(file).unwrap()) {
            reading.insert(name.to_owned());
            let excused = WITHOUT.iter().any(|(excused, _)| *excused == name);
            if !excused && !heads.contains(&format!("`{name}`")) {
                without.push(name.to_owned());
            }
        }
    }
    assert!(reading.len() > 25, "only {reading:?} read anything");
    assert!(without.is_empty(), "no target in fuzz/src/targets names {}", without.join(", "));
    let stale: Vec<_> = WITHOUT.iter().filter(|(name, _)| !reading.contains(*name)).collect();
    assert!(stale.is_empty(), "{stale:?} read nothing and need no excuse");
}

#[test]
fn every_target_says_its_invariant_and_is_run() {
    for (name, head) in named() {
        assert!(head.len() > 60, "{name}: the first lines do not say what holds: {head}");
        assert!(name == "planted" || nextroot_fuzz::find(&name).is_some(), "{name} is not in targets/mod.rs");
    }
}

#[test]
fn what_reads_is_seen() {
    for (source, expected) in [
        ("pub fn parse(text: &str) -> X {}", true),
        ("pub fn parse(\n    bytes: &[u8],\n) -> X {}", true),
        ("pub fn parse(text: &'a str) -> X {}", true),
        ("impl FromStr for X {", true),
        ("pub fn name(&self) -> &str {}", false),
        ("fn parse(text: &str) {}", false),
        ("pub fn none() {}\n#[cfg(test)]\npub fn parse(text: &str) {}", false),
    ] {
        assert_eq!(reads(source), expected, "{source}");
    }
}
