//! What was asked for, and checks of it: the root hash and what it proves, the dm name.

use serde::{Deserialize, Serialize};

use crate::{
    format::{
        config::{image_policy::Designator, prewarm::Prewarm},
        verity::root_hash::RootHash,
    },
    plan::{
        demands::{Candidate, Demands, Proof, allow_version},
        step::HashOrigin,
    },
};

use super::{Finding, Given, Verdict};

/// What was asked for, as far as preflight looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// Mount points that are carried.
    pub carried: Vec<String>,
    /// `--direct`: no program on tmpfs.
    pub direct: bool,
    /// `AutomaticReturn=no`: no watcher is left.
    pub unwatched: bool,
    /// What is read ahead.
    pub prewarm: Prewarm,
    /// Units that must not be away for long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
    /// What has to hold.
    pub wanted: Wanted,
    /// What is demanded besides.
    #[serde(skip_serializing_if = "Demands::is_empty")]
    pub demands: Demands,
    /// Whether the source is the newest slot, by labels that nobody verifies.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub newest: bool,
    /// The root hash, where the source has one.
    pub root_hash: Option<RootHashUse>,
    /// The plain root, where the source is one that ran before.
    pub unverified: Option<String>,
    /// The dm name that the root is to get, where it gets one.
    pub dm_name: Option<(String, DmName)>,
    /// Why the root was not opened, where that does not follow from the above.
    pub refused: Option<Refused>,
}

/// What keeps a root closed: the check that says so, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// Policy forbids it, or its signature does not hold.
    RootHash(String),
    /// It is too old, by the label of its partition or the name of its file.
    ImageVersion(String),
}

/// What the policy wants of a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Whatever it is.
    #[default]
    Anything,
    /// Verified, by a root hash that an attacker cannot choose.
    Verity,
}

/// A root hash and its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootHashUse {
    /// The hash.
    pub hash: RootHash,
    /// Where it comes from.
    pub from: HashFrom,
}

/// Where a root hash comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashFrom {
    /// `--roothash` or `roothash:`.
    Arguments,
    /// nextroot.conf.
    Config,
    /// The kernel command line.
    CommandLine,
    /// Nobody wrote down where.
    Unknown,
    /// The UUIDs of two partitions.
    PartitionUuids,
    /// An unsigned file beside the image.
    Beside(String),
    /// Its signature, which was checked.
    Signature,
}

/// Whether a dm name can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DmName {
    /// Nobody has it.
    Free,
    /// A device has it, with the same table, root hash and signature.
    Same,
    /// A device has it that is another one in this.
    Other(String),
}

impl HashFrom {
    /// What a root hash from there proves. What is not chosen by somebody who is trusted tells damage, and no attacker.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match self {
            Self::Arguments | Self::Config | Self::CommandLine => Proof::Verity,
            Self::PartitionUuids | Self::Beside(_) | Self::Unknown => Proof::Unprotected,
            Self::Signature => Proof::Signed,
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Arguments => "from the arguments".to_owned(),
            Self::Config => "from the configuration".to_owned(),
            Self::CommandLine => "from the kernel command line".to_owned(),
            Self::Unknown => "from where nobody knows any more".to_owned(),
            Self::PartitionUuids => "joined from partition UUIDs".to_owned(),
            Self::Beside(path) => format!("from {path}, which is not signed"),
            Self::Signature => "with a signature that was checked".to_owned(),
        }
    }
}

impl From<HashOrigin> for HashFrom {
    fn from(origin: HashOrigin) -> Self {
        match origin {
            HashOrigin::CommandLine => Self::CommandLine,
            HashOrigin::Config => Self::Config,
            HashOrigin::Arguments => Self::Arguments,
            HashOrigin::PartitionUuids => Self::PartitionUuids,
            HashOrigin::Unknown => Self::Unknown,
            HashOrigin::Signature => Self::Signature,
            HashOrigin::File => Self::Beside("a file beside the image".to_owned()),
        }
    }
}

/// What to do is in what was found.
const OVERRIDE: &str = "--force does not change the policy";

/// The check that kept the new root closed: nothing can be said of what is in it.
pub(super) fn unopened(given: &Given<'_>) -> Option<&'static str> {
    match (&given.asked.refused, &given.asked.dm_name) {
        (Some(Refused::ImageVersion(_)), _) => Some("image-version"),
        (Some(Refused::RootHash(_)), _) => Some("root-hash"),
        (None, Some((_, DmName::Other(_)))) => Some("dm-name"),
        (None, _) => (root_hash(given).result == Verdict::Fail).then_some("root-hash"),
    }
}

pub(super) fn root_hash(given: &Given<'_>) -> Finding {
    let finding = proven(given);
    match &given.asked.refused {
        // It tells of the hash and its origin only.
        Some(Refused::RootHash(why)) if finding.result != Verdict::Fail => Finding::fail(why, OVERRIDE),
        _ => finding,
    }
}

fn proven(given: &Given<'_>) -> Finding {
    let name = "name the root hash with --roothash";
    let proof = given.asked.root_hash.as_ref().map_or(Proof::Unprotected, |root_hash| root_hash.from.proof());
    if let Some(refused) = demanded(given.asked, proof) {
        return refused;
    }
    let judged = |found: String, advice: &str| match given.asked.wanted {
        Wanted::Verity => {
            Finding::fail(format!("{found}; nextroot.conf says [Policy] Verity=required"), advice)
        }
        Wanted::Anything => Finding::warn(found, advice),
    };
    if let Some(plain) = &given.asked.unverified {
        let advice = "nothing shows what was written to it since: go on to an image with a root hash";
        return judged(format!("none: {plain}, is not verified"), advice);
    }
    let Some(RootHashUse { hash, from }) = &given.asked.root_hash else {
        return judged("none: nothing is verified".to_owned(), name);
    };
    let found = format!("{hash}, {}", from.said());
    if proof > Proof::Unprotected {
        return Finding::ok(format!("{found}: verified against it"));
    }
    judged(format!("{found}: proves that nothing is damaged, and nothing against an attacker"), name)
}

/// What image policies refuse; each says which line of which file it is.
fn demanded(asked: &Asked, proof: Proof) -> Option<Finding> {
    let (what, has_tree) = match (&asked.root_hash, &asked.unverified) {
        (Some(RootHashUse { hash, from }), _) => (format!("{hash}, {},", from.said()), true),
        (None, Some(plain)) => (plain.clone(), false),
        (None, None) => ("what has no root hash".to_owned(), false),
    };
    let root = Candidate::Image { what: &what, proof, has_tree };
    let allowed = asked.demands.allow(Designator::Root, root);
    // A /usr of its own is never staged.
    let refusal = allowed.and_then(|()| asked.demands.allow(Designator::Usr, Candidate::None)).err()?;
    Some(Finding::fail(refusal.to_string(), OVERRIDE))
}

pub(super) fn image_version(given: &Given<'_>) -> Finding {
    let version = match &given.new.os_release {
        Some(Ok(release)) => release.image_version.as_deref(),
        Some(Err(_)) | None => None,
    };
    if let Some(Refused::ImageVersion(why)) = &given.asked.refused {
        return Finding::fail(why, OVERRIDE);
    }
    let Some(least) = &given.asked.demands.minimum_version else {
        return Finding::ok("none is too old: nobody demands a least version");
    };
    match allow_version(least, "the new root", version) {
        Ok(()) => Finding::ok(format!("{}, as {} demands", version.unwrap_or_default(), least.place)),
        Err(refusal) => Finding::fail(refusal.to_string(), OVERRIDE),
    }
}

pub(super) fn dm_name(given: &Given<'_>) -> Finding {
    match &given.asked.dm_name {
        None => Finding::ok("none is needed"),
        Some((name, DmName::Free)) => Finding::ok(format!("{name} is free")),
        Some((name, DmName::Same)) => Finding::ok(format!("{name} is open already, with the same table")),
        Some((name, DmName::Other(why))) => Finding::fail(
            format!("{name} is taken by another device: {why}"),
            format!("close it: dmsetup remove {name}"),
        ),
    }
}
