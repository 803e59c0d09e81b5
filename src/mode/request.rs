//! A root that is asked for, by arguments and nextroot.conf: found, and planned for, touching nothing.

use std::path::Path;

use crate::{
    format::verity::root_hash::{NotARootHash, RootHash},
    plan::{
        Plan, Step,
        boot::{self, Decision},
        carry::{self, Row},
        choose::{self, Chosen, Written},
        facts::{Content, Facts},
        source::{self, Source},
        stage::{self, Intent},
        state::{Root, State},
        step::HashOrigin,
    },
    run::{
        execute, machine,
        probe::{self, Prober},
        soft_reboot::{
            configuration,
            in_files::{self, InFiles},
            mount_units, running, staging,
            state::{self, Store},
        },
    },
};

pub use crate::plan::{carry::Wanted, stage::Way};

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The source, as written.
    pub source: String,
    /// `--roothash`
    pub root_hash: Option<String>,
    /// `--hash-device`
    pub hash_device: Option<String>,
    /// `--direct`
    pub way: Way,
    /// `--force`
    pub force: bool,
    /// `--carry`, `--no-carry`
    pub wanted: Wanted,
    /// `--replace`
    pub replace: bool,
    /// `[Policy] Verity=required`: only root hashes that prove something against an attacker.
    pub verity_required: bool,
}

/// Exit code where `slot:other` has nothing newer: nothing is staged, and nothing is wrong.
pub const NOTHING_NEWER: u8 = 3;

impl Request {
    /// With what nextroot.conf says where the arguments say nothing; and a line for each warning of it.
    pub fn configured(mut self) -> Result<(Self, Vec<String>), Error> {
        let config = configuration::read(None)?;
        if self.source.is_empty() {
            self.source = config.stage.source.ok_or(Error::NoSource)?;
            self.root_hash =
                self.root_hash.or_else(|| config.stage.root_hash.map(|root_hash| root_hash.to_string()));
        }
        if config.stage.direct && self.way == Way::Relay {
            self.way = Way::Direct;
        }
        let new = |list: Vec<String>, other: &[String]| -> Vec<String> {
            list.into_iter().filter(|at| !other.contains(at)).collect()
        };
        let carry = new(config.carry.paths, &self.wanted.leave);
        let leave = new(config.carry.not, &self.wanted.carry);
        self.wanted.carry.extend(carry);
        self.wanted.leave.extend(leave);
        self.verity_required = config.verity_required;
        Ok((self, config.warnings))
    }
}

/// Why nothing was staged. The machine is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Something waits already.
    #[error(
        "{source_name} is staged already: nextroot stage --replace puts another in its place, nextroot cancel takes it back"
    )]
    Staged {
        /// What.
        source_name: String,
    },
    /// A service with mounts of its own.
    #[error(
        "this runs in a mount namespace of its own, and systemd would see nothing of what is staged: run it without PrivateTmp=, ProtectSystem= and the like, or by nsenter --mount --target 1"
    )]
    OwnMounts,
    /// Something that is not ours.
    #[error(
        "/run/nextroot is a mount that nextroot does not know of: nextroot cancel takes it back if it is a stage's whose state was lost, else unmount it"
    )]
    Foreign,
    /// The source.
    #[error(transparent)]
    Form(#[from] source::Error),
    /// What the source means.
    #[error(transparent)]
    Source(#[from] choose::Error),
    /// Image files.
    #[error(transparent)]
    InFiles(#[from] in_files::Error),
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// No source, neither here nor there.
    #[error("no source is named: write one, or Source= in nextroot.conf")]
    NoSource,
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
    /// The root hash.
    #[error("--roothash")]
    RootHash(#[from] NotARootHash),
    /// A hash device beside a source that has its own.
    #[error("--hash-device is for devices and roothash:HEX: {0} has its hash tree by itself")]
    HashDevice(Source),
    /// Devices.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// Devices that are not there.
    #[error("{0}")]
    Missing(String),
    /// What was found cannot be what was asked for.
    #[error(transparent)]
    Refused(#[from] boot::Error),
    /// Mounts that cannot be carried.
    #[error(transparent)]
    Carry(#[from] carry::Error),
    /// A file of the machine.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// A step.
    #[error(transparent)]
    Execute(#[from] execute::Error),
    /// What preflight found.
    #[error("{source_name} would not run here: {}; nextroot preflight shows every check, --force goes on all the same", .failed.join("; "))]
    Unfit {
        /// The source.
        source_name: String,
        /// A line for each check that failed.
        failed: Vec<String>,
    },
}

/// What is to be staged, and what was seen for it.
pub(super) struct Prepared {
    pub(super) intent: Intent,
    pub(super) facts: Facts,
    pub(super) mounting: Plan,
    pub(super) root: Root,
    /// What was passed over for it.
    pub(super) skipped: Vec<String>,
}

/// The plan, touching nothing: what stage does, and what is left for the relay.
pub fn plan(request: &Request) -> Result<String, Error> {
    let state = running::settled::<Error>(&Store::default())?;
    let prepared = prepare(request, &state)?;
    // The new root is not mounted: the running one's fstab and mount units stand for its.
    let rows = rows(request, &prepared.facts, Path::new("/"))?;
    let carrying = stage::carrying(&prepared.intent, &rows, &staging::missing_units(&stage::VERITY_UNITS));
    let skipped: String = prepared.skipped.iter().map(|line| format!("{line}\n")).collect();
    let mut steps = prepared.mounting.steps;
    steps.extend(carrying.steps.iter().cloned());
    let mut text = format!("{skipped}now, while the old system serves:\n{}", Plan { steps });
    if let Some(Step::Publish { relay, .. }) = carrying.steps.last() {
        text += &format!("at the soft reboot, between the two systems:\n{}", relay.forward);
        text += &format!("if that fails:\n{}", relay.back);
    }
    Ok(text)
}

impl Error {
    /// Whether it only says that nothing newer is there.
    #[must_use]
    pub fn is_nothing_newer(&self) -> bool {
        matches!(self, Self::Source(choose::Error::NothingNewer(_)))
    }
}

/// Finds what is asked for, and how it is opened.
pub(super) fn prepare(request: &Request, state: &State) -> Result<Prepared, Error> {
    let source: Source = request.source.parse()?;
    let root_hash: Option<RootHash> = request.root_hash.as_deref().map(str::parse).transpose()?;
    let mut prober = Prober::of_running_system()?;
    read_all(&mut prober);
    let Chosen { root, skipped } = match &source {
        Source::File(_) | Source::Directory(_) if request.hash_device.is_some() => {
            return Err(Error::HashDevice(source));
        }
        Source::File(path) => in_files(in_files::look(Path::new(path), root_hash.as_ref())?, &mut prober),
        Source::Directory(path) => in_files(in_files::newest(path, root_hash.as_ref())?, &mut prober),
        Source::OtherSlot | Source::Previous if request.hash_device.is_some() => {
            return Err(Error::HashDevice(source));
        }
        _ => {
            let hash_device = request.hash_device.as_deref().map(str::parse).transpose()?;
            choose::choose(&Written { source, root_hash, hash_device }, state, prober.facts())?
        }
    };
    let intent = Intent { root, way: request.way };
    let mounting = loop {
        match stage::mounting(&intent, prober.facts()) {
            Decision::Go(plan) => break plan,
            Decision::Read(wanted) => prober.read(&wanted),
            Decision::Wait(wants) => {
                return Err(Error::Missing(boot::missing(&wants, prober.facts())));
            }
            Decision::Refuse(error) => return Err(error.into()),
        }
    };
    let root = root_of(request, &intent.root, state, &mounting);
    if request.verity_required && root.root_hash_from.is_unprotected() {
        return Err(Error::Unprotected { source_name: request.source.clone(), from: root.root_hash_from });
    }
    Ok(Prepared { intent, facts: prober.facts().clone(), mounting, root, skipped })
}

/// Shows an image in files to the decisions as devices.
fn in_files(found: InFiles, prober: &mut Prober) -> Chosen {
    prober.facts_mut().devices.extend(found.devices);
    Chosen { root: found.root, skipped: found.skipped }
}

/// Looks into every device: fstab and mount units name file systems by what they hold.
fn read_all(prober: &mut Prober) {
    let unread = prober.facts().devices.iter().filter(|device| device.content == Content::Unread);
    let wanted: Vec<boot::Read> = unread.map(|device| boot::Read::Superblock(device.devno)).collect();
    prober.read(&wanted);
}

fn root_of(request: &Request, root: &stage::Root, state: &State, plan: &Plan) -> Root {
    let from = match root {
        stage::Root::Closed(verity) | stage::Root::InFiles(verity, _) => verity.root_hash_from,
        stage::Root::Open(_) => {
            state.previous.as_ref().map_or(HashOrigin::PartitionUuids, |root| root.root_hash_from)
        }
    };
    let opened = plan.steps.iter().find_map(|step| match step {
        Step::OpenVerity(open) => Some((open.name.clone(), &open.table)),
        Step::ReuseVerity { name, table, .. } => Some((name.clone(), table)),
        _ => None,
    });
    let (name, root_hash) =
        opened.map(|(name, table)| (name, table.root_hash.to_string())).unwrap_or_default();
    Root {
        source: request.source.clone(),
        name,
        root_hash,
        root_hash_from: from,
        system: None,
        version: None,
    }
}

/// What becomes of the mounts, where the next system is the one at `root`.
pub(super) fn rows(request: &Request, facts: &Facts, root: &Path) -> Result<Vec<Row>, Error> {
    let mounts = staging::mounts()?;
    let new = mount_units::look(root, &mounts)?;
    Ok(carry::decide(&mounts, facts, &new, &request.wanted)?)
}
