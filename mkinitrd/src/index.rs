//! The module index: what was chosen, in an order in which it can be loaded.

use std::collections::{BTreeMap, BTreeSet};

use nextroot::format::kernel::{
    modindex::{Module, ModuleId, ModuleIndex, normalise},
    modules,
};

use crate::{
    select::Selection,
    sysroot::{self, Sysroot},
};

/// Modules that cannot be put in order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("modules {0} need each other, or what modules.dep has no line for: run depmod for this kernel")]
    Order(String),
    #[error(transparent)]
    Sysroot(#[from] sysroot::Error),
}

/// Makes the index.
pub(crate) fn make(sysroot: &Sysroot, selection: &Selection) -> Result<ModuleIndex, Error> {
    let options = sysroot.options()?;
    let mut aliases = aliases(sysroot, selection);
    let mut places: BTreeMap<&str, ModuleId> = BTreeMap::new();
    let mut index =
        ModuleIndex { release: sysroot.release.clone(), builtin: builtin(sysroot), ..ModuleIndex::default() };
    for name in order(sysroot, selection)? {
        let Some(dependency) = sysroot.dependencies.0.get(name) else { continue };
        index.modules.push(Module {
            name: name.to_owned(),
            path: sysroot.place(&dependency.path),
            options: options.get(name).cloned().unwrap_or_default(),
            needs: ids(&places, &dependency.needs),
            pre: ids(&places, selection.pre.get(name).into_iter().flatten()),
            post: Vec::new(),
            aliases: aliases.remove(name).unwrap_or_default(),
        });
        places.insert(name, ModuleId::at(places.len()));
    }
    for module in &mut index.modules {
        module.post = ids(&places, selection.post.get(&module.name).into_iter().flatten());
    }
    index.always = ids(&places, &selection.always);
    Ok(index)
}

/// Places of modules, as far as they have one.
fn ids<'a>(places: &BTreeMap<&str, ModuleId>, names: impl IntoIterator<Item = &'a String>) -> Vec<ModuleId> {
    names.into_iter().filter_map(|name| places.get(name.as_str()).copied()).collect()
}

/// Each module after what it needs, and after what is better there before it as far as that makes no circle.
fn order<'a>(sysroot: &Sysroot, selection: &'a Selection) -> Result<Vec<&'a str>, Error> {
    let mut left: BTreeSet<&str> = selection.modules.iter().map(String::as_str).collect();
    let mut order = Vec::with_capacity(left.len());
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    while !left.is_empty() {
        let all_placed = |names: Option<&Vec<String>>| {
            names.into_iter().flatten().all(|name| placed.contains(name.as_str()))
        };
        let loadable = |name: &&str| {
            sysroot.dependencies.0.get(*name).is_some_and(|dependency| all_placed(Some(&dependency.needs)))
        };
        let next = left
            .iter()
            .copied()
            .find(|name| loadable(name) && all_placed(selection.pre.get(*name)))
            .or_else(|| left.iter().copied().find(loadable))
            .ok_or_else(|| Error::Order(left.iter().copied().collect::<Vec<_>>().join(", ")))?;
        left.remove(next);
        placed.insert(next);
        order.push(next);
    }
    Ok(order)
}

/// What the chosen modules answer to. Aliases by features of the CPU are left out: such a module is loaded
/// when something wants its cipher, not because the CPU could run it.
fn aliases(sysroot: &Sysroot, selection: &Selection) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (pattern, module) in modules::aliases(&sysroot.aliases) {
        let module = normalise(module);
        if selection.modules.contains(&module) && !pattern.starts_with("cpu:") {
            all.entry(module).or_default().push(pattern.to_owned());
        }
    }
    all
}

/// Names of what is built in, and the aliases of file systems.
fn builtin(sysroot: &Sysroot) -> Vec<String> {
    let file_systems = sysroot.builtin_aliases.iter().filter(|alias| alias.starts_with("fs_"));
    sysroot.builtin.iter().chain(file_systems).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn orders() {
        for (dep, pre, expected) in [
            ("a.ko: c.ko b.ko\nb.ko: c.ko\nc.ko:\n", &[] as &[(&str, &str)], Some("c b a")),
            ("a.ko:\nb.ko:\n", &[("a", "b")], Some("b a")),
            // What would only be better there before gives way.
            ("a.ko:\nb.ko: a.ko\n", &[("a", "b")], Some("a b")),
            ("a.ko:\nb.ko:\n", &[("a", "b"), ("b", "a")], Some("a b")),
            ("a.ko: b.ko\nb.ko: a.ko\n", &[], None),
            ("a.ko: b.ko\n", &[], None),
        ] {
            let root = tempfile::tempdir().unwrap();
            let directory = root.path().join("lib/modules/6");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("modules.dep"), dep).unwrap();
            fs::write(directory.join("modules.alias"), "alias x a\nalias cpu:x a\n").unwrap();
            let sysroot = Sysroot::open(root.path(), None, "5").unwrap();
            let pair = |(name, other): &(&str, &str)| ((*name).to_owned(), vec![(*other).to_owned()]);
            let selection = Selection {
                modules: chosen(dep).into_iter().collect(),
                pre: pre.iter().map(pair).collect(),
                ..Selection::default()
            };
            let index = make(&sysroot, &selection).ok();
            let names = index.as_ref().map(|index| {
                index.modules.iter().map(|module| module.name.as_str()).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(names.as_deref(), expected, "{dep}");
            if let Some(index) = index {
                // The init reads what was made.
                assert_eq!(ModuleIndex::parse(&index.to_string()), Ok(index.clone()));
                let aliases: Vec<_> = index.modules.iter().flat_map(|module| &module.aliases).collect();
                assert_eq!(aliases, ["x"]);
            }
        }
    }

    /// All names in a text of modules.dep.
    fn chosen(dep: &str) -> Vec<String> {
        dep.split_whitespace().filter_map(|word| modules::name_of(word.trim_end_matches(':'))).collect()
    }
}
