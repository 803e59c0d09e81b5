//! Looks for what the files of a root say of the order of its units: all of them, also those that others hide.

use std::{collections::BTreeSet, path::Path};

use crate::{
    format::{
        config::ini::{self, Assignment},
        system::unit_file::{self, KINDS, kind},
    },
    plan::preflight::UnitOrder,
    run::tree::Tree,
    sys::root::link_below,
};

use super::inspect::{UNITS, pulling};

/// What pulls units in (systemd.unit(5)).
const PULLS: [&str; 5] = ["Wants", "Requires", "Requisite", "BindsTo", "Upholds"];

/// Reads the files of a root that is mounted at `root`, and what could not be read of it.
#[must_use]
pub fn look(root: &Path) -> (Vec<UnitOrder>, Vec<String>) {
    let mut tree = Tree::new(root);
    let (mut found, mut drop_ins) = (Vec::new(), Vec::new());
    for directory in UNITS {
        for name in tree.names(directory) {
            let path = format!("{directory}/{name}");
            if let Some(unit) = pulling(&name) {
                let needs = tree.names(&path).into_iter().collect();
                found.push(UnitOrder { unit: unit.to_owned(), needs, ..UnitOrder::default() });
            } else if let Some(pattern) = name.strip_suffix(".d") {
                let files = tree.names(&path).into_iter().filter(|name| name.ends_with(".conf"));
                let texts: Vec<String> =
                    files.filter_map(|file| tree.text(&format!("{path}/{file}"))).collect();
                drop_ins.push((pattern.to_owned(), texts));
            } else if KINDS.contains(&kind(&name)) {
                let link = link_below(root, &path).ok();
                let target = link.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
                let names = target.filter(|target| KINDS.contains(&kind(target)) && *target != name);
                let names = names.map(str::to_owned).into_iter().collect();
                let text = tree.text(&path).unwrap_or_default();
                found.push(UnitOrder { names, ..unit_order(&name, &text) });
            }
        }
    }
    let known: BTreeSet<String> =
        found.iter().flat_map(|told| told.needs.iter().chain([&told.unit])).cloned().collect();
    for (pattern, texts) in &drop_ins {
        let units = known.iter().filter(|name| is_of(pattern, name));
        found.extend(units.flat_map(|unit| texts.iter().map(|text| unit_order(unit, text))));
    }
    (found, tree.unread)
}

/// Whether the drop-ins of a directory count for a unit: those of its own name, of a beginning of it up to a dash, and of its kind.
fn is_of(pattern: &str, unit: &str) -> bool {
    let beginning = pattern.strip_suffix(kind(pattern)).and_then(|stem| stem.strip_suffix('.'));
    pattern == unit
        || pattern == kind(unit)
        || beginning.is_some_and(|stem| stem.ends_with('-') && unit.starts_with(stem))
            && kind(pattern) == kind(unit)
}

/// What a file says. No assignment takes back an earlier one (systemd.unit(5): "dependencies (After=, etc.) cannot be reset").
fn unit_order(unit: &str, text: &str) -> UnitOrder {
    let mut told = UnitOrder { unit: unit.to_owned(), ..UnitOrder::default() };
    let mut service = BTreeSet::new();
    for Assignment { section, key, value, .. } in ini::parse_leniently(text) {
        let names = specified(&value, unit);
        let names = names.split_whitespace().map(str::to_owned);
        match (section.as_str(), key.as_str()) {
            ("Unit", "After") => told.after.extend(names),
            ("Unit", "Before") => told.before.extend(names),
            ("Unit", key) if PULLS.contains(&key) => told.needs.extend(names),
            ("Unit", "DefaultDependencies") => told.special |= unit_file::boolean(&value) == Some(false),
            ("Service", "BusName") => told.on_call = true,
            ("Socket", "Service") => service.extend(names),
            _ => {}
        }
    }
    if let Some(stem) = unit.strip_suffix(".socket") {
        // Its own is the one of its name, also that of an instance for each connection.
        let own = [format!("{stem}.service"), format!("{stem}@.service")];
        told.needs.extend(if service.is_empty() { own.into() } else { service });
    }
    told
}

/// A value with the specifiers that stand for the unit's own name; an instance of a template is any.
fn specified(value: &str, unit: &str) -> String {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    [("%n", unit), ("%N", stem), ("%p", prefix), ("%P", prefix), ("%i", instance), ("%I", instance)]
        .iter()
        .fold(value.to_owned(), |value, (specifier, text)| value.replace(specifier, text))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn set(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn files_and_drop_ins_of_a_root() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for (name, text) in [
            (
                "usr/lib/systemd/system/a.service",
                "[Unit]\nAfter=x.target b@%p.service\nAfter=y.service\n[Service]\nBusName=a.b\n",
            ),
            ("etc/systemd/system/a.service", "[Unit]\nBefore=%N-late.service\nDefaultDependencies=no\n"),
            ("etc/systemd/system/a.service.d/x.conf", "[Unit]\nWants=w.service\n"),
            ("etc/systemd/system/a.service.d/x.txt", "[Unit]\nWants=v.service\n"),
            ("etc/systemd/system/service.d/x.conf", "[Unit]\nAfter=all.service\n"),
            ("usr/lib/systemd/system/b@.service", "[Unit]\nAfter=c@%i.service\n"),
            ("usr/lib/systemd/system/d-.service.d/x.conf", "[Unit]\nBefore=e.service\n"),
            ("usr/lib/systemd/system/d-d.service", ""),
            ("usr/lib/systemd/system/s.socket", "[Socket]\nListenStream=1\n"),
            ("usr/lib/systemd/system/t.socket", "[Socket]\nService=a.service\n"),
            ("usr/lib/systemd/system/README", "[Unit]\nAfter=x\n"),
        ] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        }
        fs::create_dir(path("etc/systemd/system/m.target.wants")).unwrap();
        symlink("/usr/lib/systemd/system/b@.service", path("etc/systemd/system/m.target.wants/b@1.service"))
            .unwrap();
        symlink("a.service", path("usr/lib/systemd/system/alias.service")).unwrap();
        symlink("/dev/null", path("etc/systemd/system/masked.service")).unwrap();
        let (found, unread) = look(root.path());
        assert_eq!(unread, [""; 0]);
        let all = |unit: &str, of: fn(&UnitOrder) -> &BTreeSet<String>| -> BTreeSet<String> {
            found.iter().filter(|told| told.unit == unit).flat_map(|told| of(told).clone()).collect()
        };
        assert_eq!(all("a.service", |told| &told.after), set("x.target b@a.service y.service all.service"));
        assert_eq!(all("a.service", |told| &told.before), set("a-late.service"));
        assert_eq!(all("a.service", |told| &told.needs), set("w.service"));
        assert_eq!(all("b@.service", |told| &told.after), set("c@.service all.service"));
        assert_eq!(all("b@1.service", |told| &told.after), set("all.service"));
        assert_eq!(all("d-d.service", |told| &told.before), set("e.service"));
        assert_eq!(all("s.socket", |told| &told.needs), set("s.service s@.service"));
        assert_eq!(all("t.socket", |told| &told.needs), set("a.service"));
        assert_eq!(all("m.target", |told| &told.needs), set("b@1.service"));
        assert_eq!(all("alias.service", |told| &told.names), set("a.service"));
        assert!(found.iter().any(|told| told.unit == "a.service" && told.on_call));
        assert!(found.iter().any(|told| told.unit == "a.service" && told.special));
        assert!(found.iter().all(|told| told.unit != "README"));
    }
}
