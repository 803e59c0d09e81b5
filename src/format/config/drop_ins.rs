//! Which files count of several directories: a main file of configuration, its drop-ins, or certificates, by the rules
//! of systemd (systemd-system.conf(5), "Configuration Directories and Precedence").

use std::collections::{BTreeMap, btree_map::Entry::Vacant};

/// A directory, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its path.
    pub directory: String,
    /// What is in it, in any order.
    pub entries: Vec<Entry>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it leads to.
    pub kind: Kind,
}

/// What a name leads to, symbolic links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with something in it.
    File,
    /// An empty file, or /dev/null: files of this name in directories of lower priority do not count.
    Mask,
    /// Nothing, a directory, or something that is no file.
    Other,
}

/// The main file `name`: of `listings`, highest priority first, the first that has one decides. `None`
/// where none has it, or where it is masked.
#[must_use]
pub fn main_file(listings: &[Listing], name: &str) -> Option<String> {
    chosen(listings, |entry| entry.name == name).pop()
}

/// The drop-ins that count, in the order in which they are read: by name, regardless of the directory. Of
/// several of one name the one in the first of `listings` counts, highest priority first.
#[must_use]
pub fn drop_ins(listings: &[Listing]) -> Vec<String> {
    of_suffix(listings, ".conf")
}

/// The same for files of any kind, by the end of their names.
#[must_use]
pub fn of_suffix(listings: &[Listing], suffix: &str) -> Vec<String> {
    chosen(listings, |entry| entry.name.ends_with(suffix) && !entry.name.starts_with('.'))
}

fn chosen(listings: &[Listing], wanted: impl Fn(&Entry) -> bool) -> Vec<String> {
    let mut by_name = BTreeMap::new();
    for listing in listings {
        for entry in listing.entries.iter().filter(|entry| wanted(entry)) {
            if entry.kind != Kind::Other
                && let Vacant(place) = by_name.entry(&entry.name)
            {
                let path = format!("{}/{}", listing.directory, entry.name);
                place.insert((entry.kind == Kind::File).then_some(path));
            }
        }
    }
    by_name.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/etc: a.conf b.conf=null c.conf=other` a line.
    fn listings(text: &str) -> Vec<Listing> {
        text.lines()
            .map(|line| {
                let (directory, names) = line.split_once(':').unwrap();
                let entry = |word: &str| match word.split_once('=') {
                    Some((name, "null")) => Entry { name: name.to_owned(), kind: Kind::Mask },
                    Some((name, _)) => Entry { name: name.to_owned(), kind: Kind::Other },
                    None => Entry { name: word.to_owned(), kind: Kind::File },
                };
                Listing {
                    directory: directory.to_owned(),
                    entries: names.split_whitespace().map(entry).collect(),
                }
            })
            .collect()
    }

    #[test]
    fn order_and_masks() {
        for (text, expected) in [
            ("/etc:\n/usr:", &[][..]),
            (
                "/etc: 50-b.conf\n/usr: 40-c.conf 10-a.conf",
                &["/usr/10-a.conf", "/usr/40-c.conf", "/etc/50-b.conf"],
            ),
            ("/etc: a.conf\n/run: a.conf\n/usr: a.conf b.conf", &["/etc/a.conf", "/usr/b.conf"]),
            ("/etc: a.conf=null\n/run: a.conf\n/usr: b.conf", &["/usr/b.conf"]),
            ("/etc:\n/run: a.conf=null\n/usr: a.conf", &[]),
            ("/etc: b.conf\n/run: b.conf=null", &["/etc/b.conf"]),
            ("/etc: a.conf=directory b.conf=dangling\n/usr: a.conf", &["/usr/a.conf"]),
            (
                "/etc: a.conf~ .a.conf a b.conf.rpmsave README 9.conf 10.conf",
                &["/etc/10.conf", "/etc/9.conf"],
            ),
        ] {
            assert_eq!(drop_ins(&listings(text)), expected, "{text}");
        }
    }

    #[test]
    fn main_files() {
        for (text, expected) in [
            ("/etc:\n/usr:", None),
            ("/etc: n.conf\n/usr: n.conf", Some("/etc/n.conf")),
            ("/etc: m.conf\n/run:\n/usr: n.conf", Some("/usr/n.conf")),
            ("/etc: n.conf=null\n/usr: n.conf", None),
            ("/etc: n.conf=directory\n/usr: n.conf", Some("/usr/n.conf")),
        ] {
            assert_eq!(main_file(&listings(text), "n.conf").as_deref(), expected, "{text}");
        }
    }
}
