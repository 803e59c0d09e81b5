//! The module index that mkinitrd leaves in the initramfs: what can be loaded, in which order, for which
//! devices.
//!
//! Lines of words. The first names the format and the kernel release; each module begins with `module NAME
//! PATH`, and what follows belongs to it:
//!
//! ```text
//! nextroot-modules 1 6.12.48+deb13-amd64
//! builtin ext4 loop
//! always virtio_pci
//! module virtio_blk /usr/lib/modules/6.12.48+deb13-amd64/kernel/drivers/block/virtio_blk.ko
//! needs virtio virtio_ring
//! alias virtio:d00000002v*
//! ```

use std::{collections::BTreeMap, fmt};

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleIndex {
    /// The kernel release that the modules are for.
    pub release: String,
    /// Names of what the kernel has built in, with underscores.
    pub builtin: Vec<String>,
    /// Loaded whatever the devices.
    pub always: Vec<ModuleId>,
    /// What can be loaded.
    pub modules: Vec<Module>,
}

/// A module's place in its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(usize);

/// A module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Its file in the initramfs.
    pub path: String,
    /// Loaded before it.
    pub needs: Vec<ModuleId>,
    /// Loaded with it, and not missed where that fails: softdeps.
    pub with: Vec<ModuleId>,
    /// What it answers to: patterns for modalias texts, and names that the kernel asks for.
    pub aliases: Vec<String>,
}

/// An index that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an index, or one of another version.
    #[error("the first line is no \"nextroot-modules 1 RELEASE\"")]
    Version,
    /// A line that means nothing.
    #[error("line {0} means nothing here")]
    Line(usize),
    /// A module that is named and not there.
    #[error("line {line} names {name}, which the index does not have")]
    Unknown {
        /// The line, counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// Modules that need each other.
    #[error("{0} needs itself, through others")]
    Cycle(String),
}

/// A module's name as the kernel compares it: `-` and `_` are one.
#[must_use]
pub fn normalise(name: &str) -> String {
    name.replace('-', "_")
}

impl ModuleId {
    /// The module at a place, counted from 0.
    #[must_use]
    pub fn at(place: usize) -> Self {
        Self(place)
    }

    /// The place, counted from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

impl ModuleIndex {
    /// Reads an index. An empty text is an index without modules: a kernel with everything built in.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = (1..).zip(text.lines());
        let mut index = Self::default();
        let Some((_, first)) = lines.next() else { return Ok(index) };
        index.release = first.strip_prefix("nextroot-modules 1 ").ok_or(Error::Version)?.to_owned();
        let mut places = BTreeMap::new();
        let mut names = Vec::new(); // resolved once all modules are known
        for (number, line) in lines {
            let (word, rest) = line.split_once(' ').ok_or(Error::Line(number))?;
            let module = index.modules.len().checked_sub(1);
            match (word, module) {
                ("builtin", _) => index.builtin.extend(rest.split(' ').map(str::to_owned)),
                ("module", _) => {
                    let (name, path) = rest.split_once(' ').ok_or(Error::Line(number))?;
                    places.insert(name, ModuleId(index.modules.len()));
                    index.modules.push(Module {
                        name: name.to_owned(),
                        path: path.to_owned(),
                        ..Module::default()
                    });
                }
                ("always", _) | ("needs" | "with", Some(_)) => names.push((number, word, module, rest)),
                ("alias", Some(_)) => {
                    let module = index.modules.last_mut().ok_or(Error::Line(number))?;
                    module.aliases.push(rest.to_owned());
                }
                _ => return Err(Error::Line(number)),
            }
        }
        for (line, word, module, rest) in names {
            let find = |name: &str| {
                places.get(name).copied().ok_or_else(|| Error::Unknown { line, name: name.to_owned() })
            };
            let ids = rest.split(' ').map(find).collect::<Result<Vec<_>, _>>()?;
            match (word, module.and_then(|at| index.modules.get_mut(at))) {
                ("needs", Some(module)) => module.needs = ids,
                ("with", Some(module)) => module.with = ids,
                _ => index.always = ids,
            }
        }
        index.order().map(|_| index)
    }

    /// A module by its place.
    #[must_use]
    pub fn get(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get(id.0)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.modules.iter().enumerate().map(|(at, module)| (ModuleId(at), module))
    }

    /// A module by its name, or by a name that the kernel asks for: `fs-erofs`, `crypto-sha256`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ModuleId> {
        let name = normalise(name);
        let by_name = self.iter().find(|(_, module)| module.name == name);
        by_name
            .or_else(|| {
                self.iter().find(|(_, module)| module.aliases.iter().any(|alias| normalise(alias) == name))
            })
            .map(|(id, _)| id)
    }

    /// Modules that answer to a modalias.
    pub fn matching<'a>(&'a self, modalias: &'a str) -> impl Iterator<Item = ModuleId> + 'a {
        let answers = move |module: &Module| module.aliases.iter().any(|pattern| matches(pattern, modalias));
        self.iter().filter(move |(_, module)| answers(module)).map(|(id, _)| id)
    }

    /// Whether the kernel has it built in.
    #[must_use]
    pub fn is_builtin(&self, name: &str) -> bool {
        let name = normalise(name);
        self.builtin.contains(&name)
    }

    /// All modules, each after what it needs.
    pub fn order(&self) -> Result<Vec<ModuleId>, Error> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.modules.len()];
        let mut order = Vec::with_capacity(self.modules.len());
        // Depth first without recursion: a module is seen on the way down and again on the way up.
        let mut todo: Vec<ModuleId> = self.iter().map(|(id, _)| id).collect();
        todo.reverse();
        while let Some(id) = todo.pop() {
            let (Some(mark), Some(module)) = (marks.get(id.0).copied(), self.get(id)) else { continue };
            match mark {
                Mark::Done => continue,
                Mark::Open => {
                    order.push(id);
                    marks.iter_mut().skip(id.0).take(1).for_each(|mark| *mark = Mark::Done);
                }
                Mark::New => {
                    marks.iter_mut().skip(id.0).take(1).for_each(|mark| *mark = Mark::Open);
                    todo.push(id);
                    for need in &module.needs {
                        match marks.get(need.0) {
                            Some(Mark::Open) => return Err(Error::Cycle(module.name.clone())),
                            Some(Mark::New) => todo.push(*need),
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(order)
    }
}

impl fmt::Display for ModuleIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |ids: &[ModuleId]| -> Vec<&str> {
            ids.iter().filter_map(|id| self.get(*id)).map(|module| module.name.as_str()).collect()
        };
        let line = |f: &mut fmt::Formatter<'_>, word, names: &[&str]| match names {
            [] => Ok(()),
            names => writeln!(f, "{word} {}", names.join(" ")),
        };
        writeln!(f, "nextroot-modules 1 {}", self.release)?;
        line(f, "builtin", &self.builtin.iter().map(String::as_str).collect::<Vec<_>>())?;
        line(f, "always", &names(&self.always))?;
        for module in &self.modules {
            writeln!(f, "module {} {}", module.name, module.path)?;
            line(f, "needs", &names(&module.needs))?;
            line(f, "with", &names(&module.with))?;
            module.aliases.iter().try_for_each(|alias| writeln!(f, "alias {alias}"))?;
        }
        Ok(())
    }
}

/// Whether a text matches a pattern of depmod: `*`, `?` and `[...]` as in fnmatch(3). A step back goes to
/// the last `*` only, so time is bounded by the product of both lengths.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                pattern = rest;
                retry = Some((rest, text));
                continue;
            }
            (None, None) => return true,
            (Some(_), Some((byte, after))) => {
                if let Some(rest) = one(pattern, *byte) {
                    (pattern, text) = (rest, after);
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((rest, [_, after @ ..])) => {
                retry = Some((rest, after));
                (pattern, text) = (rest, after);
            }
            _ => return false,
        }
    }
}

/// What is left of a pattern once its first element took a byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|b| *b == b']')?;
            let (set, after) = (rest.get(..end)?, rest.get(end + 1..)?);
            in_set(set, byte).then_some(after)
        }
        [first, rest @ ..] if *first == byte => Some(rest),
        _ => None,
    }
}

fn in_set(mut set: &[u8], byte: u8) -> bool {
    loop {
        match set {
            [from, b'-', to, rest @ ..] if (*from..=*to).contains(&byte) || rest.is_empty() => {
                return (*from..=*to).contains(&byte);
            }
            [_, b'-', _, rest @ ..] => set = rest,
            [first, rest @ ..] if *first != byte => set = rest,
            other => return !other.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "nextroot-modules 1 6.12
builtin ext4 loop
always virtio
module virtio /m/virtio.ko
module virtio_blk /m/virtio_blk.ko
needs virtio
with sd_mod
alias virtio:d00000002v*
module sd_mod /m/sd_mod.ko
alias scsi:t-0x00*
alias fs-thing
";

    #[test]
    fn round_trip_and_lookup() {
        let index = ModuleIndex::parse(TEXT).unwrap();
        assert_eq!(index.to_string(), TEXT);
        let name = |id| index.get(id).unwrap().name.as_str();
        for (wanted, found) in [
            ("virtio-blk", Some("virtio_blk")),
            ("fs-thing", Some("sd_mod")),
            ("fs_thing", Some("sd_mod")),
            ("ext4", None),
        ] {
            assert_eq!(index.find(wanted).map(name), found, "{wanted}");
        }
        assert!(index.is_builtin("ext4") && !index.is_builtin("virtio"));
        assert_eq!(index.matching("virtio:d00000002v00001AF4").map(name).collect::<Vec<_>>(), ["virtio_blk"]);
        assert_eq!(
            index.order().unwrap().into_iter().map(name).collect::<Vec<_>>(),
            ["virtio", "virtio_blk", "sd_mod"]
        );
        assert_eq!(ModuleIndex::parse(""), Ok(ModuleIndex::default()));
    }

    #[test]
    fn malformed() {
        let cycle =
            "nextroot-modules 1 6\nmodule a /a\nneeds b\nmodule b /b\nneeds c\nmodule c /c\nneeds a\n";
        for (text, error) in [
            ("nextroot-modules 2 6\n", Error::Version),
            ("x\n", Error::Version),
            ("nextroot-modules 1 6\nneeds a\n", Error::Line(2)),
            ("nextroot-modules 1 6\n\n", Error::Line(2)),
            ("nextroot-modules 1 6\nmodule a\n", Error::Line(2)),
            (
                "nextroot-modules 1 6\nmodule a /a\nneeds b\n",
                Error::Unknown { line: 3, name: "b".to_owned() },
            ),
            (cycle, Error::Cycle("c".to_owned())),
        ] {
            assert_eq!(ModuleIndex::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("pci:v00001AF4d*sv*", "pci:v00001AF4d00001001sv00001AF4", true),
            ("pci:v00001AF4d*sv*", "pci:v00001AF5d00001001sv00001AF4", false),
            ("cpu:type:x86,ven*:feature:*,0089,*", "cpu:type:x86,ven0fam6:feature:,0001,0089,00A0,", true),
            ("d01[0-9]x", "d015x", true),
            ("d01[0-9]x", "d01ax", false),
            ("d[abc]", "dc", true),
            ("d[abc]", "dd", false),
            ("d[a-cx]", "dx", true),
            ("d[a-", "da", false),
            ("?", "", false),
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "a__b__b__c", true),
            ("a*b*c", "a__b__b__", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_stars_ends() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(150)));
    }
}
