//! What an operating system says of itself: os-release(5).
//!
//! Assignments as in a shell script, one a line, and nothing else of the shell: no expansion, and no value made
//! of several quoted pieces.

use serde::{Deserialize, Serialize};

use crate::format::bytes::printable;

/// Where it may stand in a root, highest priority first.
pub const PLACES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// The one in /usr.
pub const IN_USR: &str = "usr/lib/os-release";

/// The fields that tell one image from another. A field that is empty is as one that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsRelease {
    /// `PRETTY_NAME=`: for people.
    pub pretty_name: Option<String>,
    /// `ID=`: the distribution.
    pub id: Option<String>,
    /// `VERSION_ID=`: its version.
    pub version_id: Option<String>,
    /// `IMAGE_ID=`: the image built from it.
    pub image_id: Option<String>,
    /// `IMAGE_VERSION=`: the image's version.
    pub image_version: Option<String>,
}

/// A file that cannot be understood. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bytes that are not UTF-8.
    #[error("line {0} of os-release is not UTF-8")]
    NotText(usize),
    /// A value whose quotes do not match, or stand inside of it.
    #[error("line {line} of os-release: the quotes of {name}= do not enclose the whole value")]
    Quotes {
        /// Its place.
        line: usize,
        /// The variable.
        name: String,
    },
}

impl OsRelease {
    /// Reads a file. Variables that are not needed, comments and anything that is no assignment are passed
    /// over; of two assignments the last counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut release = Self::default();
        for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText(line))?;
            let Some((name, value)) = text.trim_start().split_once('=') else { continue };
            let field = match name {
                "PRETTY_NAME" => &mut release.pretty_name,
                "ID" => &mut release.id,
                "VERSION_ID" => &mut release.version_id,
                "IMAGE_ID" => &mut release.image_id,
                "IMAGE_VERSION" => &mut release.image_version,
                _ => continue,
            };
            let value = assigned(value).ok_or_else(|| Error::Quotes { line, name: name.to_owned() })?;
            *field = Some(value).filter(|value| !value.is_empty());
        }
        Ok(release)
    }

    /// What to call it in messages; `Linux` where it does not say, as os-release(5) has it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pretty_name.as_deref().unwrap_or("Linux")
    }
}

/// One variable's value, of os-release or of an extension-release; `None` where it is not there, empty, or
/// cannot be read.
#[must_use]
pub fn variable(bytes: &[u8], wanted: &str) -> Option<String> {
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut values =
        lines.filter_map(|line| line.trim_start().split_once('=')).filter(|(name, _)| *name == wanted);
    values.next_back().and_then(|(_, value)| assigned(value)).filter(|value| !value.is_empty())
}

/// The value of a line, without what os-release(5) would not have in it: characters that cannot be printed.
fn assigned(text: &str) -> Option<String> {
    unquote(text.trim()).map(|value| printable(&value, '?'))
}

/// The value that a shell would assign; `None` where quotes are not closed or do not enclose all of it.
fn unquote(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('\'') {
        return inner.strip_suffix('\'').filter(|value| !value.contains('\'')).map(str::to_owned);
    }
    let quoted = text.starts_with('"');
    let mut rest = text.strip_prefix('"').unwrap_or(text).chars();
    let mut value = String::with_capacity(text.len());
    while let Some(next) = rest.next() {
        match next {
            '"' if quoted => return rest.as_str().is_empty().then_some(value),
            '"' | '\'' if !quoted => return None,
            '\\' => {
                let escaped = rest.next()?;
                // Inside of quotes a backslash protects only what would be special there.
                if quoted && !"$\"`\\".contains(escaped) {
                    value.push('\\');
                }
                value.push(escaped);
            }
            other => value.push(other),
        }
    }
    (!quoted).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trixie_with_an_image() {
        let file = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\n\
            VERSION_CODENAME=trixie\n# a comment\n\nID=debian\nIMAGE_ID='kiosk'\nIMAGE_VERSION=1.2~rc1\n";
        let text = |text: &str| Some(text.to_owned());
        let expected = OsRelease {
            pretty_name: text("Debian GNU/Linux 13 (trixie)"),
            id: text("debian"),
            version_id: text("13"),
            image_id: text("kiosk"),
            image_version: text("1.2~rc1"),
        };
        assert_eq!(OsRelease::parse(file.as_bytes()), Ok(expected));
    }

    #[test]
    fn values() {
        let quotes = || Err(Error::Quotes { line: 1, name: "ID".to_owned() });
        for (line, expected) in [
            ("ID=a", Ok(Some("a"))),
            ("  ID=a \r", Ok(Some("a"))),
            ("ID=", Ok(None)),
            ("ID=\"\"", Ok(None)),
            ("ID=''", Ok(None)),
            ("ID=\"a b\" ", Ok(Some("a b"))),
            (r#"ID="\$ \" \` \\ \n""#, Ok(Some(r#"$ " ` \ \n"#))),
            (r"ID='\$ a'", Ok(Some(r"\$ a"))),
            (r"ID=a\ b\'", Ok(Some("a b'"))),
            ("ID=a=b", Ok(Some("a=b"))),
            ("ID=\u{e9}", Ok(Some("\u{e9}"))),
            ("ID=a\nID=b", Ok(Some("b"))),
            ("ID=a\nID=", Ok(None)),
            ("#ID=a", Ok(None)),
            ("XID=a", Ok(None)),
            ("id=a", Ok(None)),
            ("ID", Ok(None)),
            ("", Ok(None)),
            ("NAME=\"open", Ok(None)),
            ("ID=\"open", quotes()),
            ("ID=\"open\\\"", quotes()),
            ("ID='open", quotes()),
            ("ID='", quotes()),
            ("ID=\"", quotes()),
            ("ID=\"a\"b", quotes()),
            ("ID='a''b'", quotes()),
            ("ID=a\"b\"", quotes()),
            ("ID=a\\", quotes()),
        ] {
            let got = OsRelease::parse(line.as_bytes()).map(|release| release.id);
            assert_eq!(got, expected.map(|id| id.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn variables() {
        let file = b"ID=_any\nSYSEXT_LEVEL='2'\nA=\nB=\"\nX=1\nX=2\n\xff=\n";
        for (name, value) in [
            ("ID", Some("_any")),
            ("SYSEXT_LEVEL", Some("2")),
            ("A", None),
            ("B", None),
            ("X", Some("2")),
            ("C", None),
        ] {
            assert_eq!(variable(file, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn names() {
        for (file, name) in [
            ("PRETTY_NAME=Kiosk", "Kiosk"),
            ("PRETTY_NAME=", "Linux"),
            ("", "Linux"),
            ("PRETTY_NAME=\"\u{1b}[2J\u{9b}1mKiosk\r\"", "?[2J?1mKiosk?"),
        ] {
            assert_eq!(OsRelease::parse(file.as_bytes()).unwrap().name(), name, "{file}");
        }
        assert_eq!(OsRelease::parse(b"ID=a\nID=\xff\n"), Err(Error::NotText(2)));
    }
}
