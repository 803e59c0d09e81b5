//! The files that depmod writes beside a kernel's modules (modules.dep(5), depmod(8)).

use std::collections::BTreeMap;

use super::modindex::normalise;

/// Modules by name: where each file is, below the directory of its kernel, and what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies(pub BTreeMap<String, Dependency>);

/// One module of modules.dep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency {
    /// Its file, as written.
    pub path: String,
    /// Names of all that has to be loaded before it.
    pub needs: Vec<String>,
}

/// Softdeps of one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Softdep {
    /// Better loaded before it.
    pub pre: Vec<String>,
    /// Better loaded after it.
    pub post: Vec<String>,
}

/// A line that depmod would not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not as depmod writes it")]
pub struct Error(pub usize);

/// A module's name, from its file: without directories and without `.ko`, `.ko.xz` ...
#[must_use]
pub fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, _) = file.split_once(".ko")?;
    (!name.is_empty()).then(|| normalise(name))
}

impl Dependencies {
    /// Reads modules.dep: `PATH: PATH...`
    pub fn parse(text: &str) -> Result<Self, Error> {
        let line = |line: &str| {
            let (path, needs) = line.split_once(':')?;
            let needs: Option<Vec<String>> = needs.split_whitespace().map(name_of).collect();
            Some((name_of(path)?, Dependency { path: path.to_owned(), needs: needs? }))
        };
        let all: Result<BTreeMap<_, _>, _> =
            (1..).zip(text.lines()).map(|(number, text)| line(text).ok_or(Error(number))).collect();
        all.map(Self)
    }
}

/// Reads modules.softdep: `softdep NAME pre: NAME... post: NAME...`
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
        let mut after = false;
        for word in words {
            match word {
                "pre:" => after = false,
                "post:" => after = true,
                name if after => softdep.post.push(normalise(name)),
                name => softdep.pre.push(normalise(name)),
            }
        }
    }
    Ok(all)
}

/// Reads modules.builtin: a path a line.
#[must_use]
pub fn builtin(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text.lines().filter_map(name_of).collect();
    names.sort();
    names.dedup();
    names
}

/// Reads modules.alias, of the modules that are wanted: `alias PATTERN NAME`, by name.
pub fn aliases(text: &str, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<&str>> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let Some((pattern, name)) = line.strip_prefix("alias ").and_then(|rest| rest.rsplit_once(' ')) else {
            continue;
        };
        let name = normalise(name);
        if wanted(&name) {
            all.entry(name).or_default().push(pattern);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies() {
        let all = Dependencies::parse("kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/jbd2/jbd2.ko\nkernel/lib/crc16.ko.xz:\n").unwrap();
        assert_eq!(all.0["ext4"].needs, ["crc16", "jbd2"]);
        assert_eq!(all.0["crc16"].path, "kernel/lib/crc16.ko.xz");
        for (text, line) in [("nonsense\n", 1), ("a.ko:\nb.txt:\n", 2), ("a.ko: b\n", 1)] {
            assert_eq!(Dependencies::parse(text), Err(Error(line)));
        }
    }

    #[test]
    fn names() {
        for (path, name) in
            [("kernel/a-b.ko.zst", Some("a_b")), ("x.ko", Some("x")), ("x", None), (".ko", None), ("", None)]
        {
            assert_eq!(name_of(path).as_deref(), name, "{path}");
        }
        assert_eq!(builtin("kernel/fs/b.ko\nkernel/a.ko\n"), ["a", "b"]);
    }

    #[test]
    fn soft() {
        let all = softdeps("# comment\nsoftdep a-b pre: c d post: e\n\nsoftdep a_b post: f\n").unwrap();
        let expected =
            Softdep { pre: vec!["c".to_owned(), "d".to_owned()], post: vec!["e".to_owned(), "f".to_owned()] };
        assert_eq!(all["a_b"], expected);
        assert_eq!(softdeps("alias x y\n"), Err(Error(1)));
        assert_eq!(softdeps("softdep\n"), Err(Error(1)));
    }

    #[test]
    fn alias_lines() {
        let all = aliases("# x\nalias pci:v1* a-b\nalias fs-c c\nalias pci:v2* a_b\n", |name| name == "a_b");
        assert_eq!(all["a_b"], ["pci:v1*", "pci:v2*"]);
        assert_eq!(all.len(), 1);
    }
}
