//! Partition types of the Discoverable Partitions Specification (UAPI.2), by the GUIDs that GPTs have.

use std::fmt;

use crate::format::disk::guid::Guid;

/// Attribute: not to be found by its type.
pub const NO_AUTO: u64 = 1 << 63;
/// Attribute: to be mounted without write access.
pub const READ_ONLY: u64 = 1 << 60;
/// Attribute: its file system is grown to the size of the partition.
pub const GROW_FILE_SYSTEM: u64 = 1 << 59;
/// The label by which systemd-sysupdate marks a partition that holds nothing.
pub const EMPTY_LABEL: &str = "_empty";

/// What a partition is for, on this architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// EFI System Partition
    Esp,
    /// Extended Boot Loader Partition
    Xbootldr,
    /// A root file system
    Root,
    /// The hash tree of one
    RootVerity,
    /// The signature of one's root hash
    RootVeritySig,
    /// A /usr file system
    Usr,
    /// The hash tree of one
    UsrVerity,
    /// The signature of one's root hash
    UsrVeritySig,
    /// /home
    Home,
    /// /srv
    Srv,
    /// /var
    Var,
    /// /var/tmp
    Tmp,
}

/// Types that are the same on every architecture.
const EVERYWHERE: [(&str, Purpose); 6] = [
    (ESP, Purpose::Esp),
    (XBOOTLDR, Purpose::Xbootldr),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", Purpose::Home),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", Purpose::Srv),
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", Purpose::Var),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", Purpose::Tmp),
];

const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

/// Types by architecture, as Rust names it: root, its hash tree and the signature of that, /usr
/// and the same.
const BY_ARCHITECTURE: [(&str, [&str; 6]); 7] = [
    (
        "x86_64",
        [
            "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
            "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
            "41092b05-9fc8-4523-994f-2def0408b176",
            "8484680c-9521-48c6-9c11-b0720656f69e",
            "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
            "e7bb33fb-06cf-4e81-8273-e543b413e2e2",
        ],
    ),
    (
        "x86",
        [
            "44479540-f297-41b2-9af7-d131d5f0458a",
            "d13c5d3b-b5d1-422a-b29f-9454fdc89d76",
            "5996fc05-109c-48de-808b-23fa0830b676",
            "75250d76-8cc6-458e-bd66-bd47cc81a812",
            "8f461b0d-14ee-4e81-9aa9-049b6fb97abd",
            "974a71c0-de41-43c3-be5d-5c5ccd1ad2c0",
        ],
    ),
    (
        "aarch64",
        [
            "b921b045-1df0-41c3-af44-4c6f280d3fae",
            "df3300ce-d69f-4c92-978c-9bfb0f38d820",
            "6db69de6-29f4-4758-a7a5-962190f00ce3",
            "b0e01050-ee5f-4390-949a-9101b17104e9",
            "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
            "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a",
        ],
    ),
    (
        "arm",
        [
            "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
            "7386cdf2-203c-47a9-a498-f2ecce45a2d6",
            "42b0455f-eb11-491d-98d3-56145ba9d037",
            "7d0359a3-02b3-4f0a-865c-654403e70625",
            "c215d751-7bcd-4649-be90-6627490a4c05",
            "d7ff812f-37d1-4902-a810-d76ba57b975a",
        ],
    ),
    (
        "riscv64",
        [
            "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
            "b6ed5582-440b-4209-b8da-5ff7c419ea3d",
            "efe0f087-ea8d-4469-821a-4c2a96a8386a",
            "beaec34b-8442-439b-a40b-984381ed097d",
            "8f1056be-9b05-47c4-81d6-be53128e5b54",
            "d2f9000a-7a18-453f-b5cd-4d32f77a7b32",
        ],
    ),
    (
        "loongarch64",
        [
            "77055800-792c-4f94-b39a-98c91b762bb6",
            "f3393b22-e9af-4613-a948-9d3bfbd0c535",
            "5afb67eb-ecc8-4f85-ae8e-ac1e7c50e7d0",
            "e611c702-575c-4cbe-9a46-434fa0bf7e3f",
            "f46b2c26-59ae-48f0-9106-c50ed47f673d",
            "b024f315-d330-444c-8461-44bbde524e99",
        ],
    ),
    (
        "s390x",
        [
            "5eead9a9-fe09-4a1e-a1d7-520d00531306",
            "b325bfbe-c7be-4ab8-8357-139e652d2f6b",
            "c80187a5-73a3-491a-901a-017c3fa953e9",
            "8a4f5770-50aa-4ed3-874a-99b710db6fea",
            "31741cc4-1a2a-4111-a581-e00b447d2d06",
            "3f324816-667b-46ae-86ee-9b0c0c6c11b4",
        ],
    ),
];

impl Purpose {
    /// What a partition of this type is for, on the architecture that this program is built for.
    #[must_use]
    pub fn of(type_uuid: Guid) -> Option<Self> {
        Self::on(std::env::consts::ARCH, type_uuid)
    }

    fn on(architecture: &str, type_uuid: Guid) -> Option<Self> {
        let text = type_uuid.to_string();
        let mut all = EVERYWHERE.into_iter().chain(types(architecture));
        all.find(|(uuid, _)| *uuid == text).map(|(_, purpose)| purpose)
    }
}

/// The types of root and /usr on an architecture.
fn types(architecture: &str) -> impl Iterator<Item = (&'static str, Purpose)> {
    const ORDER: [Purpose; 6] = [
        Purpose::Root,
        Purpose::RootVerity,
        Purpose::RootVeritySig,
        Purpose::Usr,
        Purpose::UsrVerity,
        Purpose::UsrVeritySig,
    ];
    let own = BY_ARCHITECTURE.iter().find(|(name, _)| *name == architecture).map(|(_, types)| types);
    own.into_iter().flatten().copied().zip(ORDER)
}

/// The types of root and /usr, of their hash trees and signatures, on the architecture that this program is
/// built for.
pub fn own_types() -> impl Iterator<Item = (Guid, Purpose)> {
    types(std::env::consts::ARCH).filter_map(|(text, purpose)| Some((text.parse().ok()?, purpose)))
}

/// What a partition of root or /usr is for on any architecture, with the architecture's name.
#[must_use]
pub fn elsewhere(type_uuid: Guid) -> Option<(&'static str, Purpose)> {
    let text = type_uuid.to_string();
    BY_ARCHITECTURE.iter().find_map(|(name, _)| {
        let (_, purpose) = types(name).find(|(uuid, _)| *uuid == text)?;
        Some((*name, purpose))
    })
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Esp => "ESP",
            Self::Xbootldr => "XBOOTLDR",
            Self::Root => "root data",
            Self::RootVerity => "root hash tree",
            Self::RootVeritySig => "root signature",
            Self::Usr => "usr data",
            Self::UsrVerity => "usr hash tree",
            Self::UsrVeritySig => "usr signature",
            Self::Home => "home",
            Self::Srv => "srv",
            Self::Var => "var",
            Self::Tmp => "var/tmp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        for (architecture, text, expected) in [
            ("x86_64", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", Some(Purpose::Esp)),
            ("s390x", "bc13c2ff-59e6-4262-a352-b275fd6f7172", Some(Purpose::Xbootldr)),
            ("x86_64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", Some(Purpose::Root)),
            ("x86_64", "77ff5f63-e7b6-4633-acf4-1565b864c0e6", Some(Purpose::UsrVerity)),
            ("x86_64", "41092b05-9fc8-4523-994f-2def0408b176", Some(Purpose::RootVeritySig)),
            ("aarch64", "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a", Some(Purpose::UsrVeritySig)),
            ("aarch64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", None),
            ("aarch64", "df3300ce-d69f-4c92-978c-9bfb0f38d820", Some(Purpose::RootVerity)),
            ("riscv64", "beaec34b-8442-439b-a40b-984381ed097d", Some(Purpose::Usr)),
            ("nowhere", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", None),
        ] {
            assert_eq!(Purpose::on(architecture, text.parse().unwrap()), expected, "{architecture} {text}");
        }
    }

    #[test]
    fn types_of_other_architectures() {
        for (text, expected) in [
            ("b921b045-1df0-41c3-af44-4c6f280d3fae", Some(("aarch64", Purpose::Root))),
            ("77ff5f63-e7b6-4633-acf4-1565b864c0e6", Some(("x86_64", Purpose::UsrVerity))),
            (ESP, None),
            ("0fc63daf-8483-4772-8e79-3d69d8477de4", None),
        ] {
            assert_eq!(elsewhere(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn every_type_is_a_guid_of_its_own() {
        let own = BY_ARCHITECTURE.iter().flat_map(|(_, types)| types);
        let mut all: Vec<String> = own
            .copied()
            .chain(EVERYWHERE.map(|(uuid, _)| uuid))
            .map(|text| text.parse::<Guid>().unwrap().to_string())
            .collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(
            BY_ARCHITECTURE.iter().flat_map(|(_, types)| types).all(|text| all.contains(&(*text).to_owned()))
        );
    }
}
