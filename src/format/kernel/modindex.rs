//! The module index that mkinitrd leaves in the initramfs: what can be loaded, in which order, for which
//! devices and names.
//!
//! Lines of words. The first names the format and the kernel release; each module begins with `module NAME
//! PATH`, and what follows belongs to it. Modules stand in the order in which they can be loaded: what a
//! module needs stands above it, so there are no cycles to look for.
//!
//! ```text
//! nextroot-modules 2 6.12.48+deb13-amd64
//! builtin virtio_pci sha256_generic
//! always zram
//! module dm_mod /usr/lib/modules/6.12.48+deb13-amd64/kernel/drivers/md/dm-mod.ko
//! module sha256_ssse3 /usr/lib/modules/6.12.48+deb13-amd64/kernel/arch/x86/crypto/sha256-ssse3.ko
//! alias crypto-sha256 sha256
//! module dm_verity /usr/lib/modules/6.12.48+deb13-amd64/kernel/drivers/md/dm-verity.ko
//! options prefetch_cluster=262144
//! needs dm_mod
//! pre sha256_ssse3
//! ```

use std::{collections::BTreeMap, fmt};

use crate::format::kernel::cmdline::same_name;

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleIndex {
    /// The kernel release that the modules are for.
    pub release: String,
    /// Names, and aliases of file systems, of what the kernel has built in.
    pub builtin: Vec<String>,
    /// Loaded whatever the devices.
    pub always: Vec<ModuleId>,
    /// What can be loaded, each after what it needs.
    pub modules: Vec<Module>,
}

/// A module's place in its index. Places are in the order of loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(usize);

/// A module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Its file in the initramfs.
    pub path: String,
    /// Parameters that it is loaded with, `NAME=VALUE`, separated by spaces (modprobe.d(5)).
    pub options: String,
    /// What it cannot be loaded without.
    pub needs: Vec<ModuleId>,
    /// Tried before it, and not missed where that fails: softdeps of the kind `pre`.
    pub pre: Vec<ModuleId>,
    /// Tried along with it, and not missed where that fails: softdeps of the kind `post`.
    pub post: Vec<ModuleId>,
    /// What it answers to: patterns for modalias texts, and names that the kernel asks for.
    pub aliases: Vec<String>,
}

/// An index that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an index, or one of another version.
    #[error("the first line is no \"nextroot-modules 2 RELEASE\"")]
    Version,
    /// A line that means nothing.
    #[error("line {0} means nothing here")]
    Line(usize),
    /// A module that is named and not there, or not yet.
    #[error("line {line} names {name}, which the index does not have before it is needed")]
    Unknown {
        /// The line, counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
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

impl Module {
    /// What is loaded, or at least tried, before it.
    pub fn before(&self) -> impl Iterator<Item = ModuleId> + '_ {
        self.needs.iter().chain(&self.pre).copied()
    }
}

impl ModuleIndex {
    /// Reads an index. An empty text is an index without modules: a kernel with everything built in.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // Not lines(), which takes carriage returns away.
        let mut lines = (1..).zip(text.split_terminator('\n'));
        let mut index = Self::default();
        let Some((_, first)) = lines.next() else { return Ok(index) };
        index.release = first.strip_prefix(HEADER).ok_or(Error::Version)?.to_owned();
        let mut places = Places::default();
        let mut later = Vec::new(); // may name what stands further down
        for (number, line) in lines {
            let (word, rest) = line.split_once(' ').ok_or(Error::Line(number))?;
            match (word, index.modules.last_mut()) {
                ("module", _) => {
                    let (name, path) = rest.split_once(' ').ok_or(Error::Line(number))?;
                    words(number, name)?;
                    places.0.insert(name, ModuleId(index.modules.len()));
                    let (name, path) = (name.to_owned(), path.to_owned());
                    index.modules.push(Module { name, path, ..Module::default() });
                }
                ("alias", Some(module)) => module.aliases.extend(words(number, rest)?),
                ("needs", Some(module)) => module.needs = places.above(module, number, rest)?,
                ("pre", Some(module)) => module.pre = places.above(module, number, rest)?,
                ("options", Some(module)) => rest.clone_into(&mut module.options),
                ("post", Some(_)) => later.push((number, index.modules.len(), rest)),
                ("always", None) => later.push((number, 0, rest)),
                ("builtin", None) => index.builtin.extend(words(number, rest)?),
                _ => return Err(Error::Line(number)),
            }
        }
        for (line, count, names) in later {
            let ids = places.find(line, names)?;
            match count.checked_sub(1).and_then(|last| index.modules.get_mut(last)) {
                Some(module) => module.post = ids,
                None => index.always = ids,
            }
        }
        Ok(index)
    }

    /// A module by its place.
    #[must_use]
    pub fn get(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get(id.0)
    }

    /// All of them, in the order of loading.
    pub fn iter(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.modules.iter().enumerate().map(|(at, module)| (ModuleId(at), module))
    }

    /// The module of a name; else all that answer to it, where the kernel asks by alias: `fs-erofs`,
    /// `crypto-sha256`, of which one may run on this CPU and the other not.
    #[must_use]
    pub fn find(&self, name: &str) -> Vec<ModuleId> {
        match self.iter().find(|(_, module)| same_name(&module.name, name)) {
            Some((id, _)) => vec![id],
            None => self.matching(name).collect(),
        }
    }

    /// Modules that answer to a modalias.
    pub fn matching<'a>(&'a self, modalias: &'a str) -> impl Iterator<Item = ModuleId> + 'a {
        let answers = move |module: &Module| module.aliases.iter().any(|pattern| matches(pattern, modalias));
        self.iter().filter(move |(_, module)| answers(module)).map(|(id, _)| id)
    }

    /// Whether the kernel has it built in, by its name or, for a file system, by alias (`fs-ext2`).
    #[must_use]
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.iter().any(|builtin| same_name(builtin, name))
    }
}

impl fmt::Display for ModuleIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, word, words: String| match words.as_str() {
            "" => Ok(()),
            words => writeln!(f, "{word} {words}"),
        };
        let names = |ids: &[ModuleId]| {
            let names: Vec<&str> =
                ids.iter().filter_map(|id| self.get(*id)).map(|module| module.name.as_str()).collect();
            names.join(" ")
        };
        writeln!(f, "{HEADER}{}", self.release)?;
        line(f, "builtin", self.builtin.join(" "))?;
        line(f, "always", names(&self.always))?;
        for module in &self.modules {
            writeln!(f, "module {} {}", module.name, module.path)?;
            line(f, "options", module.options.clone())?;
            line(f, "needs", names(&module.needs))?;
            line(f, "pre", names(&module.pre))?;
            line(f, "post", names(&module.post))?;
            line(f, "alias", module.aliases.join(" "))?;
        }
        Ok(())
    }
}

/// Whether a text matches a pattern of depmod: `*`, `?` and `[...]` as in fnmatch(3), `-` and `_` as one
/// outside of brackets. A step back goes to the last `*` only, so time is bounded by the product of both
/// lengths.
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

const HEADER: &str = "nextroot-modules 2 ";

/// Words of a line, none of them empty: two spaces, or one at the end, are not written.
fn words(number: usize, rest: &str) -> Result<Vec<String>, Error> {
    let words = rest.split(' ').map(|word| (!word.is_empty()).then(|| word.to_owned()));
    words.collect::<Option<_>>().ok_or(Error::Line(number))
}

/// Modules by name, as far as they were read.
#[derive(Default)]
struct Places<'a>(BTreeMap<&'a str, ModuleId>);

impl Places<'_> {
    /// Modules above the one that needs them, which so is none of them.
    fn above(&self, of: &Module, line: usize, names: &str) -> Result<Vec<ModuleId>, Error> {
        let found = self.find(line, names)?;
        let itself = names.split(' ').any(|name| name == of.name);
        if itself { Err(Error::Unknown { line, name: of.name.clone() }) } else { Ok(found) }
    }

    fn find(&self, line: usize, names: &str) -> Result<Vec<ModuleId>, Error> {
        let unknown = |name: &str| Error::Unknown { line, name: name.to_owned() };
        names.split(' ').map(|name| self.0.get(name).copied().ok_or_else(|| unknown(name))).collect()
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
        [b'-' | b'_', rest @ ..] if matches!(byte, b'-' | b'_') => Some(rest),
        [first, rest @ ..] if *first == byte => Some(rest),
        _ => None,
    }
}

/// Whether bytes and ranges of bytes (`0-9a-f`, as scripts/mod/file2alias.c writes them) hold a byte.
fn in_set(mut set: &[u8], byte: u8) -> bool {
    loop {
        let found;
        (found, set) = match set {
            [from, b'-', to, rest @ ..] => ((*from..=*to).contains(&byte), rest),
            [first, rest @ ..] => (*first == byte, rest),
            [] => return false,
        };
        if found {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "nextroot-modules 2 6.12
builtin ext4 fs-ext2 loop
always virtio
module virtio /m/virtio.ko
module crc32c_intel /m/crc32c-intel.ko
alias crypto-crc32c crc32c
module crc32c_generic /m/crc32c_generic.ko
alias crypto-crc32c
module virtio_blk /m/virtio_blk.ko
options queue_depth=64 num_request_queues=1
needs virtio
pre crc32c_intel crc32c_generic
post sd_mod
alias virtio:d00000002v*
module sd_mod /m/sd_mod.ko
alias scsi:t-0x00* block-major-8-* fs-thing
";

    #[test]
    fn round_trip() {
        let index = ModuleIndex::parse(TEXT).unwrap();
        assert_eq!(index.to_string(), TEXT);
        let names =
            |ids: &[ModuleId]| ids.iter().map(|id| index.get(*id).unwrap().name.as_str()).collect::<Vec<_>>();
        let [.., blk, _] = index.modules.as_slice() else { panic!("{index:?}") };
        assert_eq!(names(&blk.needs), ["virtio"]);
        assert_eq!(names(&blk.pre), ["crc32c_intel", "crc32c_generic"]);
        assert_eq!(names(&blk.post), ["sd_mod"]);
        assert_eq!(blk.options, "queue_depth=64 num_request_queues=1");
        assert_eq!(names(&index.always), ["virtio"]);
        assert_eq!(ModuleIndex::parse(""), Ok(ModuleIndex::default()));
    }

    #[test]
    fn names_and_aliases() {
        let index = ModuleIndex::parse(TEXT).unwrap();
        for (wanted, found, builtin) in [
            ("virtio-blk", &["virtio_blk"] as &[&str], false),
            ("fs-thing", &["sd_mod"], false),
            ("fs_thing", &["sd_mod"], false),
            ("block-major-8-0", &["sd_mod"], false),
            ("crypto-crc32c", &["crc32c_intel", "crc32c_generic"], false),
            ("crc32c", &["crc32c_intel"], false),
            ("virtio:d00000002v00001AF4", &["virtio_blk"], false),
            ("virtio:d00000001v00001AF4", &[], false),
            ("ext4", &[], true),
            ("fs_ext2", &[], true),
            ("fs-ext3", &[], false),
        ] {
            let names: Vec<_> =
                index.find(wanted).into_iter().map(|id| &index.get(id).unwrap().name).collect();
            assert_eq!(names, found, "{wanted}");
            assert_eq!(index.is_builtin(wanted), builtin, "{wanted}");
        }
    }

    #[test]
    fn malformed() {
        let unknown = |line, name: &str| Error::Unknown { line, name: name.to_owned() };
        for (lines, error) in [
            ("needs a\n", Error::Line(2)),
            ("\n", Error::Line(2)),
            ("module a\n", Error::Line(2)),
            ("module a /a\nbuiltin b\n", Error::Line(3)),
            ("module a /a\nneeds b\n", unknown(3, "b")),
            ("module a /a\nneeds a \n", unknown(3, "")),
            ("module a /a\nneeds b\nmodule b /b\n", unknown(3, "b")),
            ("module a /a\npre b\nmodule b /b\n", unknown(3, "b")),
            ("module a /a\npost b c\nmodule b /b\n", unknown(3, "c")),
            ("always a\n", unknown(2, "a")),
        ] {
            assert_eq!(ModuleIndex::parse(&format!("{HEADER}6\n{lines}")), Err(error), "{lines}");
        }
        for text in ["nextroot-modules 1 6\n", "x\n", "\n"] {
            assert_eq!(ModuleIndex::parse(text), Err(Error::Version), "{text}");
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
            ("d[]", "d", false),
            ("d[9-0]", "d5", false),
            ("acpi*:LNRO0005:*", "acpi:LNRO0005:", true),
            ("a-b_c", "a_b-c", true),
            ("a[-]b", "a_b", false),
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

    /// One that waited for itself was waited for.
    #[test]
    fn no_module_needs_itself() {
        for word in ["needs", "pre"] {
            let text = format!("{HEADER}6\nmodule a /a.ko\nmodule b /b.ko\n{word} a b\n");
            let expected = Error::Unknown { line: 4, name: "b".to_owned() };
            assert_eq!(ModuleIndex::parse(&text), Err(expected), "{word}");
        }
    }

    /// An empty word was read and not written.
    #[test]
    fn no_word_is_empty() {
        for lines in ["builtin \n", "module a /a\nalias a  b\n", "module a /a\nalias b \n", "module  /a\n"] {
            let read = ModuleIndex::parse(&format!("{HEADER}6\n{lines}"));
            assert_eq!(read, Err(Error::Line(1 + lines.lines().count())), "{lines}");
        }
        let text = format!("{HEADER}6\nmodule a /a\r\r\nalias b\r\n");
        assert_eq!(ModuleIndex::parse(&text).unwrap().to_string(), text);
    }
}
