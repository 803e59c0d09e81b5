//! From a source as it was written to the root that it means.

use crate::format::{
    config::{image_filter::ImageFilter, ini::Placed},
    verity::{options::VerityOptions, root_hash::RootHash, setup::LONGEST_NAME},
};

use super::{
    facts::Facts,
    intent::{Tag, Verity},
    signed::{Place, Signed},
    slot::{self, Running},
    source::{RootHashFrom, Source},
    stage::Root,
    state::{On, State},
    step::HashOrigin,
};

/// A source, and what was said beside it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The source.
    pub source: Source,
    /// The root hash, where the source does not say it.
    pub root_hash: Option<RootHash>,
    /// The device with the hash tree; default: the partition that the root hash names.
    pub hash_device: Option<Source>,
    /// `--force`: also an image that failed before.
    pub failed_too: bool,
    /// Which partitions are taken, by their labels.
    pub filters: Vec<Placed<ImageFilter>>,
}

/// A source that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A device without a root hash.
    #[error("source {source_name}: nothing is verified without a root hash: write --roothash HEX")]
    NoRootHash {
        /// What was given.
        source_name: Source,
    },
    /// A root that has another root hash than the one that was named.
    #[error(
        "source {source_name}: its root hash is {found}, and {wanted} was named: leave --roothash (RootHash=) out, or name the image that has it"
    )]
    OtherRootHash {
        /// The source.
        source_name: Source,
        /// The root hash that was named.
        wanted: String,
        /// The one that the root has.
        found: String,
    },
    /// A hash device that is none.
    #[error("the hash device {0} is no device: write /dev/NAME, PARTUUID=, PARTLABEL=, UUID= or LABEL=")]
    HashDevice(Source),
    /// A dm device that is not there.
    #[error("there is no dm device {0}")]
    NoMapper(String),
    /// There is no root from before.
    #[error(
        "source previous: no root ran before this one since the machine was started, or it was closed (Keep=0 of nextroot.conf)"
    )]
    NoPrevious,
    /// It is none that could be mounted again.
    #[error(
        "source previous: the root that ran before cannot be mounted again: {why}; name an image, or start it by a full reboot"
    )]
    PreviousUnreachable {
        /// Why not.
        why: String,
    },
    /// Its device is gone.
    #[error(
        "source previous: dm-verity {name} with root hash {root_hash} is not open any more: name its partitions"
    )]
    PreviousGone {
        /// The dm name.
        name: String,
        /// Its root hash.
        root_hash: String,
    },
    /// Other slots cannot be looked for.
    #[error(
        "source slot:other: the running root is not known to be on dm-verity, so no slot is known to be the other"
    )]
    NoSlots,
    /// Slots that cannot be told apart.
    #[error(transparent)]
    Slot(#[from] slot::Error),
    /// What nextroot.conf names, and runs already.
    #[error("source {source_name} of nextroot.conf: it is the root that runs")]
    Runs {
        /// The source.
        source_name: Source,
    },
    /// What nextroot.conf names, and failed before.
    #[error("source {source_name} of nextroot.conf{}; name it, or --force, to try it again", told(.why))]
    Failed {
        /// The source.
        source_name: Source,
        /// Its root hash, and why it counts as failed: one line.
        why: Vec<String>,
    },
    /// What is newer failed before.
    #[error("source slot:other: no slot is newer than the running root, but for one that failed{}", told(.0))]
    OnlyFailed(Vec<String>),
    /// No slot is newer.
    #[error("source slot:other: no slot is newer than the running root{}", told(.0))]
    NothingNewer(Vec<String>),
}

fn told(skipped: &[String]) -> String {
    skipped.iter().map(|line| format!("; {line}")).collect()
}

/// What was chosen, and what was passed over for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The root.
    pub root: Root,
    /// A line for each slot that was passed over.
    pub skipped: Vec<String>,
}

impl From<Root> for Chosen {
    fn from(root: Root) -> Self {
        Self { root, skipped: Vec::new() }
    }
}

/// Chooses; files are looked into elsewhere, and are devices by then.
pub fn choose(written: &Written, state: &State, facts: &Facts) -> Result<Chosen, Error> {
    let data = match &written.source {
        Source::Previous => return previous(written, state, facts).map(Chosen::from),
        Source::OtherSlot => return other_slot(written, state, facts),
        Source::RootHash(root_hash) => {
            agrees(written, Some(&root_hash.to_string()))?;
            let (data, _) = root_hash.partition_uuids();
            let mut chosen = closed(written, root_hash, Tag::PartUuid(data.to_string()), facts)?;
            let signature = match slot::by_root_hash(facts, root_hash, &written.filters) {
                Ok(slot) => slot.signature,
                Err(twins @ slot::Error::Twins { .. }) => return Err(twins.into()),
                // Where the partitions are not there, that is said when they are opened.
                Err(_) => None,
            };
            if let Root::Closed(verity) = &mut chosen.root {
                verity.signature = signature.map(Place::Partition).map(Signed::found);
            }
            return Ok(chosen);
        }
        source => device(source, facts)?,
    };
    match (&written.root_hash, data) {
        (Some(root_hash), Some(data)) => closed(written, root_hash, data, facts),
        _ => Err(Error::NoRootHash { source_name: written.source.clone() }),
    }
}

/// Refuses a root whose root hash, where it has one, is not the one that was named beside the source.
fn agrees(written: &Written, found: Option<&str>) -> Result<(), Error> {
    match &written.root_hash {
        Some(wanted) if found != Some(wanted.to_string().as_str()) => Err(Error::OtherRootHash {
            source_name: written.source.clone(),
            wanted: wanted.to_string(),
            found: found.map_or_else(|| "none: nothing verifies it".to_owned(), str::to_owned),
        }),
        _ => Ok(()),
    }
}

fn closed(written: &Written, root_hash: &RootHash, data: Tag, facts: &Facts) -> Result<Chosen, Error> {
    let hash = match &written.hash_device {
        Some(source) => device(source, facts)?.ok_or_else(|| Error::HashDevice(source.clone()))?,
        None => Tag::PartUuid(root_hash.partition_uuids().1.to_string()),
    };
    Ok(Root::Closed(Box::new(verity(root_hash, HashOrigin::Arguments, data, hash))).into())
}

/// A root to be opened, under the name that a staged one has.
#[must_use]
pub fn verity(root_hash: &RootHash, root_hash_from: HashOrigin, data: Tag, hash: Tag) -> Verity {
    let (name, root_hash) = (dm_name(root_hash), root_hash.clone());
    let (options, signature) = (VerityOptions::default(), None);
    Verity { name, root_hash, root_hash_from, data, hash, fec: None, options, signature }
}

/// A root hash's origin, as plans name it.
#[must_use]
pub fn origin(from: &RootHashFrom) -> HashOrigin {
    match from {
        RootHashFrom::Given => HashOrigin::Arguments,
        RootHashFrom::File(_) => HashOrigin::File,
        RootHashFrom::PartitionUuids => HashOrigin::PartitionUuids,
    }
}

fn other_slot(written: &Written, state: &State, facts: &Facts) -> Result<Chosen, Error> {
    let current = state.current.as_ref().ok_or(Error::NoSlots)?;
    let name = &current.verity().ok_or(Error::NoSlots)?.name;
    let open = facts.verity.iter().find(|open| open.name == *name).ok_or(Error::NoSlots)?;
    let (data, hash) = (open.table.data, open.table.hash);
    let running =
        Running { data, hash: (hash != data).then_some(hash), image: None, version: current.version.clone() };
    let failed = if written.failed_too { &[][..] } else { &state.failed };
    let choice = slot::other(facts, &running, failed, written.root_hash.as_ref(), &written.filters)?;
    let line = |skipped: &slot::Skipped| format!("{} was passed over: {}", skipped.device, skipped.reason);
    let skipped: Vec<String> = choice.skipped.iter().map(line).collect();
    let Some(slot) = choice.slot else {
        let has_failed =
            choice.skipped.iter().any(|skipped| matches!(skipped.reason, slot::Reason::Failed(_)));
        return Err(if has_failed { Error::OnlyFailed(skipped) } else { Error::NothingNewer(skipped) });
    };
    let (data, hash) = (Tag::Number(slot.data.devno), Tag::Number(slot.hash.devno));
    let verity = verity(&slot.root_hash, origin(&slot.root_hash_from), data, hash);
    let verity = Verity { signature: slot.signature.map(Place::Partition).map(Signed::found), ..verity };
    Ok(Chosen { root: Root::Closed(Box::new(verity)), skipped })
}

/// `HASH-verity`, cut where dm would not take it.
fn dm_name(root_hash: &RootHash) -> String {
    let mut hash = root_hash.to_string();
    hash.truncate(LONGEST_NAME - "-verity".len());
    hash + "-verity"
}

/// The device that a source names; `None` where it names something else.
fn device(source: &Source, facts: &Facts) -> Result<Option<Tag>, Error> {
    match source {
        Source::Device(tag) => Ok(Some(tag.clone())),
        Source::Mapper(name) => facts
            .devices
            .iter()
            .find(|device| device.dm_name.as_ref() == Some(name))
            .map(|device| Some(Tag::Number(device.devno)))
            .ok_or_else(|| Error::NoMapper(name.clone())),
        _ => Ok(None),
    }
}

/// The only way to a root that is not verified: one that ran here before.
fn previous(written: &Written, state: &State, facts: &Facts) -> Result<Root, Error> {
    let previous = state.previous.as_ref().ok_or(Error::NoPrevious)?;
    agrees(written, previous.verity().map(|verity| verity.root_hash.as_str()))?;
    let previous = match &previous.on {
        On::Verity(previous) => previous,
        On::Plain { plain } => return Ok(Root::Plain(Box::new(plain.clone()))),
        On::Else { unreachable } => return Err(Error::PreviousUnreachable { why: unreachable.clone() }),
    };
    let same = |open: &&super::facts::OpenVerity| {
        !open.leaving && open.name == previous.name && open.table.root_hash.to_string() == previous.root_hash
    };
    match facts.verity.iter().find(same) {
        Some(open) => Ok(Root::Open(open.clone())),
        None => {
            Err(Error::PreviousGone { name: previous.name.clone(), root_hash: previous.root_hash.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "4f68bce3e8cd4db196e7fbcaf984b70909040302010203040506070809101112";

    fn written(source: &str) -> Written {
        let source = source.parse().unwrap();
        Written { source, root_hash: None, hash_device: None, failed_too: false, filters: Vec::new() }
    }

    fn chosen(source: &str, root_hash: Option<&str>) -> Result<Root, String> {
        let root_hash = root_hash.map(|text| text.parse().unwrap());
        let written = Written { root_hash, ..written(source) };
        choose(&written, &State::default(), &Facts::default())
            .map(|chosen| chosen.root)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn sources() {
        for (source, root_hash, data) in [
            (format!("roothash:{HASH}"), None, "PARTUUID=4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            ("PARTLABEL=b".to_owned(), Some(HASH), "PARTLABEL=b"),
            ("/dev/vda2".to_owned(), Some(HASH), "/dev/vda2"),
        ] {
            let Ok(Root::Closed(verity)) = chosen(&source, root_hash) else { panic!("{source}") };
            assert_eq!(verity.data.to_string(), data);
            assert_eq!(verity.hash.to_string(), "PARTUUID=09040302-0102-0304-0506-070809101112");
            assert_eq!(verity.name, format!("{HASH}-verity"));
        }
    }

    #[test]
    fn sources_that_cannot_be() {
        for (source, root_hash, message) in [
            (
                "/dev/vda2",
                None,
                "source /dev/vda2: nothing is verified without a root hash: write --roothash HEX",
            ),
            (
                "previous",
                None,
                "source previous: no root ran before this one since the machine was started, or it was closed (Keep=0 of nextroot.conf)",
            ),
            ("/dev/mapper/x", Some(HASH), "there is no dm device x"),
            (
                "roothash:00000000000000000000000000000000ffffffffffffffffffffffffffffffff",
                Some(HASH),
                "source roothash:00000000000000000000000000000000ffffffffffffffffffffffffffffffff: its root hash is \
                 00000000000000000000000000000000ffffffffffffffffffffffffffffffff, and \
                 4f68bce3e8cd4db196e7fbcaf984b70909040302010203040506070809101112 was named: leave --roothash (RootHash=) \
                 out, or name the image that has it",
            ),
            (
                "slot:other",
                None,
                "source slot:other: the running root is not known to be on dm-verity, so no slot is known to be the other",
            ),
        ] {
            assert_eq!(chosen(source, root_hash), Err(message.to_owned()));
        }
    }

    /// Only `previous` leads to what is not verified, and only to what ran here.
    #[test]
    fn a_plain_root_from_before() {
        let plain = serde_json::json!({
            "device": {"name": "vda2", "devno": "254:2"}, "partition_uuid": "0000000b-02", "filesystem_uuid": null,
            "fstype": "ext4", "read_only": false, "options": "",
        });
        let root = |on: serde_json::Value| -> State {
            let mut root = serde_json::json!({"source": "x", "system": null, "version": null});
            root.as_object_mut().unwrap().extend(on.as_object().unwrap().clone());
            State { previous: Some(serde_json::from_value(root).unwrap()), ..State::default() }
        };
        let of = |source: &str, state: &State| {
            let written = written(source);
            choose(&written, state, &Facts::default()).map(|chosen| chosen.root).map_err(|e| e.to_string())
        };
        let ran = root(serde_json::json!({"plain": plain}));
        assert!(matches!(of("previous", &ran), Ok(Root::Plain(plain)) if plain.device.name == "vda2"));
        for source in ["/dev/vda2", "PARTUUID=0000000b-02"] {
            assert!(
                of(source, &ran).is_err_and(|why| why.contains("nothing is verified without a root hash"))
            );
        }
        let overlay = root(serde_json::json!({"unreachable": "it is overlay"}));
        assert_eq!(
            of("previous", &overlay),
            Err("source previous: the root that ran before cannot be mounted again: it is overlay; name an image, or start it by a full reboot".to_owned())
        );
    }

    /// systemd#39664: with two slots, the signature of the other one was taken.
    #[test]
    fn the_signature_of_the_same_image() {
        use crate::format::disk::discoverable::{Purpose, own_types};
        let of = |purpose| own_types().find(|(_, other)| *other == purpose).unwrap().0.to_string();
        let part = |number: u32, purpose, label: &str| -> super::super::facts::BlockDevice {
            let uuid = match number {
                3 => "4f68bce3-e8cd-4db1-96e7-fbcaf984b709".to_owned(),
                4 => "09040302-0102-0304-0506-070809101112".to_owned(),
                _ => format!("{number:08x}-0000-4000-8000-000000000000"),
            };
            serde_json::from_value(serde_json::json!({
                "name": format!("vda{number}"), "devno": format!("254:{number}"), "size": 4096,
                "logical_block_size": 512, "dm_name": null, "table_error": null,
                "partition": {"disk": "vda", "number": number, "uuid": uuid, "type_uuid": of(purpose),
                    "label": label, "attributes": 0},
            }))
            .unwrap()
        };
        let signature_of = |labels: [&str; 2], signed: &[u32]| {
            let devices = vec![
                part(1, Purpose::RootVeritySig, labels[0]),
                part(2, Purpose::RootVeritySig, labels[1]),
                part(3, Purpose::Root, "os_2"),
                part(4, Purpose::RootVerity, "os_2_verity"),
            ];
            let written = written(&format!("roothash:{HASH}"));
            let signatures = signed.iter().map(|minor| super::super::facts::SignedBy {
                devno: format!("254:{minor}").parse().unwrap(),
                root_hash: HASH.parse().unwrap(),
            });
            let facts = Facts { devices, signatures: signatures.collect(), ..Facts::default() };
            match choose(&written, &State::default(), &facts) {
                Ok(Chosen { root: Root::Closed(verity), .. }) => {
                    Ok(verity.signature.map(|signed| (signed.at.to_string(), signed.required)))
                }
                Ok(other) => panic!("{labels:?}: {other:?}"),
                Err(error) => Err(error.to_string()),
            }
        };
        for (labels, signed, expected) in [
            (["os_1_verity_sig", "os_2_verity_sig"], &[][..], Some("vda2 (254:2)")),
            (["os_2_verity_sig", "os_1_verity_sig"], &[], Some("vda1 (254:1)")),
            (["os_1_verity_sig", "other"], &[], None),
            (["os_1_verity_sig", "PRT#os_2_verity_sig"], &[], None),
            // Where no label says it, the signature does; one that is not finished counts for nothing all the same.
            (["os_1_verity_sig", "other"], &[2], Some("vda2 (254:2)")),
            (["", "other"], &[1], Some("vda1 (254:1)")),
            (["os_1_verity_sig", "PRT#os_2_verity_sig"], &[2], None),
            // What a label says is held to when it is read.
            (["other", "os_2_verity_sig"], &[1], Some("vda2 (254:2)")),
        ] {
            let expected = expected.map(|at| (at.to_owned(), false));
            assert_eq!(signature_of(labels, signed), Ok(expected), "{labels:?}");
        }
        // Two were none: the root was opened without either being read.
        for (labels, signed) in [(["os_2_verity_sig"; 2], &[][..]), (["", "other"], &[1, 2])] {
            let error = signature_of(labels, signed).unwrap_err();
            assert!(error.contains("which signature of os_2 is meant is not clear: vda1 ("), "{error}");
        }
    }

    #[test]
    fn a_sha512_name_fits_dm() {
        let root_hash: RootHash = "ab".repeat(64).parse().unwrap();
        assert_eq!(dm_name(&root_hash).len(), 127);
    }
}
