//! Which entries of the boot loader start an image: those that are marked bad where a root is given up, so that the next cold
//! boot does not go there (docs/boot-counting.md).

use serde::{Deserialize, Serialize};

use super::{
    device::Device,
    facts::{Facts, Partition},
};
use crate::format::{
    disk::{discoverable::Purpose, guid::Guid},
    kernel::cmdline::{CommandLine, same_name},
    system::{
        boot_entry::{Name, TypeOne},
        os_release::OsRelease,
    },
};

/// Where entries lie in an ESP or XBOOTLDR partition (Boot Loader Specification).
pub const DIRECTORIES: [&str; 2] = ["loader/entries", "EFI/Linux"];
/// Parameters of the kernel command line that name an image by its root hash.
const HASHES: [&str; 2] = ["roothash", "usrhash"];

/// An entry of the boot loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The partition that it lies in.
    pub partition: Device,
    /// The directory in that.
    pub directory: String,
    /// The file's name, counters and all.
    pub name: String,
    /// The root hashes in its kernel command lines, in lower case.
    pub root_hashes: Vec<String>,
    /// `IMAGE_ID=` and `IMAGE_VERSION=` of what it starts, as far as it says so.
    pub image_id: Option<String>,
    /// See there.
    pub image_version: Option<String>,
}

/// An image, as entries name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its root hash; `None` where it is not verified.
    pub root_hash: Option<String>,
    /// What it says of itself.
    pub release: OsRelease,
}

/// An entry that is to be renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renaming {
    /// The partition that it lies in.
    pub partition: Device,
    /// The directory in that.
    pub directory: String,
    /// The file's name.
    pub from: String,
    /// The name that it gets.
    pub to: String,
}

impl Renaming {
    /// What undoes it.
    #[must_use]
    pub fn back(&self) -> Self {
        let Self { partition, directory, from, to } = self.clone();
        Self { partition, directory, from: to, to: from }
    }
}

impl Entry {
    /// An entry of Type #1.
    #[must_use]
    pub fn of_text(partition: Device, directory: &str, name: &str, text: &str) -> Self {
        let TypeOne { version, sort_key, options } = TypeOne::parse(text);
        let root_hashes = root_hashes(&options);
        let (directory, name) = (directory.to_owned(), name.to_owned());
        Self { partition, directory, name, root_hashes, image_id: sort_key, image_version: version }
    }

    /// An entry of Type #2.
    #[must_use]
    pub fn of_image(partition: Device, directory: &str, name: &str, lines: &[String], os: OsRelease) -> Self {
        let OsRelease { image_id, image_version, .. } = os;
        let root_hashes = lines.iter().flat_map(|line| root_hashes(line)).collect();
        let (directory, name) = (directory.to_owned(), name.to_owned());
        Self { partition, directory, name, root_hashes, image_id, image_version }
    }

    /// Whether it starts this image: by the root hash, or, where it names none, by what the image calls itself.
    #[must_use]
    pub fn starts(&self, image: &Image) -> bool {
        let Image { root_hash, release } = image;
        if !self.root_hashes.is_empty() {
            return root_hash.as_ref().is_some_and(|hash| self.root_hashes.contains(hash));
        }
        let same_id = self.image_id.is_none() || self.image_id == release.image_id;
        same_id && self.image_version.is_some() && self.image_version == release.image_version
    }
}

fn root_hashes(line: &str) -> Vec<String> {
    let parameters = CommandLine::parse(line).parameters.into_iter();
    let named = parameters.filter(|parameter| HASHES.iter().any(|hash| same_name(hash, &parameter.name)));
    named.filter_map(|parameter| Some(parameter.value?.to_ascii_lowercase())).collect()
}

/// The entries of an image that are to be marked bad, and are not; `None` where no entry starts it.
#[must_use]
pub fn to_mark_bad(entries: &[Entry], image: &Image) -> Option<Vec<Renaming>> {
    let mine: Vec<&Entry> = entries.iter().filter(|entry| entry.starts(image)).collect();
    let renaming = |entry: &&Entry| {
        let to = Name::parse(&entry.name).filter(|name| !name.is_bad())?.bad();
        let Entry { partition, directory, name, .. } = (*entry).clone();
        Some(Renaming { partition, directory, from: name, to })
    };
    (!mine.is_empty()).then(|| mine.iter().filter_map(renaming).collect())
}

/// The partitions that a boot loader reads entries from: those for it on the disk that it came from, by its own partition.
#[must_use]
pub fn partitions(facts: &Facts, loader: Guid) -> Vec<Device> {
    let loader = loader.to_string();
    let all = || facts.devices.iter().filter_map(|device| Some((device, device.partition.as_ref()?)));
    let mut disks: Vec<&str> = all()
        .filter(|(_, part)| part.uuid.as_ref() == Some(&loader))
        .map(|(_, part)| part.disk.as_str())
        .collect();
    disks.dedup();
    // Which of two copies of a disk it came from is not guessed.
    let [disk] = disks.as_slice() else { return Vec::new() };
    let is_one = |part: &Partition| {
        part.disk == *disk && matches!(part.purpose(), Some(Purpose::Esp | Purpose::Xbootldr))
    };
    let there = all().filter(|(_, part)| is_one(part));
    there.map(|(device, _)| device.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Device {
        Device { name: name.to_owned(), devno: "254:1".parse().unwrap(), diskseq: None }
    }

    fn release(id: &str, version: &str) -> OsRelease {
        OsRelease::parse(format!("IMAGE_ID={id}\nIMAGE_VERSION={version}\n").as_bytes()).unwrap()
    }

    #[test]
    fn partitions_of_the_boot_loader() {
        let (esp, xbootldr, var) = (
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "bc13c2ff-59e6-4262-a352-b275fd6f7172",
            "4d21b016-b534-45c2-a9fb-5c16e091fd2d",
        );
        let uuid = |number: u32| format!("00000000-0000-0000-0000-{number:012}");
        let part = |name: &str, number: u32, kind: &str| {
            let json = serde_json::json!({
                "name": name, "devno": format!("254:{number}"), "size": 512, "logical_block_size": 512,
                "dm_name": null, "table_error": null,
                "partition": {
                    "disk": name.get(..3), "number": number, "uuid": uuid(number), "type_uuid": kind, "label": null,
                },
            });
            serde_json::from_value(json).unwrap()
        };
        let one = [part("vda1", 1, esp), part("vda2", 2, xbootldr), part("vda3", 3, var)];
        let two = [one.to_vec(), vec![part("vdb1", 4, esp), part("vdb2", 5, var)]].concat();
        let twins = [one.to_vec(), vec![part("vdb1", 1, esp)]].concat();
        for (devices, loader, expected) in [
            (one.to_vec(), 1, vec!["vda1", "vda2"]),
            (two.clone(), 4, vec!["vdb1"]),
            (two.clone(), 2, vec!["vda1", "vda2"]),
            (two, 9, vec![]),
            (twins, 1, vec![]),
        ] {
            let facts = Facts { devices, ..Facts::default() };
            let found = partitions(&facts, uuid(loader).parse().unwrap());
            let names: Vec<&str> = found.iter().map(|device| device.name.as_str()).collect();
            assert_eq!(names, expected, "{loader}");
        }
    }

    #[test]
    fn entries_of_an_image() {
        let one = |name: &str, text: &str| Entry::of_text(device("vda1"), DIRECTORIES[0], name, text);
        let two = |name: &str, line: &str, os| {
            Entry::of_image(device("vda1"), DIRECTORIES[1], name, &[line.to_owned()], os)
        };
        let entries = [
            one("a.conf", "options roothash=AB quiet"),
            one("b+3.conf", "options quiet\noptions usrhash=ab"),
            one("c+0-1.conf", "options roothash=ab"),
            one("d+2-1.conf", "version 2\nsort-key os\noptions root=dissect"),
            one("e.conf", "version 2\nsort-key other\noptions root=dissect"),
            one("f.conf", "version 2"),
            one("g.conf", "version 2\nsort-key os\noptions roothash=cd"),
            one("h.conf", "title nothing"),
            two("i+3.efi", "quiet roothash=ab", release("os", "1")),
            two("j+3.efi", "root=dissect", release("os", "2")),
            two("k.efi", "root=dissect", release("os", "3")),
            two("l.efi", "root=dissect", release("", "")),
        ];
        let marked = |root_hash: Option<&str>, release| {
            let image = Image { root_hash: root_hash.map(str::to_owned), release };
            let all = to_mark_bad(&entries, &image)?.into_iter();
            Some(all.map(|renaming| renaming.to).collect::<Vec<_>>())
        };
        let names = |names: [&str; 3]| Some(names.map(str::to_owned).to_vec());
        let (by_hash, by_name) = (["a+0.conf", "b+0.conf", "i+0.efi"], ["d+0-1.conf", "f+0.conf", "j+0.efi"]);
        assert_eq!(marked(Some("ab"), release("os", "9")), names(by_hash));
        assert_eq!(marked(Some("ef"), release("os", "2")), names(by_name));
        assert_eq!(marked(None, release("os", "2")), names(by_name));
        assert_eq!(marked(None, OsRelease::default()), None);
        let bad = [one("c+0-1.conf", "options roothash=ab")];
        let image = Image { root_hash: Some("ab".to_owned()), release: OsRelease::default() };
        assert_eq!(to_mark_bad(&bad, &image), Some(Vec::new()), "it is bad already");
    }
}
