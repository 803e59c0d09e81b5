//! Which slot of a disk is meant: `slot:other`, the newest complete version that does not run, and `roothash:`.
//!
//! Nothing is guessed: partitions count by their exact type, and what is passed over is listed with the reason.

use std::{cmp::Ordering, fmt};

use serde::Serialize;

use crate::format::{
    config::{image_filter::ImageFilter, ini::Placed},
    disk::discoverable::Purpose,
    kernel::devno::Devno,
    system::version,
    verity::root_hash::RootHash,
};

pub use super::pair::Reason;
use super::{
    device::Device,
    facts::{BlockDevice, Facts},
    pair::{Pair, ROOT, Row, pair, root_hash},
    source::RootHashFrom,
    state::Failed,
};

/// The root that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The device under it that has its data: for a verity device, the data device of the table.
    pub data: Devno,
    /// The device with its hash tree.
    pub hash: Option<Devno>,
    /// Its image's name (`IMAGE_ID=` of os-release); by default the one in the label of the data partition.
    pub image: Option<String>,
    /// Its version (`IMAGE_VERSION=`); by default the one in the label.
    pub version: Option<String>,
}

/// A root image in partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// The image's name, where the label has one.
    pub image: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The data.
    pub data: Device,
    /// The hash tree.
    pub hash: Device,
    /// The signature of the root hash.
    pub signature: Option<Device>,
    /// The root hash.
    pub root_hash: RootHash,
    /// Where that comes from.
    pub root_hash_from: RootHashFrom,
}

/// What was chosen, and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The slot; `None` where no other is newer than the one that runs.
    pub slot: Option<Slot>,
    /// The others on the disk.
    pub skipped: Vec<Skipped>,
}

/// A slot that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The data partition.
    pub device: String,
    /// Why.
    pub reason: Reason,
}

/// No slot can be chosen, because it is not clear which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The running root does not lie in a partition.
    #[error("look for another slot: the running root is on {0}, which is no partition: name the new root")]
    NotAPartition(String),
    /// The partition table is not known.
    #[error("look for another slot on {disk}: its partition table cannot be read: {why}")]
    Table {
        /// The disk.
        disk: String,
        /// Why.
        why: String,
    },
    /// The running root has no name or no version that others could be compared with.
    #[error(
        "look for another slot: the {what} of the running root is not known: os-release has no {variable}=, and the \
         label of {device} is no NAME_VERSION; name the new root"
    )]
    Unversioned {
        /// Name or version.
        what: &'static str,
        /// The variable of os-release.
        variable: &'static str,
        /// The device.
        device: String,
    },
    /// Several partitions that cannot be told apart.
    #[error("which {what} is meant is not clear: {devices}: change the label or UUID of those that are not")]
    Twins {
        /// What is looked for.
        what: String,
        /// All of them.
        devices: String,
    },
    /// No partition has a half of the root hash.
    #[error("no partition has the UUID {uuid}, the {half} half of the root hash, for the {what}")]
    NotFound {
        /// The UUID.
        uuid: String,
        /// First or last.
        half: &'static str,
        /// What it is for.
        what: &'static str,
    },
    /// A partition without a UUID has no part of a root hash.
    #[error("{0} has partitions without UUIDs, which the root hash would be joined from: name the root hash")]
    NoUuid(String),
    /// A partition that the root hash names cannot be it.
    #[error("{device} has the UUID that the root hash gives, but is {purpose}")]
    Purpose {
        /// The device.
        device: String,
        /// What it is for.
        purpose: Purpose,
    },
}

/// The newest complete slot on the running root's disk that is newer than the running root. `failed` are passed
/// over. With a root hash, only the partitions that it names are taken; with filters, only those whose labels match.
pub fn other(
    facts: &Facts,
    running: &Running,
    failed: &[Failed],
    root_hash: Option<&RootHash>,
    filters: &[Placed<ImageFilter>],
) -> Result<Choice, Error> {
    let own = facts.devices.iter().find(|device| device.devno == running.data);
    let own = own.and_then(row).ok_or_else(|| Error::NotAPartition(running.data.to_string()))?;
    let disk = &own.partition.disk;
    let rows: Vec<Row<'_, BlockDevice>> =
        facts.devices.iter().filter_map(row).filter(|row| row.partition.disk == *disk).collect();
    if let Some(why) = rows.iter().find_map(|row| row.of.table_error.clone()) {
        return Err(Error::Table { disk: disk.clone(), why });
    }
    let taken: Vec<_> = rows.iter().copied().filter(|row| row.passes(filters).is_ok()).collect();
    let judge = Judge { running, own, image: image(running, own)?, version: version(running, own)? };
    let mut skipped = Vec::new();
    let mut candidates: Vec<Pair<'_, BlockDevice>> = Vec::new();
    for data in rows.iter().copied().filter(|row| row.purpose() == Some(ROOT.data)) {
        match data.passes(filters).and_then(|()| judge.slot(data, &taken, root_hash)) {
            Ok(found) => candidates.push(found),
            Err(reason) => skipped.push(skip(data, reason)),
        }
    }
    // The newest is the last; of two that are equal none is chosen, also where one of them failed.
    candidates.sort_by(compare);
    let mut chosen = None;
    while let Some(newest) = candidates.pop() {
        let mut same: Vec<&Pair<'_, BlockDevice>> =
            candidates.iter().filter(|other| compare(other, &newest).is_eq()).collect();
        if let Some(first) = same.first() {
            let about = first.image.map(|image| image.to_string()).unwrap_or_default();
            same.push(&newest);
            let rows: Vec<_> = same.into_iter().map(|pair| pair.data).collect();
            return Err(twins(format!("slot with {about}"), &rows));
        }
        let found = slot(&newest, root_hash, facts)?;
        match failed.iter().find(|failed| failed.root_hash == found.root_hash.to_string()) {
            Some(failed) => skipped.push(skip(newest.data, Reason::Failed(failed.why.clone()))),
            None => {
                skipped.extend(candidates.iter().map(|older| skip(older.data, older_than(Some(&newest)))));
                chosen = Some(found);
                break;
            }
        }
    }
    skipped.sort_by_key(|skipped| rows.iter().position(|row| row.of.to_string() == skipped.device));
    Ok(Choice { slot: chosen, skipped })
}

/// The partitions that a root hash names, on any disk.
pub fn by_root_hash(
    facts: &Facts,
    root_hash: &RootHash,
    filters: &[Placed<ImageFilter>],
) -> Result<Slot, Error> {
    let rows: Vec<Row<'_, BlockDevice>> = facts.devices.iter().filter_map(row).collect();
    let (first, last) = root_hash.partition_uuids();
    let find = |uuid, half, what, wanted: Purpose| {
        let found: Vec<_> = rows.iter().copied().filter(|row| row.uuid() == Some(uuid)).collect();
        match found.as_slice() {
            [] => Err(Error::NotFound { uuid: uuid.to_string(), half, what }),
            // Any other type was given by somebody who relies on the root hash alone.
            [one] => match one.purpose() {
                Some(purpose) if purpose != wanted => {
                    Err(Error::Purpose { device: one.of.to_string(), purpose })
                }
                _ => Ok(*one),
            },
            several => Err(twins(format!("partition with the UUID {uuid}"), several)),
        }
    };
    let data = find(first, "first", "data", ROOT.data)?;
    let hash = find(last, "last", "hash tree", ROOT.hash)?;
    let on_disk = |row: &Row<'_, BlockDevice>| row.partition.disk == data.partition.disk;
    let is_signature = |row: &Row<'_, BlockDevice>| {
        row.purpose() == Some(ROOT.signature) && row.usable().is_ok() && row.passes(filters).is_ok()
    };
    let (mut signatures, others): (Vec<_>, Vec<_>) = rows
        .iter()
        .copied()
        .filter(|row| on_disk(row) && is_signature(row))
        .partition(|row| data.image().is_some() && row.image() == data.image());
    // Where no label says it, what the signature says that it is of does, as in systemd.
    if signatures.is_empty() {
        signatures =
            others.into_iter().filter(|row| facts.is_signature_of(row.of.devno, root_hash)).collect();
    }
    let pair = Pair { image: data.image(), data, hash, rivals: Vec::new(), signatures };
    slot(&pair, Some(root_hash), facts)
}

/// What a slot is measured by.
struct Judge<'a> {
    running: &'a Running,
    own: Row<'a, BlockDevice>,
    image: String,
    version: String,
}

impl Judge<'_> {
    fn slot<'a>(
        &self,
        data: Row<'a, BlockDevice>,
        rows: &[Row<'a, BlockDevice>],
        root_hash: Option<&RootHash>,
    ) -> Result<Pair<'a, BlockDevice>, Reason> {
        if data.of.devno == self.own.of.devno {
            return Err(Reason::Running);
        }
        data.usable()?;
        let label = || data.partition.label.clone().unwrap_or_default();
        let image = data.image().ok_or_else(|| Reason::NoVersion(label()))?;
        if image.name != self.image {
            return Err(Reason::OtherImage { image: image.name.to_owned(), running: self.image.clone() });
        }
        if version::compare(image.version, &self.version) != Ordering::Greater {
            return Err(Reason::NotNewer { running: self.version.clone() });
        }
        let pair = pair(data, rows, ROOT, root_hash, false)?;
        match [pair.hash].iter().chain(&pair.rivals).find(|hash| self.running.hash == Some(hash.of.devno)) {
            Some(hash) => Err(Reason::HashRunning(hash.to_string())),
            None => Ok(pair),
        }
    }
}

fn row(device: &BlockDevice) -> Option<Row<'_, BlockDevice>> {
    Some(Row { of: device, partition: device.partition.as_ref()? })
}

fn image(running: &Running, own: Row<'_, BlockDevice>) -> Result<String, Error> {
    let by_label = || own.image().map(|image| image.name.to_owned());
    by_label().or_else(|| running.image.clone()).ok_or_else(|| Error::Unversioned {
        what: "name",
        variable: "IMAGE_ID",
        device: own.of.to_string(),
    })
}

fn version(running: &Running, own: Row<'_, BlockDevice>) -> Result<String, Error> {
    let by_label = || own.image().map(|image| image.version.to_owned());
    running.version.clone().or_else(by_label).ok_or_else(|| Error::Unversioned {
        what: "version",
        variable: "IMAGE_VERSION",
        device: own.of.to_string(),
    })
}

fn compare(one: &Pair<'_, BlockDevice>, other: &Pair<'_, BlockDevice>) -> Ordering {
    let version = |pair: &Pair<'_, BlockDevice>| pair.image.map_or(String::new(), |i| i.version.to_owned());
    version::compare(&version(one), &version(other))
}

fn older_than(best: Option<&Pair<'_, BlockDevice>>) -> Reason {
    let version = best.and_then(|best| best.image).map(|image| image.version.to_owned());
    Reason::Older { newest: version.unwrap_or_default() }
}

fn skip(data: Row<'_, BlockDevice>, reason: Reason) -> Skipped {
    Skipped { device: data.of.to_string(), reason }
}

/// A pair's partitions, where nothing leaves a doubt which they are: no second hash tree or signature, and no other
/// partition with the same UUID.
pub(super) fn slot(
    pair: &Pair<'_, BlockDevice>,
    known: Option<&RootHash>,
    facts: &Facts,
) -> Result<Slot, Error> {
    let Pair { data, hash, rivals, signatures, .. } = pair;
    let about = pair.image.map_or_else(|| data.to_string(), |image| image.to_string());
    if !rivals.is_empty() {
        return Err(twins(format!("hash tree of {about}"), &[&[*hash], rivals.as_slice()].concat()));
    }
    if signatures.len() > 1 {
        return Err(twins(format!("signature of {about}"), signatures));
    }
    let all: Vec<Row<'_, BlockDevice>> = facts.devices.iter().filter_map(row).collect();
    for part in [data, hash].into_iter().chain(signatures) {
        let same = |other: &Row<'_, BlockDevice>| other.uuid().is_some() && other.uuid() == part.uuid();
        let same: Vec<_> = all.iter().copied().filter(same).collect();
        if same.len() > 1 {
            return Err(twins(format!("partition with the UUID of {part}"), &same));
        }
    }
    let known = known.map(|hash| (hash, RootHashFrom::Given));
    let (root_hash, root_hash_from) =
        root_hash(*data, *hash, known).ok_or_else(|| Error::NoUuid(about.clone()))?;
    let device = |row: &Row<'_, BlockDevice>| Device::from(row.of);
    Ok(Slot {
        image: pair.image.map(|image| image.name.to_owned()),
        version: pair.image.map(|image| image.version.to_owned()),
        data: device(data),
        hash: device(hash),
        signature: signatures.first().map(device),
        root_hash,
        root_hash_from,
    })
}

fn twins(what: String, rows: &[Row<'_, BlockDevice>]) -> Error {
    let devices: Vec<String> = rows.iter().map(|row| row.of.to_string()).collect();
    Error::Twins { what, devices: devices.join(" and ") }
}

impl fmt::Display for Slot {
    /// `os_1.2 on vda4 (254:4), hash tree on vda5 (254:5), root hash from ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(image), Some(version)) = (&self.image, &self.version) {
            write!(f, "{image}_{version} on ")?;
        }
        write!(f, "{}, hash tree on {}", self.data, self.hash)?;
        if let Some(signature) = &self.signature {
            write!(f, ", signature on {signature}")?;
        }
        write!(f, ", root hash from {}", self.root_hash_from)
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.device, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{disk::discoverable::own_types, system::sysupdate},
        plan::facts::{Content, Partition, SignedBy},
        units::{BlockSize, Bytes},
    };

    const NO_AUTO: u64 = crate::format::disk::discoverable::NO_AUTO;

    fn guid(purpose: Purpose) -> crate::format::disk::guid::Guid {
        own_types().find(|(_, other)| *other == purpose).unwrap().0
    }

    /// Partition `number` of vda; its UUID is made of its number.
    fn part(number: u32, purpose: Purpose, label: &str) -> BlockDevice {
        BlockDevice {
            name: format!("vda{number}"),
            devno: Devno { major: 254, minor: number },
            diskseq: None,
            size: Bytes(1 << 30),
            logical_block_size: BlockSize::B512,
            read_only: false,
            dm_name: None,
            table_error: None,
            partition: Some(Partition {
                disk: "vda".to_owned(),
                number,
                uuid: Some(format!("{number:08x}-0000-4000-8000-000000000000")),
                type_uuid: Some(guid(purpose)),
                label: Some(label.to_owned()),
                attributes: 0,
            }),
            content: Content::Unread,
            verity: Vec::new(),
        }
    }

    fn with(mut device: BlockDevice, change: impl Fn(&mut Partition)) -> BlockDevice {
        change(device.partition.as_mut().unwrap());
        device
    }

    /// os_1.2 runs from vda2 and vda3.
    fn facts(others: Vec<BlockDevice>) -> Facts {
        let own = [
            part(1, Purpose::Usr, "os_1.2"),
            part(2, Purpose::Root, "os_1.2"),
            part(3, Purpose::RootVerity, "os_1.2_verity"),
        ];
        Facts { devices: own.into_iter().chain(others).collect(), ..Facts::default() }
    }

    fn running() -> Running {
        let devno = |minor| Devno { major: 254, minor };
        Running { data: devno(2), hash: Some(devno(3)), image: None, version: None }
    }

    /// The UUID of a partition with data whose image failed.
    const FAILED: &str = "00000042-0000-4000-8000-000000000000";

    fn choose(others: Vec<BlockDevice>) -> Result<Choice, Error> {
        let root_hash = format!("{FAILED}00000005-0000-4000-8000-000000000000").replace('-', "");
        let failed = [Failed { root_hash, why: "its init could not be executed".to_owned() }];
        other(&facts(others), &running(), &failed, None, &[])
    }

    fn names(slot: Option<&Slot>) -> Vec<String> {
        let devices = slot.map(|slot| [Some(&slot.data), Some(&slot.hash), slot.signature.as_ref()]);
        devices.into_iter().flatten().flatten().map(|device| device.name.clone()).collect()
    }

    #[test]
    fn labels_that_go_together() {
        for (data, hash, signature) in [
            ("os_1.3", "os_1.3", "os_1.3"),
            ("os_1.3", "os_1.3_verity", "os_1.3_verity_sig"),
            ("os_1.3_root", "os_1.3_verity", "os_1.3_verity-sig"),
            ("os_1.3_r", "os_1.3_v", "os_1.3_vs"),
            ("os_1.3", "os-verity_1.3", "os-verity-sig_1.3"),
        ] {
            let others = vec![
                part(4, Purpose::Root, data),
                part(5, Purpose::RootVerity, hash),
                part(6, Purpose::RootVeritySig, signature),
                part(7, Purpose::RootVeritySig, "os_1.2_verity_sig"),
            ];
            let choice = choose(others).unwrap();
            assert_eq!(names(choice.slot.as_ref()), ["vda4", "vda5", "vda6"], "{data} {hash}");
        }
    }

    #[test]
    fn the_root_hash_is_joined() {
        let others = vec![part(4, Purpose::Root, "os_1.10"), part(5, Purpose::RootVerity, "os_1.10_verity")];
        let slot = choose(others).unwrap().slot.unwrap();
        let joined = "00000004000040008000000000000000".to_owned() + "00000005000040008000000000000000";
        assert_eq!(slot.root_hash.to_string(), joined);
        assert!(slot.root_hash_from.is_unprotected());
        assert_eq!(
            slot.to_string(),
            "os_1.10 on vda4 (254:4), hash tree on vda5 (254:5), \
             root hash from the UUIDs of the partitions (unprotected)"
        );
    }

    /// What stands beside a running os_1.2 in place of a complete os_1.3, and why it is passed over.
    #[test]
    fn slots_that_are_passed_over() {
        let data = |label| part(4, Purpose::Root, label);
        let hash = |label| part(5, Purpose::RootVerity, label);
        let partial = || "7a01d3c6-92ac-43e9-bd77-5726b602ad9d".parse().unwrap();
        let pending_hash = || "a0527bff-640d-406c-93e1-3059b3853391".parse().unwrap();
        let is_x86_64 = std::env::consts::ARCH == "x86_64";
        type Row<'a> = (&'a str, Vec<BlockDevice>, &'a str);
        let rows: Vec<Row<'_>> = vec![
            ("empty", vec![data("_empty"), hash("_empty")], "empty"),
            ("partial by label", vec![data("PRT#os_1.3"), hash("PRT#os_1.3_verity")], "only partly written"),
            ("pending by label", vec![data("PND#os_1.3"), hash("os_1.3_verity")], "pending (written"),
            ("older", vec![data("os_1.1"), hash("os_1.1_verity")], "not newer than 1.2, which runs"),
            ("equal", vec![data("os_1.2"), hash("os_1.2_verity")], "not newer than 1.2, which runs"),
            ("pre-release", vec![data("os_1.2~rc1"), hash("os_1.2~rc1")], "not newer than 1.2"),
            (
                "failed",
                vec![with(data("os_1.66"), |p| p.uuid = Some(FAILED.to_owned())), hash("os_1.66_verity")],
                "marked failed: its init could not be executed; --force takes it all the same",
            ),
            ("another image", vec![data("so_1.3"), hash("so_1.3_verity")], "of the image so; os runs"),
            ("no version", vec![data("root-b"), hash("root-b")], "its label \"root-b\" is no NAME_VERSION"),
            ("no label", vec![with(data(""), |p| p.label = None)], "its label \"\" is no NAME_VERSION"),
            ("no hash tree", vec![data("os_1.3")], "no partition has its hash tree"),
            (
                "another's hash tree",
                vec![data("os_1.3"), hash("os_1.2_verity")],
                "no partition has its hash tree",
            ),
            ("hash of /usr", vec![data("os_1.3"), part(5, Purpose::UsrVerity, "os_1.3")], "no partition has"),
            (
                "hash tree pending",
                vec![data("os_1.3"), hash("PND#os_1.3_verity")],
                "partition 5 of vda (root hash tree, PARTLABEL=PND#os_1.3_verity, \
                 PARTUUID=00000005-0000-4000-8000-000000000000) belongs to it, and is pending",
            ),
            (
                "signature partial",
                vec![
                    data("os_1.3"),
                    hash("os_1.3"),
                    part(6, Purpose::RootVeritySig, "PRT#os_1.3_verity_sig"),
                ],
                "belongs to it, and is only partly written",
            ),
            ("no-auto", vec![with(data("os_1.3"), |p| p.attributes = NO_AUTO), hash("os_1.3")], "(no-auto)"),
            (
                "hash tree no-auto",
                vec![data("os_1.3"), with(hash("os_1.3"), |p| p.attributes = NO_AUTO)],
                "and is marked as not to be found",
            ),
        ];
        for (name, others, expected) in rows {
            let choice = choose(others).unwrap();
            assert_eq!(choice.slot, None, "{name}");
            let [own, skipped] = choice.skipped.as_slice() else { panic!("{name}: {choice:?}") };
            assert_eq!(own.reason, Reason::Running);
            assert!(skipped.to_string().contains(expected), "{name}: {skipped}");
            assert!(skipped.device.starts_with("vda4 ("), "{name}: {skipped}");
        }
        if is_x86_64 {
            let others = vec![with(data("os_1.3"), |p| p.type_uuid = Some(partial())), hash("os_1.3")];
            let skipped = choose(others).unwrap().skipped;
            assert_eq!(skipped[1].reason, Reason::Unfinished(sysupdate::Unfinished::Partial));
            let others = vec![data("os_1.3"), with(hash("os_1.3"), |p| p.type_uuid = Some(pending_hash()))];
            let skipped = choose(others).unwrap().skipped;
            assert!(skipped[1].to_string().contains("and is pending"), "{}", skipped[1]);
        }
    }

    #[test]
    fn other_types_and_disks_do_not_count() {
        let pair = || [part(4, Purpose::Root, "os_1.3"), part(5, Purpose::RootVerity, "os_1.3_verity")];
        let arm = "b921b045-1df0-41c3-af44-4c6f280d3fae".parse().unwrap();
        let generic = "0fc63daf-8483-4772-8e79-3d69d8477de4".parse().unwrap();
        let [data, hash] = pair();
        for kind in [arm, generic] {
            let others = vec![with(data.clone(), |p| p.type_uuid = Some(kind)), hash.clone()];
            let choice = choose(others).unwrap();
            if Purpose::of(kind).is_none() {
                assert_eq!((choice.slot, choice.skipped.len()), (None, 1));
            }
        }
        let elsewhere = pair().map(|device| with(device, |p| p.disk = "vdb".to_owned())).to_vec();
        let choice = choose(elsewhere).unwrap();
        assert_eq!((choice.slot, choice.skipped.len()), (None, 1));
    }

    #[test]
    fn the_newest_complete_one() {
        let choice = choose(vec![
            part(4, Purpose::Root, "os_1.3"),
            part(5, Purpose::RootVerity, "os_1.3_verity"),
            part(6, Purpose::Root, "os_1.10"),
            part(7, Purpose::RootVerity, "os_1.10_verity"),
            part(8, Purpose::Root, "os_2"),
        ]);
        let choice = choice.unwrap();
        assert_eq!(names(choice.slot.as_ref()), ["vda6", "vda7"]);
        let reasons: Vec<_> = choice.skipped.into_iter().map(|skipped| skipped.reason).collect();
        let newest = "1.10".to_owned();
        assert_eq!(reasons, [Reason::Running, Reason::Older { newest }, Reason::NoHash]);
    }

    #[test]
    fn twins_are_an_error() {
        let data = |number, label| part(number, Purpose::Root, label);
        let hash = |number, label| part(number, Purpose::RootVerity, label);
        let clone_of = |number: u32| {
            let mut device = with(part(9, Purpose::Root, "x"), |p| p.disk = "vdb".to_owned());
            let uuid = format!("{number:08x}-0000-4000-8000-000000000000");
            device.partition.as_mut().unwrap().uuid = Some(uuid);
            device
        };
        for (others, expected) in [
            (
                vec![data(4, "os_1.3"), hash(5, "os_1.3"), data(6, "os_1.3")],
                "which slot with os_1.3 is meant",
            ),
            (
                vec![data(4, "os_1.3"), hash(5, "os_1.3"), data(6, "os_1.03"), hash(7, "os_1.03")],
                "slot with os_1.3",
            ),
            (
                vec![data(4, "os_1.3"), hash(5, "os_1.3"), hash(6, "os_1.3_verity")],
                "which hash tree of os_1.3",
            ),
            (
                vec![
                    data(4, "os_1.3"),
                    hash(5, "os_1.3"),
                    part(6, Purpose::RootVeritySig, "os_1.3"),
                    part(7, Purpose::RootVeritySig, "os_1.3_verity_sig"),
                ],
                "which signature of os_1.3",
            ),
            (vec![data(4, "os_1.3"), hash(5, "os_1.3"), clone_of(4)], "with the UUID of partition 4 of vda"),
            (vec![data(4, "os_1.3"), hash(5, "os_1.3"), clone_of(5)], "with the UUID of partition 5 of vda"),
        ] {
            let error = choose(others).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(" and "), "{error}");
        }
        // Twins of an older version leave no doubt.
        let others = vec![
            data(4, "os_1.3"),
            hash(5, "os_1.3"),
            data(6, "os_1.3"),
            data(7, "os_1.4"),
            hash(8, "os_1.4"),
        ];
        assert_eq!(names(choose(others).unwrap().slot.as_ref()), ["vda7", "vda8"]);
    }

    #[test]
    fn what_runs() {
        let newer = vec![part(4, Purpose::Root, "os_1.3"), part(5, Purpose::RootVerity, "os_1.3_verity")];
        let facts = facts(newer);
        let with = |change: &dyn Fn(&mut Running, &mut Facts)| {
            let (mut running, mut facts) = (running(), facts.clone());
            change(&mut running, &mut facts);
            other(&facts, &running, &[], None, &[])
        };
        let label = |facts: &mut Facts, label: &str| {
            facts.devices[1].partition.as_mut().unwrap().label = Some(label.to_owned());
        };
        // What os-release says outranks a label that was written since.
        let choice = with(&|running, _| running.version = Some("1.3".to_owned())).unwrap();
        assert_eq!(choice.slot, None);
        let choice = with(&|running, facts| {
            label(facts, "root");
            (running.image, running.version) = (Some("os".to_owned()), Some("1.2".to_owned()));
        });
        assert_eq!(names(choice.unwrap().slot.as_ref()), ["vda4", "vda5"]);
        let choice = with(&|running, _| running.hash = Some(Devno { major: 254, minor: 5 })).unwrap();
        assert!(matches!(choice.skipped[1].reason, Reason::HashRunning(_)), "{choice:?}");
        type Case<'a> = (&'a dyn Fn(&mut Running, &mut Facts), &'a str);
        let cases: [Case<'_>; 5] = [
            (&|running, _| running.data.minor = 99, "the running root is on 254:99, which is no partition"),
            (
                &|_, facts| facts.devices[1].partition = None,
                "the running root is on 254:2, which is no partition",
            ),
            (&|_, facts| label(facts, "root"), "the name of the running root is not known"),
            (
                &|running, facts| {
                    label(facts, "root");
                    running.image = Some("os".to_owned());
                },
                "the version of the running root is not known: os-release has no IMAGE_VERSION=",
            ),
            (&|_, facts| facts.devices[3].table_error = Some("broken".to_owned()), "cannot be read: broken"),
        ];
        for (change, expected) in cases {
            let error = with(change).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn labels_that_filters_take() {
        let slots = || {
            vec![
                part(4, Purpose::Root, "os_1.3"),
                part(5, Purpose::RootVerity, "os_1.3_verity"),
                part(6, Purpose::RootVeritySig, "os_1.3_verity_sig"),
                part(7, Purpose::Root, "os_1.4"),
                part(8, Purpose::RootVerity, "os_1.4_verity"),
            ]
        };
        let none: &[&str] = &[];
        for (filters, chosen, reason) in [
            (&[][..], &["vda7", "vda8"][..], None),
            (&["root=os_*"], &["vda7", "vda8"], None),
            (&["root=os_1.3"], &["vda4", "vda5", "vda6"], Some("its label does not match os_1.3, by f:1")),
            // What belongs to it has to match, too.
            (&["root-verity=os_1.3*"], &["vda4", "vda5", "vda6"], Some("no partition has its hash tree")),
            (&["root=os_1.3", "root-verity-sig=x"], &["vda4", "vda5"], None),
            (&["root=os_1.3", "root=os_1.4"], none, None),
            (&["usr=x"], &["vda7", "vda8"], None),
        ] {
            let filters: Vec<Placed<ImageFilter>> = filters
                .iter()
                .map(|text| Placed { value: text.parse().unwrap(), place: "f:1".to_owned() })
                .collect();
            let choice = other(&facts(slots()), &running(), &[], None, &filters).unwrap();
            assert_eq!(names(choice.slot.as_ref()), chosen, "{filters:?}");
            let told: Vec<String> = choice.skipped.iter().map(|skipped| format!("{skipped}")).collect();
            let is_told = |reason| told.iter().any(|line| line.ends_with(reason));
            assert!(reason.is_none_or(is_told), "{filters:?}: {told:?}");
        }
    }

    #[test]
    fn a_known_root_hash() {
        let hash = |data: u32, hash: u32| -> RootHash {
            let half = |number: u32| format!("{number:08x}000040008000000000000000");
            (half(data) + &half(hash)).parse().unwrap()
        };
        let facts = facts(vec![
            part(4, Purpose::Root, "os_1.3"),
            part(5, Purpose::RootVerity, "odd"),
            part(6, Purpose::Usr, "os_1.3"),
            part(7, Purpose::RootVeritySig, "os_1.3_verity_sig"),
        ]);
        let choice = other(&facts, &running(), &[], Some(&hash(4, 5)), &[]).unwrap();
        let slot = choice.slot.unwrap();
        assert_eq!(names(Some(&slot)), ["vda4", "vda5", "vda7"]);
        assert_eq!((&slot.root_hash, &slot.root_hash_from), (&hash(4, 5), &RootHashFrom::Given));
        let choice = other(&facts, &running(), &[], Some(&hash(8, 5)), &[]).unwrap();
        assert_eq!((choice.slot, &choice.skipped[1].reason), (None, &Reason::OtherRootHash));

        assert_eq!(by_root_hash(&facts, &hash(4, 5), &[]), Ok(slot));
        // The running one, too: it is named.
        assert_eq!(names(by_root_hash(&facts, &hash(2, 3), &[]).ok().as_ref()), ["vda2", "vda3"]);
        for ((data, tree), expected) in [
            ((8, 5), "no partition has the UUID 00000008-0000-4000-8000-000000000000, the first half"),
            ((4, 8), "no partition has the UUID 00000008-0000-4000-8000-000000000000, the last half"),
            ((6, 5), "has the UUID that the root hash gives, but is usr data"),
            ((5, 4), "has the UUID that the root hash gives, but is root hash tree"),
        ] {
            let error = by_root_hash(&facts, &hash(data, tree), &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut unlabelled = self::facts(vec![
            part(4, Purpose::Root, ""),
            part(5, Purpose::RootVerity, ""),
            part(7, Purpose::RootVeritySig, ""),
            part(8, Purpose::RootVeritySig, ""),
        ]);
        let mut found = |signed: &[(u32, RootHash)]| {
            let signed = signed.iter().map(|(minor, root_hash)| SignedBy {
                devno: Devno { major: 254, minor: *minor },
                root_hash: root_hash.clone(),
            });
            unlabelled.signatures = signed.collect();
            by_root_hash(&unlabelled, &hash(4, 5), &[])
                .map(|slot| names(Some(&slot)))
                .map_err(|error| error.to_string())
        };
        let pair = |more: &[&str]| -> Result<Vec<String>, String> {
            Ok(["vda4", "vda5"].iter().chain(more).map(|name| (*name).to_owned()).collect())
        };
        assert_eq!(found(&[]), pair(&[]));
        assert_eq!(found(&[(7, hash(2, 3)), (8, hash(4, 5))]), pair(&["vda8"]));
        let error = found(&[(7, hash(4, 5)), (8, hash(4, 5))]).unwrap_err();
        assert!(error.contains("which signature of partition 4 of vda") && error.contains("vda7"), "{error}");
        let mut twins = facts.clone();
        let copy = with(part(4, Purpose::Root, "os_1.3"), |p| p.disk = "vdb".to_owned());
        twins.devices.push(copy);
        let error = by_root_hash(&twins, &hash(4, 5), &[]).unwrap_err().to_string();
        assert!(error.contains("is meant is not clear: vda4 ("), "{error}");
    }
}
