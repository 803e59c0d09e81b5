//! Mount units (systemd.mount(5)): what they mount, and how the unit of a place is called.

use crate::format::{config::ini, system::fstab::Entry};

/// A unit that mounts nothing, or of which cannot be told what it mounts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// systemd refuses it: "What= setting is missing".
    #[error("What= is missing")]
    NoWhat,
    /// systemd refuses it: "Where= setting doesn't match unit name".
    #[error("Where={at} does not fit its name, {name}")]
    Elsewhere {
        /// What it says.
        at: String,
        /// The unit's name.
        name: String,
    },
    /// A specifier (systemd.unit(5), "Specifiers"), which is not known before the system runs.
    #[error("{key}={value} has a specifier")]
    Specifier {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

/// Reads the unit of the place `at`: its file, then its drop-ins in the order in which they count. Without a Where=
/// the name says it, as in systemd (src/core/mount.c, `mount_add_extras`).
pub fn parse(at: &str, files: &[&str]) -> Result<Entry, Error> {
    let (what, options) = (String::new(), String::new());
    amend(Entry { what, at: at.to_owned(), fstype: "auto".to_owned(), options }, files)
}

/// What drop-ins make of a mount. The last value wins, and an empty one takes back those before it.
pub fn amend(mut entry: Entry, files: &[&str]) -> Result<Entry, Error> {
    let name = unit_name(&entry.at);
    let mut at = String::new();
    for file in files {
        for ini::Assignment { section, key, value, .. } in ini::parse_leniently(file) {
            let place = match key.as_str() {
                "What" => &mut entry.what,
                "Where" => &mut at,
                "Type" => &mut entry.fstype,
                "Options" => &mut entry.options,
                _ => continue,
            };
            if section == "Mount" {
                *place = unspecified(&value).ok_or(Error::Specifier { key, value })?;
            }
        }
    }
    if entry.what.is_empty() {
        return Err(Error::NoWhat);
    }
    if !at.is_empty() && unit_name(&at) != name {
        return Err(Error::Elsewhere { at, name });
    }
    Ok(entry)
}

/// The name of a place's mount unit, as `systemd-escape --path --suffix=mount` gives it (systemd.unit(5), "String
/// escaping for inclusion in unit names"). One that is longer than a file's name can be, systemd hashes: it has no file.
#[must_use]
pub fn unit_name(at: &str) -> String {
    let parts: Vec<&str> = at.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let mut name = String::new();
    for (position, byte) in parts.join("/").bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if position > 0 => name.push('.'),
            b':' | b'_' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name += &format!("\\x{byte:02x}"),
        }
    }
    if name.is_empty() { "-.mount".to_owned() } else { name + ".mount" }
}

/// The directory of the drop-ins of all mount units (systemd.unit(5)).
pub const DROP_INS_OF_ALL: &str = "mount.d";

/// The directories of a unit's own drop-ins, what goes first first: its own, and those of what its name begins with up to
/// a dash (systemd.unit(5)).
#[must_use]
pub fn drop_in_directories(name: &str) -> Vec<String> {
    let stem = name.strip_suffix(".mount").unwrap_or(name);
    let dashes = stem.rmatch_indices('-').filter_map(|(at, _)| stem.get(..=at));
    // A name that ends with a dash is its own beginning.
    let names = std::iter::once(stem).chain(dashes.filter(|beginning| *beginning != stem));
    names.map(|name| format!("{name}.mount.d")).collect()
}

/// A value without specifiers: `%%` is a percent sign.
fn unspecified(value: &str) -> Option<String> {
    let mut parts = value.split("%%");
    parts.all(|part| !part.contains('%')).then(|| value.replace("%%", "%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(at: &str, files: &[&str]) -> Result<String, String> {
        let show = |entry: Entry| format!("{} {} {} {}", entry.what, entry.at, entry.fstype, entry.options);
        parse(at, files).map(show).map_err(|error| error.to_string())
    }

    #[test]
    fn units() {
        for (text, expected) in [
            ("[Mount]\nWhat=/dev/vda3\nWhere=/var\nType=ext4\nOptions=rw\n", Ok("/dev/vda3 /var ext4 rw")),
            ("# c\n[Mount]\nWhat = LABEL=my data \nnonsense\n", Ok("LABEL=my data /var auto ")),
            ("[Mount]\nWhat=a\nOptions=rw,\\\n  subvol=@b\n", Ok("a /var auto rw,   subvol=@b")),
            ("[Mount]\nWhat=a\nWhat=b\nWhere=/x\nWhere=//var/./\n[X]\nWhat=c\n", Ok("b /var auto ")),
            ("[Mount]\nWhat=a\nWhere=/x\nWhere=\nType=x\nType=\n", Ok("a /var  ")),
            ("[Mount]\nWhat=100%%\n", Ok("100% /var auto ")),
            ("[Mount]\nWhat=%%%h\n", Err("What=%%%h has a specifier")),
            ("[Mount]\nWhat=a\nWhat=\n", Err("What= is missing")),
            ("[Unit]\nWhat=a\n", Err("What= is missing")),
            ("What=a\n", Err("What= is missing")),
            ("[Mount\nWhat=a\n", Err("What= is missing")),
            ("\0\0\0", Err("What= is missing")),
            ("[Mount]\nWhat=a\nWhere=/vars\n", Err("Where=/vars does not fit its name, var.mount")),
            ("[Mount]\nWhat=a\nWhere=/\n", Err("Where=/ does not fit its name, var.mount")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(shown("/var", &[text]), expected, "{text:?}");
        }
    }

    #[test]
    fn drop_ins() {
        let unit = "[Mount]\nWhat=a\nOptions=ro\n\\";
        for (files, expected) in [
            (&["[Mount]\nWhat=b\n", "[Unit]\nWhat=c\n"][..], Ok("b /var auto ro")),
            (&["[Mount]\nOptions=\n"], Ok("a /var auto ")),
            // Each has to begin with its own section.
            (&["What=b\n"], Ok("a /var auto ro")),
            (&["[Mount]\nWhat=\n"], Err("What= is missing")),
        ] {
            let all = [&[unit], files].concat();
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(shown("/var", &all), expected, "{files:?}");
        }
    }

    #[test]
    fn names() {
        for (at, name) in [
            ("/", "-.mount"),
            ("", "-.mount"),
            ("/var", "var.mount"),
            ("//var//lib/./x-y/", r"var-lib-x\x2dy.mount"),
            ("/.hidden/.b", r"\x2ehidden-.b.mount"),
            ("/a b/ü", r"a\x20b-\xc3\xbc.mount"),
            (r"/a\b", r"a\x5cb.mount"),
            ("/a:b_c.d", "a:b_c.d.mount"),
            ("/tmp/@x", r"tmp-\x40x.mount"),
        ] {
            assert_eq!(unit_name(at), name, "{at}");
        }
        for (name, expected) in [
            ("var.mount", &["var.mount.d"][..]),
            (r"a-b\x2dc-d.mount", &[r"a-b\x2dc-d.mount.d", r"a-b\x2dc-.mount.d", "a-.mount.d"]),
            ("-.mount", &["-.mount.d"]),
        ] {
            assert_eq!(drop_in_directories(name), expected, "{name}");
        }
    }
}
