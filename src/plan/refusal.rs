//! Why an image is not what is demanded.

use crate::format::config::image_policy::Designator;

use super::demands::Proof;

/// An image that is not what is demanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has to be there, and is not.
    #[error(
        "there is no image for {which}, and {place} allows {which} only as {usage}: name one, or add absent to that rule"
    )]
    Missing {
        /// The place.
        which: Designator,
        /// Who demands it where.
        place: String,
        /// What is allowed.
        usage: String,
    },
    /// It must not be used.
    #[error(
        "{what} would be used for {which}, and {place} allows {which} only as {usage}: name none, or allow one, such as {which}=verity"
    )]
    Unwanted {
        /// The image.
        what: String,
        /// The place.
        which: Designator,
        /// Who forbids it where.
        place: String,
        /// What is allowed.
        usage: String,
    },
    /// Less is proven of it than is demanded.
    #[error("{what} is {proof}, and {place} allows {which} only as {usage}: {missing}")]
    Proof {
        /// The image.
        what: String,
        /// What is proven.
        proof: Proof,
        /// The place.
        which: Designator,
        /// Who demands more where.
        place: String,
        /// What is allowed.
        usage: String,
        /// What is missing.
        missing: &'static str,
    },
    /// It has a hash tree, which is forbidden.
    #[error("{what} has a hash tree, and {place} allows {tree} only as {usage}: change that rule")]
    Tree {
        /// The image.
        what: String,
        /// The partition of the hash tree.
        tree: Designator,
        /// Who forbids it where.
        place: String,
        /// What is allowed.
        usage: String,
    },
    /// An attribute of its partition.
    #[error(
        "{device}: its {attribute} attribute is {}, and {place} demands it {} for {which}: change it in the partition table, or the policy",
        switch(!.wanted),
        switch(*.wanted)
    )]
    Attribute {
        /// The partition.
        device: String,
        /// The attribute.
        attribute: &'static str,
        /// What it has to be.
        wanted: bool,
        /// The place.
        which: Designator,
        /// Who demands it where.
        place: String,
    },
    /// Its file system.
    #[error("{device} holds {found}, and {place} allows {which} only as {types}: name another image")]
    FileSystem {
        /// The device.
        device: String,
        /// What it holds.
        found: String,
        /// The place.
        which: Designator,
        /// Who forbids it where.
        place: String,
        /// What is allowed.
        types: String,
    },
    /// Its label.
    #[error(
        "{device}: its label does not match {pattern}, and {place} takes no other for {which}: name another, or change the filter"
    )]
    Label {
        /// The device.
        device: String,
        /// What its label would have to match.
        pattern: String,
        /// The place.
        which: Designator,
        /// Who says so where.
        place: String,
    },
    /// It does not say how old it is.
    #[error(
        "{what} has no version (IMAGE_VERSION= of its os-release), and {place} demands {at_least} or newer: set it when the image is built"
    )]
    NoVersion {
        /// The image.
        what: String,
        /// The least version.
        at_least: String,
        /// Who demands it where.
        place: String,
    },
    /// It is too old.
    #[error("{what} is of version {found}, and {place} demands {at_least} or newer: name a newer image")]
    Older {
        /// The image.
        what: String,
        /// Its version.
        found: String,
        /// The least version.
        at_least: String,
        /// Who demands it where.
        place: String,
    },
}

impl Refusal {
    /// Whether it is for how old it is.
    #[must_use]
    pub fn is_of_version(&self) -> bool {
        matches!(self, Self::NoVersion { .. } | Self::Older { .. })
    }
}

fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
