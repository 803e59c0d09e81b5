//! From a source as it was written to the root that it means.

use crate::format::{
    root_hash::{NotARootHash, RootHash},
    verity::options::VerityOptions,
};

use super::{
    facts::Facts,
    intent::{Tag, Verity},
    stage::Root,
    state::State,
    step::HashOrigin,
    tag::{self, Name},
};

/// A source, as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// `roothash:HEX`, a device, `previous`.
    pub source: &'a str,
    /// The root hash, where the source does not say it.
    pub root_hash: Option<&'a str>,
    /// The device with the hash tree; default: the partition that the root hash names.
    pub hash_device: Option<&'a str>,
}

/// A source that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that is none.
    #[error("source {text}: {why}")]
    Name {
        /// What was given.
        text: String,
        /// Why not, and what to write.
        why: String,
    },
    /// A device without a root hash.
    #[error("source {text}: nothing is verified without a root hash: write --roothash HEX")]
    NoRootHash {
        /// What was given.
        text: String,
    },
    /// A root hash that is none.
    #[error("the root hash of source {text}")]
    RootHash {
        /// What was given.
        text: String,
        /// Why not.
        #[source]
        source: NotARootHash,
    },
    /// There is no root from before.
    #[error("source previous: no root ran before this one since the machine was started")]
    NoPrevious,
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
}

/// Chooses.
pub fn choose(written: &Written<'_>, state: &State, facts: &Facts) -> Result<Root, Error> {
    let text = written.source;
    if text == "previous" {
        return previous(state, facts);
    }
    let in_source = text.strip_prefix("roothash:");
    let root_hash = in_source.or(written.root_hash);
    let root_hash = root_hash.ok_or_else(|| Error::NoRootHash { text: text.to_owned() })?;
    let root_hash: RootHash =
        root_hash.parse().map_err(|source| Error::RootHash { text: text.to_owned(), source })?;
    let (data_uuid, hash_uuid) = root_hash.partition_uuids();
    let data = match in_source {
        Some(_) => Tag::PartUuid(data_uuid.to_string()),
        None => device(text, facts)?,
    };
    let hash = match written.hash_device {
        Some(text) => device(text, facts)?,
        None => Tag::PartUuid(hash_uuid.to_string()),
    };
    Ok(Root::Closed(Box::new(Verity {
        name: dm_name(&root_hash),
        root_hash,
        root_hash_from: HashOrigin::Arguments,
        data,
        hash,
        options: VerityOptions::default(),
    })))
}

/// `HASH-verity`, cut where dm would not take it.
fn dm_name(root_hash: &RootHash) -> String {
    const LONGEST: usize = 127;
    let mut hash = root_hash.to_string();
    hash.truncate(LONGEST - "-verity".len());
    hash + "-verity"
}

fn device(text: &str, facts: &Facts) -> Result<Tag, Error> {
    let name = |why: String| Error::Name { text: text.to_owned(), why };
    match tag::parse(text).map_err(name)? {
        Name::Tag(tag) => Ok(tag),
        Name::Mapper(mapper) => facts
            .devices
            .iter()
            .find(|device| device.dm_name.as_ref() == Some(&mapper))
            .map(|device| Tag::Number(device.devno))
            .ok_or_else(|| name("there is no such dm device".to_owned())),
    }
}

fn previous(state: &State, facts: &Facts) -> Result<Root, Error> {
    let previous = state.previous.as_ref().ok_or(Error::NoPrevious)?;
    let same = |open: &&super::facts::OpenVerity| {
        open.name == previous.name && open.table.root_hash.to_string() == previous.root_hash
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

    const HASH: &str = "4f68bce3e8cd4db196e7fbcaf984b70904030201020304050607080910111213";

    fn chosen(source: &str, root_hash: Option<&str>) -> Result<Root, String> {
        let written = Written { source, root_hash, hash_device: None };
        choose(&written, &State::default(), &Facts::default()).map_err(|error| error.to_string())
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
            assert_eq!(verity.hash.to_string(), "PARTUUID=04030201-0203-0405-0607-080910111213");
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
            ("roothash:12", None, "the root hash of source roothash:12"),
            ("previous", None, "source previous: no root ran before this one since the machine was started"),
            ("/dev/mapper/x", Some(HASH), "source /dev/mapper/x: there is no such dm device"),
        ] {
            assert_eq!(chosen(source, root_hash), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_sha512_name_fits_dm() {
        let root_hash: RootHash = "ab".repeat(64).parse().unwrap();
        assert_eq!(dm_name(&root_hash).len(), 127);
    }
}
