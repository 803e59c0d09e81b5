//! systemd's version, also where only its program is at hand and cannot be executed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A version: `257.13-1~deb13u1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SystemdVersion {
    /// The number that counts: 257.
    pub number: u32,
    text: String,
}

/// A text that begins with no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no version of systemd")]
pub struct NotAVersion(String);

impl SystemdVersion {
    /// The version that the bytes of the program /usr/lib/systemd/systemd tell.
    ///
    /// First the line that it logs at start (src/core/main.c, "systemd VERSION running in %ssystem mode"); else
    /// the name of the library that the dynamic loader has to find, `libsystemd-core-257.so` at Debian,
    /// `libsystemd-shared-257.4-1.fc42.so` at Fedora (Meson's option shared-lib-tag).
    #[must_use]
    pub fn in_program(bytes: &[u8]) -> Option<Self> {
        const LOGGED: &[u8] = b" running in %ssystem mode";
        let logged = find(bytes, LOGGED).and_then(|at| {
            let start = bytes.get(..at)?;
            let begin = start.iter().rposition(|byte| *byte == 0).map_or(0, |zero| zero + 1);
            let line = std::str::from_utf8(start.get(begin..)?).ok()?;
            line.strip_prefix("systemd ")?.parse().ok()
        });
        let libraries = [b"libsystemd-core-".as_slice(), b"libsystemd-shared-"];
        logged.or_else(|| libraries.into_iter().find_map(|name| library(bytes, name)))
    }
}

impl SystemdVersion {
    /// The version of a running systemd, by the library of its own that /proc/PID/maps names.
    #[must_use]
    pub fn in_maps(maps: &str) -> Option<Self> {
        let libraries = ["/libsystemd-shared-", "/libsystemd-core-"];
        let rest = libraries.into_iter().find_map(|name| maps.split(name).nth(1))?;
        rest.lines().next()?.strip_suffix(".so")?.parse().ok()
    }
}

/// The version in a library's name, which a zero ends.
fn library(bytes: &[u8], name: &[u8]) -> Option<SystemdVersion> {
    /// NAME_MAX, include/uapi/linux/limits.h
    const LONGEST: usize = 255;
    let rest = bytes.get(find(bytes, name)?.checked_add(name.len())?..)?;
    let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
    std::str::from_utf8(rest.get(..end)?).ok()?.strip_suffix(".so")?.parse().ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

impl FromStr for SystemdVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number = text.get(..digits).and_then(|digits| digits.parse().ok());
        let number = number.ok_or_else(|| NotAVersion(text.to_owned()))?;
        Ok(Self { number, text: text.to_owned() })
    }
}

impl TryFrom<String> for SystemdVersion {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<SystemdVersion> for String {
    fn from(version: SystemdVersion) -> Self {
        version.text
    }
}

impl fmt::Display for SystemdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs() {
        for (bytes, expected) in [
            (&b"\0systemd 257.13-1~deb13u1 running in %ssystem mode (%s)\0"[..], Some("257.13-1~deb13u1")),
            (b"systemd 254 running in %ssystem mode", Some("254")),
            (b"\0libsystemd-core-262.so\0libc.so.6\0", Some("262")),
            (b"\0libc.so.6\0libsystemd-shared-257.4-1.fc42.so\0", Some("257.4-1.fc42")),
            // What it logs counts, whatever stands before it.
            (b"libsystemd-core-1.so\0systemd 259~rc1 running in %ssystem mode", Some("259~rc1")),
            (b"\0systemd unknown running in %ssystem mode\0libsystemd-core-255.so\0", Some("255")),
            (b"\0libsystemd-shared-.so\0", None),
            (b"\0libsystemd-shared-257", None),
            (b"\0libsystemd-shared-257\0", None),
            (b" running in %ssystem mode", None),
            (b"", None),
        ] {
            let got = SystemdVersion::in_program(bytes).map(|version| version.to_string());
            assert_eq!(got.as_deref(), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn numbers() {
        for (text, number) in [
            ("254.26-1~bpo12+1", Some(254)),
            ("262-1\n", Some(262)),
            ("258", Some(258)),
            ("v258", None),
            ("99999999999", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok().map(|v: SystemdVersion| v.number), number, "{text}");
        }
    }

    #[test]
    fn running() {
        for (maps, expected) in [
            ("7f r-xp 0 fe:0 9 /usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so\n", Some(257)),
            ("7f r-xp 0 fe:0 9 /usr/lib/x86_64-linux-gnu/systemd/libsystemd-core-254.so\n7f x\n", Some(254)),
            ("7f r-xp 0 fe:0 9 /usr/lib64/systemd/libsystemd-shared-262-1.fc45.so\n", Some(262)),
            ("7f r-xp 0 fe:0 9 /usr/lib/systemd/libsystemd-shared-.so\n", None),
            ("7f r-xp 0 fe:0 9 /usr/sbin/runit\n", None),
        ] {
            assert_eq!(SystemdVersion::in_maps(maps).map(|version| version.number), expected, "{maps}");
        }
    }
}
