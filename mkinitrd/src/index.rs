//! The module index: what was chosen, in an order in which it can be loaded.

use std::collections::{BTreeMap, BTreeSet};

use nextroot::format::{
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
