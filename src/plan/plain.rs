//! A root that is a plain file system on a block device, as most machines start out: nothing verifies it. Only
//! `previous` leads to one, where it ran before: what it was is written down while it runs, and compared before it is
//! mounted again.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::format::{disk::superblock::Superblock, kernel::mountinfo::Mount};

use super::{
    device::Device,
    facts::{BlockDevice, Content, Facts},
};

/// A plain root, and how it was mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plain {
    /// Its block device.
    pub device: Device,
    /// What PARTUUID= compares with, where it is on a partition.
    pub partition_uuid: Option<String>,
    /// What UUID= compares with, where its superblock is one that is known.
    pub filesystem_uuid: Option<String>,
    /// The type, by the kernel's name.
    pub fstype: String,
    /// Whether it was mounted without write access.
    pub read_only: bool,
    /// Further options, comma-separated as in fstab(5), as the kernel told them.
    pub options: String,
}

/// A root that cannot be mounted again by what the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlain {
    /// Nothing is known of it.
    #[error("the kernel lists no mount at /")]
    NoMount,
    /// An overlay, a tmpfs, a network's.
    #[error("it is {fstype} from {source_name}, which is on no block device of this machine")]
    NoDevice {
        /// The type.
        fstype: String,
        /// What was mounted.
        source_name: String,
    },
    /// More than one file system.
    #[error("its /usr is a mount of its own")]
    OwnUsr,
    /// A part of a file system, as of an OSTree deployment.
    #[error("it is only the directory {directory} of the file system on {device}")]
    Directory {
        /// Which.
        directory: String,
        /// The device.
        device: String,
    },
    /// Options that are not as they were given.
    #[error("its mount options hold characters that the kernel writes in another way: {0}")]
    Escaped(String),
    /// Nothing to know it by.
    #[error("{0} has neither a PARTUUID nor a UUID by which it could be known again")]
    Nameless(String),
}

impl Plain {
    /// The root among these mounts; `device` is what [`root_of`] is on, its content read.
    pub fn of(mounts: &[Mount], device: Option<&BlockDevice>) -> Result<Self, NotPlain> {
        let mount = root_of(mounts).ok_or(NotPlain::NoMount)?;
        let device = device.ok_or_else(|| NotPlain::NoDevice {
            fstype: mount.fstype.clone(),
            source_name: mount.source.display().to_string(),
        })?;
        if mounts.iter().any(|mount| mount.mount_point == Path::new("/usr")) {
            return Err(NotPlain::OwnUsr);
        }
        let options = options(mount);
        if options.contains('\\') {
            return Err(NotPlain::Escaped(options));
        }
        let shown = Path::new(subvolume(&options).unwrap_or("/"));
        if mount.root != shown {
            let directory = mount.root.display().to_string();
            return Err(NotPlain::Directory { directory, device: device.name.clone() });
        }
        let plain = Self {
            device: Device { name: device.name.clone(), devno: device.devno, diskseq: None },
            partition_uuid: partition_uuid(device).map(str::to_owned),
            filesystem_uuid: filesystem_uuid(device).map(str::to_owned),
            fstype: mount.fstype.clone(),
            read_only: is_read_only(mount),
            options,
        };
        let is_named = plain.partition_uuid.is_some() || plain.filesystem_uuid.is_some();
        if is_named { Ok(plain) } else { Err(NotPlain::Nameless(plain.device.name)) }
    }

    /// The name that it keeps over restarts of the machine, as `root=` takes it.
    #[must_use]
    pub fn name(&self) -> String {
        self.names().next().unwrap_or_else(|| format!("/dev/{}", self.device.name))
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let partition = self.partition_uuid.as_ref().map(|uuid| format!("PARTUUID={uuid}"));
        partition.into_iter().chain(self.filesystem_uuid.as_ref().map(|uuid| format!("UUID={uuid}")))
    }

    /// Whether it is the same file system, or the same subvolume of it; how it is mounted is not compared.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let (one, two) = (&self.partition_uuid, &other.partition_uuid);
        let (three, four) = (&self.filesystem_uuid, &other.filesystem_uuid);
        self.device.devno == other.device.devno
            && self.fstype == other.fstype
            && one == two
            && three == four
            && subvolume(&self.options) == subvolume(&other.options)
    }

    /// Whether a device still holds it; the error says what is there instead.
    pub fn is_on(&self, device: &BlockDevice) -> Result<(), String> {
        if device.devno != self.device.devno {
            return Err(format!("{} has the number {} now", device.name, device.devno));
        }
        if self.names().next().is_none() {
            return Err("neither a PARTUUID nor a UUID was written down for it".to_owned());
        }
        let told = |uuid: Option<&str>| uuid.unwrap_or("unknown").to_owned();
        for (name, wanted, found) in [
            ("PARTUUID", &self.partition_uuid, partition_uuid(device)),
            ("UUID", &self.filesystem_uuid, filesystem_uuid(device)),
        ] {
            if let Some(wanted) = wanted
                && found != Some(wanted.as_str())
            {
                return Err(format!("its {name} was {wanted} and is {}", told(found)));
            }
        }
        Ok(())
    }

    /// The device that it is on: the one of its number, or, where that was given anew since, the only one that holds it.
    pub(super) fn find<'a>(&self, facts: &'a Facts) -> Result<&'a BlockDevice, String> {
        let here = |device: &BlockDevice| Self {
            device: Device { name: device.name.clone(), devno: device.devno, diskseq: None },
            ..self.clone()
        };
        let same = facts.devices.iter().find(|device| device.devno == self.device.devno);
        let holding = |device: &&BlockDevice| here(device).is_on(device).is_ok();
        let others: Vec<&BlockDevice> = facts.devices.iter().filter(holding).collect();
        match (same, others.as_slice()) {
            (Some(device), _) if self.is_on(device).is_ok() || others.is_empty() => Ok(device),
            (_, [one]) => Ok(one),
            (_, []) => Err(format!("there is no device {}", self.device)),
            (_, several) => {
                let names: Vec<&str> = several.iter().map(|device| device.name.as_str()).collect();
                Err(format!("{} has another number now, and may be any of {}", self.device, names.join(" ")))
            }
        }
    }

    /// By what it is known again: `vda2 (254:2) still has PARTUUID=... and UUID=...`.
    #[must_use]
    pub fn known_by(&self) -> String {
        format!("{} still has {}", self.device, self.names().collect::<Vec<_>>().join(" and "))
    }
}

impl fmt::Display for Plain {
    /// `/dev/vda2 ext4`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/dev/{} {}", self.device.name.replace('!', "/"), self.fstype)
    }
}

/// The mount that is the root: the last one at /.
#[must_use]
pub fn root_of(mounts: &[Mount]) -> Option<&Mount> {
    mounts.iter().rfind(|mount| mount.mount_point == Path::new("/"))
}

fn partition_uuid(device: &BlockDevice) -> Option<&str> {
    device.partition.as_ref()?.uuid.as_deref()
}

fn filesystem_uuid(device: &BlockDevice) -> Option<&str> {
    match &device.content {
        Content::Found(Superblock { uuid, .. }) => uuid.as_deref(),
        Content::Unread | Content::Unknown | Content::Unreadable(_) => None,
    }
}

fn is_read_only(mount: &Mount) -> bool {
    [&mount.options, &mount.super_options].iter().any(|options| options.split(',').any(|word| word == "ro"))
}

/// The mount's own options and the file system's, without those that are said apart or are so anyway.
fn options(mount: &Mount) -> String {
    let own = mount.options.split(',');
    // The kernel writes nothing where each access counts (fs/proc_namespace.c, `show_mnt_opts`).
    let strict = !own.clone().any(|word| matches!(word, "relatime" | "noatime"));
    let all = own.chain(strict.then_some("strictatime")).chain(mount.super_options.split(','));
    all.filter(|word| !matches!(*word, "" | "ro" | "rw" | "relatime")).collect::<Vec<_>>().join(",")
}

/// The subvolume that is mounted (btrfs(5)): the kernel names it by its path.
fn subvolume(options: &str) -> Option<&str> {
    options.split(',').find_map(|word| word.strip_prefix("subvol="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::disk::superblock::Kind;

    fn device(partition: Option<&str>, filesystem: Option<&str>) -> BlockDevice {
        let partition = partition.map(|uuid| serde_json::json!({"disk": "vda", "number": 2, "uuid": uuid}));
        let mut device: BlockDevice = serde_json::from_value(serde_json::json!({
            "name": "vda2", "devno": "254:2", "size": 4096, "logical_block_size": 512, "partition": partition,
        }))
        .unwrap();
        device.content = Content::Found(Superblock {
            kind: Kind::Ext4,
            uuid: filesystem.map(str::to_owned),
            label: None,
            size: None,
        });
        device
    }

    fn of(lines: &str, device: Option<&BlockDevice>) -> Result<Plain, String> {
        Plain::of(&Mount::parse_all(lines.as_bytes()).unwrap(), device).map_err(|error| error.to_string())
    }

    /// Each option comes back as the kernel told it, once.
    #[test]
    fn as_it_was_mounted() {
        let device = device(Some("0b-02"), Some("6f2d"));
        for (line, read_only, options) in [
            ("1 0 254:2 / / rw,relatime - ext4 /dev/vda2 rw,errors=remount-ro", false, "errors=remount-ro"),
            ("1 0 254:2 / / rw,noatime,nodev - ext4 /dev/root rw", false, "noatime,nodev"),
            ("1 0 254:2 / / ro,relatime - ext4 /dev/root rw", true, ""),
            ("1 0 254:2 / / ro,relatime - squashfs /dev/vda2 ro,errors=continue", true, "errors=continue"),
            ("1 0 254:2 / / rw - ext4 /dev/vda2 rw,lazytime", false, "strictatime,lazytime"),
            (
                "1 0 0:30 /@ / rw,relatime - btrfs /dev/vda2 rw,ssd,subvolid=256,subvol=/@",
                false,
                "ssd,subvolid=256,subvol=/@",
            ),
        ] {
            let plain = of(line, Some(&device)).unwrap();
            assert_eq!((plain.read_only, plain.options.as_str()), (read_only, options), "{line}");
            assert_eq!(plain.name(), "PARTUUID=0b-02");
        }
    }

    #[test]
    fn what_cannot_be_mounted_again() {
        let (named, nameless) = (device(Some("0b-02"), None), device(None, None));
        let ext4 = "1 0 254:2 / / rw,relatime - ext4 /dev/vda2 rw";
        for (lines, device, why) in [
            ("", Some(&named), "the kernel lists no mount at /"),
            (
                "1 0 0:30 / / rw - overlay overlay rw,lowerdir=/a",
                None,
                "it is overlay from overlay, which is on no block device of this machine",
            ),
            (
                "1 0 0:30 / / rw - nfs4 10.0.0.1:/srv rw",
                None,
                "it is nfs4 from 10.0.0.1:/srv, which is on no block device of this machine",
            ),
            (
                &format!("{ext4}\n2 1 254:3 / /usr ro - ext4 /dev/vda3 ro"),
                Some(&named),
                "its /usr is a mount of its own",
            ),
            (
                "1 0 254:2 /ostree/deploy/a / rw - ext4 /dev/vda2 rw",
                Some(&named),
                "it is only the directory /ostree/deploy/a of the file system on vda2",
            ),
            (
                "1 0 0:30 /@/x / rw,relatime - btrfs /dev/vda2 rw,subvol=/@",
                Some(&named),
                "it is only the directory /@/x of the file system on vda2",
            ),
            (
                r"1 0 254:2 / / rw,relatime - ext4 /dev/vda2 rw,x=a\040b",
                Some(&named),
                r"its mount options hold characters that the kernel writes in another way: x=a\040b",
            ),
            (
                ext4,
                Some(&nameless),
                "vda2 has neither a PARTUUID nor a UUID by which it could be known again",
            ),
        ] {
            assert_eq!(of(lines, device), Err(why.to_owned()), "{lines}");
        }
    }

    #[test]
    fn another_file_system_in_its_place() {
        let was = device(Some("0b-02"), Some("6f2d"));
        let plain = of("1 0 254:2 / / rw,relatime - ext4 /dev/vda2 rw", Some(&was)).unwrap();
        assert_eq!(plain.is_on(&was), Ok(()));
        let mut moved = was.clone();
        moved.devno.minor = 3;
        for (now, why) in [
            (device(Some("0b-03"), Some("6f2d")), "its PARTUUID was 0b-02 and is 0b-03"),
            (device(Some("0b-02"), Some("7777")), "its UUID was 6f2d and is 7777"),
            (device(None, Some("6f2d")), "its PARTUUID was 0b-02 and is unknown"),
            (moved, "vda2 has the number 254:3 now"),
        ] {
            assert_eq!(plain.is_on(&now), Err(why.to_owned()));
        }
    }

    #[test]
    fn subvolumes_are_roots_of_their_own() {
        let device = device(None, Some("6f2d"));
        let root = |name: &str, more: &str| {
            let line = format!("1 0 0:30 {name} / rw,relatime - btrfs /dev/vda2 rw{more},subvol={name}");
            of(&line, Some(&device)).unwrap()
        };
        assert!(root("/@", "").is(&root("/@", ",ssd")));
        assert!(!root("/@", "").is(&root("/@2", "")));
    }
}
