//! Who asked logind to hold a shutdown back: the files of /run/systemd/inhibit (src/login/logind-inhibit.c,
//! `inhibitor_save`).

use serde::{Deserialize, Serialize};

/// A lock that somebody holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibitor {
    /// `WHAT=`: `shutdown:sleep`.
    pub what: Vec<String>,
    /// `WHO=`: the program, for people.
    pub who: String,
    /// `WHY=`: the reason, for people.
    pub why: String,
    /// `MODE=`: `block`, `block-weak` or `delay`.
    pub mode: String,
    /// `PID=`: who holds it.
    pub pid: Option<u32>,
}

impl Inhibitor {
    /// Reads a file. Assignments that are not needed are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut inhibitor = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = plain(value.trim_matches('"'));
            match name {
                "WHAT" => inhibitor.what = value.split(':').map(str::to_owned).collect(),
                "WHO" => inhibitor.who = value,
                "WHY" => inhibitor.why = value,
                "MODE" => inhibitor.mode = value,
                "PID" => inhibitor.pid = value.parse().ok(),
                _ => {}
            }
        }
        inhibitor
    }

    /// Whether it is about shutting down.
    #[must_use]
    pub fn is_about_shutdown(&self) -> bool {
        self.what.iter().any(|what| what == "shutdown")
    }

    /// Whether it forbids what it is about, and does not only delay it.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.mode.starts_with("block")
    }
}

/// Text without the escapes of cescape(): `\x20`, `\n`, `\"`.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, after) = match (first, tail) {
            (b'\\', [b'x', high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (*first, tail),
            },
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [other @ (b'"' | b'\'' | b'\\'), after @ ..]) => (*other, after),
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file() {
        let text = "# This is private data. Do not parse.\nWHAT=shutdown:sleep\nMODE=block\nUID=0\nPID=77\n\
            WHO=Unattended Upgrades\nWHY=Stop\\x20it \\\"now\\\"\\n\nFIFO=/run/systemd/inhibit/1.ref\n";
        let inhibitor = Inhibitor::parse(text);
        assert_eq!(inhibitor.what, ["shutdown", "sleep"]);
        assert_eq!((inhibitor.pid, inhibitor.who.as_str()), (Some(77), "Unattended Upgrades"));
        assert_eq!(inhibitor.why, "Stop it \"now\"\n");
        assert_eq!(Inhibitor::parse("nonsense\nPID=x\n"), Inhibitor::default());
    }

    #[test]
    fn what_counts() {
        for (text, about, blocks) in [
            ("WHAT=shutdown\nMODE=block", true, true),
            ("WHAT=idle:shutdown\nMODE=block-weak", true, true),
            ("WHAT=shutdown\nMODE=delay", true, false),
            ("WHAT=handle-power-key\nMODE=block", false, true),
            ("", false, false),
        ] {
            let inhibitor = Inhibitor::parse(text);
            assert_eq!((inhibitor.is_about_shutdown(), inhibitor.blocks()), (about, blocks), "{text}");
        }
    }

    #[test]
    fn escapes() {
        for (text, expected) in
            [(r"\x4", r"\x4"), (r"\xzz", r"\xzz"), (r"\", r"\"), (r"\q", r"\q"), (r"\x41\\", r"A\")]
        {
            assert_eq!(plain(text), expected);
        }
    }
}
