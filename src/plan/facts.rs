//! What was found on the machine, as far as it was looked at.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    format::{
        disk::{discoverable::Purpose, gpt, guid::Guid, superblock::Superblock},
        kernel::devno::Devno,
        verity::{root_hash::RootHash, superblock::VeritySuperblock, table::VerityTable},
    },
    units::{BlockSize, Bytes},
};

use super::device::Device;

/// What is known of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The running kernel's release: `6.12.48+deb13-amd64`.
    pub kernel_release: String,
    /// Block devices in the order in which they appeared.
    pub devices: Vec<BlockDevice>,
    /// The partition that the boot loader was started from: the EFI variable LoaderDevicePartUUID.
    pub loader_partition: Option<Guid>,
    /// dm-verity devices that are open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verity: Vec<OpenVerity>,
    /// What signature partitions say that they are of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SignedBy>,
}

/// A partition with the signature of a root hash. That it holds was not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBy {
    /// Its number.
    pub devno: Devno,
    /// The root hash that it says it is of.
    pub root_hash: RootHash,
}

/// A dm-verity device that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenVerity {
    /// The dm name.
    pub name: String,
    /// Its number.
    pub devno: Devno,
    /// The table line, as the kernel has it.
    pub table: VerityTable,
    /// Whether it is closed as soon as nobody uses it any more.
    #[serde(default)]
    pub leaving: bool,
}

/// A disk, a partition or a device made of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockDevice {
    /// The kernel's name: `vda2`.
    pub name: String,
    /// Its number.
    pub devno: Devno,
    /// What tells its disk from any other of that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diskseq: Option<u64>,
    /// Its length.
    pub size: Bytes,
    /// The smallest unit that it can be read in.
    pub logical_block_size: BlockSize,
    /// Whether the kernel refuses to write to it.
    #[serde(default)]
    pub read_only: bool,
    /// For a device-mapper device, its dm name.
    pub dm_name: Option<String>,
    /// For a partition whose table could not be read, the reason.
    pub table_error: Option<String>,
    /// Where it is a partition: which.
    pub partition: Option<Partition>,
    /// What it holds.
    #[serde(default)]
    pub content: Content,
    /// Verity superblocks, at each place where one was looked for.
    #[serde(default)]
    pub verity: Vec<VerityRead>,
}

/// A partition, as its table describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The kernel's name of the disk: `vda`.
    pub disk: String,
    /// Its number in the table, counted from 1.
    pub number: u32,
    /// What PARTUUID= compares with: a GUID (GPT) or `xxxxxxxx-NN` (MBR), lower case.
    pub uuid: Option<String>,
    /// The type (GPT only).
    pub type_uuid: Option<Guid>,
    /// The label (GPT only).
    pub label: Option<String>,
    /// The attribute bits (GPT only).
    #[serde(default)]
    pub attributes: u64,
}

/// What the first blocks of a device hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Nobody looked yet.
    #[default]
    Unread,
    /// Nothing that is recognised.
    Unknown,
    /// This.
    Found(Superblock),
    /// They cannot be read, with the reason.
    Unreadable(String),
}

/// What stood where a verity superblock was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerityRead {
    /// Where: distance from the device's start.
    pub offset: Bytes,
    /// The superblock, or why there is none.
    pub outcome: Result<VeritySuperblock, String>,
}

impl Facts {
    /// Whether a partition says that it has the signature of this root hash.
    #[must_use]
    pub fn is_signature_of(&self, devno: Devno, root_hash: &RootHash) -> bool {
        self.signatures.iter().any(|signed| signed.devno == devno && signed.root_hash == *root_hash)
    }
}

impl Partition {
    /// A partition of a GPT.
    #[must_use]
    pub fn of_gpt(disk: &str, found: &gpt::Partition) -> Self {
        Self {
            disk: disk.to_owned(),
            number: found.number,
            uuid: Some(found.uuid.to_string()),
            type_uuid: Some(found.type_uuid),
            label: Some(found.label.clone()),
            attributes: found.attributes,
        }
    }

    /// What it is for, by its type.
    #[must_use]
    pub fn purpose(&self) -> Option<Purpose> {
        self.type_uuid.and_then(Purpose::of)
    }
}

impl From<&BlockDevice> for Device {
    fn from(found: &BlockDevice) -> Self {
        Self { name: found.name.clone(), devno: found.devno, diskseq: found.diskseq }
    }
}

impl fmt::Display for BlockDevice {
    /// For messages: `vda2 (root data, PARTLABEL=root, PARTUUID=..., erofs)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut about: Vec<String> = Vec::new();
        about.extend(self.dm_name.as_ref().map(|name| format!("/dev/mapper/{name}")));
        if let Some(partition) = &self.partition {
            about.extend(partition.purpose().map(|purpose| purpose.to_string()));
            about
                .extend(partition.label.as_ref().filter(|l| !l.is_empty()).map(|l| format!("PARTLABEL={l}")));
            about.extend(partition.uuid.as_ref().map(|uuid| format!("PARTUUID={uuid}")));
        }
        match &self.content {
            Content::Found(superblock) => about.push(superblock.kind.to_string()),
            Content::Unreadable(why) => about.push(format!("cannot be read: {why}")),
            Content::Unread | Content::Unknown => {}
        }
        about.extend(self.table_error.as_ref().map(|why| format!("partition table: {why}")));
        f.write_str(&self.name)?;
        if about.is_empty() { Ok(()) } else { write!(f, " ({})", about.join(", ")) }
    }
}
