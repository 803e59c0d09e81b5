//! Which partitions belong together: data, the hash tree over it, and the signature of its root hash.

use std::fmt;

use crate::format::{
    config::{
        image_filter::{self, ImageFilter},
        image_policy::Designator,
        ini::Placed,
    },
    disk::{
        discoverable::{NO_AUTO, Purpose},
        guid::Guid,
    },
    system::sysupdate::{self, Image, Label, Unfinished},
    verity::root_hash::RootHash,
};

use super::{facts::Partition, source::RootHashFrom};

/// A partition, and what it is the partition of.
#[derive(Debug, PartialEq)]
pub(super) struct Row<'a, T> {
    pub(super) of: &'a T,
    pub(super) partition: &'a Partition,
}

/// What makes up one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purposes {
    pub(super) data: Purpose,
    pub(super) hash: Purpose,
    pub(super) signature: Purpose,
}

pub(super) const ROOT: Purposes =
    Purposes { data: Purpose::Root, hash: Purpose::RootVerity, signature: Purpose::RootVeritySig };
pub(super) const USR: Purposes =
    Purposes { data: Purpose::Usr, hash: Purpose::UsrVerity, signature: Purpose::UsrVeritySig };

/// Partitions that belong together.
#[derive(Debug, PartialEq)]
pub(super) struct Pair<'a, T> {
    pub(super) image: Option<Image<'a>>,
    pub(super) data: Row<'a, T>,
    pub(super) hash: Row<'a, T>,
    /// Other hash trees that belong to it as well as that one: an error where this pair is chosen.
    pub(super) rivals: Vec<Row<'a, T>>,
    /// The signature. Several are an error in the same way.
    pub(super) signatures: Vec<Row<'a, T>>,
}

/// Why a partition is no candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Labelled `_empty`.
    Empty,
    /// Its label does not match this pattern, by whom where.
    Label(String, String),
    /// systemd-sysupdate is not done with it.
    Unfinished(Unfinished),
    /// It has the attribute that says that it is not to be found by its type.
    NoAuto,
    /// Its label is no `NAME_VERSION`.
    NoVersion(String),
    /// Of another image than the running one.
    OtherImage {
        /// The image.
        image: String,
        /// The running one.
        running: String,
    },
    /// The root runs from it.
    Running,
    /// The root's hash tree is read from the one that would belong to it: this.
    HashRunning(String),
    /// Not newer than what runs.
    NotNewer {
        /// The version that runs.
        running: String,
    },
    /// Newer than what runs, but not the newest.
    Older {
        /// The newest version.
        newest: String,
    },
    /// It was tried, and failed, with the reason.
    Failed(String),
    /// No partition has its hash tree.
    NoHash,
    /// The partition with its hash tree, or with its signature, is no candidate.
    Other(String, Box<Reason>),
    /// Its UUID is not the one that the root hash gives.
    OtherRootHash,
}

impl<T> Clone for Row<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Row<'_, T> {}

impl<'a, T> Row<'a, T> {
    /// What it is for, also where its type says that it is not finished.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        let type_uuid = self.partition.type_uuid?;
        Purpose::of(type_uuid).or_else(|| sysupdate::unfinished(type_uuid).map(|(purpose, _)| purpose))
    }

    pub(super) fn uuid(&self) -> Option<Guid> {
        self.partition.uuid.as_ref()?.parse().ok().filter(|uuid: &Guid| !uuid.is_nil())
    }

    /// The version of an image that its label names; also that of a partition that is not finished.
    pub(super) fn image(&self) -> Option<Image<'a>> {
        let label = self.partition.label.as_deref()?;
        let label = label.strip_prefix("PRT#").or_else(|| label.strip_prefix("PND#")).unwrap_or(label);
        match Label::parse(label, self.purpose()?) {
            Label::Image(image) => Some(image),
            _ => None,
        }
    }

    /// Whether filters of labels take it. What has no label has an empty one, as in systemd.
    pub(super) fn passes(&self, filters: &[Placed<ImageFilter>]) -> Result<(), Reason> {
        let label = self.partition.label.as_deref().unwrap_or_default();
        let designator = match self.purpose() {
            Some(Purpose::Root) => Designator::Root,
            Some(Purpose::RootVerity) => Designator::RootVerity,
            Some(Purpose::RootVeritySig) => Designator::RootVeritySig,
            Some(Purpose::Usr) => Designator::Usr,
            Some(Purpose::UsrVerity) => Designator::UsrVerity,
            Some(Purpose::UsrVeritySig) => Designator::UsrVeritySig,
            _ => return Ok(()),
        };
        match image_filter::refusal(filters, designator, label) {
            Some((pattern, place)) => Err(Reason::Label(pattern.to_owned(), place.to_owned())),
            None => Ok(()),
        }
    }

    /// Whether it may be found by its type at all.
    pub(super) fn usable(&self) -> Result<(), Reason> {
        let state = self.partition.type_uuid.and_then(sysupdate::unfinished).map(|(_, state)| state);
        let label = self.partition.label.as_deref().unwrap_or_default();
        let by_label = self.purpose().map(|purpose| Label::parse(label, purpose));
        match (state, by_label) {
            (_, Some(Label::Empty)) => Err(Reason::Empty),
            (Some(state), _) | (None, Some(Label::Unfinished(state))) => Err(Reason::Unfinished(state)),
            _ if self.partition.attributes & NO_AUTO != 0 => Err(Reason::NoAuto),
            _ => Ok(()),
        }
    }
}

/// The root hash of a pair: the one that is known, or else its UUIDs joined; `None` where a partition has none.
pub(super) fn root_hash<T>(
    data: Row<'_, T>,
    hash: Row<'_, T>,
    known: Option<(&RootHash, RootHashFrom)>,
) -> Option<(RootHash, RootHashFrom)> {
    match known {
        Some((known, from)) => Some((known.clone(), from)),
        None => {
            Some((RootHash::of_partition_uuids(data.uuid()?, hash.uuid()?), RootHashFrom::PartitionUuids))
        }
    }
}

/// Finds what belongs to `data` among `rows`: by the halves of the root hash where it is known, by label where it is
/// not. `alone`: where labels say nothing, the only hash tree belongs to the only data.
pub(super) fn pair<'a, T>(
    data: Row<'a, T>,
    rows: &[Row<'a, T>],
    purposes: Purposes,
    root_hash: Option<&RootHash>,
    alone: bool,
) -> Result<Pair<'a, T>, Reason> {
    let own = data.uuid();
    let image = data.image();
    let of = |purpose| rows.iter().copied().filter(move |row| row.purpose() == Some(purpose));
    let siblings = |purpose| -> Vec<Row<'a, T>> {
        match image {
            Some(_) if of(purpose).any(|row| row.image() == image) => {
                of(purpose).filter(|row| row.image() == image).collect()
            }
            _ if alone && of(purpose).count() == 1 && of(purposes.data).count() == 1 => of(purpose).collect(),
            _ => Vec::new(),
        }
    };
    let hashes: Vec<Row<'a, T>> = match root_hash.map(RootHash::partition_uuids) {
        Some((first, _)) if own != Some(first) => return Err(Reason::OtherRootHash),
        Some((_, last)) => of(purposes.hash).filter(|row| row.uuid() == Some(last)).collect(),
        None => siblings(purposes.hash),
    };
    let signatures = siblings(purposes.signature);
    for row in hashes.iter().chain(&signatures) {
        row.usable().map_err(|why| Reason::Other(row.to_string(), Box::new(why)))?;
    }
    let mut hashes = hashes.into_iter();
    let hash = hashes.next().ok_or(Reason::NoHash)?;
    Ok(Pair { image, data, hash, rivals: hashes.collect(), signatures })
}

impl<T> fmt::Display for Row<'_, T> {
    /// `partition 3 of vda (root data, PARTLABEL=os_1.2, PARTUUID=...)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Partition { disk, number, uuid, label, .. } = self.partition;
        let mut about: Vec<String> = Vec::new();
        about.extend(self.purpose().map(|purpose| purpose.to_string()));
        about.extend(label.as_ref().filter(|l| !l.is_empty()).map(|l| format!("PARTLABEL={l}")));
        about.extend(uuid.as_ref().map(|uuid| format!("PARTUUID={uuid}")));
        write!(f, "partition {number} of {disk} ({})", about.join(", "))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Label(pattern, place) => write!(f, "its label does not match {pattern}, by {place}"),
            Self::Unfinished(state) => state.fmt(f),
            Self::NoAuto => f.write_str("marked as not to be found by its type (no-auto)"),
            Self::NoVersion(label) => write!(f, "its label \"{label}\" is no NAME_VERSION"),
            Self::OtherImage { image, running } => write!(f, "of the image {image}; {running} runs"),
            Self::Running => f.write_str("the running root"),
            Self::HashRunning(hash) => write!(f, "its hash tree, {hash}, is the running root's"),
            Self::NotNewer { running } => write!(f, "not newer than {running}, which runs"),
            Self::Older { newest } => write!(f, "older than {newest}"),
            Self::Failed(why) => write!(f, "marked failed: {why}; --force takes it all the same"),
            Self::NoHash => f.write_str("no partition has its hash tree"),
            Self::Other(which, why) => write!(f, "{which} belongs to it, and is {why}"),
            Self::OtherRootHash => f.write_str("its UUID is not the first half of the root hash"),
        }
    }
}
