//! What the new system would mount where: of all that tells it, what goes first.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::format::system::{fstab::Entry, mount_unit};

/// What tells a system of a mount. It is written as the directory, or `fstab`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Unit files of the new root in this directory.
    Root(&'static str),
    /// Unit files in this directory below /run, which comes along with what the running system has in it.
    Run(&'static str),
    /// The new root's fstab, of which systemd-fstab-generator(8) makes units in /run/systemd/generator.
    Fstab,
}

/// What goes first comes first (systemd.unit(5), "Unit File Load Path"). Left out are units that are made anew and cannot
/// be known yet: transient ones, and those of other generators. What systemd-gpt-auto-generator(8) makes is last, in
/// /run/systemd/generator.late.
pub const ORDER: [Origin; 8] = [
    Origin::Root("/etc/systemd/system.control"),
    Origin::Run("/run/systemd/system.control"),
    Origin::Root("/etc/systemd/system"),
    Origin::Run("/run/systemd/system"),
    Origin::Fstab,
    Origin::Root("/usr/local/lib/systemd/system"),
    Origin::Root("/usr/lib/systemd/system"),
    // Of a root that has its /usr split; else the same once more.
    Origin::Root("/lib/systemd/system"),
];

/// What stands in a file of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Its text.
    Text(String),
    /// It is empty, or leads to /dev/null: the unit is masked.
    Mask,
    /// It is there, and cannot be read, or is no UTF-8.
    Unreadable,
}

/// A mount unit's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitFile {
    /// Where it was found.
    pub origin: Origin,
    /// The place that its name says.
    pub at: String,
    /// What stands in it.
    pub content: Content,
}

/// A drop-in that counts for a place's mount unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropIn {
    /// The place.
    pub at: String,
    /// What stands in it.
    pub content: Content,
}

/// What the new system is told of its mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMounts {
    /// Its fstab.
    pub fstab: Vec<Entry>,
    /// Files of mount units, in any order.
    pub units: Vec<UnitFile>,
    /// Drop-ins, in the order in which systemd reads them.
    pub drop_ins: Vec<DropIn>,
}

/// What the new system is told of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What to mount there.
    Mount(Entry),
    /// To mount nothing there.
    Masked,
    /// Something that cannot be made out.
    Unclear,
    /// Nothing.
    Nothing,
}

impl Origin {
    fn name(self) -> &'static str {
        match self {
            Self::Root(directory) | Self::Run(directory) => directory,
            Self::Fstab => "fstab",
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let origin = ORDER.into_iter().find(|origin| origin.name() == text);
        origin.ok_or_else(|| D::Error::custom(format!("\"{text}\" is no directory of systemd's units")))
    }
}

impl NewMounts {
    /// What counts for a place. A unit counts whether anything pulls it in or not.
    #[must_use]
    pub fn at(&self, at: &str) -> Told {
        ORDER.iter().find_map(|origin| self.by(*origin, at)).unwrap_or(Told::Nothing)
    }

    fn by(&self, origin: Origin, at: &str) -> Option<Told> {
        if origin == Origin::Fstab {
            let entry = self.fstab.iter().rfind(|entry| entry.at == at)?;
            return Some(self.with_drop_ins(at, |files| mount_unit::amend(entry.clone(), files)));
        }
        let unit = self.units.iter().find(|unit| unit.origin == origin && unit.at == at)?;
        Some(match &unit.content {
            Content::Mask => Told::Masked,
            Content::Unreadable => Told::Unclear,
            Content::Text(text) => self.with_drop_ins(at, |files| {
                let files = [&[text.as_str()], files].concat();
                mount_unit::parse(at, &files)
            }),
        })
    }

    fn with_drop_ins(
        &self,
        at: &str,
        read: impl FnOnce(&[&str]) -> Result<Entry, mount_unit::Error>,
    ) -> Told {
        let of_place = self.drop_ins.iter().filter(|drop_in| drop_in.at == at);
        let files = of_place.map(|drop_in| match &drop_in.content {
            Content::Text(text) => Some(text.as_str()),
            Content::Mask => Some(""),
            Content::Unreadable => None,
        });
        let Some(files) = files.collect::<Option<Vec<&str>>>() else { return Told::Unclear };
        read(&files).map_or(Told::Unclear, Told::Mount)
    }
}

#[cfg(test)]
mod tests {
    use crate::format::system::fstab;

    use super::*;

    fn content(text: &str) -> Content {
        match text {
            "mask" => Content::Mask,
            "unreadable" => Content::Unreadable,
            text => Content::Text(format!("[Mount]\n{text}\n")),
        }
    }

    /// `DIRECTORY: TEXT` for a unit of /var, `fstab: WHAT`, `drop-in: TEXT`.
    fn told(rows: &[&str]) -> Told {
        let mut all = NewMounts::default();
        for row in rows {
            let (place, text) = row.split_once(": ").unwrap();
            let at = "/var".to_owned();
            let is_of = |origin: &&Origin| match **origin {
                Origin::Root(directory) | Origin::Run(directory) => directory == place,
                Origin::Fstab => false,
            };
            match place {
                "fstab" => all.fstab.extend(fstab::parse(&format!("{text} /var ext4 defaults\n"))),
                "drop-in" => all.drop_ins.push(DropIn { at, content: content(text) }),
                _ => {
                    let origin = *ORDER.iter().find(is_of).unwrap();
                    all.units.push(UnitFile { origin, at, content: content(text) });
                }
            }
        }
        // What is said of other places counts for none.
        let (at, origin) = ("/var/lib".to_owned(), Origin::Root("/etc/systemd/system"));
        all.units.push(UnitFile { origin, at: at.clone(), content: Content::Mask });
        all.drop_ins.push(DropIn { at, content: Content::Unreadable });
        all.at("/var")
    }

    #[test]
    fn what_is_written_reads_back() {
        for origin in ORDER {
            let unit = UnitFile { origin, at: "/var".to_owned(), content: content("What=a") };
            let text = serde_json::to_string(&unit).unwrap();
            assert!(text.starts_with(&format!(r#"{{"origin":"{}","#, origin.name())), "{text}");
            assert_eq!(serde_json::from_str::<UnitFile>(&text).unwrap(), unit);
        }
        assert!(serde_json::from_str::<Origin>(r#""/etc/systemd/user""#).is_err());
    }

    #[test]
    fn what_goes_first() {
        for (rows, expected) in [
            (&[][..], Err(Told::Nothing)),
            (&["drop-in: What=x"], Err(Told::Nothing)),
            (&["fstab: a", "fstab: b"], Ok("b")),
            (&["/usr/lib/systemd/system: What=a", "fstab: b"], Ok("b")),
            (&["/lib/systemd/system: What=a", "/usr/lib/systemd/system: What=b"], Ok("b")),
            (&["/usr/lib/systemd/system: What=a", "/usr/local/lib/systemd/system: What=b"], Ok("b")),
            (&["/usr/local/lib/systemd/system: What=a", "fstab: b"], Ok("b")),
            (&["fstab: a", "/run/systemd/system: What=b"], Ok("b")),
            (&["/run/systemd/system: What=a", "/etc/systemd/system: What=b"], Ok("b")),
            (&["/etc/systemd/system: What=a", "/etc/systemd/system.control: What=b"], Ok("b")),
            (&["/usr/lib/systemd/system: mask", "fstab: b"], Ok("b")),
            (&["/etc/systemd/system: mask", "fstab: b"], Err(Told::Masked)),
            (&["/etc/systemd/system: unreadable", "fstab: b"], Err(Told::Unclear)),
            (&["/etc/systemd/system: Where=/var", "fstab: b"], Err(Told::Unclear)),
            (&["/etc/systemd/system: What=a", "drop-in: What=x", "drop-in: What=b"], Ok("b")),
            (&["fstab: a", "drop-in: What=b"], Ok("b")),
            (&["fstab: a", "drop-in: Where=/x"], Err(Told::Unclear)),
            (&["fstab: a", "drop-in: unreadable"], Err(Told::Unclear)),
            (&["/etc/systemd/system: mask", "drop-in: What=b"], Err(Told::Masked)),
        ] {
            let found = match told(rows) {
                Told::Mount(entry) => Ok(entry.what),
                other => Err(other),
            };
            assert_eq!(found, expected.map(str::to_owned), "{rows:?}");
        }
    }
}
