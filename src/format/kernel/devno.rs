//! Device numbers as the kernel prints them, `254:2` (/sys/class/block/*/dev).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The number of a block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Devno {
    /// The driver's number: 12 bits.
    pub major: u32,
    /// The device's number within the driver: 20 bits.
    pub minor: u32,
}

/// Text that is no device number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a device number (MAJOR:MINOR, in decimal)")]
pub struct NotADevno(pub String);

impl FromStr for Devno {
    type Err = NotADevno;

    fn from_str(text: &str) -> Result<Self, NotADevno> {
        let number = |part: &str, bits: u32| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u32>().ok().filter(|n| digits && *n < 1 << bits)
        };
        text.split_once(':')
            .and_then(|(major, minor)| Some(Self { major: number(major, 12)?, minor: number(minor, 20)? }))
            .ok_or_else(|| NotADevno(text.to_owned()))
    }
}

impl fmt::Display for Devno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl TryFrom<String> for Devno {
    type Error = NotADevno;
    fn try_from(text: String) -> Result<Self, NotADevno> {
        text.parse()
    }
}

impl From<Devno> for String {
    fn from(devno: Devno) -> String {
        devno.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, expected) in [
            ("254:2", Some((254, 2))),
            ("0:0", Some((0, 0))),
            ("4095:1048575", Some((4095, 1_048_575))),
            ("4096:0", None),
            ("1:1048576", None),
            ("+1:2", None),
            ("1:", None),
            (":1", None),
            ("12", None),
            ("1:2:3", None),
            ("", None),
        ] {
            let got = text.parse::<Devno>().ok();
            assert_eq!(got, expected.map(|(major, minor)| Devno { major, minor }), "{text}");
            if let Some(devno) = got {
                assert_eq!(devno.to_string(), text);
            }
        }
    }
}
