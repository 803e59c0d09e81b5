//! Unified kernel images: PE programs whose sections hold a kernel, its command line and the os-release of its system
//! (UAPI specification "Unified Kernel Image").

use object::{
    ReadRef,
    read::{Object, ObjectSection, pe::PeFile64},
};

use crate::format::system::os_release::OsRelease;

/// What such an image says of the system that it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uki {
    /// The kernel command line, `.cmdline`: one for each profile that has its own.
    pub command_lines: Vec<String>,
    /// `.osrel`
    pub os_release: OsRelease,
}

/// A file that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No PE program for a 64-bit machine, or a damaged one.
    #[error("it is no PE program for a 64-bit machine, or damaged")]
    NotPe,
    /// A section that cannot be read, or is longer than what it holds may be.
    #[error("its section {0} cannot be read, or is longer than {LONGEST} bytes")]
    Section(&'static str),
}

/// How long a text in it may be.
const LONGEST: u64 = 64 << 10;
/// How many sections a file may have.
const MOST_SECTIONS: usize = 512;

impl Uki {
    /// Reads the headers of a file, and the sections with text.
    pub fn parse<'a>(file: impl ReadRef<'a>) -> Result<Self, Error> {
        let program = PeFile64::parse(file).map_err(|_| Error::NotPe)?;
        let mut uki = Self::default();
        for section in program.sections().take(MOST_SECTIONS) {
            let text = |name| {
                let bytes = (section.size() <= LONGEST).then(|| section.data().ok()).flatten();
                let bytes = bytes.ok_or(Error::Section(name))?;
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned())
            };
            match section.name_bytes() {
                Ok(b".cmdline") => uki.command_lines.push(text(".cmdline")?.trim().to_owned()),
                Ok(b".osrel") => {
                    uki.os_release = OsRelease::parse(text(".osrel")?.as_bytes()).unwrap_or_default();
                }
                _ => {}
            }
        }
        Ok(uki)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With four sections, as the linker of an image lays them: two command lines, padding behind them.
    const IMAGE: &[u8] = include_bytes!("../../../fuzz/corpus/uki/image");

    #[test]
    fn images() {
        let uki = Uki::parse(IMAGE).unwrap();
        assert_eq!(uki.command_lines, ["root=dissect quiet", "roothash=ab"]);
        let OsRelease { image_id, image_version, .. } = uki.os_release;
        assert_eq!((image_id.as_deref(), image_version.as_deref()), (Some("os"), Some("2")));
        for (file, expected) in [
            (&b"MZ"[..], Error::NotPe),
            (b"#!/bin/sh", Error::NotPe),
            (&IMAGE[..200], Error::NotPe),
            (&IMAGE[..1100], Error::Section(".cmdline")),
        ] {
            assert_eq!(Uki::parse(file), Err(expected), "{} bytes", file.len());
        }
        // A section that claims to be longer than a text may be.
        let mut long = IMAGE.to_vec();
        let at = long.windows(8).position(|name| name == b".osrel\0\0").unwrap();
        for field in [at + 8, at + 16] {
            long[field..field + 4].copy_from_slice(&0x7fff_0000_u32.to_le_bytes());
        }
        assert_eq!(Uki::parse(long.as_slice()), Err(Error::Section(".osrel")));
    }
}
