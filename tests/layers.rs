//! Holds the sources to the layers: an arrow points at what is imported, and never runs the other way.
//!
//! Every path in the code counts, whether in a `use`, written out in an expression, handed on by `pub use`
//! or inside of a macro's arguments.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Crates that make system calls.
const CALLS: &[&str] = &["nix", "libc", "rustix", "devicemapper"];
/// What pure code has no business with.
const IO: &[&str] = &["std::fs", "std::io", "std::net", "std::os::fd", "std::process", "std::env::var"];
const CLOCK: &[&str] = &["std::time::Instant", "std::time::SystemTime"];

/// A layer, what of ours it may import, and what of others it must not.
type Layer = (&'static str, &'static [&'static str], &'static [&'static [&'static str]]);

const LAYERS: [Layer; 6] = [
    ("units", &[], &[CALLS, IO, CLOCK]),
    ("format", &["units"], &[CALLS, IO, CLOCK]),
    ("plan", &["units", "format"], &[CALLS, IO, CLOCK]),
    ("sys", &["units", "format"], &[]),
    ("run", &["units", "format", "plan", "sys"], &[CALLS]),
    ("mode", &["units", "format", "plan", "run"], &[CALLS, &["std::fs"]]),
];

/// What main.rs and cli.rs, which are the top, may import.
const TOP: &[&str] = &["mode", "cli"];

/// A path of ours or of others: `crate::sys::dm` is `["crate", "sys", "dm"]`.
type Segments = Vec<String>;

#[derive(Default)]
struct Paths {
    found: BTreeSet<Segments>,
    is_unsafe: bool,
}

impl Paths {
    fn tree(&mut self, start: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [start, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => drop(self.found.insert(with(&name.ident))),
            syn::UseTree::Rename(rename) => drop(self.found.insert(with(&rename.ident))),
            syn::UseTree::Glob(_) => drop(self.found.insert(start.to_vec())),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(start, tree)),
        }
    }

    /// Paths inside a macro's arguments, which are tokens only.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Segments = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) => {
                    self.is_unsafe |= ident == "unsafe";
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                _ => {
                    colons = 0;
                    self.end(&mut path);
                }
            }
            if let TokenTree::Group(group) = token {
                self.tokens(group.stream());
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Segments) {
        if path.len() > 1 {
            self.found.insert(path.clone());
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.found.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.tokens(mac.tokens.clone());
        visit::visit_macro(self, mac);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.is_unsafe = true;
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.is_unsafe |= signature.unsafety.is_some();
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.is_unsafe |= item.unsafety.is_some();
        visit::visit_item_impl(self, item);
    }
}

/// What is wrong with a file at `module` (`run/probe.rs` is `["run", "probe"]`).
fn violations(module: &[&str], source: &str) -> Vec<String> {
    let file = syn::parse_file(source).unwrap();
    let mut paths = Paths::default();
    paths.visit_file(&file);
    let layer = module.first().copied().unwrap_or_default();
    let mut wrong = Vec::new();
    if paths.is_unsafe && layer != "sys" {
        wrong.push("unsafe outside of src/sys".to_owned());
    }
    if layer == "lib" {
        let modules_only = file.items.iter().all(|item| matches!(item, syn::Item::Mod(_)));
        return if modules_only { wrong } else { vec!["lib.rs has more than modules".to_owned()] };
    }
    let (ours, others) = LAYERS
        .iter()
        .find(|(name, ..)| *name == layer)
        .map_or((TOP, &[CALLS][..]), |(_, ours, others)| (*ours, *others));
    for path in &paths.found {
        let absolute = resolve(module, path);
        let text = absolute.join("::");
        match absolute.first().map(String::as_str) {
            Some("crate" | "nextroot") if absolute.len() == 1 => {} // pub(crate)
            Some("crate" | "nextroot") => {
                let target = absolute.get(1).map(String::as_str).unwrap_or_default();
                if target != layer && !ours.contains(&target) {
                    wrong.push(format!("{layer} imports {text}"));
                }
            }
            _ => {
                let forbidden = others
                    .iter()
                    .copied()
                    .flatten()
                    .find(|other| text == **other || text.starts_with(&format!("{other}::")));
                wrong.extend(forbidden.map(|other| format!("{layer} uses {other} ({text})")));
            }
        }
    }
    wrong
}

/// `super::x` in `run::probe` is `crate::run::x`.
fn resolve(module: &[&str], path: &Segments) -> Segments {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    if supers == 0 {
        return path.clone();
    }
    let base = module.len().saturating_sub(supers);
    let start = std::iter::once("crate").chain(module[..base].iter().copied()).map(str::to_owned);
    start.chain(path[supers..].iter().cloned()).collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// The module of a file below src; tests beside the code stand one deeper, which only loosens `super`.
fn module(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

#[test]
fn no_arrow_runs_the_wrong_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "only {} files were found", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let names = module(relative);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let source = without_tests(&fs::read_to_string(&file).unwrap());
        wrong.extend(
            violations(&names, &source).into_iter().map(|what| format!("{}: {what}", relative.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tests beside the code may read files and use what they like.
fn without_tests(source: &str) -> String {
    source.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn every_way_to_break_a_layer_is_seen() {
    for (module, source, expected) in [
        (&["format", "gpt"][..], "use crate::sys::dm;", "format imports crate::sys::dm"),
        (
            &["format", "gpt"],
            "fn f() { crate::plan::boot::modules(); }",
            "format imports crate::plan::boot::modules",
        ),
        (&["format", "gpt"], "pub use super::super::run::probe as p;", "format imports crate::run::probe"),
        (&["plan", "boot"], "use {crate::{format, run::log::Log}};", "plan imports crate::run::log::Log"),
        (
            &["plan"],
            "fn f() { println!(\"{}\", crate::sys::kernel::release()); }",
            "plan imports crate::sys::kernel::release",
        ),
        (&["plan"], "type T = nix::Error;", "plan uses nix (nix::Error)"),
        (&["format", "x"], "fn f() { std::fs::read(\"x\"); }", "format uses std::fs (std::fs::read)"),
        (&["mode", "init"], "use crate::sys;", "mode imports crate::sys"),
        (&["sys", "dm"], "use crate::plan::*;", "sys imports crate::plan"),
        (&["main"], "use nextroot::run::boot::api;", "main imports nextroot::run::boot::api"),
        (&["run", "x"], "fn f() { unsafe { g() } }", "unsafe outside of src/sys"),
        (&["run", "x"], "unsafe fn f() {}", "unsafe outside of src/sys"),
        (&["run", "x"], "m!(unsafe { g() });", "unsafe outside of src/sys"),
        (&["units"], "use crate::format::disk::guid;", "units imports crate::format::disk::guid"),
        (&["lib"], "pub use sys::dm;", "lib.rs has more than modules"),
    ] {
        let found = violations(module, source);
        assert!(found.iter().any(|what| what == expected), "{source}: {found:?}");
    }
    let fine = "use crate::{format::guid::Guid, plan::Step}; fn f() { super::log::g() }";
    assert_eq!(violations(&["run", "probe"], fine), Vec::<String>::new());
}
