//! `nextroot stage`: everything of a soft reboot that can fail, while the old system serves.

use std::path::Path;

use crate::{
    format::{
        fstab,
        os_release::OsRelease,
        root_hash::{NotARootHash, RootHash},
    },
    plan::{
        Plan, Step,
        boot::{self, Decision},
        carry::{self, Row},
        choose::{self, Chosen, Written},
        facts::{Content, Facts},
        preflight::{self, Report, Verdict},
        source::{self, Source},
        stage::{self, Intent},
        state::{Root, Staged, State},
        step::HashOrigin,
    },
    run::{
        configuration,
        execute::{self, Executor},
        in_files::{self, InFiles},
        inspect, machine,
        probe::{self, Prober},
        running, staging,
        state::{self, Store},
        system,
    },
};

use serde::Serialize;

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
struct Prepared {
    intent: Intent,
    facts: Facts,
    mounting: Plan,
    root: Root,
    /// What was passed over for it.
    skipped: Vec<String>,
}

/// The plan, touching nothing: what stage does, and what is left for the relay.
pub fn plan(request: &Request) -> Result<String, Error> {
    let mut state = Store::default().load()?;
    state.settle(running::root(), staging::waits()?);
    let prepared = prepare(request, &state)?;
    // The new root is not mounted: the running one's fstab stands for its.
    let fstab = machine::read("/etc/fstab")?.unwrap_or_default();
    let rows = rows(request, &prepared.facts, &fstab)?;
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

/// Stages; `tell` sees each step before it is done. Whatever fails, the machine is as before.
pub fn run(request: &Request, mut tell: impl FnMut(&str)) -> Result<Staged, Error> {
    if !running::shares_mounts() {
        return Err(Error::OwnMounts);
    }
    let store = Store::default();
    let _lock = store.lock()?;
    let mut state = store.load()?;
    state.settle(running::root(), staging::waits()?);
    if let Some(staged) = &state.staged
        && !request.replace
    {
        return Err(Error::Staged { source_name: staged.root.source.clone() });
    }
    if state.staged.is_none() && staging::waits()? {
        return Err(Error::Foreign);
    }
    let executor = Executor::new(None, Vec::new());
    let mut staging = Staging { store, state, executor, tell: &mut tell };
    staging.end_look()?;
    if staging.state.staged.as_ref().is_some_and(|staged| !staged.complete) {
        staging.put_away(&Plan::default())?; // a killed stage left nothing to lose
    }
    let mut prepared = prepare(request, &staging.state)?;
    if staging.state.staged.is_some() {
        let replaced = staging.replace(request, &prepared).and_then(|()| prepare(request, &staging.state));
        prepared = replaced.inspect_err(|_| staging.try_end_look())?;
    }
    let outcome = staging.all(request, prepared);
    if outcome.is_err() {
        staging.take_back();
    }
    staging.try_end_look();
    outcome
}

struct Staging<'a> {
    store: Store,
    state: State,
    executor: Executor<'static>,
    tell: &'a mut dyn FnMut(&str),
}

impl Staging<'_> {
    /// Makes room for another root: what is staged goes once the other was opened, mounted and looked at, and
    /// would do. That stays open, so that what was seen is what is staged.
    fn replace(&mut self, request: &Request, prepared: &Prepared) -> Result<(), Error> {
        let examined = look_aside(request, prepared, &mut self.state, &self.store)?;
        if !request.force {
            refuse(request, &examined.report)?;
        }
        let looking = self.state.looking.clone();
        self.put_away(&looking)
    }

    /// Undoes what is staged, but for the device that `other` goes on with: closing that is left to the look.
    fn put_away(&mut self, other: &Plan) -> Result<(), Error> {
        let Some(mut staged) = self.state.staged.clone() else { return Ok(()) };
        (self.tell)(&format!("taking back {}", staged.root.source));
        let kept = staged.begun.hand_over(other);
        super::cancel::undo(&staged.begun)?;
        self.state.looking.steps.splice(0..0, kept);
        self.state.staged = None;
        Ok(self.store.save(&self.state)?)
    }

    /// Undoes what was done to look at a root.
    fn end_look(&mut self) -> Result<(), Error> {
        end_look(&mut self.state, &self.store)
    }

    fn try_end_look(&mut self) {
        if let Err(error) = self.end_look() {
            (self.tell)(&format!("undo: {error}; nextroot cancel tries again"));
        }
    }

    fn all(&mut self, request: &Request, prepared: Prepared) -> Result<Staged, Error> {
        let Prepared { intent, facts, mounting, root, skipped } = prepared;
        skipped.iter().for_each(|line| (self.tell)(line));
        let begun = Plan { steps: self.state.looking.hand_over(&mounting) };
        self.state.staged = Some(Staged {
            root,
            direct: intent.way == Way::Direct,
            complete: false,
            begun,
            mounts: Vec::new(),
        });
        self.steps(&mounting)?;
        let new = intent.mounted_at();
        let new = Path::new(&new);
        let release = OsRelease::parse(staging::os_release(new)?.as_bytes()).unwrap_or_default();
        let fstab = staging::read_below(new, "etc/fstab")?.unwrap_or_default();
        let mut rows = rows(request, &facts, &fstab)?;
        carry::place(&mut rows, &request.wanted, |at| staging::has_place(new, at))?;
        if !request.force {
            self.fit(request, &examine(request, &mounting, &rows, new))?;
        }
        if let Some(staged) = &mut self.state.staged {
            staged.root.system = Some(release.name().to_owned());
            staged.root.version = release.image_version;
            staged.mounts.clone_from(&rows);
        }
        self.steps(&stage::carrying(&intent, &rows, &staging::missing_units(&stage::VERITY_UNITS)))?;
        if let Some(staged) = &mut self.state.staged {
            staged.complete = true;
        }
        self.store.save(&self.state)?;
        self.state
            .staged
            .clone()
            .ok_or_else(|| execute::Error::Plan { what: "what is staged".to_owned() }.into())
    }

    /// Holds what preflight found against the root.
    fn fit(&mut self, request: &Request, report: &Report) -> Result<(), Error> {
        lines(report, Verdict::Warn).iter().for_each(|line| (self.tell)(&format!("warning: {line}")));
        refuse(request, report)
    }

    /// Each step is in the state before it is done, so that `cancel` knows of it, whatever happens.
    fn steps(&mut self, plan: &Plan) -> Result<(), Error> {
        for step in &plan.steps {
            (self.tell)(&step.to_string());
            if let Some(staged) = &mut self.state.staged {
                staged.begun.steps.push(step.clone());
            }
            self.store.save(&self.state)?;
            let done = self.executor.execute(step);
            if let (Err(error), Some(staged)) = (&done, &mut self.state.staged)
                && error.is_taken()
            {
                staged.begun.steps.pop();
            }
            done?;
        }
        Ok(())
    }

    fn take_back(&mut self) {
        let Some(staged) = &self.state.staged else { return };
        (self.tell)("it failed: undoing what was done");
        match super::cancel::undo(&staged.begun) {
            Ok(()) => self.state.staged = None,
            Err(error) => (self.tell)(&format!("undo: {error}; nextroot cancel tries again")),
        }
        if let Err(error) = self.store.save(&self.state) {
            (self.tell)(&error.to_string());
        }
    }
}

/// An error where a check failed.
fn refuse(request: &Request, report: &Report) -> Result<(), Error> {
    let failed = lines(report, Verdict::Fail);
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::Unfit { source_name: request.source.clone(), failed })
}

fn lines(report: &Report, verdict: Verdict) -> Vec<String> {
    report.checks.iter().filter(|check| check.result == verdict).map(line).collect()
}

/// A check in a line.
fn line(check: &preflight::Check) -> String {
    let advice = check.advice.as_ref().map(|advice| format!(": {advice}")).unwrap_or_default();
    format!("{}: {}{advice}", check.name, check.found)
}

/// Holds a mounted root against the running system.
fn examine(request: &Request, mounting: &Plan, rows: &[Row], new: &Path) -> Report {
    let root_hash = mounting.steps.iter().find_map(|step| match step {
        Step::OpenVerity(open) => Some((open.table.root_hash.clone(), open.root_hash_from.into())),
        Step::ReuseVerity { table, .. } => Some((table.root_hash.clone(), preflight::HashFrom::State)),
        _ => None,
    });
    let dm_name = mounting.steps.iter().find_map(|step| match step {
        Step::OpenVerity(open) => Some((open.name.clone(), preflight::DmName::Free)),
        Step::ReuseVerity { name, .. } => Some((name.clone(), preflight::DmName::Same)),
        _ => None,
    });
    let asked = preflight::Asked {
        dm_name,
        wanted: if request.verity_required { preflight::Wanted::Verity } else { preflight::Wanted::Anything },
        carried: rows.iter().filter(|row| row.carried).map(|row| row.at.clone()).collect(),
        direct: request.way == Way::Direct,
        root_hash: root_hash.map(|(hash, from)| preflight::RootHashUse { hash, from }),
        ..preflight::Asked::default()
    };
    preflight::examine(
        &asked,
        &system::Running::default().look(),
        &inspect::look(new, &machine::kernel_release()),
    )
}

/// What preflight found out about a source.
#[derive(Debug, Serialize)]
pub struct Examined {
    version: u32,
    source: String,
    /// The checks, and what survives and stops.
    #[serde(flatten)]
    pub report: Report,
    /// What becomes of the mounts.
    mounts: Vec<Row>,
    /// What was passed over for it.
    skipped: Vec<String>,
}

/// Opens and mounts a source aside, looks, and closes it again.
pub fn preflight(request: &Request) -> Result<Examined, Error> {
    let store = Store::default();
    let _lock = store.lock()?;
    let mut state = store.load()?;
    state.settle(running::root(), staging::waits()?);
    end_look(&mut state, &store)?;
    let prepared = prepare(request, &state)?;
    let looked = look_aside(request, &prepared, &mut state, &store);
    let ended = end_look(&mut state, &store);
    let examined = looked?;
    ended?;
    Ok(examined)
}

/// Undoes what was done to look at a root; where that fails, the state still knows of it.
fn end_look(state: &mut State, store: &Store) -> Result<(), Error> {
    if state.looking.steps.is_empty() {
        return Ok(());
    }
    super::cancel::undo(&state.looking)?;
    state.looking = Plan::default();
    Ok(store.save(state)?)
}

/// Opens and mounts a root aside, and looks; what that takes is in the state.
fn look_aside(
    request: &Request,
    prepared: &Prepared,
    state: &mut State,
    store: &Store,
) -> Result<Examined, Error> {
    let aside = Intent { root: prepared.intent.root.clone(), way: Way::Look };
    state.looking = match stage::mounting(&aside, &prepared.facts) {
        Decision::Go(plan) => plan,
        Decision::Refuse(error) => return Err(error.into()),
        // What is known of the devices was enough a moment ago.
        Decision::Read(_) | Decision::Wait(_) => {
            return Err(execute::Error::Plan { what: "the root aside".to_owned() }.into());
        }
    };
    store.save(state)?;
    let looked = look(request, prepared, &state.looking, &aside.mounted_at());
    if matches!(&looked, Err(Error::Execute(error)) if error.is_taken()) {
        state.looking.steps.retain(|step| !matches!(step, Step::OpenVerity(_)));
    }
    looked
}

fn look(request: &Request, prepared: &Prepared, looking: &Plan, at: &str) -> Result<Examined, Error> {
    let mut executor = Executor::new(None, Vec::new());
    looking.steps.iter().try_for_each(|step| executor.execute(step))?;
    let new = Path::new(at);
    let fstab = staging::read_below(new, "etc/fstab")?.unwrap_or_default();
    let mut rows = rows(request, &prepared.facts, &fstab)?;
    carry::place(&mut rows, &request.wanted, |at| staging::has_place(new, at))?;
    let report = examine(request, looking, &rows, new);
    let (source, skipped) = (request.source.clone(), prepared.skipped.clone());
    Ok(Examined { version: PREFLIGHT_VERSION, source, report, mounts: rows, skipped })
}

/// Version of preflight's JSON: raised whenever a field changes its meaning or goes away.
const PREFLIGHT_VERSION: u32 = 1;

impl Error {
    /// Whether it only says that nothing newer is there.
    #[must_use]
    pub fn is_nothing_newer(&self) -> bool {
        matches!(self, Self::Source(choose::Error::NothingNewer(_)))
    }
}

impl Examined {
    /// Whether stage would refuse it.
    #[must_use]
    pub fn is_unfit(&self) -> bool {
        self.report.verdict() == Verdict::Fail
    }

    /// As JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl std::fmt::Display for Examined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.report)?;
        let (carried, left): (Vec<&Row>, Vec<&Row>) = self.mounts.iter().partition(|row| row.carried);
        for (title, rows) in [("mounts that are carried", carried), ("mounts that are not", left)] {
            writeln!(f, "{title}:")?;
            rows.iter().try_for_each(|row| writeln!(f, "  {row}"))?;
        }
        self.skipped.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Finds what is asked for, and how it is opened.
fn prepare(request: &Request, state: &State) -> Result<Prepared, Error> {
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

/// Looks into every device: fstab names file systems by what they hold.
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

fn rows(request: &Request, facts: &Facts, fstab: &str) -> Result<Vec<Row>, Error> {
    Ok(carry::decide(&staging::mounts()?, facts, &fstab::parse(fstab), &request.wanted)?)
}
