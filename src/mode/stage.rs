//! `nextroot stage`: everything of a soft reboot that can fail, while the old system serves.

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::{
    format::system::os_release::OsRelease,
    plan::{
        Plan, Step,
        boot_entry::{self, Image, Renaming},
        carry::{self, Row},
        event::Event,
        facts::Facts,
        preflight::{Report, Verdict},
        prewarm::Prewarmed,
        report::Phase,
        soft_reboot::Opening,
        stage::{self, Left},
        state::{Root, Staged, State},
    },
    run::{
        execute::{self, Executor, Progress},
        journal, machine,
        soft_reboot::{
            boot_entries::{self, Looked},
            exitrd, handover, running, staging,
            state::Store,
        },
    },
};

use super::{
    preflight::{Aside, end_look, examine, lines, look_aside, refuse},
    request::{Error, Passed, Prepared, Request, Way, prepare, rows},
};

/// What became of it.
#[derive(Debug)]
pub struct Done {
    /// What is staged.
    pub staged: Staged,
    /// A line for each slot or file that was passed over.
    pub skipped: Vec<String>,
    /// A line for each check that warned.
    pub warnings: Vec<String>,
}

/// Version of stage's JSON: raised whenever a field changes its meaning or goes away.
const STAGE_VERSION: u32 = 1;

/// What became of it, for programs: docs/stage.schema.json.
#[derive(Debug, Serialize)]
pub struct Outcome {
    version: u32,
    source: String,
    outcome: &'static str,
    root: Option<Root>,
    direct: bool,
    mounts: Vec<Row>,
    prewarmed: Option<Prewarmed>,
    skipped: Vec<String>,
    warnings: Vec<String>,
    steps: Vec<String>,
}

impl Outcome {
    /// Of a request that was staged.
    #[must_use]
    pub fn staged(request: &Request, done: Done) -> Self {
        let Done { staged, skipped, warnings } = done;
        Self {
            outcome: "staged",
            root: Some(staged.root),
            direct: staged.direct,
            mounts: staged.mounts,
            prewarmed: staged.prewarmed,
            skipped,
            warnings,
            steps: staged.begun.steps.iter().map(Step::to_string).collect(),
            ..Self::passed(request, Passed::NothingNewer(&[]))
        }
    }

    /// Of a request for a slot that is newer, where each was passed over.
    #[must_use]
    pub fn passed(request: &Request, passed: Passed<'_>) -> Self {
        let (outcome, skipped) = match passed {
            Passed::NothingNewer(skipped) => ("nothing-newer", skipped),
            Passed::OnlyFailed(skipped) => ("only-failed", skipped),
        };
        Self {
            version: STAGE_VERSION,
            source: request.source.clone(),
            outcome,
            root: None,
            direct: request.way == Way::Direct,
            mounts: Vec::new(),
            prewarmed: None,
            skipped: skipped.to_vec(),
            warnings: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// With what else was warned of, before.
    #[must_use]
    pub fn warned(mut self, warnings: Vec<String>) -> Self {
        self.warnings.splice(0..0, warnings);
        self
    }

    /// As JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// Stages; `tell` sees each step before it is done, `progress` how far one is that takes a while. Whatever fails, and where the
/// process is asked to end (SIGHUP, SIGINT, SIGTERM), the machine is as before.
pub fn run(
    request: &Request,
    progress: Option<Progress<'_>>,
    mut tell: impl FnMut(&str),
) -> Result<Done, Error> {
    running::shares_mounts()?;
    machine::end_by_asking()?;
    let store = Store::default();
    let _lock = store.lock()?;
    let state = running::settled::<Error>(&store)?;
    if let Some(staged) = &state.staged
        && !request.replace
    {
        return Err(Error::Staged { source_name: staged.root.source.clone() });
    }
    if state.staged.is_none() && staging::waits()? {
        return Err(Error::Foreign);
    }
    let executor = Executor::new(None, Vec::new()).showing(progress);
    let (phases, since) = (Vec::new(), machine::monotonic());
    let mut staging = Staging { store, state, executor, tell: &mut tell, phases, since };
    staging.end_look()?;
    if staging.state.staged.as_ref().is_some_and(|staged| !staged.complete) {
        staging.put_away(&Plan::default())?; // a killed stage left nothing to lose
    }
    let mut prepared = prepare(request, &staging.state)?;
    if staging.state.staged.is_some() {
        let replaced = staging.replace(request, &prepared).and_then(|()| prepare(request, &staging.state));
        prepared = replaced.inspect_err(|_| staging.try_end_look())?;
    }
    staging.passed("find");
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
    executor: Executor<'a>,
    tell: &'a mut dyn FnMut(&str),
    /// What it took, and up to when that was noted.
    phases: Vec<Phase>,
    since: Duration,
}

impl Staging<'_> {
    /// A part of it is over.
    fn passed(&mut self, name: &'static str) {
        let begin = std::mem::replace(&mut self.since, machine::monotonic());
        self.phases.push(Phase::new(name, begin, self.since));
    }

    /// Makes room for another root: what is staged goes once the other was opened, mounted and looked at, and
    /// would do. That stays open, so that what was seen is what is staged.
    fn replace(&mut self, request: &Request, prepared: &Prepared) -> Result<(), Error> {
        let Aside { examined, refused } = look_aside(request, prepared, &mut self.state, &self.store)?;
        // What it stands on fails whatever is forced.
        refused.map_or(Ok(()), Err)?;
        refuse(request, &examined.report)?;
        let looking = self.state.looking.clone();
        self.put_away(&looking)
    }

    /// Undoes what is staged, but for the device that `other` goes on with: closing that is left to the look.
    fn put_away(&mut self, other: &Plan) -> Result<(), Error> {
        let Some(mut staged) = self.state.staged.clone() else { return Ok(()) };
        (self.tell)(&format!("taking back {}", staged.root.source));
        let kept = staged.begun.hand_over(other);
        let undone = super::cancel::undo(&staged.begun);
        undone.outcome?;
        self.state.looking.steps.splice(0..0, kept.into_iter().chain(undone.entries));
        undone.why.iter().for_each(|why| (self.tell)(&super::cancel::kept(why)));
        self.state.staged = None;
        Ok(self.store.save(&self.state)?)
    }

    /// Undoes what was done to look at a root.
    fn end_look(&mut self) -> Result<(), Error> {
        let kept = end_look(&mut self.state, &self.store)?;
        kept.iter().for_each(|kept| (self.tell)(kept));
        Ok(())
    }

    fn try_end_look(&mut self) {
        if let Err(error) = self.end_look() {
            (self.tell)(&format!("undo: {error}; nextroot cancel tries again"));
        }
    }

    fn all(&mut self, request: &Request, prepared: Prepared) -> Result<Done, Error> {
        let Prepared { opening: Opening { intent, mounting, root, skipped }, facts, image: _image } =
            prepared;
        skipped.iter().for_each(|line| (self.tell)(line));
        let begun = Plan { steps: self.state.looking.hand_over(&mounting) };
        self.state.staged = Some(Staged {
            root: root.clone(),
            direct: intent.way == Way::Direct,
            complete: false,
            begun,
            mounts: Vec::new(),
            prewarmed: None,
            gives_up: request.gives_up.clone(),
            phases: Vec::new(),
        });
        self.steps(&mounting)?;
        self.passed("open and mount");
        let mounting = self.executor.proven(&mounting);
        let new = intent.mounted_at();
        let new = Path::new(&new);
        let release = OsRelease::parse(staging::os_release(new)?.as_bytes()).unwrap_or_default();
        let mut rows = rows(request, &facts, new)?;
        carry::place(&mut rows, &request.wanted, |at| staging::has_place(new, at))?;
        let report = examine(request, &root, &mounting, &rows, new, None);
        let warnings = self.fit(request, &report)?;
        self.passed("examine");
        if let Some(staged) = &mut self.state.staged {
            staged.root.system = Some(release.name().to_owned());
            staged.root.version = release.image_version;
            staged.mounts.clone_from(&rows);
        }
        let units = staging::missing_units(&stage::VERITY_UNITS);
        let configured = &request.configured;
        let bad_entries = self.bad_entries(request, &facts);
        let exitrd = configured.exitrd.then(exitrd::found);
        let (trial, prewarm) = (&configured.trial, configured.prewarm);
        let (watcher, watchdog, orders) =
            (report.watcher.as_ref(), report.watchdog.as_ref(), report.orders.as_slice());
        let left = Left {
            units: &units,
            trial,
            watcher,
            prewarm,
            exitrd,
            watchdog,
            orders,
            bad_entries: &bad_entries,
        };
        self.steps(&stage::carrying(&intent, &rows, &left))?;
        self.passed("carry and publish");
        if let Some(staged) = &mut self.state.staged {
            staged.complete = true;
            staged.phases = std::mem::take(&mut self.phases);
            staged.prewarmed = self.executor.prewarmed();
        }
        self.store.save(&self.state)?;
        match self.state.staged.clone() {
            Some(staged) => {
                journal::tell(&Event::Staged(staged.root.clone()));
                Ok(Done { staged, skipped, warnings })
            }
            None => Err(execute::Error::Plan { what: "what is staged".to_owned() }.into()),
        }
    }

    /// The boot loader's entries of the running root, where that is given up.
    fn bad_entries(&mut self, request: &Request, facts: &Facts) -> Vec<Renaming> {
        if request.gives_up.is_none() { Vec::new() } else { bad_entries(&self.state, facts, self.tell) }
    }

    /// The way back is more than the boot loader's entry.
    fn leave_entry(&mut self, error: &execute::Error) {
        (self.tell)(&unmarked(&handover::chain(error)));
        let is_renamed = matches!(error, execute::Error::Entries(boot_entries::Error::Unsynced { .. }));
        if let Some(staged) = self.state.staged.as_mut().filter(|_| !is_renamed) {
            staged.begun.steps.pop();
        }
    }

    /// Holds what preflight found against the root; a line for each warning. Forced, what would refuse it warns.
    fn fit(&mut self, request: &Request, report: &Report) -> Result<Vec<String>, Error> {
        let mut warnings = if request.force { lines(report, Verdict::Fail) } else { Vec::new() };
        warnings.extend(lines(report, Verdict::Warn));
        warnings.iter().for_each(|line| (self.tell)(&format!("warning: {line}")));
        refuse(request, report).map(|()| warnings)
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
            if let (Err(error), Step::MarkEntryBad(_)) = (&done, step) {
                self.leave_entry(error);
                continue;
            }
            if let (Err(error), Some(staged)) = (&done, &mut self.state.staged)
                && error.is_taken()
            {
                staged.begun.steps.pop();
            }
            done?;
            if matches!(step, Step::Prewarm { .. }) {
                self.passed("read ahead");
            }
            self.executor.take_notes().iter().for_each(|line| (self.tell)(line));
            if let Step::OpenVerity(open) = step
                && let (Some(by), Some(staged)) = (self.executor.checked(&open.name), &mut self.state.staged)
            {
                staged.root.is_signed_by(by.clone());
            }
        }
        Ok(())
    }

    fn take_back(&mut self) {
        let Some(staged) = &self.state.staged else { return };
        (self.tell)("it failed: undoing what was done");
        let undone = super::cancel::undo(&staged.begun);
        match undone.outcome {
            Ok(()) => {
                self.state.staged = None;
                self.state.looking.steps.extend(undone.entries);
                undone.why.iter().for_each(|why| (self.tell)(&super::cancel::kept(why)));
            }
            Err(error) => (self.tell)(&format!("undo: {error}; nextroot cancel tries again")),
        }
        if let Err(error) = self.store.save(&self.state) {
            (self.tell)(&error.to_string());
        }
    }
}

/// The boot loader's entries of the running root, which is given up. The way back is more than they are: where they cannot be
/// looked at, that is told.
pub(super) fn bad_entries(state: &State, facts: &Facts, tell: &mut dyn FnMut(&str)) -> Vec<Renaming> {
    let root_hash = state.current.as_ref().and_then(Root::verity).map(|it| it.root_hash.clone());
    let release = staging::os_release(Path::new("/")).unwrap_or_default();
    let image = Image { root_hash, release: OsRelease::parse(release.as_bytes()).unwrap_or_default() };
    let Some(Looked { entries, unread }) = boot_entries::look(facts) else { return Vec::new() };
    unread.iter().for_each(|why| tell(&unmarked(why)));
    boot_entry::to_mark_bad(&entries, &image).unwrap_or_else(|| {
        tell(&unmarked("no entry of the boot loader is known to start this root"));
        Vec::new()
    })
}

/// Why an entry of the boot loader may be as it was.
fn unmarked(why: &str) -> String {
    format!("warning: {why}, ignoring: the next cold boot may go to the root that is left")
}
