//! Versioned directories: which of several files is meant (systemd.v(7)).
//!
//! Stricter than systemd in three ways, since what is chosen becomes the root: a file whose tries are used up is
//! never chosen, nor one for an architecture that is only the second choice, and two files of which nothing
//! but the name says which is better are an error.

use std::{cmp::Ordering, fmt};

use crate::format::system::{
    sysupdate::is_version,
    tries::{self, Tries},
    version,
};

/// Which files of a directory are meant: `NAME_*SUFFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The directory, without a slash at its end.
    pub directory: String,
    /// The image's name.
    pub name: String,
    /// The ends that a file's name may have.
    pub suffixes: Vec<String>,
}

/// A file of a versioned directory, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The architecture, as systemd names it; `None` where it is not said.
    pub architecture: Option<&'a str>,
    /// How often it may still be tried, and how often it was; `None` where nobody counts.
    pub tries: Option<Tries>,
}

/// What was chosen, and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick<'a> {
    /// The newest file; `None` where there is none.
    pub chosen: Option<Entry<'a>>,
    /// Files of this name that are no candidates.
    pub skipped: Vec<(&'a str, Skip)>,
}

/// Why a file is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Its counter is at zero.
    NoTriesLeft,
    /// It is for another machine.
    Architecture,
    /// What stands for the version is none.
    Version,
}

/// Two files are equally new.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} and {1} have the same version: name the file that is meant, or remove the other")]
pub struct Ambiguous(pub String, pub String);

/// Ends of the names of image files.
pub const SUFFIXES: [&str; 7] = [".raw", ".img", ".erofs", ".squashfs", ".ext4", ".btrfs", ".xfs"];

/// Architectures: systemd's name (systemd.unit(5), `ConditionArchitecture=`), and Rust's where it has one that is
/// built for.
const ARCHITECTURES: [(&str, &str); 35] = [
    ("x86-64", "x86_64"),
    ("x86", "x86"),
    ("arm64", "aarch64"),
    ("arm", "arm"),
    ("riscv64", "riscv64"),
    ("loongarch64", "loongarch64"),
    ("s390x", "s390x"),
    ("arm64-be", ""),
    ("arm-be", ""),
    ("ppc", ""),
    ("ppc-le", ""),
    ("ppc64", ""),
    ("ppc64-le", ""),
    ("riscv32", ""),
    ("ia64", ""),
    ("parisc", ""),
    ("parisc64", ""),
    ("s390", ""),
    ("sparc", ""),
    ("sparc64", ""),
    ("mips", ""),
    ("mips-le", ""),
    ("mips64", ""),
    ("mips64-le", ""),
    ("alpha", ""),
    ("sh", ""),
    ("sh64", ""),
    ("m68k", ""),
    ("tilegx", ""),
    ("cris", ""),
    ("arc", ""),
    ("arc-be", ""),
    ("nios2", ""),
    ("xtensa", ""),
    ("loongarch32", ""),
];

impl Pattern {
    /// Reads a path: `DIR/NAME.SUFFIX.v/`, `DIR/NAME.v/` (any of [`SUFFIXES`]) or `DIR.v/NAME___.SUFFIX`; `None` where
    /// it means no versioned directory.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let (parent, last) = path.rsplit_once('/').unwrap_or((".", path));
        if let Some(stem) = last.strip_suffix(".v") {
            let by_suffix = SUFFIXES.iter().find_map(|suffix| Some((stem.strip_suffix(suffix)?, *suffix)));
            let (name, suffixes) = match by_suffix {
                Some((name, suffix)) => (name, vec![suffix.to_owned()]),
                None => (stem, SUFFIXES.map(str::to_owned).to_vec()),
            };
            return Self::new(path, name, suffixes);
        }
        let (name, suffix) = last.rsplit_once("___")?;
        parent.ends_with(".v").then(|| Self::new(parent, name, vec![suffix.to_owned()])).flatten()
    }

    fn new(directory: &str, name: &str, suffixes: Vec<String>) -> Option<Self> {
        let named = !name.is_empty() && name != "." && name != "..";
        named.then(|| Self { directory: directory.to_owned(), name: name.to_owned(), suffixes })
    }

    /// Chooses the newest among a directory's files, on the architecture that this program is built for.
    pub fn pick<'a>(&self, files: impl IntoIterator<Item = &'a str>) -> Result<Pick<'a>, Ambiguous> {
        self.pick_on(std::env::consts::ARCH, files)
    }

    fn pick_on<'a>(
        &self,
        machine: &str,
        files: impl IntoIterator<Item = &'a str>,
    ) -> Result<Pick<'a>, Ambiguous> {
        let mut skipped = Vec::new();
        let mut best: Vec<Entry<'a>> = Vec::new();
        for (file, entry) in files.into_iter().filter_map(|file| Some((file, self.entry(file)?))) {
            if let Some(why) = unfit(&entry, machine) {
                skipped.push((file, why));
                continue;
            }
            match best.first().map_or(Ordering::Greater, |other| compare(&entry, other)) {
                Ordering::Greater => best = vec![entry],
                Ordering::Equal => best.push(entry),
                Ordering::Less => {}
            }
        }
        let mut best = best.into_iter();
        match (best.next(), best.next()) {
            (Some(one), Some(other)) => Err(Ambiguous(one.file.to_owned(), other.file.to_owned())),
            (chosen, _) => Ok(Pick { chosen, skipped }),
        }
    }

    /// Reads a file's name; `None` where it is not one of this image.
    fn entry<'a>(&self, file: &'a str) -> Option<Entry<'a>> {
        let rest = file.strip_prefix(self.name.as_str())?.strip_prefix('_')?;
        let rest = self.suffixes.iter().find_map(|suffix| rest.strip_suffix(suffix.as_str()))?;
        let (rest, tries) = tries::split(rest);
        // What stands alone is a version, whatever it is called.
        let (version, architecture) = match rest.rsplit_once('_') {
            Some((version, last)) if ARCHITECTURES.iter().any(|(name, _)| *name == last) => {
                (version, Some(last))
            }
            _ => (rest, None),
        };
        Some(Entry { file, version, architecture, tries })
    }
}

/// The version in the name of an image file, `NAME_VERSION.raw` or as in a versioned directory; `None` where there is none. A
/// version has a digit, so that `os_a` and `os_b` are no versions of one image.
#[must_use]
pub fn version_in_name(file: &str) -> Option<&str> {
    let stem = SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(file);
    let (name, _) = stem.split_once('_')?;
    let pattern = Pattern {
        directory: String::new(),
        name: name.to_owned(),
        suffixes: vec![file.get(stem.len()..)?.to_owned()],
    };
    // A name may have a `_` itself.
    let version = pattern.entry(file)?.version.rsplit('_').next()?;
    let usable = is_version(version) && version.bytes().any(|b| b.is_ascii_digit());
    usable.then_some(version)
}

fn unfit(entry: &Entry<'_>, machine: &str) -> Option<Skip> {
    let is_other = |wanted: &str| !ARCHITECTURES.iter().any(|(name, own)| *name == wanted && *own == machine);
    match entry {
        _ if !is_version(entry.version) => Some(Skip::Version),
        _ if entry.architecture.is_some_and(is_other) => Some(Skip::Architecture),
        Entry { tries: Some(Tries { left: 0, .. }), .. } => Some(Skip::NoTriesLeft),
        _ => None,
    }
}

/// By version, then what says its architecture, then what counts no tries (it has proved itself), more tries left,
/// fewer done.
fn compare(one: &Entry<'_>, other: &Entry<'_>) -> Ordering {
    let left = |entry: &Entry<'_>| entry.tries.map_or(u32::MAX, |tries| tries.left);
    let done = |entry: &Entry<'_>| entry.tries.map_or(0, |tries| tries.done);
    version::compare(one.version, other.version)
        .then_with(|| one.architecture.is_some().cmp(&other.architecture.is_some()))
        .then_with(|| left(one).cmp(&left(other)))
        .then_with(|| done(other).cmp(&done(one)))
}

impl fmt::Display for Pattern {
    /// `/images/os.raw.v/os_*.raw`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}_*", self.directory, self.name)?;
        match self.suffixes.as_slice() {
            [suffix] => f.write_str(suffix),
            several => write!(f, "{{{}}}", several.join(",")),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTriesLeft => "it has no tries left",
            Self::Architecture => "it is for another architecture",
            Self::Version => "its name has no version that can be read",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(path: &str) -> Pattern {
        Pattern::of(path).unwrap()
    }

    #[test]
    fn versions_in_names() {
        for (file, version) in [
            ("os_1.2.raw", Some("1.2")),
            ("os_1.2.erofs", Some("1.2")),
            ("os_1.2", Some("1.2")),
            ("my_os_1.2~rc1.raw", Some("1.2~rc1")),
            ("os_1.2_x86-64.raw", Some("1.2")),
            ("os_1.2_arm64+3-1.raw", Some("1.2")),
            ("os_1.2+0.raw", Some("1.2")),
            ("os_1.2+dfsg.raw", Some("1.2+dfsg")),
            ("os_b.raw", None),
            ("os.raw", None),
            ("os_.raw", None),
            ("os_1 2.raw", None),
            ("", None),
        ] {
            assert_eq!(version_in_name(file), version, "{file}");
        }
    }

    #[test]
    fn patterns() {
        for (path, expected) in [
            ("/m/os.raw.v/", Some("/m/os.raw.v/os_*.raw")),
            ("/m/os.raw.v", Some("/m/os.raw.v/os_*.raw")),
            ("os.erofs.v/", Some("os.erofs.v/os_*.erofs")),
            ("/m/images.v/os___.raw", Some("/m/images.v/os_*.raw")),
            ("/m/images.v/os____.raw", Some("/m/images.v/os__*.raw")),
            ("/m/images.v/os___", Some("/m/images.v/os_*")),
            ("/m/os.v/", Some("/m/os.v/os_*{.raw,.img,.erofs,.squashfs,.ext4,.btrfs,.xfs}")),
            ("/m/images/os___.raw", None),
            ("/m/os.raw", None),
            ("/m/.raw.v/", None),
            ("/m/.v/", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Pattern::of(path).map(|p| p.to_string()).as_deref(), expected, "{path}");
        }
    }

    /// Both examples of systemd.v(7).
    #[test]
    fn the_manuals_own() {
        let pattern = pattern("/var/lib/machines/mymachine.raw.v/");
        let first = ["mymachine_7.5.13.raw", "mymachine_7.5.14.raw", "mymachine_7.6.0.raw"];
        assert_eq!(pattern.pick(first).unwrap().chosen.unwrap().file, "mymachine_7.6.0.raw");
        let second = [
            "mymachine_7.5.13.raw",
            "mymachine_7.5.14_x86-64.raw",
            "mymachine_7.6.0_arm64.raw",
            "mymachine_7.7.0_x86-64+0-5.raw",
        ];
        let pick = pattern.pick_on("x86_64", second).unwrap();
        assert_eq!(pick.chosen.unwrap().file, "mymachine_7.5.14_x86-64.raw");
        let skipped = [
            ("mymachine_7.6.0_arm64.raw", Skip::Architecture),
            ("mymachine_7.7.0_x86-64+0-5.raw", Skip::NoTriesLeft),
        ];
        assert_eq!(pick.skipped, skipped);
    }

    #[test]
    fn names() {
        let pattern = pattern("/m/os.raw.v/");
        let tries = |left, done| Some(Tries { left, done });
        for (file, expected) in [
            ("os_1.2.raw", Some(("1.2", None, None))),
            ("os_1.2_x86-64.raw", Some(("1.2", Some("x86-64"), None))),
            ("os_1.2+3.raw", Some(("1.2", None, tries(3, 0)))),
            ("os_1.2+2-1.raw", Some(("1.2", None, tries(2, 1)))),
            ("os_1.2_arm64+2-1.raw", Some(("1.2", Some("arm64"), tries(2, 1)))),
            // No counters: part of the version.
            ("os_1.2+b3.raw", Some(("1.2+b3", None, None))),
            ("os_1.2+.raw", Some(("1.2+", None, None))),
            ("os_1.2+1-.raw", Some(("1.2+1-", None, None))),
            ("os_1.2+4294967296.raw", Some(("1.2+4294967296", None, None))),
            // No architecture: part of the version.
            ("os_1.2_vax.raw", Some(("1.2_vax", None, None))),
            ("os_x86-64.raw", Some(("x86-64", None, None))),
            ("os_1.2.verity", None),
            ("other_1.2.raw", None),
            ("os.raw", None),
            (".sysupdate.partial.os_1.2.raw", None),
        ] {
            let got = pattern.entry(file).map(|e| (e.version, e.architecture, e.tries));
            assert_eq!(got, expected, "{file}");
        }
    }

    #[test]
    fn the_newest() {
        let pattern = pattern("/m/os.raw.v/");
        for (files, expected) in [
            (&[][..], None),
            (&["README", "os_1.verity"], None),
            (&["os_9.raw", "os_10.raw"], Some("os_10.raw")),
            (&["os_10.raw", "os_10~rc1.raw"], Some("os_10.raw")),
            (&["os_2.raw", "os_3+0-3.raw"], Some("os_2.raw")),
            (&["os_2.raw", "os_3+1-2.raw"], Some("os_3+1-2.raw")),
            (&["os_3+0-3.raw"], None),
            (&["os_3.raw", "os_3+3.raw"], Some("os_3.raw")),
            (&["os_3+1-2.raw", "os_3+3.raw"], Some("os_3+3.raw")),
            (&["os_3+1-2.raw", "os_3+1-1.raw"], Some("os_3+1-1.raw")),
            (&["os_3.raw", "os_3_x86-64.raw"], Some("os_3_x86-64.raw")),
            (&["os_3_x86.raw"], None),
            (&["os_4 5.raw", "os_3.raw"], Some("os_3.raw")),
        ] {
            let got = pattern.pick_on("x86_64", files.iter().copied()).unwrap();
            assert_eq!(got.chosen.map(|entry| entry.file), expected, "{files:?}");
        }
    }

    #[test]
    fn equally_new() {
        let error = pattern("/m/os.v/").pick(["os_1.0.raw", "os_1.00.raw"]).unwrap_err();
        let text = "os_1.0.raw and os_1.00.raw have the same version: name the file that is meant, or remove the other";
        assert_eq!(error.to_string(), text);
        assert!(pattern("/m/os.v/").pick(["os_1.raw", "os_1.erofs"]).is_err());
        // Something newer is there: nobody has to choose between the two.
        assert!(pattern("/m/os.v/").pick(["os_1.raw", "os_1.erofs", "os_2.raw"]).is_ok());
    }
}
