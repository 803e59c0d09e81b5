//! Entries of a boot loader: the name of the file, and what a Type #1 entry says (Boot Loader Specification; Automatic Boot
//! Assessment).

use super::tries::{self, Tries};

/// What the name of an entry's file ends in.
const SUFFIXES: [(&str, Kind); 2] = [(".conf", Kind::One), (".efi", Kind::Two)];

/// What kind of an entry a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Type #1: text, that names a kernel.
    One,
    /// Type #2: a unified kernel image.
    Two,
}

/// The name of an entry's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// What kind of an entry it is.
    pub kind: Kind,
    /// What stands before counters and suffix.
    pub stem: &'a str,
    /// Its counters; `None` where nobody counts: it has proved itself, or need not.
    pub tries: Option<Tries>,
    /// As it is written: the file system knows no difference between lower and upper case, nor do boot loaders.
    suffix: &'a str,
}

impl<'a> Name<'a> {
    /// Reads the name of a file; `None` where it is no entry's.
    #[must_use]
    pub fn parse(file: &'a str) -> Option<Self> {
        let (rest, suffix, kind) = SUFFIXES.iter().find_map(|(suffix, kind)| {
            let (rest, end) = file.split_at_checked(file.len().checked_sub(suffix.len())?)?;
            end.eq_ignore_ascii_case(suffix).then_some((rest, end, *kind))
        })?;
        let (stem, tries) = tries::split(rest);
        (!stem.is_empty()).then_some(Self { kind, stem, tries, suffix })
    }

    /// Whether its tries are used up: boot loaders take it last.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self.tries, Some(Tries { left: 0, .. }))
    }

    /// The name with its tries used up, as `systemd-bless-boot bad` writes it.
    #[must_use]
    pub fn bad(&self) -> String {
        let done = self.tries.map_or(0, |tries| tries.done);
        format!("{}+{}{}", self.stem, Tries { left: 0, done }, self.suffix)
    }
}

/// What a Type #1 entry says, as far as it tells which image it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeOne {
    /// `version`
    pub version: Option<String>,
    /// `sort-key`: by the specification, `IMAGE_ID=` or `ID=` of os-release.
    pub sort_key: Option<String>,
    /// `options`, all of them: the kernel command line.
    pub options: String,
}

impl TypeOne {
    /// Reads a file: a key and its value a line. Keys that are not needed, comments, and lines without a value are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut entry = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.split_once(char::is_whitespace) else { continue };
            let value = value.trim_start();
            match key {
                "version" => entry.version = Some(value.to_owned()),
                "sort-key" => entry.sort_key = Some(value.to_owned()),
                "options" if entry.options.is_empty() => value.clone_into(&mut entry.options),
                "options" => entry.options.extend([" ", value]),
                _ => {}
            }
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (file, expected) in [
            ("os_2.conf", Some((Kind::One, "os_2", false, "os_2+0.conf"))),
            ("os_2+3.efi", Some((Kind::Two, "os_2", false, "os_2+0.efi"))),
            ("os_2+2-1.conf", Some((Kind::One, "os_2", false, "os_2+0-1.conf"))),
            ("os_2+0-3.efi", Some((Kind::Two, "os_2", true, "os_2+0-3.efi"))),
            ("6.12+deb13.conf", Some((Kind::One, "6.12+deb13", false, "6.12+deb13+0.conf"))),
            ("+3.conf", None),
            (".conf", None),
            ("os_2", None),
            ("os_2.conf.tmp", None),
            ("OS_2+3.EFI", Some((Kind::Two, "OS_2", false, "OS_2+0.EFI"))),
            ("é.ef", None),
        ] {
            let name = Name::parse(file);
            let bad = name.map(|name| name.bad()).unwrap_or_default();
            let got = name.map(|name| (name.kind, name.stem, name.is_bad(), bad.as_str()));
            assert_eq!(got, expected, "{file}");
        }
    }

    #[test]
    fn type_one() {
        let text = "# made by sysupdate\ntitle  Image OS\nversion\t2\nsort-key os\nlinux /os_2\n  options  root=dissect\noptions quiet\n\
            options\nversion-of nothing\n";
        let expected = TypeOne {
            version: Some("2".to_owned()),
            sort_key: Some("os".to_owned()),
            options: "root=dissect quiet".to_owned(),
        };
        assert_eq!(TypeOne::parse(text), expected);
        assert_eq!(TypeOne::parse("options"), TypeOne::default());
    }
}
