//! Mount options as fstab(5) and `rootflags=` write them: `noatime,subvol=@,ro`.
//!
//! Some belong to the mount (mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS"), the rest to the file
//! system, which knows best what it takes.

/// Options, told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Attributes of the mount.
    pub flags: Vec<Flag>,
    /// What the file system is given, in order: a name with or without a value.
    pub filesystem: Vec<(String, Option<String>)>,
}

/// An attribute of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `ro`
    ReadOnly,
    /// `nodev`
    NoDev,
    /// `nosuid`
    NoSuid,
    /// `noexec`
    NoExec,
    /// `noatime`
    NoAtime,
    /// `strictatime`
    StrictAtime,
    /// `nodiratime`
    NoDirAtime,
    /// `nosymfollow`
    NoSymFollow,
}

/// What a word means to a mount: a flag that it sets, or one that it takes back.
const FLAGS: [(&str, Flag, bool); 15] = [
    ("ro", Flag::ReadOnly, true),
    ("rw", Flag::ReadOnly, false),
    ("nodev", Flag::NoDev, true),
    ("dev", Flag::NoDev, false),
    ("nosuid", Flag::NoSuid, true),
    ("suid", Flag::NoSuid, false),
    ("noexec", Flag::NoExec, true),
    ("exec", Flag::NoExec, false),
    ("noatime", Flag::NoAtime, true),
    ("atime", Flag::NoAtime, false),
    ("strictatime", Flag::StrictAtime, true),
    ("nodiratime", Flag::NoDirAtime, true),
    ("diratime", Flag::NoDirAtime, false),
    ("nosymfollow", Flag::NoSymFollow, true),
    ("symfollow", Flag::NoSymFollow, false),
];

/// Words of fstab that mean something to programs, or what is so anyway.
const WITHOUT_EFFECT: [&str; 6] = ["defaults", "auto", "noauto", "nofail", "_netdev", "relatime"];
/// What all begins with that is for programs only (mount(8)).
const FOR_PROGRAMS: [&str; 3] = ["x-", "X-", "comment="];
/// What of that has mount(8) show something else. The kernel refuses it, which is better than to leave it out.
const OF_MOUNT: [&str; 2] = ["X-mount.subdir=", "X-mount.idmap="];

impl MountOptions {
    /// Reads a comma-separated list; `ro` and `rw` go to the mount and to the file system.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut options = Self::default();
        let begins = |word: &str, with: &[&str]| with.iter().any(|begin| word.starts_with(begin));
        let counts = |word: &&str| {
            let is_for_programs = begins(word, &FOR_PROGRAMS) && !begins(word, &OF_MOUNT);
            !word.is_empty() && !WITHOUT_EFFECT.contains(word) && !is_for_programs
        };
        for word in text.split(',').filter(counts) {
            let known = FLAGS.iter().find(|(name, ..)| *name == word);
            if let Some((_, flag, set)) = known {
                options.flags.retain(|other| other != flag);
                options.flags.extend(set.then_some(*flag));
            }
            if known.is_none_or(|(_, flag, _)| *flag == Flag::ReadOnly) {
                options
                    .filesystem
                    .retain(|(name, _)| known.is_none() || !matches!(name.as_str(), "ro" | "rw"));
                let (name, value) =
                    word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v.to_owned())));
                options.filesystem.push((name.to_owned(), value));
            }
        }
        options
    }

    /// Takes write access away, whatever was said before.
    pub fn read_only(&mut self) {
        self.flags.retain(|flag| *flag != Flag::ReadOnly);
        self.flags.push(Flag::ReadOnly);
        self.filesystem.retain(|(name, _)| !matches!(name.as_str(), "ro" | "rw"));
        self.filesystem.push(("ro".to_owned(), None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, &'a [Flag], &'a [(&'a str, Option<&'a str>)]);

    #[test]
    fn lists() {
        let rows: [Row<'_>; 11] = [
            ("x-systemd.device-timeout=0,x-initrd.mount,X-mount.mkdir,comment=c", &[], &[]),
            // What was left out showed another directory than the one that was meant.
            ("X-mount.subdir=a,X-mount.mkdir", &[], &[("X-mount.subdir", Some("a"))]),
            ("noatime,nodiratime,diratime,symfollow,atime", &[], &[]),
            ("", &[], &[]),
            ("defaults", &[], &[]),
            (",,", &[], &[]),
            ("ro", &[Flag::ReadOnly], &[("ro", None)]),
            ("ro,rw", &[], &[("rw", None)]),
            ("noatime,subvol=@,nodev,dev", &[Flag::NoAtime], &[("subvol", Some("@"))]),
            ("data=a=b,ro", &[Flag::ReadOnly], &[("data", Some("a=b")), ("ro", None)]),
            ("norecovery,norecovery", &[], &[("norecovery", None), ("norecovery", None)]),
        ];
        for (text, flags, filesystem) in rows {
            let options = MountOptions::parse(text);
            assert_eq!(options.flags, flags, "{text}");
            let got: Vec<_> = options.filesystem.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
            assert_eq!(got, filesystem, "{text}");
        }
    }

    #[test]
    fn read_only_wins() {
        let mut options = MountOptions::parse("rw,noload");
        options.read_only();
        assert_eq!(options.flags, [Flag::ReadOnly]);
        assert_eq!(options.filesystem, [("noload".to_owned(), None), ("ro".to_owned(), None)]);
    }
}
