//! docs/operations.md, held to the sources: what the product says where nobody typed a command stands there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};

/// By these a file of src/run or src/mode is known to speak: to the kernel log, or to the journal.
const SPEAKS: [&str; 6] = ["log.info(", "log.warning(", "log.error(", "complain(", "tell(", "tell)("];

/// Where words come from that those pass on.
const PASSED_ON: [&str; 7] = [
    "src/mode/gc.rs",
    "src/plan/boot.rs",
    "src/plan/event.rs",
    "src/plan/health/mod.rs",
    "src/plan/leaving.rs",
    "src/plan/shutdown.rs",
    "src/run/probe/running.rs",
];

/// What speaks to who typed it.
const TYPED: [&str; 1] = ["src/mode/plan/soft_reboot.rs"];

/// What needs no line of its own, and why.
const NEEDLESS: &[(&str, &[&str])] = &[
    (
        "it passes on what stands there by itself",
        &[
            "nextroot: {line}",
            "nextroot: warning: {warning}",
            "warning: {warning}",
            "warning: {line}",
            "watch: {}",
            "watch: {line}",
            "watch: {kept}",
            "watch: {step}",
            "watch: {why}",
            "watch: {what}: {why}",
            "watch: back: {line}",
            "watch: back: {}",
            "shutdown: {note}",
            "shutdown: {}",
            "{error}, ignoring",
            "{}: {source}",
            ": {cause}",
            ": {why}",
            "{}/{total} {step}",
            "{program} {ended}",
            "{program} {ended}: {last}",
            "{}: {}{advice}",
            ": {advice}",
        ],
    ),
    ("it is a name", &["nextroot stage", "dm device {name}", "{name} ({file})", "{} ({what})", "{} {}"]),
    (
        "it is what \"the plan is wrong\" is about",
        &["a plan that ends without an init", "an init to execute", "what is staged", "the root aside"],
    ),
    ("nextroot report has it", &["open and mount", "carry and publish", "read ahead"]),
    ("it is looked for in the kernel's lines", &["I/O error", "unable to read partition table"]),
    (
        "nextroot preflight and nextroot cancel say it to who typed them",
        &[
            "mounts: not looked at: the new root was not opened",
            "mounts that are carried",
            "mounts that are not",
            "{plain}, as it ran before",
            "what was staged by a run that left no state",
        ],
    ),
];

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.extension() {
        None => sources(&path),
        Some(name) if name == "rs" => vec![path],
        Some(_) => Vec::new(),
    };
    entries.flat_map(of).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is shipped of a source.
fn shipped(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// Strings that are more than a word: what is said. Of errors what stands before the colon, behind which they say what to do. Not what is
/// said only where detail is asked for.
fn said(tokens: TokenStream, is_error: bool, found: &mut Vec<String>) {
    let mut before = [String::new(), String::new()];
    for token in tokens {
        match &token {
            TokenTree::Literal(literal) => {
                if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) {
                    let text = text.value();
                    let kept = if is_error { text.split(": ").next().unwrap() } else { &text };
                    found.extend(kept.trim().contains(' ').then(|| kept.to_owned()));
                }
            }
            TokenTree::Group(group) => {
                let is_attribute = before[1] == "#" || before == ["#", "!"];
                let is_message = group.stream().to_string().starts_with("error");
                if before[1] != "debug" && (!is_attribute || is_message) {
                    said(group.stream(), is_error || (is_attribute && is_message), found);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
        before = [std::mem::take(&mut before[1]), token.to_string()];
    }
}

/// Its fixed parts.
fn parts(template: &str) -> Vec<&str> {
    let template = template.trim();
    let template = template.strip_prefix("nextroot: ").unwrap_or(template);
    let parts = template.split('{').enumerate().map(|(index, part)| match index {
        0 => part,
        _ => part.split_once('}').map_or(part, |(_, rest)| rest),
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// Whether a line has all of them, in their order.
fn has(line: &str, parts: &[&str]) -> bool {
    let rest = parts.iter().try_fold(line, |rest, part| rest.split_once(part).map(|(_, rest)| rest));
    rest.is_some()
}

/// What of these the page lacks: a line of it, in backquotes, has all that is fixed.
fn lacking<'a>(page: &str, templates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let lines: Vec<&str> = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    let lacks = |template: &&str| {
        let parts = parts(template);
        // What is only passed on is in every line.
        let marks = ["nextroot", "relay", "watch", "back", "hook", "shutdown", "warning", "ignoring"];
        let mut words = parts.iter().flat_map(|part| part.split(|c: char| !c.is_alphanumeric()));
        words.all(|word| word.is_empty() || marks.contains(&word))
            || !lines.iter().any(|line| has(line, &parts))
    };
    templates.into_iter().filter(lacks).collect()
}

#[test]
fn every_message_is_on_the_page() {
    for name in PASSED_ON.iter().chain(&TYPED) {
        assert!(home().join(name).is_file(), "there is no {name} any more");
    }
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for path in ["src/run", "src/mode", "src/plan"].iter().flat_map(|path| sources(&home().join(path))) {
        let (name, source) = (path.strip_prefix(home()).unwrap().display().to_string(), text(&path));
        let packed: String = shipped(&source).split_whitespace().collect();
        let speaks = !name.starts_with("src/plan") && SPEAKS.iter().any(|call| packed.contains(call));
        if (speaks && !TYPED.contains(&name.as_str())) || PASSED_ON.contains(&name.as_str()) {
            let mut found = Vec::new();
            said(shipped(&source).parse().unwrap(), false, &mut found);
            all.extend(found.into_iter().map(|said| (said, name.clone())));
        }
    }
    assert!(all.len() > 150, "only {}: {all:?}", all.len());
    for (why, said) in NEEDLESS {
        for said in *said {
            assert!(all.remove(*said).is_some(), "nobody says any more: {said} ({why})");
        }
    }
    let page = text(&home().join("docs/operations.md"));
    let lacking = lacking(&page, all.keys().map(String::as_str));
    let told: Vec<String> = lacking.iter().map(|said| format!("{}: {said}", all[*said])).collect();
    assert!(lacking.is_empty(), "docs/operations.md lacks:\n{}", told.join("\n"));
}

#[test]
fn what_is_not_on_the_page_is_noticed() {
    let page = "| `relay: FAILED: STEP: WHY; going back to the old root` | `watch: WHY, ignoring: it is late` |\nnot here";
    for (template, is_there) in [
        ("relay: FAILED: {text}; going back to the old root", true),
        ("nextroot: relay: FAILED: {}", true),
        ("relay: FAILED: {text}; restarting the machine", false),
        ("watch: {}, ignoring: it is late", true),
        ("watch: {}, ignoring: it is early", false),
        ("it is late", true),
        ("it is late, ignoring", false),
        ("{why}, ignoring: it is late", true),
        // In every line.
        ("watch: {}", false),
        ("{error}, ignoring", false),
        ("not here", false),
    ] {
        assert_eq!(lacking(page, [template]).is_empty(), is_there, "{template}");
    }
}
