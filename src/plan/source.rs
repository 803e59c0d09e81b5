//! How a user names a root image, and what the root hash proves that comes with it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::format::{
    system::versioned_directory::Pattern,
    verity::root_hash::{NotARootHash, RootHash},
};

use super::{
    intent::Tag,
    tag::{self, Name},
};

/// A root image, as it was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A data device: `/dev/...`, `PARTUUID=`, `PARTLABEL=`, `UUID=`, `LABEL=`.
    Device(Tag),
    /// A data device that device-mapper makes, such as a logical volume: `/dev/mapper/NAME`.
    Mapper(String),
    /// Partitions whose UUIDs are the two halves of a root hash: `roothash:HEX`.
    RootHash(RootHash),
    /// An image file.
    File(String),
    /// The newest file of a versioned directory: `DIR.v/`, as it was written.
    Directory(String),
    /// The newest complete slot on the disk that is not running: `slot:other`.
    OtherSlot,
    /// The root that ran before: `previous`.
    Previous,
}

/// Where a root hash comes from that was not written into the command line or the configuration of a boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootHashFrom {
    /// Whoever asked for this image wrote it.
    Given,
    /// An unsigned file beside the image.
    File(String),
    /// The UUIDs of both partitions, joined.
    PartitionUuids,
}

/// A text that names no root image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing at all.
    #[error("no root image is named: write {FORMS}")]
    Empty,
    /// A root hash that is none.
    #[error("\"{text}\" names no root image")]
    RootHash {
        /// What was written.
        text: String,
        /// Why not.
        #[source]
        source: NotARootHash,
    },
    /// Something else.
    #[error("\"{text}\" names no root image: {why}")]
    Form {
        /// What was written.
        text: String,
        /// Why not, and what to write.
        why: String,
    },
}

const FORMS: &str = "a device (/dev/NAME, PARTUUID=, PARTLABEL=, UUID=, LABEL=), roothash:HEX, slot:other, previous, \
    the path of an image file, or DIR.v/";

impl RootHashFrom {
    /// Whether whoever can write to the image can choose the hash too. It then protects against damage, not against
    /// an attacker, and counts as `unprotected` in a policy.
    #[must_use]
    pub fn is_unprotected(&self) -> bool {
        !matches!(self, Self::Given)
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Form { text: text.to_owned(), why };
        match text {
            "" => return Err(Error::Empty),
            "previous" => return Ok(Self::Previous),
            _ if text.contains('\0') => return Err(wrong("a name has no zero bytes".to_owned())),
            _ => {}
        }
        if let Some(slot) = text.strip_prefix("slot:") {
            let why = "the slot is \"other\", the one that is not running: write slot:other".to_owned();
            return if slot == "other" { Ok(Self::OtherSlot) } else { Err(wrong(why)) };
        }
        if let Some(hash) = text.strip_prefix("roothash:") {
            let wrong = |source| Error::RootHash { text: text.to_owned(), source };
            return hash.parse().map(Self::RootHash).map_err(wrong);
        }
        let first = text.split('/').next().unwrap_or_default();
        if text.starts_with("/dev/") || first.contains('=') || is_number(text) {
            return match tag::parse(text) {
                Ok(Name::Tag(tag)) => Ok(Self::Device(tag)),
                Ok(Name::Mapper(name)) => Ok(Self::Mapper(name)),
                Err(why) => Err(wrong(why)),
            };
        }
        if first.contains(':') {
            let why =
                format!("\"{first}\" is no kind of source (a file of this name is ./{text}): write {FORMS}");
            return Err(wrong(why));
        }
        path(text).map_err(wrong)
    }
}

/// `MAJOR:MINOR`
fn is_number(text: &str) -> bool {
    text.parse::<crate::format::kernel::devno::Devno>().is_ok()
}

fn path(text: &str) -> Result<Source, String> {
    if Pattern::of(text).is_some() {
        return Ok(Source::Directory(text.to_owned()));
    }
    let last = text.rsplit('/').next().unwrap_or_default();
    match last {
        "" | "." | ".." => {
            Err("a directory is no root image, unless it is a versioned one: DIR.v/".to_owned())
        }
        // A word alone is more likely a slip than a file.
        _ if last == text && !text.contains('.') => {
            Err(format!("write {FORMS} (a file of this name is ./{text})"))
        }
        _ => Ok(Source::File(text.to_owned())),
    }
}

impl fmt::Display for Source {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(tag) => tag.fmt(f),
            Self::Mapper(name) => write!(f, "/dev/mapper/{name}"),
            Self::RootHash(hash) => write!(f, "roothash:{hash}"),
            Self::File(path) | Self::Directory(path) => f.write_str(path),
            Self::OtherSlot => f.write_str("slot:other"),
            Self::Previous => f.write_str("previous"),
        }
    }
}

impl fmt::Display for RootHashFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => f.write_str("the request"),
            Self::File(path) => write!(f, "{path}, which is not signed (unprotected)"),
            Self::PartitionUuids => f.write_str("the UUIDs of the partitions (unprotected)"),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> String {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let hash = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
        let by_hash = format!("roothash:{hash}");
        let name = |name: &str| Source::Device(Tag::Name(name.to_owned()));
        let label = Source::Device(Tag::Label("my root".to_owned()));
        let file = |path: &str| Source::File(path.to_owned());
        let directory = |path: &str| Source::Directory(path.to_owned());
        for (text, expected, shown) in [
            ("/dev/vda2", name("vda2"), "/dev/vda2"),
            ("/dev/cciss/c0d0p1", name("cciss!c0d0p1"), "/dev/cciss/c0d0p1"),
            ("LABEL=my root", label.clone(), "LABEL=my root"),
            ("LABEL=\"my root\"", label.clone(), "LABEL=my root"),
            ("/dev/disk/by-label/my\\x20root", label, "LABEL=my root"),
            ("UUID=1234-ABCD", Source::Device(Tag::Uuid("1234-ABCD".to_owned())), "UUID=1234-ABCD"),
            ("PARTLABEL=a/b", Source::Device(Tag::PartLabel("a/b".to_owned())), "PARTLABEL=a/b"),
            (
                "PARTUUID=0000ABCD-02",
                Source::Device(Tag::PartUuid("0000abcd-02".to_owned())),
                "PARTUUID=0000abcd-02",
            ),
            ("254:2", Source::Device(Tag::Number("254:2".parse().unwrap())), "/dev/block/254:2"),
            ("/dev/mapper/vg-root", Source::Mapper("vg-root".to_owned()), "/dev/mapper/vg-root"),
            (&by_hash, Source::RootHash(hash.parse().unwrap()), &by_hash),
            ("slot:other", Source::OtherSlot, "slot:other"),
            ("previous", Source::Previous, "previous"),
            ("./previous", file("./previous"), "./previous"),
            ("/images/os.raw", file("/images/os.raw"), "/images/os.raw"),
            ("os.raw", file("os.raw"), "os.raw"),
            ("/images/a=b:c", file("/images/a=b:c"), "/images/a=b:c"),
            ("/images/os.raw.v/", directory("/images/os.raw.v/"), "/images/os.raw.v/"),
            ("os.v", directory("os.v"), "os.v"),
            ("/images.v/os___.raw", directory("/images.v/os___.raw"), "/images.v/os___.raw"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source, expected, "{text}");
            assert_eq!(source.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn what_is_no_source() {
        for (text, expected) in [
            ("", "no root image is named: write a device"),
            ("slot:a", "\"slot:a\" names no root image: the slot is \"other\""),
            ("slot:", "write slot:other"),
            ("Previous", "write a device (/dev/NAME"),
            ("other", "(a file of this name is ./other)"),
            ("https://example.org/os.raw", "\"https:\" is no kind of source"),
            ("oci:os", "a file of this name is ./oci:os"),
            ("FOO=bar", "FOO= is not a way to name a device"),
            ("UUID=", "UUID= needs a value"),
            ("PARTUUID=x", "\"x\" is no PARTUUID"),
            ("/dev/../etc/os.raw", "is no device: write /dev/NAME"),
            ("/dev/nfs", "network file systems"),
            ("/images/", "a directory is no root image, unless it is a versioned one: DIR.v/"),
            ("/", "a directory is no root image"),
            ("..", "a directory is no root image"),
            ("a\0.raw", "zero bytes"),
        ] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = "roothash:12".parse::<Source>().unwrap_err();
        assert_eq!(error.to_string(), "\"roothash:12\" names no root image");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("has 2 hexadecimal digits"));
    }

    #[test]
    fn what_a_root_hash_proves() {
        for (from, unprotected, text) in [
            (RootHashFrom::Given, false, "the request"),
            (
                RootHashFrom::File("/images/os.roothash".to_owned()),
                true,
                "/images/os.roothash, which is not signed (unprotected)",
            ),
            (RootHashFrom::PartitionUuids, true, "the UUIDs of the partitions (unprotected)"),
        ] {
            assert_eq!((from.is_unprotected(), from.to_string().as_str()), (unprotected, text));
        }
    }
}
