//! systemd's image policy: which partitions of an image may be used, how they have to be protected, and what they may
//! hold. The syntax is that of systemd.image-policy(7), as 262 reads it (src/shared/image-policy.c).
//!
//! Two things are stricter here: a word with a backslash is not known, and what is not known is always an error.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a partition is for, by its type, in the order in which systemd prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Designator {
    /// The root file system.
    Root,
    /// /usr
    Usr,
    /// /home
    Home,
    /// /srv
    Srv,
    /// The EFI system partition.
    Esp,
    /// The extended boot loader partition.
    Xbootldr,
    /// Swap space.
    Swap,
    /// The hash tree of the root.
    RootVerity,
    /// The hash tree of /usr.
    UsrVerity,
    /// The signature of the root's root hash.
    RootVeritySig,
    /// The signature of the root hash of /usr.
    UsrVeritySig,
    /// /var/tmp
    Tmp,
    /// /var
    Var,
}

/// What may be of a partition: each flag stands for one possibility.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

/// A policy for all partitions of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImagePolicy {
    rules: BTreeMap<Designator, Flags>,
    default: Flags,
}

/// A policy that cannot be meant. Characters are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A rule without an equals sign.
    #[error(
        "character {at}: \"{rule}\" is no rule: write PARTITION=FLAG+FLAG, rules parted by \":\", or one of * - ~ alone"
    )]
    NoRule {
        /// Where it begins.
        at: usize,
        /// The rule.
        rule: String,
    },
    /// A partition that is not known.
    #[error(
        "character {at}: \"{word}\" is no partition: write {}, or nothing for all others",
        Designator::names()
    )]
    Partition {
        /// Where it begins.
        at: usize,
        /// The word.
        word: String,
    },
    /// A flag that is not known.
    #[error("character {at}: \"{word}\" is no flag: write {}", words())]
    Flag {
        /// Where it begins.
        at: usize,
        /// The word.
        word: String,
    },
    /// Two rules for one partition.
    #[error("character {at}: there is a rule for {} before this one: leave one of them out", named(.word))]
    Twice {
        /// Where the second begins.
        at: usize,
        /// The partition; empty for all others.
        word: String,
    },
}

const DESIGNATORS: [(Designator, &str); 13] = [
    (Designator::Root, "root"),
    (Designator::Usr, "usr"),
    (Designator::Home, "home"),
    (Designator::Srv, "srv"),
    (Designator::Esp, "esp"),
    (Designator::Xbootldr, "xbootldr"),
    (Designator::Swap, "swap"),
    (Designator::RootVerity, "root-verity"),
    (Designator::UsrVerity, "usr-verity"),
    (Designator::RootVeritySig, "root-verity-sig"),
    (Designator::UsrVeritySig, "usr-verity-sig"),
    (Designator::Tmp, "tmp"),
    (Designator::Var, "var"),
];

/// Flags with their names, in the order in which systemd prints them.
const FLAGS: [(Flags, &str); 18] = [
    (Flags::VERITY, "verity"),
    (Flags::SIGNED, "signed"),
    (Flags::ENCRYPTED, "encrypted"),
    (Flags::ENCRYPTED_WITH_INTEGRITY, "encryptedwithintegrity"),
    (Flags::UNPROTECTED, "unprotected"),
    (Flags::UNUSED, "unused"),
    (Flags::ABSENT, "absent"),
    (Flags::READ_ONLY_ON, "read-only-on"),
    (Flags::READ_ONLY_OFF, "read-only-off"),
    (Flags::GROWFS_OFF, "growfs-off"),
    (Flags::GROWFS_ON, "growfs-on"),
    (Flags(1 << 11), "btrfs"),
    (Flags(1 << 12), "erofs"),
    (Flags(1 << 13), "ext4"),
    (Flags(1 << 14), "f2fs"),
    (Flags(1 << 15), "squashfs"),
    (Flags(1 << 16), "vfat"),
    (Flags(1 << 17), "xfs"),
];

/// Words for several flags.
const SHORT: [(Flags, &str); 2] = [(Flags::OPEN, "open"), (Flags::IGNORE, "ignore")];

impl Flags {
    /// It is there and used, with dm-verity.
    pub const VERITY: Self = Self(1);
    /// It is there and used, with dm-verity and a checked signature of its root hash.
    pub const SIGNED: Self = Self(1 << 1);
    /// It is there and used, with LUKS.
    pub const ENCRYPTED: Self = Self(1 << 2);
    /// It is there and used, with LUKS and integrity checking.
    pub const ENCRYPTED_WITH_INTEGRITY: Self = Self(1 << 3);
    /// It is there and used as it is.
    pub const UNPROTECTED: Self = Self(1 << 4);
    /// It is there and not used.
    pub const UNUSED: Self = Self(1 << 5);
    /// It is not there.
    pub const ABSENT: Self = Self(1 << 6);
    /// The attribute for read-only of its entry in the partition table is off.
    pub const READ_ONLY_OFF: Self = Self(1 << 7);
    /// It is on.
    pub const READ_ONLY_ON: Self = Self(1 << 8);
    /// The attribute for growing its file system is off.
    pub const GROWFS_OFF: Self = Self(1 << 9);
    /// It is on.
    pub const GROWFS_ON: Self = Self(1 << 10);

    const OPEN: Self = Self(0x7f);
    const IGNORE: Self = Self(Self::UNUSED.0 | Self::ABSENT.0);
    const READ_ONLY: Self = Self(Self::READ_ONLY_ON.0 | Self::READ_ONLY_OFF.0);
    const GROWFS: Self = Self(Self::GROWFS_ON.0 | Self::GROWFS_OFF.0);
    const FILE_SYSTEMS: Self = Self(0x7f << 11);

    /// Whether one of the others is among these.
    #[must_use]
    pub fn has(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// What the read-only attribute has to be, where that is said.
    #[must_use]
    pub fn read_only(self) -> Option<bool> {
        self.one_of(Self::READ_ONLY_ON, Self::READ_ONLY_OFF)
    }

    /// What the attribute for growing has to be, where that is said.
    #[must_use]
    pub fn growfs(self) -> Option<bool> {
        self.one_of(Self::GROWFS_ON, Self::GROWFS_OFF)
    }

    /// Types that its file system may have, as `mount -t` takes them; none named: any.
    #[must_use]
    pub fn file_systems(self) -> Vec<&'static str> {
        self.of(Self::FILE_SYSTEMS).names()
    }

    /// Whether it may be used at all.
    #[must_use]
    pub fn is_used(self) -> bool {
        self.has(Self(Self::OPEN.0 & !Self::IGNORE.0))
    }

    /// The flags that say whether and how it is used, with a word for those that have one.
    #[must_use]
    pub fn usage(self) -> String {
        self.of(Self::OPEN).short()
    }

    fn one_of(self, on: Self, off: Self) -> Option<bool> {
        match (self.has(on), self.has(off)) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    fn of(self, mask: Self) -> Self {
        Self(self.0 & mask.0)
    }

    fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    fn names(self) -> Vec<&'static str> {
        FLAGS.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect()
    }

    /// Where nothing is said, everything is possible.
    fn extended(self) -> Self {
        let fill = |flags: Self, mask| if flags.has(mask) { flags } else { flags.and(mask) };
        fill(fill(fill(self, Self::OPEN), Self::READ_ONLY), Self::GROWFS)
    }

    /// What is possible of this partition: flags without meaning for it are out.
    fn normalised(self, designator: Designator) -> Self {
        let mut flags = self.extended();
        if designator.data_of_tree().or(designator.data_of_signature()).is_some() {
            // These are the protection.
            flags = flags.without(Self::VERITY.and(Self::SIGNED).and(Self::ENCRYPTED));
            flags = flags.without(Self::ENCRYPTED_WITH_INTEGRITY);
        }
        if !matches!(designator, Designator::Root | Designator::Usr) {
            flags = flags.without(Self::VERITY.and(Self::SIGNED));
        }
        if flags.of(Self::OPEN) == Self::ABSENT {
            flags = flags.without(Self::READ_ONLY.and(Self::GROWFS));
        }
        flags
    }

    /// As systemd prints it where it may choose the words.
    fn short(self) -> String {
        let usage = self.of(Self::OPEN);
        let mut names = match SHORT.iter().find(|(flags, _)| *flags == usage) {
            Some((_, word)) => vec![*word],
            None => usage.names(),
        };
        let said = |mask| match self.of(mask) {
            all if all == mask => Vec::new(),
            one => one.names(),
        };
        names.extend(said(Self::READ_ONLY));
        names.extend(said(Self::GROWFS));
        names.extend(self.file_systems());
        joined(&names)
    }
}

impl Designator {
    /// All of them, in systemd's order.
    pub fn all() -> impl Iterator<Item = Self> {
        DESIGNATORS.iter().map(|(designator, _)| *designator)
    }

    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        DESIGNATORS.iter().find(|(_, known)| *known == name).map(|(designator, _)| *designator)
    }

    /// Their names, for messages.
    pub(super) fn names() -> String {
        DESIGNATORS.map(|(_, name)| name).join(", ")
    }

    /// The partition whose hash tree this is.
    fn data_of_tree(self) -> Option<Self> {
        match self {
            Self::RootVerity => Some(Self::Root),
            Self::UsrVerity => Some(Self::Usr),
            _ => None,
        }
    }

    /// The partition whose signature this is.
    fn data_of_signature(self) -> Option<Self> {
        match self {
            Self::RootVeritySig => Some(Self::Root),
            Self::UsrVeritySig => Some(Self::Usr),
            _ => None,
        }
    }
}

impl ImagePolicy {
    /// What is possible of a partition, with everything filled in that the policy does not say itself: for a hash tree
    /// or a signature by what is said of the data, else by the rule for all others.
    #[must_use]
    pub fn flags(&self, designator: Designator) -> Flags {
        self.told(designator).unwrap_or_else(|| self.default.normalised(designator))
    }

    /// The same, where there is a rule for just this partition.
    #[must_use]
    pub fn rule(&self, designator: Designator) -> Option<Flags> {
        self.rules.get(&designator).map(|flags| flags.normalised(designator))
    }

    fn told(&self, designator: Designator) -> Option<Flags> {
        let derived = |data: Designator, needed: Flags| {
            let data = self.told(data).filter(|flags| flags.has(needed))?;
            let kept = data.of(Flags::IGNORE.and(Flags::READ_ONLY).and(Flags::GROWFS));
            Some(Flags::UNPROTECTED.and(kept).normalised(designator))
        };
        self.rule(designator).or_else(|| match (designator.data_of_tree(), designator.data_of_signature()) {
            (Some(data), _) => derived(data, Flags::VERITY.and(Flags::SIGNED)),
            (None, Some(data)) => derived(data, Flags::SIGNED),
            (None, None) => None,
        })
    }

    /// In the fewest words, as systemd prints it. A rule that is written out just like the one for all others goes
    /// missing, also where it took the place of what follows from the data: [`fmt::Display`] keeps everything.
    #[must_use]
    pub fn short(&self) -> String {
        for (text, flags) in [("*", Flags::OPEN), ("-", Flags::IGNORE), ("~", Flags::ABSENT)] {
            let everywhere =
                Designator::all().all(|designator| self.flags(designator) == flags.normalised(designator));
            if everywhere && self.default.extended() == flags.extended() {
                return text.to_owned();
            }
        }
        let rules = self.rules.iter();
        let told = rules.filter(|(designator, flags)| self.default.normalised(**designator) != **flags);
        let mut rules: Vec<String> =
            told.map(|(designator, flags)| format!("{designator}={}", flags.short())).collect();
        if self.default.extended() != Flags::IGNORE.extended() {
            rules.push(format!("={}", self.default.short()));
        }
        joined_by(&rules, ":")
    }
}

impl FromStr for ImagePolicy {
    type Err = Error;

    /// Empty text is `-`, as systemd has it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let all = |default| Self { rules: BTreeMap::new(), default };
        match text {
            "" | "-" => return Ok(all(Flags::IGNORE)),
            "*" => return Ok(all(Flags::OPEN)),
            "~" => return Ok(all(Flags::ABSENT)),
            _ => {}
        }
        let mut policy = all(Flags::IGNORE);
        let mut has_default = false;
        let mut at = 1;
        for rule in text.split(':') {
            let Some((name, flags)) = rule.split_once('=') else {
                return Err(Error::NoRule { at, rule: rule.to_owned() });
            };
            let (skipped, word) = trimmed(name);
            let designator = match (word, Designator::named(word)) {
                ("", _) => None,
                (_, Some(designator)) => Some(designator),
                (_, None) => return Err(Error::Partition { at: at + skipped, word: word.to_owned() }),
            };
            let has_one = designator.map_or(has_default, |designator| policy.rules.contains_key(&designator));
            if has_one {
                return Err(Error::Twice { at: at + skipped, word: word.to_owned() });
            }
            let flags = parse_flags(flags, at + name.chars().count() + 1)?;
            match designator {
                Some(designator) => drop(policy.rules.insert(designator, flags)),
                None => (policy.default, has_default) = (flags, true),
            }
            at += rule.chars().count() + 1;
        }
        Ok(policy)
    }
}

fn parse_flags(text: &str, mut at: usize) -> Result<Flags, Error> {
    let mut flags = Flags::default();
    if matches!(trimmed(text).1, "" | "-") {
        return Ok(flags);
    }
    for word in text.split('+') {
        let (skipped, name) = trimmed(word);
        let found = FLAGS.iter().chain(&SHORT).find(|(_, known)| *known == name);
        let (flag, _) = found.ok_or_else(|| Error::Flag { at: at + skipped, word: name.to_owned() })?;
        flags = flags.and(*flag);
        at += word.chars().count() + 1;
    }
    Ok(flags)
}

/// A word without the white space around it, and how much of that is in front.
fn trimmed(text: &str) -> (usize, &str) {
    const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];
    let word = text.trim_start_matches(BLANK);
    (text.chars().count() - word.chars().count(), word.trim_end_matches(BLANK))
}

fn joined(names: &[&str]) -> String {
    joined_by(names, "+")
}

fn joined_by<T: AsRef<str>>(parts: &[T], separator: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(separator) }
}

fn words() -> String {
    let names: Vec<&str> = FLAGS.iter().chain(&SHORT).map(|(_, name)| *name).collect();
    names.join(", ")
}

fn named(word: &str) -> &str {
    if word.is_empty() { "all others" } else { word }
}

impl fmt::Display for Designator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = DESIGNATORS.iter().find(|(designator, _)| designator == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

/// Exactly what was written, in systemd's order: its long form.
impl fmt::Display for ImagePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (designator, flags) in &self.rules {
            write!(f, "{designator}={}:", joined(&flags.names()))?;
        }
        write!(f, "={}", joined(&self.default.names()))
    }
}

impl TryFrom<String> for ImagePolicy {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ImagePolicy> for String {
    fn from(policy: ImagePolicy) -> Self {
        policy.to_string()
    }
}
