//! Settings in files of systemd (systemd.syntax(7)): units, networks, system.conf; and what names units have.

use crate::format::config::ini;

/// What kinds of units there are (systemd.unit(5)).
pub const KINDS: [&str; 11] = [
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
    "device",
];

/// The kind of the unit of this name: `service`, `socket` ...
#[must_use]
pub fn kind(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, kind)| kind)
}

/// Whether this can be the name of a unit (systemd.unit(5)).
#[must_use]
pub fn is_unit(name: &str) -> bool {
    const LONGEST: usize = 255;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    name.len() <= LONGEST
        && name.bytes().all(allowed)
        && name.rsplit_once('.').is_some_and(|(name, kind)| !name.is_empty() && KINDS.contains(&kind))
}

/// All values that a section assigns to a key, in order. An empty assignment takes back those before it.
#[must_use]
pub fn values(text: &str, section: &str, key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for assignment in ini::parse_leniently(text) {
        match assignment.value {
            _ if assignment.section != section || assignment.key != key => {}
            value if value.is_empty() => values.clear(),
            value => values.push(value),
        }
    }
    values
}

/// The program of a line of `ExecStart=`, without what stands before it to say how it is executed (systemd.service(5), "Command lines"); `None` where
/// it is looked for in directories.
#[must_use]
pub fn program(line: &str) -> Option<&str> {
    let word = line.trim_start_matches(['@', '-', ':', '+', '!', '|']).split_ascii_whitespace().next()?;
    let word = word.trim_matches(['"', '\'']);
    word.starts_with('/').then_some(word)
}

/// A boolean as systemd writes them (parse_boolean).
#[must_use]
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let text = "K=0\n[A]\nK=1\n # K=2\n; K=2\nK = a = b \nnonsense\n[B]\nK=3\nKK=9\n[A]\nK=4\n";
        for (section, key, expected) in
            [("A", "K", &["1", "a = b", "4"][..]), ("B", "K", &["3"]), ("B", "k", &[]), ("C", "K", &[])]
        {
            assert_eq!(values(text, section, key), expected, "[{section}] {key}");
        }
        assert_eq!(values("[A]\nK=1\nK=\nK=2", "A", "K"), ["2"]);
        assert_eq!(values("[A]\nK=1\nK=", "A", "K"), [""; 0]);
        assert_eq!(values("[A]\nK=a,\\\n  K=b\n", "A", "K"), ["a,   K=b"]);
    }

    #[test]
    fn programs() {
        for (line, expected) in [
            ("/usr/bin/a -b", Some("/usr/bin/a")),
            ("-@/usr/bin/a a0 -b", Some("/usr/bin/a")),
            ("+!!\"/usr/bin/a\" b", Some("/usr/bin/a")),
            ("systemctl start x", None),
            ("", None),
            ("@", None),
        ] {
            assert_eq!(program(line), expected, "{line}");
        }
    }

    #[test]
    fn booleans() {
        for (text, expected) in
            [("yes", Some(true)), ("On", Some(true)), ("0", Some(false)), ("exec", None), ("", None)]
        {
            assert_eq!(boolean(text), expected, "{text}");
        }
    }
}
