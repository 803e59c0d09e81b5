//! fstab(5): what a system mounts where, as far as it is needed to tell whether it would mount the same again.

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The device or file system, as written: `UUID=...`, `/dev/vda3`, `tmpfs`.
    pub what: String,
    /// Where.
    pub at: String,
    /// The type.
    pub fstype: String,
    /// The options, separated by commas, as written; empty where they are left out.
    pub options: String,
}

impl Entry {
    /// Whether an option stands there by itself.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }
}

/// Reads a file. Comments and rows that lack a field are passed over, as mount(8) and systemd do.
#[must_use]
pub fn parse(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (what, at, fstype) = (fields.next()?, fields.next()?, fields.next()?);
        let at = unescape(at);
        let at = match at.trim_end_matches('/') {
            "" => "/".to_owned(), // however many slashes
            trimmed => trimmed.to_owned(),
        };
        let options = fields.next().unwrap_or_default().to_owned();
        Some(Entry { what: unescape(what), at, fstype: fstype.to_owned(), options })
    };
    text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(entry).collect()
}

/// Octal escapes, `\040` for a space.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.split_at_checked(3).filter(|_| *first == b'\\').and_then(|(digits, after)| {
            let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
            Some((byte, after))
        });
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let text = "# comment\n\n/dev/vda3 /var ext4 defaults 0 2\n LABEL=my\\040data\t/srv/a\\040b/ auto\n\
                    incomplete /x\ntmpfs / tmpfs\nx \\777 y\n";
        let expected = [
            ("/dev/vda3", "/var", "ext4"),
            ("LABEL=my data", "/srv/a b", "auto"),
            ("tmpfs", "/", "tmpfs"),
            ("x", "\\777", "y"),
        ];
        let found = parse(text);
        let found: Vec<_> =
            found.iter().map(|e| (e.what.as_str(), e.at.as_str(), e.fstype.as_str())).collect();
        assert_eq!(found, expected);
    }

    /// Two slashes were no place at all.
    #[test]
    fn a_root_of_several_slashes() {
        for (line, at) in [("a // b", "/"), ("a / b", "/"), ("a ///x// b", "///x")] {
            assert_eq!(parse(line).first().map(|entry| entry.at.as_str()), Some(at), "{line}");
        }
    }

    #[test]
    fn options() {
        let [var, opt] = parse("LABEL=a /var ext4 rw,noauto 0 2\nLABEL=b /opt xfs\n").try_into().unwrap();
        for (option, there) in [("noauto", true), ("rw", true), ("auto", false), ("", false)] {
            assert_eq!(var.has(option), there, "{option}");
            assert!(!opt.has(option) || option.is_empty());
        }
    }
}
