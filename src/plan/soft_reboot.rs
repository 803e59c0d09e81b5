//! From a source that is asked for to the whole plan of a soft reboot into it: what is done while the old system
//! serves, and what is left for the relay.

use std::fmt;

use crate::format::{
    config::{image_policy::Designator, prewarm::Prewarm, trial::Trial},
    verity::root_hash::{NotARootHash, RootHash},
};

use super::{
    Plan, Step,
    boot::{self, Decision, Read},
    carry::{self, Wanted},
    choose::{self, Chosen, Written},
    demands::{Candidate, Demands, Proof, allow_version},
    facts::Facts,
    preflight::Refused,
    refusal::Refusal,
    signed::CheckedBy,
    source::{self, Source},
    stage::{self, Intent, Way},
    state::{Failed, On, Root, Staged, State, Verity},
    step::{HashOrigin, Relay},
    system_facts::{Configured, SystemFacts},
};

/// What is asked for, read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The source, as it was written.
    pub source_name: String,
    /// The source.
    pub written: Written,
    /// How the switch is made.
    pub way: Way,
    /// What is to be carried and left.
    pub wanted: Wanted,
    /// Whether only root hashes count that prove something against an attacker.
    pub verity_required: bool,
    /// What image policies and a least version demand.
    pub demands: Demands,
    /// Whether signatures are left to the kernel (`systemd.allow_userspace_verity=no`).
    pub kernel_only: bool,
    /// What is asked of it once it runs.
    pub trial: Trial,
    /// What is read ahead.
    pub prewarm: Prewarm,
    /// Whether this program is left for the end of the machine's run.
    pub exitrd: bool,
    /// Whether nextroot.conf says which source, and nobody at a keyboard.
    pub by_itself: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source.
    #[error(transparent)]
    Form(#[from] source::Error),
    /// The root hash.
    #[error("read the root hash that was given (--roothash)")]
    RootHash(#[from] NotARootHash),
    /// A hash device beside a source that has its own.
    #[error("--hash-device is for devices and roothash:HEX: {0} has its hash tree by itself")]
    HashDevice(Source),
    /// A hash device that is none.
    #[error("--hash-device {0}: write a device: /dev/NAME, PARTUUID=, PARTLABEL=, UUID= or LABEL=")]
    NoDevice(String),
    /// A source that only the machine knows.
    #[error(
        "source {0}: facts do not say what is in files: leave --facts and --show-facts out and this machine is looked at, or name a device with --roothash"
    )]
    InFiles(Source),
    /// What the source means.
    #[error(transparent)]
    Source(#[from] choose::Error),
    /// Devices that are not there.
    #[error("{0}")]
    Missing(String),
    /// What was found cannot be what was asked for.
    #[error(transparent)]
    Refused(#[from] boot::Error),
    /// What policy forbids.
    #[error(
        "{source_name}: the root hash comes from {from}, and nextroot.conf says [Policy] Verity=required: name it with --roothash or RootHash="
    )]
    Unprotected {
        /// The source.
        source_name: String,
        /// Where the root hash comes from.
        from: HashOrigin,
    },
    /// What policy forbids, too.
    #[error(
        "{source_name}: {plain} is a plain file system, which nothing verifies, and nextroot.conf says [Policy] Verity=required: name an image and its root hash"
    )]
    NotVerified {
        /// The source.
        source_name: String,
        /// The root.
        plain: String,
    },
    /// And so is this.
    #[error(
        "{source_name}: dm-verity {name}, which is open from when it ran, {how}, and nextroot.conf says [Policy] Verity=required: name an image, which is opened anew"
    )]
    Weakened {
        /// The source.
        source_name: String,
        /// The dm name.
        name: String,
        /// By what.
        how: &'static str,
    },
    /// What is demanded of images.
    #[error("{source_name}: {refusal}")]
    Demand {
        /// The source.
        source_name: String,
        /// What is not met.
        refusal: Refusal,
    },
    /// A plan that leaves the root closed.
    #[error("the plan opens no root: it is wrong, please report it")]
    NotOpened,
    /// Mounts that cannot be carried.
    #[error(transparent)]
    Carry(#[from] carry::Error),
}

impl Error {
    /// Whether policy forbids it.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        match self {
            Self::Unprotected { .. }
            | Self::NotVerified { .. }
            | Self::Weakened { .. }
            | Self::Demand { .. } => true,
            Self::Refused(error) => error.is_policy(),
            _ => false,
        }
    }

    /// Whether it is about a root that was found, and not opened for what preflight has a check for: which check, with what it
    /// says.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        match self {
            Self::Demand { refusal, .. } | Self::Refused(boot::Error::Demand(refusal))
                if refusal.is_of_version() =>
            {
                Some(Refused::ImageVersion(refusal.to_string()))
            }
            Self::Demand { refusal, .. } => Some(Refused::RootHash(refusal.to_string())),
            error if error.is_policy() => Some(Refused::RootHash(error.to_string())),
            _ => None,
        }
    }
}

/// What comes of values: an answer, or devices to be looked into before the question is put again.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<T> {
    /// An answer.
    Known(T),
    /// These have to be looked into.
    Read(Vec<Read>),
}

/// How a root is opened and mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What was chosen.
    pub intent: Intent,
    /// How it is opened and mounted.
    pub mounting: Plan,
    /// What is known of it so far.
    pub root: Root,
    /// A line for each slot or file that was passed over.
    pub skipped: Vec<String>,
}

/// The whole plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// A line for each slot or file that was passed over.
    pub skipped: Vec<String>,
    /// What stage does.
    pub stage: Plan,
    /// What is left for the relay, where the switch is made by it.
    pub relay: Option<Relay>,
}

impl Asked {
    /// Reads what was written.
    pub fn parse(source: &str, root_hash: Option<&str>, hash_device: Option<&str>) -> Result<Self, Error> {
        let source_name = source.to_owned();
        let source: Source = source.parse()?;
        let root_hash: Option<RootHash> = root_hash.map(str::parse).transpose()?;
        let has_its_own = match source {
            Source::File(_) | Source::Directory(_) | Source::OtherSlot | Source::Previous => true,
            Source::Device(_) | Source::Mapper(_) | Source::RootHash(_) => false,
        };
        if has_its_own && hash_device.is_some() {
            return Err(Error::HashDevice(source));
        }
        let device = |text: &str| text.parse().map_err(|_| Error::NoDevice(text.to_owned()));
        let hash_device = hash_device.map(device).transpose()?;
        let written = Written { source, root_hash, hash_device, failed_too: false, filters: Vec::new() };
        let (way, wanted) = (Way::default(), Wanted::default());
        let demands = Demands::default();
        Ok(Self {
            source_name,
            written,
            way,
            wanted,
            verity_required: false,
            demands,
            kernel_only: false,
            trial: Trial::default(),
            prewarm: Prewarm::default(),
            exitrd: false,
            by_itself: false,
        })
    }

    /// Refuses what is in files, into which only the machine itself can look.
    pub fn not_in_files(&self) -> Result<(), Error> {
        match &self.written.source {
            source @ (Source::File(_) | Source::Directory(_)) => Err(Error::InFiles(source.clone())),
            _ => Ok(()),
        }
    }
}

/// Chooses the root that is asked for. One in files is looked into elsewhere, and is known by then.
pub fn choose(asked: &Asked, state: &State, facts: &Facts) -> Result<Chosen, Error> {
    asked.not_in_files()?;
    Ok(choose::choose(&asked.written, state, facts)?)
}

/// What is to be opened, of the root that was chosen.
#[must_use]
pub fn intent(asked: &Asked, chosen: &Chosen) -> Intent {
    let root = with_signature(asked, &chosen.root);
    let (demands, filters) = (asked.demands.clone(), asked.written.filters.clone());
    Intent { root, way: asked.way, demands, filters }
}

/// Decides how the root that was chosen is opened and mounted.
pub fn open(asked: &Asked, chosen: &Chosen, state: &State, facts: &Facts) -> Result<Answer<Opening>, Error> {
    let intent = intent(asked, chosen);
    let mounting = match stage::mounting(&intent, facts) {
        Decision::Go(plan) => plan,
        Decision::Read(wanted) => return Ok(Answer::Read(wanted)),
        Decision::Wait(wants) => return Err(Error::Missing(boot::missing(&wants, facts))),
        Decision::Refuse(error) => return Err(error.into()),
    };
    let root = root_of(asked, &intent.root, state, &mounting)?;
    let (verity, demands) = (asked.verity_required, &asked.demands);
    allow(&asked.source_name, verity, demands, &root.on, weakness(&mounting))?;
    if asked.by_itself {
        is_news(&asked.written.source, &root, state)?;
    }
    Ok(Answer::Known(Opening { intent, mounting, root, skipped: chosen.skipped.clone() }))
}

/// What nextroot.conf names is gone to again and again: not where it runs already, and not where it failed before.
fn is_news(source: &Source, root: &Root, state: &State) -> Result<(), choose::Error> {
    let source_name = source.clone();
    if state.current.as_ref().is_some_and(|current| current.is_same_image(root)) {
        return Err(choose::Error::Runs { source_name });
    }
    let is_it = |failed: &&Failed| root.verity().is_some_and(|verity| verity.root_hash == failed.root_hash);
    match state.failed.iter().find(is_it) {
        Some(Failed { root_hash, why }) => {
            let why = vec![format!("root hash {root_hash} failed before: {why}")];
            Err(choose::Error::Failed { source_name, why })
        }
        None => Ok(()),
    }
}

/// Decides all of it; `in_files` is the root where it is in files.
pub fn decide(
    asked: &Asked,
    in_files: Option<&Chosen>,
    facts: &SystemFacts,
) -> Result<Answer<Planned>, Error> {
    let state = facts.state();
    let chosen = match in_files {
        Some(chosen) => chosen.clone(),
        None => choose(asked, &state, &facts.machine)?,
    };
    let opening = match open(asked, &chosen, &state, &facts.machine)? {
        Answer::Known(opening) => opening,
        Answer::Read(wanted) => return Ok(Answer::Read(wanted)),
    };
    let mut rows = carry::decide(&facts.mounts, &facts.machine, &facts.new_mounts(), &asked.wanted)?;
    // The new root is not mounted: that it has the places is taken from the running one.
    carry::place(&mut rows, &asked.wanted, |_| true)?;
    let (watcher, watchdog) = (facts.watcher(&asked.trial), facts.rearming());
    let left = stage::Left {
        units: &facts.missing_units(),
        trial: &asked.trial,
        watcher: watcher.as_ref(),
        prewarm: asked.prewarm,
        exitrd: asked.exitrd.then_some(facts.exitrd),
        orders: &facts.orders,
        watchdog: watchdog.as_ref(),
        // Nothing is given up by a source alone.
        bad_entries: &[],
    };
    let carrying = stage::carrying(&opening.intent, &rows, &left);
    let relay = match carrying.steps.last() {
        Some(Step::Publish { relay, .. }) => Some((**relay).clone()),
        _ => None,
    };
    let steps = opening.mounting.steps.into_iter().chain(carrying.steps).collect();
    Ok(Answer::Known(Planned { skipped: opening.skipped, stage: Plan { steps }, relay }))
}

/// Whether what is staged is what is demanded now: the configuration may have changed since.
pub fn still_allowed(configured: &Configured, staged: &Staged) -> Result<(), Error> {
    let Staged { root: Root { source, on, version, .. }, begun, .. } = staged;
    let demands = &configured.demands;
    allow(source, configured.verity_required, demands, on, weakness(begun))?;
    let Some(least) = &demands.minimum_version else { return Ok(()) };
    allow_version(least, "what is staged", version.as_deref())
        .map_err(|refusal| Error::Demand { source_name: source.clone(), refusal })
}

/// By what a device that is mounted shows what nobody checked. `stage` opens none so; one that is open may have been
/// opened so at boot. Here the policy is nextroot.conf's, which has no word for it: it counts whoever asked for it there.
fn weakness(plan: &Plan) -> Option<&'static str> {
    plan.steps.iter().find_map(|step| match step {
        Step::CheckVerity { corruption_ignored: true, .. } => Some("ignores corruption"),
        Step::ReuseVerity { table, .. } if table.checks_once() => Some("checks each block only once"),
        _ => None,
    })
}

/// A root with what hangs on its signature: it has to hold where less would not do.
fn with_signature(asked: &Asked, root: &stage::Root) -> stage::Root {
    let mut root = root.clone();
    if let stage::Root::Closed(verity) | stage::Root::InFiles(verity, _) = &mut root {
        if let Some(signed) = &mut verity.signature {
            signed.userspace &= !asked.kernel_only;
        }
        let would_do = |proof| {
            let candidate = Candidate::Image { what: "", proof, has_tree: true };
            (proof > Proof::Unprotected || !asked.verity_required)
                && asked.demands.allow(Designator::Root, candidate).is_ok()
        };
        if !would_do(verity.proof()) && would_do(Proof::Signed) {
            verity.rely_on_signature();
        }
    }
    root
}

/// What `[Policy]` forbids; `--force` does not change it.
fn allow(
    source_name: &str,
    verity_required: bool,
    demands: &Demands,
    on: &On,
    weakness: Option<&'static str>,
) -> Result<(), Error> {
    let source_name = source_name.to_owned();
    demanded(demands, on, weakness)
        .map_err(|refusal| Error::Demand { source_name: source_name.clone(), refusal })?;
    match (on, weakness) {
        _ if !verity_required => Ok(()),
        (On::Verity(Verity { root_hash_from: from, .. }), _) if from.proof() == Proof::Unprotected => {
            Err(Error::Unprotected { source_name, from: *from })
        }
        (On::Verity(Verity { name, .. }), Some(how)) => {
            Err(Error::Weakened { source_name, name: name.clone(), how })
        }
        (On::Verity(_), None) => Ok(()),
        (On::Plain { plain }, _) => Err(Error::NotVerified { source_name, plain: plain.to_string() }),
        (On::Else { unreachable }, _) => Err(Error::NotVerified { source_name, plain: unreachable.clone() }),
    }
}

/// Holds a root, which has its /usr in it, against what is demanded.
fn demanded(demands: &Demands, on: &On, weakness: Option<&'static str>) -> Result<(), Refusal> {
    let (what, proof) = match (on, weakness) {
        (On::Verity(Verity { name, .. }), Some(how)) => {
            (format!("dm-verity {name}, which {how},"), Proof::Unprotected)
        }
        (On::Verity(Verity { root_hash, root_hash_from: from, .. }), None) => {
            (format!("root hash {root_hash} from {}", from.place()), from.proof())
        }
        (On::Plain { plain }, _) => (plain.to_string(), Proof::Unprotected),
        (On::Else { unreachable }, _) => (unreachable.clone(), Proof::Unprotected),
    };
    let has_tree = matches!(on, On::Verity(_));
    demands.allow(Designator::Root, Candidate::Image { what: &what, proof, has_tree })?;
    demands.allow(Designator::Usr, Candidate::None)
}

fn root_of(asked: &Asked, root: &stage::Root, state: &State, plan: &Plan) -> Result<Root, Error> {
    let verity = |root_hash_from, known: Option<CheckedBy>| {
        let opened = plan.steps.iter().find_map(|step| match step {
            Step::OpenVerity(open) => Some((&open.name, &open.table)),
            Step::ReuseVerity { name, table, .. } => Some((name, table)),
            _ => None,
        });
        let (name, table) = opened.ok_or(Error::NotOpened)?;
        Ok::<_, Error>(On::Verity(Verity::of(name.clone(), table, root_hash_from, known)))
    };
    let on = match root {
        stage::Root::Closed(found) | stage::Root::InFiles(found, _) => verity(found.root_hash_from, None)?,
        stage::Root::Open(_) => {
            let previous = state.previous.as_ref().and_then(Root::verity);
            let from = previous.map_or(HashOrigin::PartitionUuids, |root| root.root_hash_from);
            verity(from, previous.and_then(|root| root.signed_by.clone()))?
        }
        // Its device may have another number by now.
        stage::Root::Plain(before) => {
            let found = plan.steps.iter().find_map(|step| match step {
                Step::CheckPlain { plain } => Some(plain),
                _ => None,
            });
            On::Plain { plain: found.unwrap_or(before).as_ref().clone() }
        }
    };
    Ok(Root { source: asked.source_name.clone(), on, system: None, version: None })
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.skipped.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "now, while the old system serves:\n{}", self.stage)?;
        let Some(relay) = &self.relay else { return Ok(()) };
        write!(f, "at the soft reboot, between the two systems:\n{}", relay.forward)?;
        write!(f, "if that fails:\n{}", relay.back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_preflight_says_of_a_root_that_stays_closed() {
        let (source_name, place) = (|| "x".to_owned(), || "f:1".to_owned());
        let older =
            || Refusal::Older { what: source_name(), found: place(), at_least: place(), place: place() };
        let (device, which) = (place(), Designator::Root);
        let attribute =
            Refusal::Attribute { device, attribute: "read-only", wanted: true, which, place: place() };
        let taken = boot::Error::Taken { name: place(), device: place() };
        for (error, expected) in [
            (Error::Unprotected { source_name: source_name(), from: HashOrigin::File }, Some("root-hash")),
            (Error::NotVerified { source_name: source_name(), plain: place() }, Some("root-hash")),
            (Error::Demand { source_name: source_name(), refusal: attribute.clone() }, Some("root-hash")),
            (Error::Refused(attribute.into()), Some("root-hash")),
            (Error::Demand { source_name: source_name(), refusal: older() }, Some("image-version")),
            (Error::Refused(older().into()), Some("image-version")),
            (Error::Refused(taken), None),
            (Error::Missing(place()), None),
        ] {
            let check = error.refused().map(|refused| match refused {
                Refused::RootHash(_) => "root-hash",
                Refused::ImageVersion(_) => "image-version",
            });
            assert_eq!(check, expected, "{error}");
        }
    }

    /// With a signature that has to hold, a root hash that is joined from UUIDs is as good as one that was named.
    #[test]
    fn policy_relies_on_signatures() {
        use crate::format::config::ini::Placed;

        use super::super::{
            intent::Tag,
            signed::{Place, Signed},
        };
        let asked = Asked::parse("slot:other", None, None).unwrap();
        let uuids = HashOrigin::PartitionUuids;
        for (from, required, policy, kernel_only, signed, expected) in [
            (uuids, false, "", false, true, (uuids, Some((false, true)), true)),
            (uuids, true, "", false, true, (HashOrigin::Signature, Some((true, true)), true)),
            (uuids, true, "", true, true, (HashOrigin::Signature, Some((true, false)), true)),
            (uuids, true, "", false, false, (uuids, None, false)),
            (
                HashOrigin::Arguments,
                true,
                "",
                false,
                true,
                (HashOrigin::Arguments, Some((false, true)), true),
            ),
            // An image policy may want it of a root hash that was named, too.
            (
                HashOrigin::Arguments,
                false,
                "root=signed:usr=signed+absent",
                false,
                true,
                (HashOrigin::Signature, Some((true, true)), true),
            ),
            (
                HashOrigin::Arguments,
                false,
                "root=signed:usr=signed+absent",
                false,
                false,
                (HashOrigin::Arguments, None, false),
            ),
            (
                HashOrigin::File,
                false,
                "root=verity+signed:usr=absent",
                false,
                true,
                (HashOrigin::Signature, Some((true, true)), true),
            ),
            (
                HashOrigin::Arguments,
                false,
                "root=verity:usr=absent",
                false,
                true,
                (HashOrigin::Arguments, Some((false, true)), true),
            ),
            (
                HashOrigin::File,
                false,
                "root=unprotected:usr=absent",
                false,
                true,
                (HashOrigin::File, Some((false, true)), true),
            ),
        ] {
            let tag = || Tag::Name("vda1".to_owned());
            let root_hash = "ab".repeat(32).parse().unwrap();
            let mut verity = choose::verity(&root_hash, from, tag(), tag());
            verity.signature = signed.then(|| Signed::found(Place::File("/p7s".to_owned())));
            let image_policies = match policy {
                "" => Vec::new(),
                _ => vec![Placed { value: policy.parse().unwrap(), place: "here".to_owned() }],
            };
            let demands = Demands { image_policies, minimum_version: None };
            let asked = Asked { verity_required: required, kernel_only, demands, ..asked.clone() };
            let stage::Root::Closed(verity) = with_signature(&asked, &stage::Root::Closed(Box::new(verity)))
            else {
                panic!("{expected:?}")
            };
            let signed = verity.signature.map(|signed| (signed.required, signed.userspace));
            let (name, root_hash) = (verity.name, "ab".repeat(32));
            let on = On::Verity(Verity {
                name,
                root_hash,
                root_hash_from: verity.root_hash_from,
                signed_by: None,
            });
            let allowed = allow("slot:other", required, &asked.demands, &on, None).is_ok();
            assert_eq!((verity.root_hash_from, signed, allowed), expected, "{from:?} {required} {policy}");
        }
    }

    #[test]
    fn policy_knows_no_plain_root() {
        let plain = serde_json::json!({"plain": {
            "device": {"name": "vda2", "devno": "254:2"}, "partition_uuid": "0b-02", "filesystem_uuid": null,
            "fstype": "ext4", "read_only": false, "options": "",
        }});
        let verity = |from: &str| serde_json::json!({"name": "a", "root_hash": "ab", "root_hash_from": from});
        for (on, refused) in [
            (verity("arguments"), None),
            (verity("partition-uuids"), Some("the root hash comes from the partitions' UUIDs")),
            (plain, Some("/dev/vda2 ext4 is a plain file system, which nothing verifies")),
        ] {
            let on: On = serde_json::from_value(on).unwrap();
            let asked = Asked::parse("previous", None, None).unwrap();
            let allow = |required| allow(&asked.source_name, required, &asked.demands, &on, None);
            assert!(allow(false).is_ok());
            let error = allow(true).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), refused.is_some());
            assert!(error.zip(refused).is_none_or(|(error, refused)| error.contains(refused)));
        }
    }

    /// What was staged before the policy was written went through.
    #[test]
    fn what_is_staged_is_held_against_the_policy_of_now() {
        use crate::format::{config::ini::Placed, kernel::devno::Devno};
        let table = |words: &str| format!("1 7:1 7:2 4096 4096 1 1 sha256 {} -{words}", "ab".repeat(32));
        let staged_with = |from: &str, version: Option<&str>, ignored: bool, words: &str| -> Staged {
            let (name, devno) = ("a".to_owned(), Devno { major: 254, minor: 1 });
            let reuse = Step::ReuseVerity { name: name.clone(), devno, table: table(words).parse().unwrap() };
            let check = Step::CheckVerity { name, corruption_ignored: ignored, repaired: false };
            serde_json::from_value(serde_json::json!({
                "root": {"source": "x", "name": "a", "root_hash": "ab", "root_hash_from": from, "system": null, "version": version},
                "direct": false, "complete": true, "begun": Plan { steps: vec![reuse, check] }, "mounts": [],
            }))
            .unwrap()
        };
        let staged =
            |from: &str, version: Option<&str>, ignored: bool| staged_with(from, version, ignored, "");
        let place = || "f:2".to_owned();
        let demands = |policy: &str, least: Option<&str>| Demands {
            image_policies: vec![Placed { value: policy.parse().unwrap(), place: place() }],
            minimum_version: least.map(|least| Placed { value: least.to_owned(), place: place() }),
        };
        for (staged, demands, refused) in [
            (staged("arguments", None, false), demands("root=verity", None), None),
            (
                staged("arguments", None, false),
                demands("root=signed", None),
                Some("x: root hash ab from the arguments is verity"),
            ),
            (
                staged("file", None, false),
                demands("root=verity", None),
                Some("is unprotected, and f:2 allows root only as verity"),
            ),
            (
                staged("arguments", None, true),
                demands("root=verity", None),
                Some("x: dm-verity a, which ignores corruption, is unprotected"),
            ),
            (staged("arguments", None, true), demands("root=unprotected", None), None),
            (
                staged_with("arguments", None, false, " 1 check_at_most_once"),
                demands("root=verity", None),
                Some("x: dm-verity a, which checks each block only once, is unprotected"),
            ),
            (
                staged_with("arguments", None, false, " 1 ignore_zero_blocks"),
                demands("root=verity", None),
                None,
            ),
            (staged("arguments", Some("2"), false), demands("*", Some("2")), None),
            (
                staged("arguments", Some("2"), false),
                demands("*", Some("3")),
                Some("x: what is staged is of version 2"),
            ),
            (
                staged("arguments", None, false),
                demands("*", Some("3")),
                Some("x: what is staged has no version"),
            ),
        ] {
            let configured = Configured { demands, ..Configured::default() };
            let error = still_allowed(&configured, &staged).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), refused.is_some(), "{error:?}");
            assert!(
                error.iter().zip(refused).all(|(error, refused)| error.contains(refused)),
                "{error:?} {refused:?}"
            );
        }
        let required = Configured { verity_required: true, ..Configured::default() };
        for (staged, refused) in [
            (staged("arguments", None, false), None),
            (staged("partition-uuids", None, false), Some("the root hash comes from the partitions' UUIDs")),
            (
                staged("arguments", None, true),
                Some("dm-verity a, which is open from when it ran, ignores corruption"),
            ),
            (
                staged_with("arguments", None, false, " 1 check_at_most_once"),
                Some("dm-verity a, which is open from when it ran, checks each block only once"),
            ),
        ] {
            let error = still_allowed(&required, &staged).err();
            assert!(error.as_ref().is_none_or(Error::is_policy), "{error:?}");
            let told = error.map(|error| error.to_string());
            assert_eq!(told.is_some(), refused.is_some(), "{told:?}");
            assert!(told.iter().zip(refused).all(|(told, refused)| told.contains(refused)), "{told:?}");
        }
    }
}
