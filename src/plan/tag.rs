//! How a block device is named on the command line.

use std::fmt;

use crate::format::{disk::guid::Guid, kernel::devno::Devno};

use super::{
    intent::Tag,
    invalid::{Error, value_error},
    request::Given,
};

/// What a device name is, once it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A device.
    Tag(Tag),
    /// `/dev/mapper/NAME`: a device that only we can make.
    Mapper(String),
}

/// The device that a parameter names.
pub(super) fn device(given: &Given) -> Result<Name, Error> {
    parse(&given.value).map_err(|why| value_error(given, why))
}

/// What others find a root in and we do not, by how it is named there, with the reason.
const ELSEWHERE: [(&str, &str); 14] = [
    ("nfs", NETWORK),
    ("/dev/nfs", NETWORK),
    ("dhcp", NETWORK),
    ("cifs", NETWORK),
    ("/dev/cifs", NETWORK),
    ("iscsi:", NETWORK),
    ("nbd:", NETWORK),
    ("http", NETWORK),
    ("live:", "live images are not mounted here: write the device of a file system"),
    ("zfs", "ZFS pools are not imported here: write the device of a file system"),
    ("ubi", FLASH),
    ("mtd", FLASH),
    ("/dev/ram", "there is no RAM disk: write the device of a file system"),
    ("/dev/root", "the kernel has no device of this name: write the one that is meant"),
];
const NETWORK: &str = "network file systems and disks are not reached from here: write a local device";
const FLASH: &str =
    "raw flash is not mounted here: write the device of a file system, such as /dev/ubiblock0_0";

/// Reads a device's name; the error says what it is not, and what to write.
pub(super) fn parse(text: &str) -> Result<Name, String> {
    let is = |start: &str| match start.strip_prefix("/dev/") {
        Some(_) => text.trim_end_matches(|c: char| c.is_ascii_digit()) == start,
        None => text.starts_with(start),
    };
    if let Some((_, why)) = ELSEWHERE.iter().find(|(start, _)| is(start)) {
        return Err((*why).to_owned());
    }
    if let Some((kind, value)) = text.split_once('=') {
        return tag(kind, value).map(Name::Tag);
    }
    if let Some(path) = text.strip_prefix("/dev/") {
        return path_below_dev(path);
    }
    if let Some(Ok(devno)) = text.contains(':').then(|| text.parse::<Devno>()) {
        return Ok(Name::Tag(Tag::Number(devno)));
    }
    // The kernel also takes the number in hexadecimal, as in `root=fe02` (block/early-lookup.c).
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.bytes().all(|b| b.is_ascii_hexdigit())
        && let Ok(number) = u32::from_str_radix(digits, 16)
    {
        let minor = (number & 0xff) | ((number >> 12) & 0xfff00);
        return Ok(Name::Tag(Tag::Number(Devno { major: (number >> 8) & 0xfff, minor })));
    }
    Err(format!(
        "\"{text}\" is no device: write /dev/NAME, UUID=, LABEL=, PARTUUID=, PARTLABEL= or MAJOR:MINOR"
    ))
}

fn tag(kind: &str, value: &str) -> Result<Tag, String> {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    if value.is_empty() {
        return Err(format!("{kind}= needs a value"));
    }
    match kind {
        "PARTUUID" => part_uuid(value),
        "PARTLABEL" => Ok(Tag::PartLabel(value.to_owned())),
        "UUID" => Ok(Tag::Uuid(value.to_owned())),
        "LABEL" => Ok(Tag::Label(value.to_owned())),
        _ => {
            Err(format!("{kind}= is not a way to name a device: use UUID=, LABEL=, PARTUUID= or PARTLABEL="))
        }
    }
}

fn part_uuid(value: &str) -> Result<Tag, String> {
    let (uuid, offset) = match value.split_once("/PARTNROFF=") {
        Some((uuid, offset)) => {
            let offset = offset.parse().map_err(|_| format!("PARTNROFF={offset} is no number"))?;
            (uuid, Some(offset))
        }
        None => (value, None),
    };
    let hex = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mbr = uuid.split_once('-').is_some_and(|(disk, number)| hex(disk, 8) && hex(number, 2));
    if !mbr && uuid.parse::<Guid>().is_err() {
        return Err(format!(
            "\"{uuid}\" is no PARTUUID: write xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx (GPT) or xxxxxxxx-xx (MBR), in hexadecimal"
        ));
    }
    let uuid = uuid.to_ascii_lowercase();
    Ok(offset.map_or_else(|| Tag::PartUuid(uuid.clone()), |offset| Tag::PartNrOff(uuid.clone(), offset)))
}

fn path_below_dev(path: &str) -> Result<Name, String> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let valid = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    match directory {
        _ if !valid => Err(format!("\"/dev/{path}\" is no device: write /dev/NAME")),
        _ if path.contains('!') => Err(format!("\"/dev/{path}\" is no device: write / where sysfs has a !")),
        "mapper" => Ok(Name::Mapper(name.to_owned())),
        "block" => match name.parse() {
            Ok(devno) => Ok(Name::Tag(Tag::Number(devno))),
            Err(error) => Err(error.to_string()),
        },
        "disk/by-uuid" => unescape(name).map(|uuid| Name::Tag(Tag::Uuid(uuid))),
        "disk/by-label" => unescape(name).map(|label| Name::Tag(Tag::Label(label))),
        "disk/by-partlabel" => unescape(name).map(|label| Name::Tag(Tag::PartLabel(label))),
        "disk/by-partuuid" => part_uuid(name).map(Name::Tag),
        _ if directory.starts_with("disk") => Err(format!(
            "/dev/{directory} is made by udev's rules, which are not here: use UUID=, LABEL=, PARTUUID= or PARTLABEL="
        )),
        // A driver's own directory, as in /dev/cciss/c0d0p1; sysfs writes `!` for `/`.
        _ => Ok(Name::Tag(Tag::Name(path.replace('/', "!")))),
    }
}

/// udev's escapes in file names: `\x20` for a space. No label and no UUID has a zero byte.
fn unescape(name: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped =
            rest.strip_prefix(b"\\x").and_then(|hex| hex.split_at_checked(2)).and_then(|(hex, after)| {
                let byte = u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
                Some((byte, after))
            });
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    if bytes.contains(&0) {
        return Err(format!("\"{name}\" has a zero byte: no device is called so"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A value as it is written: one that has quotes around it gets others, which are taken off where it is read.
fn quoted(value: &str) -> String {
    let has_quotes = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    if has_quotes { format!("\"{value}\"") } else { value.to_owned() }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "/dev/{}", name.replace('!', "/")),
            Self::Number(devno) => write!(f, "/dev/block/{devno}"),
            Self::PartUuid(uuid) => write!(f, "PARTUUID={uuid}"),
            Self::PartNrOff(uuid, offset) => write!(f, "PARTUUID={uuid}/PARTNROFF={offset}"),
            Self::PartLabel(label) => write!(f, "PARTLABEL={}", quoted(label)),
            Self::Uuid(uuid) => write!(f, "UUID={}", quoted(uuid)),
            Self::Label(label) => write!(f, "LABEL={}", quoted(label)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, expected) in [
            ("/dev/vda2", "/dev/vda2"),
            ("/dev/cciss/c0d0p1", "/dev/cciss/c0d0p1"),
            ("/dev/block/254:2", "/dev/block/254:2"),
            ("254:2", "/dev/block/254:2"),
            ("fe02", "/dev/block/254:2"),
            ("0xfe02", "/dev/block/254:2"),
            ("1002ff01", "/dev/block/767:65537"),
            ("/dev/ubiblock0_0", "/dev/ubiblock0_0"),
            ("/dev/dm-0", "/dev/dm-0"),
            ("UUID=1234-ABCD", "UUID=1234-ABCD"),
            ("LABEL=\"my root\"", "LABEL=my root"),
            (
                "PARTUUID=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
                "PARTUUID=4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
            ),
            ("PARTUUID=0000ABCD-02/PARTNROFF=-1", "PARTUUID=0000abcd-02/PARTNROFF=-1"),
            ("/dev/disk/by-label/my\\x20root", "LABEL=my root"),
            ("/dev/disk/by-partlabel/a\\x2fb\\x", "PARTLABEL=a/b\\x"),
            ("/dev/disk/by-partuuid/0000abcd-02", "PARTUUID=0000abcd-02"),
        ] {
            let Ok(Name::Tag(tag)) = parse(text) else { panic!("{text}") };
            assert_eq!(tag.to_string(), expected, "{text}");
        }
        assert_eq!(parse("/dev/mapper/root"), Ok(Name::Mapper("root".to_owned())));
    }

    /// `/dev/mapper!root` was printed as /dev/mapper/root, which is another device; so was a label with quotes of its own.
    #[test]
    fn what_is_printed_names_the_same() {
        for (text, expected) in [
            ("/dev/mapper!root", "write / where sysfs has a !"),
            ("/dev/disk!by-label!x", "write / where sysfs has a !"),
            ("/dev/disk/by-label/\\x00", "has a zero byte"),
        ] {
            let Err(why) = parse(text) else { panic!("{text}") };
            assert!(why.contains(expected), "{why}");
        }
        for text in ["LABEL=\"\"a\"\"", "PARTLABEL=\"", "UUID=\"\"\"", "/dev/disk/by-label/\\x22a\\x22"] {
            let Ok(Name::Tag(tag)) = parse(text) else { panic!("{text}") };
            assert_eq!(parse(&tag.to_string()), Ok(Name::Tag(tag)), "{text}");
        }
    }
}
