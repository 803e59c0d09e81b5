//! What is demanded of the images of root and /usr, by image policies and by a least version, and whether an image is that.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

use crate::format::{
    bytes::printable,
    config::{
        image_policy::{self, Designator, Flags, ImagePolicy},
        ini::Placed,
    },
    disk::discoverable::{GROW_FILE_SYSTEM, Purpose, READ_ONLY},
    kernel::cmdline::{CommandLine, same_name},
    system::{sysupdate::Label, version, versioned_directory::version_in_name},
};

use super::{facts::Partition, refusal::Refusal};

/// What is proven of what a file system holds. Each proves what the ones before it do, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Nothing, against whoever can write to the image.
    Unprotected,
    /// That it has the root hash which somebody named who is trusted.
    Verity,
    /// That its root hash was signed: the signature was checked.
    Signed,
}

/// What is demanded, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Demands {
    /// Image policies. All of them have to allow an image, so that a further one can only demand more.
    pub image_policies: Vec<Placed<ImagePolicy>>,
    /// The oldest version of an image.
    pub minimum_version: Option<Placed<String>>,
}

/// An image, or none, for one place.
#[derive(Clone, Copy, Debug)]
pub enum Candidate<'a> {
    /// There is no image for this place.
    None,
    /// This one.
    Image {
        /// What to call it.
        what: &'a str,
        /// What is proven of it.
        proof: Proof,
        /// Whether it has a hash tree.
        has_tree: bool,
    },
}

/// A kernel command line whose image policy cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPolicy {
    /// No value.
    #[error(
        "the kernel command line has {IMAGE_POLICY}= without a value, so that it is not known what is allowed: mend it"
    )]
    NoValue,
    /// A value that is none.
    #[error("the kernel command line has {IMAGE_POLICY}={value}: mend it")]
    Malformed {
        /// What was given.
        value: String,
        /// Why not.
        #[source]
        source: image_policy::Error,
    },
}

const IMAGE_POLICY: &str = "systemd.image_policy";

impl Demands {
    /// Whether nothing is demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an image may be used for this place.
    pub fn allow(&self, which: Designator, candidate: Candidate<'_>) -> Result<(), Refusal> {
        self.image_policies.iter().try_for_each(|policy| allow(policy, which, candidate))
    }

    /// Types of file systems that every policy allows for this place; `None` where none is named.
    fn types(&self, which: Designator) -> Option<(Vec<&'static str>, &str)> {
        self.image_policies.iter().fold(None, |before, policy| {
            let types = policy.value.flags(which).file_systems();
            match (before, types.is_empty()) {
                (before, true) => before,
                (None, false) => Some((types, policy.place.as_str())),
                (Some((before, _)), false) => {
                    let both = before.into_iter().filter(|name| types.contains(name)).collect();
                    Some((both, policy.place.as_str()))
                }
            }
        })
    }

    /// Whether a device may be used for this place, by its entry in the partition table: what is no partition has no
    /// attributes, as in systemd.
    pub(super) fn allow_partition(
        &self,
        which: Designator,
        device: &str,
        partition: Option<&Partition>,
    ) -> Result<(), Refusal> {
        let attributes = partition.map_or(0, |partition| partition.attributes);
        for policy in &self.image_policies {
            let flags = policy.value.flags(which);
            for (attribute, bit, wanted) in [
                ("read-only", READ_ONLY, flags.read_only()),
                ("grow-file-system", GROW_FILE_SYSTEM, flags.growfs()),
            ] {
                if let Some(wanted) = wanted.filter(|wanted| *wanted != (attributes & bit != 0)) {
                    let (device, place) = (device.to_owned(), policy.place.clone());
                    return Err(Refusal::Attribute { device, attribute, wanted, which, place });
                }
            }
        }
        Ok(())
    }

    /// Refuses a label that names a version that is too old, before anything is opened. A label proves nothing, so
    /// that one that is new enough, or missing, decides nothing.
    pub(super) fn allow_label(
        &self,
        which: Designator,
        device: &str,
        partition: Option<&Partition>,
    ) -> Result<(), Refusal> {
        let purpose = if which == Designator::Usr { Purpose::Usr } else { Purpose::Root };
        let label = partition.and_then(|partition| partition.label.as_deref());
        match (&self.minimum_version, label.map(|label| Label::parse(label, purpose))) {
            (Some(least), Some(Label::Image(image))) => {
                allow_version(least, &format!("{device}, by its label,"), Some(image.version))
            }
            _ => Ok(()),
        }
    }

    /// The same for the name of an image file.
    pub(super) fn allow_name(&self, path: &str) -> Result<(), Refusal> {
        let file = path.rsplit('/').next().unwrap_or(path);
        match (&self.minimum_version, version_in_name(file)) {
            (Some(least), Some(version)) => {
                allow_version(least, &format!("{path}, by its name,"), Some(version))
            }
            _ => Ok(()),
        }
    }

    /// Whether file systems of these types, separated by commas, may be mounted here; `None` where it is not known
    /// what is there.
    pub(super) fn allow_types(
        &self,
        which: Designator,
        device: &str,
        found: Option<&str>,
    ) -> Result<(), Refusal> {
        let Some((types, place)) = self.types(which) else { return Ok(()) };
        if found.is_some_and(|found| found.split(',').all(|name| types.contains(&name))) {
            return Ok(());
        }
        Err(Refusal::FileSystem {
            device: device.to_owned(),
            found: found.unwrap_or("no file system that is known").to_owned(),
            which,
            place: place.to_owned(),
            types: if types.is_empty() {
                "a type that another policy forbids".to_owned()
            } else {
                types.join(", ")
            },
        })
    }

    /// Whether only some types of file systems are allowed here.
    pub(super) fn limits_types(&self, which: Designator) -> bool {
        self.types(which).is_some()
    }
}

/// The image policy of a running system's kernel command line: the last that is there.
pub fn of_command_line(line: &CommandLine) -> Result<Option<Placed<ImagePolicy>>, NotAPolicy> {
    let mut all = line.parameters.iter().filter(|parameter| same_name(&parameter.name, IMAGE_POLICY));
    let Some(last) = all.next_back() else { return Ok(None) };
    let text = last.value.clone().filter(|value| !value.is_empty()).ok_or(NotAPolicy::NoValue)?;
    let place = format!("the kernel command line ({IMAGE_POLICY}={text})");
    let value = text.parse().map_err(|source| NotAPolicy::Malformed { value: text, source })?;
    Ok(Some(Placed { value, place }))
}

/// Whether the version of an image is at least this one.
pub fn allow_version(least: &Placed<String>, what: &str, found: Option<&str>) -> Result<(), Refusal> {
    let (what, at_least, place) = (what.to_owned(), least.value.clone(), least.place.clone());
    match found.map(|found| (found, version::compare(found, &least.value))) {
        None => Err(Refusal::NoVersion { what, at_least, place }),
        Some((found, Ordering::Less)) => Err(Refusal::Older { what, found: plain(found), at_least, place }),
        Some((_, Ordering::Equal | Ordering::Greater)) => Ok(()),
    }
}

/// What an image says of itself, as far as it fits into a line, without characters that a terminal would act on.
fn plain(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown = printable(&text.chars().take(LONGEST).collect::<String>(), ' ');
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

fn allow(policy: &Placed<ImagePolicy>, which: Designator, candidate: Candidate<'_>) -> Result<(), Refusal> {
    let flags = policy.value.flags(which);
    let (place, usage) = (policy.place.clone(), flags.usage());
    let Candidate::Image { what, proof, has_tree } = candidate else {
        let may_lack = flags.has(Flags::ABSENT) || flags.has(Flags::UNUSED);
        return if may_lack { Ok(()) } else { Err(Refusal::Missing { which, place, usage }) };
    };
    let what = what.to_owned();
    if !flags.is_used() {
        return Err(Refusal::Unwanted { what, which, place, usage });
    }
    let tree = if which == Designator::Usr { Designator::UsrVerity } else { Designator::RootVerity };
    // What follows from the rule for the data allows a tree, or needs none: one that is there does no harm.
    if let Some(rule) = policy.value.rule(tree).filter(|rule| has_tree && !rule.is_used()) {
        return Err(Refusal::Tree { what, tree, place, usage: rule.usage() });
    }
    let levels = [
        (Flags::UNPROTECTED, Proof::Unprotected),
        (Flags::VERITY, Proof::Verity),
        (Flags::SIGNED, Proof::Signed),
    ];
    let least = levels.into_iter().find(|(flag, _)| flags.has(*flag)).map(|(_, proof)| proof);
    let missing = match (least, proof) {
        (Some(least), proof) if proof >= least => return Ok(()),
        (Some(Proof::Signed), Proof::Verity) => "its root hash has no signature that was checked",
        (Some(Proof::Signed), _) => "it has no root hash with a signature that was checked",
        (Some(_), _) => "it has to be verified, by a root hash from where only those write who are trusted",
        (None, _) => "encrypted volumes are not opened here",
    };
    Err(Refusal::Proof { what, proof, which, place, usage, missing })
}

/// The word that a policy has for it.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unprotected => "unprotected",
            Self::Verity => "verity",
            Self::Signed => "signed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demands(policies: &[&str]) -> Demands {
        let placed = |text: &&str| Placed { value: text.parse().unwrap(), place: format!("f ({text})") };
        Demands { image_policies: policies.iter().map(placed).collect(), minimum_version: None }
    }

    /// What each level of proof comes to, from nothing to a checked signature: `+` allowed, `-` refused.
    fn levels(policies: &[&str], which: Designator) -> String {
        let proofs = [Proof::Unprotected, Proof::Verity, Proof::Signed];
        let images =
            proofs.map(|proof| Candidate::Image { what: "a", proof, has_tree: proof > Proof::Unprotected });
        let candidates = [Candidate::None].into_iter().chain(images);
        let allowed = |candidate| demands(policies).allow(which, candidate).is_ok();
        candidates.map(|candidate| if allowed(candidate) { '+' } else { '-' }).collect()
    }

    #[test]
    fn proofs_and_policies() {
        for (policies, root, usr) in [
            // none, unprotected, verity, signed
            (&[][..], "++++", "++++"),
            (&["*"], "++++", "++++"),
            (&["-"], "+---", "+---"),
            (&["~"], "+---", "+---"),
            (&["="], "++++", "++++"),
            (&["root=unprotected"], "-+++", "+---"),
            (&["root=verity"], "--++", "+---"),
            (&["root=signed"], "---+", "+---"),
            (&["root=verity+signed"], "--++", "+---"),
            (&["root=signed+unprotected"], "-+++", "+---"),
            (&["root=encrypted"], "----", "+---"),
            (&["root=encrypted+verity"], "--++", "+---"),
            (&["root=absent"], "+---", "+---"),
            (&["root=unused"], "+---", "+---"),
            (&["root=verity+absent"], "+-++", "+---"),
            (&["root=verity+unused:usr=signed"], "+-++", "---+"),
            (&["usr=verity"], "+---", "--++"),
            (&["=verity"], "--++", "--++"),
            (&["=signed+absent"], "+--+", "+--+"),
            (&["root=read-only-on"], "++++", "+---"),
            (&["root=verity:root-verity=absent"], "----", "+---"),
            (&["root=verity:root-verity=unprotected"], "--++", "+---"),
            (&["root=unprotected:usr=unprotected:usr-verity=absent"], "-+++", "-+--"),
            // Each has to allow it.
            (&["*", "root=verity"], "--++", "+---"),
            (&["root=verity", "*"], "--++", "+---"),
            (&["root=verity", "root=signed"], "---+", "+---"),
            (&["root=verity", "root=unprotected"], "--++", "+---"),
            (&["root=verity+absent", "root=signed"], "---+", "+---"),
            (&["root=verity", "root=absent"], "----", "+---"),
            (&["root=verity", "-"], "----", "+---"),
        ] {
            assert_eq!(levels(policies, Designator::Root), root, "root {policies:?}");
            assert_eq!(levels(policies, Designator::Usr), usr, "usr {policies:?}");
        }
    }

    /// Whatever is added, nothing more is allowed.
    #[test]
    fn a_further_policy_only_narrows() {
        let policies =
            ["*", "-", "~", "root=verity", "root=signed+absent", "root=unprotected", "=verity", "usr=open"];
        for one in policies {
            for other in policies {
                for which in [Designator::Root, Designator::Usr] {
                    let (alone, both) = (levels(&[one], which), levels(&[one, other], which));
                    let widened =
                        alone.chars().zip(both.chars()).any(|(alone, both)| alone == '-' && both == '+');
                    assert!(!widened, "{one} and {other}: {alone} {both}");
                }
            }
        }
    }

    /// An image's version went to the console with its escape sequences.
    #[test]
    fn versions_stay_in_their_line() {
        let least = Placed { value: "9".to_owned(), place: "f:1".to_owned() };
        let long = format!("1.{}", "0".repeat(99));
        for (found, shown) in [
            ("1\u{1b}[2J\n2", "1 [2J 2".to_owned()),
            (long.as_str(), format!("1.{}...", "0".repeat(62))),
            ("\u{9b}1", " 1".to_owned()),
        ] {
            let message = allow_version(&least, "a", Some(found)).unwrap_err().to_string();
            assert!(message.starts_with(&format!("a is of version {shown}, and f:1 demands")), "{message}");
        }
    }

    #[test]
    fn command_lines() {
        let of = |text: &str| of_command_line(&CommandLine::parse(text));
        assert_eq!(of("quiet root=x"), Ok(None));
        let last = of("systemd.image_policy=- systemd.image-policy=root=signed").unwrap().unwrap();
        assert_eq!(last.value.short(), "root=signed");
        assert_eq!(last.place, "the kernel command line (systemd.image_policy=root=signed)");
        for (text, message) in [
            ("systemd.image_policy", "without a value"),
            ("systemd.image_policy=", "without a value"),
            (
                "systemd.image_policy=root=open systemd.image_policy=root",
                "systemd.image_policy=root: mend it",
            ),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
