//! What depmod and the kernel's build leave beside a kernel's modules (modules.dep(5), depmod(8)), and what
//! modprobe.d(5) adds.

use std::collections::BTreeMap;

use crate::format::kernel::modindex::normalise;

/// Modules by name: where each file is, below the directory of its kernel, and what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies(pub BTreeMap<String, Dependency>);

/// One module of modules.dep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency {
    /// Its file, relative, as written: `kernel/fs/ext4/ext4.ko.xz`.
    pub path: String,
    /// Names of all that has to be loaded before it.
    pub needs: Vec<String>,
}

/// Softdeps of one module: names of modules, or aliases of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Softdep {
    /// Better loaded before it.
    pub pre: Vec<String>,
    /// Better loaded after it.
    pub post: Vec<String>,
}

/// A line that depmod would not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not as depmod writes it: run depmod for this kernel")]
pub struct Error(pub usize);

impl Dependencies {
    /// Reads modules.dep: `PATH: PATH...`
    pub fn parse(text: &str) -> Result<Self, Error> {
        let line = |line: &str| {
            let (path, needs) = line.split_once(':')?;
            let below = !path.split('/').any(|part| matches!(part, "" | "." | ".."));
            let needs: Option<Vec<String>> = needs.split_whitespace().map(name_of).collect();
            below.then_some((name_of(path)?, Dependency { path: path.to_owned(), needs: needs? }))
        };
        let all: Result<BTreeMap<_, _>, _> =
            (1..).zip(text.lines()).map(|(number, text)| line(text).ok_or(Error(number))).collect();
        all.map(Self)
    }
}

/// A module's name, from its file: without directories and without `.ko`, `.ko.xz` ...
#[must_use]
pub fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let name = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].into_iter().find_map(|end| file.strip_suffix(end))?;
    (!name.is_empty()).then(|| normalise(name))
}

/// Reads modules.softdep: `softdep NAME pre: NAME... post: NAME...`. Names before the first of both words
/// mean nothing, to modprobe too.
pub fn softdeps(text: &str) -> Result<BTreeMap<String, Softdep>, Error> {
    let mut all: BTreeMap<String, Softdep> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        match words.next() {
            None => continue,
            Some(comment) if comment.starts_with('#') => continue,
            Some("softdep") => {}
            Some(_) => return Err(Error(number)),
        }
        let softdep = all.entry(normalise(words.next().ok_or(Error(number))?)).or_default();
        let mut list = None;
        for word in words {
            match (word, &mut list) {
                ("pre:", _) => list = Some(&mut softdep.pre),
                ("post:", _) => list = Some(&mut softdep.post),
                (name, Some(list)) => list.push(name.to_owned()),
                (_, None) => {}
            }
        }
    }
    Ok(all)
}

/// Reads modules.builtin: a path a line; names come sorted.
#[must_use]
pub fn builtin(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text.lines().filter_map(name_of).collect();
    names.sort();
    names.dedup();
    names
}

/// Reads /proc/modules: the names of the modules that are loaded, sorted.
#[must_use]
pub fn loaded(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(normalise)
        .collect();
    names.sort();
    names
}

/// Reads the files of modules-load.d(5): names of modules, a line each.
#[must_use]
pub fn wanted(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    lines.map(normalise).collect()
}

/// Reads the aliases of modules.builtin.modinfo: `NAME.alias=ALIAS`, each ended by a zero
/// (scripts/Makefile.vmlinux). Pairs of alias and name.
pub fn builtin_aliases(modinfo: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let fields = modinfo.split(|byte| *byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    fields.filter_map(|field| {
        let (name, alias) = field.split_once(".alias=")?;
        Some((alias, name))
    })
}

/// Reads modules.alias: `alias PATTERN NAME`. Pairs of pattern and name, as written.
pub fn aliases(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("alias ")?.rsplit_once(' '))
}

/// Reads the options of a file of modprobe.d(5): `options NAME PARAMETER=VALUE...`; other lines are passed
/// over, and a backslash before the end of a line joins it with the next. By name, in the order of the file.
#[must_use]
pub fn options(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "options")?;
        let name = normalise(words.next()?);
        let parameters: Vec<&str> = words.collect();
        (!parameters.is_empty()).then(|| (name, parameters.join(" ")))
    };
    joined.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies() {
        let text = "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/jbd2/jbd2.ko\nkernel/lib/crc16.ko.xz:\n";
        let all = Dependencies::parse(text).unwrap();
        assert_eq!(all.0["ext4"].needs, ["crc16", "jbd2"]);
        assert_eq!(all.0["crc16"].path, "kernel/lib/crc16.ko.xz");
        assert_eq!(all.0.len(), 2);
        assert_eq!(Dependencies::parse(""), Ok(Dependencies::default()));
        for (text, line) in [
            ("nonsense\n", 1),
            ("a.ko:\nb.txt:\n", 2),
            ("a.ko: b\n", 1),
            ("/etc/a.ko:\n", 1),
            ("../a.ko:\n", 1),
        ] {
            assert_eq!(Dependencies::parse(text), Err(Error(line)), "{text}");
        }
    }

    #[test]
    fn names() {
        for (path, name) in [
            ("kernel/a-b.ko.zst", Some("a_b")),
            ("x.ko", Some("x")),
            ("x.ko.gz", Some("x")),
            ("x.kobold.ko.xz", Some("x.kobold")),
            ("x.ko.bz2", None),
            ("x", None),
            (".ko", None),
            ("", None),
        ] {
            assert_eq!(name_of(path).as_deref(), name, "{path}");
        }
        assert_eq!(builtin("kernel/fs/b.ko\nkernel/a.ko\n\nkernel/a.ko\n"), ["a", "b"]);
    }

    #[test]
    fn soft() {
        let all = softdeps(
            "# comment\nsoftdep a-b pre: c-d e post: f\n\nsoftdep a_b post: g\nsoftdep h ignored pre: i\n",
        )
        .unwrap();
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = Softdep { pre: list(&["c-d", "e"]), post: list(&["f", "g"]) };
        assert_eq!(all["a_b"], expected);
        assert_eq!(all["h"], Softdep { pre: list(&["i"]), post: Vec::new() });
        assert_eq!(softdeps("alias x y\n"), Err(Error(1)));
        assert_eq!(softdeps("# a\nsoftdep\n"), Err(Error(2)));
    }

    #[test]
    fn names_a_line() {
        let text = "virtio_blk 16384 2 - Live 0x0\ncrc-t10dif 16384 1 sd_mod, Live 0x0 (OE)\n\n";
        assert_eq!(loaded(text), ["crc_t10dif", "virtio_blk"]);
        assert_eq!(wanted("# c\n; c\n\n br-netfilter \n"), ["br_netfilter"]);
    }

    #[test]
    fn alias_lines() {
        let all: Vec<_> =
            aliases("# x\nalias pci:v1* a-b\nalias fs-c c\nalias\nalias pci:v2* a_b\n").collect();
        assert_eq!(all, [("pci:v1*", "a-b"), ("fs-c", "c"), ("pci:v2*", "a_b")]);
        let all: Vec<_> =
            builtin_aliases(b"ext4.license=GPL\0ext4.alias=fs-ext4\0ext4.alias=\xff\0fuse.alias=fs-fuse\0")
                .collect();
        assert_eq!(all, [("fs-ext4", "ext4"), ("fs-fuse", "fuse")]);
    }

    #[test]
    fn option_lines() {
        let text = "# options a x=1\noptions snd-hda  power=1 \\\n model=y\nblacklist b\noptions c\noptions c z\noptionsd e=1\n";
        let pairs = [("snd_hda", "power=1 model=y"), ("c", "z")];
        assert_eq!(options(text), pairs.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
