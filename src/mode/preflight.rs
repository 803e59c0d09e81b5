//! `nextroot preflight`: whether a source could be the next root, by opening it aside and looking.

use std::path::Path;

use serde::Serialize;

use crate::{
    plan::{
        Plan, Step,
        boot::{self, Decision},
        carry::{self, Row},
        preflight::{self, NewRoot, Refused, Report, RootHashUse, Verdict},
        soft_reboot,
        source::Source,
        stage::{self, Intent},
        state::{Root, State},
        step::HashOrigin,
    },
    run::{
        execute::{self, Executor},
        machine,
        soft_reboot::{handover, inspect, manager_conf, running, staging, state::Store, system, unit_order},
    },
};

use super::complain;
use super::request::{Error, Prepared, Request, Way, find, rows};

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
pub fn run(request: &Request) -> Result<Examined, Error> {
    running::shares_mounts()?;
    let store = Store::default();
    let _lock = store.lock()?;
    let mut state = running::settled::<Error>(&store)?;
    end_look(&mut state, &store)?.into_iter().for_each(complain);
    let mut found = find(request, &state)?;
    let prepared = match found.open(&state) {
        Ok(prepared) => prepared,
        Err(error) => {
            return match unopened(request, &found.intent(), &state, &error) {
                Some(report) => Ok(Examined::of(request, report, Vec::new(), found.skipped())),
                None => Err(error.into()),
            };
        }
    };
    let looked = look_aside(request, &prepared, &mut state, &store);
    let ended = end_look(&mut state, &store);
    let Aside { examined, .. } = looked?;
    let ended = ended?;
    ended.into_iter().for_each(complain);
    Ok(examined)
}

/// What can be said of a root that was found and is not opened; `None` where no check tells why not.
fn unopened(request: &Request, intent: &Intent, state: &State, why: &soft_reboot::Error) -> Option<Report> {
    let mut asked = asked(request, &[]);
    asked.refused = why.refused();
    match (&asked.refused, why) {
        (Some(_), _) => {}
        (None, soft_reboot::Error::Refused(boot::Error::Taken { name, device })) => {
            asked.dm_name = Some((name.clone(), preflight::DmName::Other(device.clone())));
        }
        (None, _) => return None,
    }
    Some(closed(asked, &intent.root, state.previous.as_ref()))
}

/// The report of a root that stays closed. Where it is open it is one that is `known`, and the root hash is from where that has it.
fn closed(mut asked: preflight::Asked, root: &stage::Root, known: Option<&Root>) -> Report {
    match root {
        stage::Root::Closed(verity) | stage::Root::InFiles(verity, _) => {
            let from = verity.root_hash_from.into();
            asked.root_hash = Some(RootHashUse { hash: verity.root_hash.clone(), from });
        }
        stage::Root::Open(open) => {
            let from = origin(known).into();
            asked.root_hash = Some(RootHashUse { hash: open.table.root_hash.clone(), from });
        }
        stage::Root::Plain(plain) => asked.unverified = Some(format!("{plain}, as it ran before")),
    }
    preflight::examine(&asked, &system::Running::default().look(), &NewRoot::default())
}

/// Where the root hash comes from that an open root was opened by.
fn origin(root: Option<&Root>) -> HashOrigin {
    root.and_then(Root::verity).map_or(HashOrigin::Unknown, |verity| verity.root_hash_from)
}

/// Undoes what was done to look at a root; where that fails, the state still knows of it. What is left all the same is to be told.
pub(super) fn end_look(state: &mut State, store: &Store) -> Result<Option<String>, Error> {
    if state.looking.steps.is_empty() {
        return Ok(None);
    }
    let kept = super::cancel::end_look(state)?;
    store.save(state)?;
    Ok(kept)
}

/// What was seen of a root that was opened aside.
pub(super) struct Aside {
    pub(super) examined: Examined,
    /// Where a step of it failed that stage would do, too: what the report has as a check.
    pub(super) refused: Option<Error>,
}

/// Opens and mounts a root aside, and looks; what that takes is in the state.
pub(super) fn look_aside(
    request: &Request,
    prepared: &Prepared,
    state: &mut State,
    store: &Store,
) -> Result<Aside, Error> {
    let aside = Intent { way: Way::Look, ..prepared.opening.intent.clone() };
    let looking = match stage::mounting(&aside, &prepared.facts) {
        Decision::Go(plan) => plan,
        Decision::Refuse(error) => return Err(error.into()),
        // What is known of the devices was enough a moment ago.
        Decision::Read(_) | Decision::Wait(_) => {
            return Err(execute::Error::Plan { what: "the root aside".to_owned() }.into());
        }
    };
    state.looking.steps.extend_from_slice(&looking.steps);
    store.save(state)?;
    let looked = look(request, prepared, &looking, &aside.mounted_at());
    if matches!(&looked, Err(Error::Execute(error)) if error.is_taken()) {
        state.looking.steps.retain(|step| !matches!(step, Step::OpenVerity(_)));
    }
    looked
}

fn look(request: &Request, prepared: &Prepared, looking: &Plan, at: &str) -> Result<Aside, Error> {
    let (intent, skipped) = (&prepared.opening.intent, &prepared.opening.skipped);
    let mut executor = Executor::new(None, Vec::new());
    let mut no_init = None;
    for step in &looking.steps {
        match (executor.execute(step), step) {
            (Err(error), Step::OpenVerity(_)) if error.is_refusal() => {
                let refused = Some(Refused::RootHash(handover::chain(&error)));
                let asked = preflight::Asked { refused, ..asked(request, &[]) };
                let report = closed(asked, &intent.root, Some(&prepared.opening.root));
                let examined = Examined::of(request, report, Vec::new(), skipped);
                return Ok(Aside { examined, refused: Some(error.into()) });
            }
            (Err(error), Step::FindInit { .. }) if error.is_refusal() => no_init = Some(error),
            (done, _) => done?,
        }
    }
    let new = Path::new(at);
    let mut rows = rows(request, &prepared.facts, new)?;
    carry::place(&mut rows, &request.wanted, |at| staging::has_place(new, at))?;
    let no_init_why = no_init.as_ref().map(|error| handover::chain(error));
    let root = &prepared.opening.root;
    let report = examine(request, root, &executor.proven(looking), &rows, new, no_init_why);
    let examined = Examined::of(request, report, rows, skipped);
    Ok(Aside { examined, refused: no_init.map(Error::from) })
}

/// Version of preflight's JSON: raised whenever a field changes its meaning or goes away.
const PREFLIGHT_VERSION: u32 = 1;

impl Examined {
    fn of(request: &Request, report: Report, mounts: Vec<Row>, skipped: &[String]) -> Self {
        let (source, skipped) = (request.source.clone(), skipped.to_vec());
        Self { version: PREFLIGHT_VERSION, source, report, mounts, skipped }
    }

    /// Why stage would refuse it.
    pub fn refused(&self, request: &Request) -> Result<(), Error> {
        refuse(request, &self.report)
    }

    /// As JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl std::fmt::Display for Examined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.report)?;
        if !self.report.opened {
            writeln!(f, "mounts: not looked at: the new root was not opened")?;
            return self.skipped.iter().try_for_each(|line| writeln!(f, "{line}"));
        }
        let told = self.mounts.iter().filter(|row| !row.is_plumbing());
        let (carried, left): (Vec<&Row>, Vec<&Row>) = told.partition(|row| row.carried);
        for (title, rows) in [("mounts that are carried", carried), ("mounts that are not", left)] {
            writeln!(f, "{title}:")?;
            rows.iter().try_for_each(|row| writeln!(f, "  {row}"))?;
        }
        self.skipped.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// An error where a check failed; with `--force`, where one failed that holds a root against policy.
pub(super) fn refuse(request: &Request, report: &Report) -> Result<(), Error> {
    let failed = report.checks.iter().filter(|check| check.result == Verdict::Fail);
    let (policy, others): (Vec<_>, Vec<_>) = failed.partition(|check| check.is_policy());
    let source_name = request.source.clone();
    let told = |checks: &[&preflight::Check]| checks.iter().map(|check| line(check)).collect();
    match (request.force, policy.is_empty(), others.is_empty()) {
        (true, true, _) | (_, true, true) => Ok(()),
        (true, false, _) => Err(Error::Forbidden { source_name, failed: told(&policy) }),
        (false, false, _) => Err(Error::Forbidden { source_name, failed: told(&[policy, others].concat()) }),
        (false, true, _) if others.iter().all(|check| check.is_of_running_kernel()) => {
            Err(Error::NeedsFullReboot { source_name, failed: told(&others) })
        }
        (false, true, _) => Err(Error::Unfit { source_name, failed: told(&others) }),
    }
}

/// An error where somebody holds the shutdown back by now; the words are those of the check.
pub(super) fn held_back(source: &str, mut tell: impl FnMut(&str)) -> Result<(), Error> {
    let (inhibitors, unread) = system::Running::default().inhibitors();
    unread
        .iter()
        .for_each(|why| tell(&format!("warning: {why}, ignoring: somebody may hold the shutdown back")));
    let system = preflight::System { inhibitors, ..preflight::System::default() };
    let report = Report { checks: preflight::inhibitors(&system), ..Report::default() };
    refuse(&Request { source: source.to_owned(), ..Request::default() }, &report)
}

pub(super) fn lines(report: &Report, verdict: Verdict) -> Vec<String> {
    report.checks.iter().filter(|check| check.result == verdict).map(line).collect()
}

/// A check in a line.
fn line(check: &preflight::Check) -> String {
    let advice = check.advice.as_ref().map(|advice| format!(": {advice}")).unwrap_or_default();
    format!("{}: {}{advice}", check.name, check.found)
}

/// What is asked for, as far as that is known without a look at the root.
fn asked(request: &Request, rows: &[Row]) -> preflight::Asked {
    preflight::Asked {
        wanted: if request.configured.verity_required {
            preflight::Wanted::Verity
        } else {
            preflight::Wanted::Anything
        },
        demands: request.configured.demands.clone(),
        carried: rows.iter().filter(|row| row.carried).map(|row| row.at.clone()).collect(),
        direct: request.way == Way::Direct,
        unwatched: !request.configured.trial.automatic_return,
        prewarm: request.configured.prewarm,
        critical: request.configured.critical.clone(),
        ..preflight::Asked::default()
    }
}

/// Holds a mounted root against the running system. `no_init`: why its init cannot be executed, where that was found out.
pub(super) fn examine(
    request: &Request,
    root: &Root,
    mounting: &Plan,
    rows: &[Row],
    new: &Path,
    no_init: Option<String>,
) -> Report {
    let mut asked = asked(request, rows);
    asked.newest = matches!(root.source.parse(), Ok(Source::OtherSlot));
    for step in &mounting.steps {
        match step {
            Step::OpenVerity(open) => {
                let (hash, from) = (open.table.root_hash.clone(), open.root_hash_from.into());
                asked.root_hash = Some(RootHashUse { hash, from });
                asked.dm_name = Some((open.name.clone(), preflight::DmName::Free));
            }
            Step::ReuseVerity { name, table, .. } => {
                let from = origin(Some(root)).into();
                asked.root_hash = Some(RootHashUse { hash: table.root_hash.clone(), from });
                asked.dm_name = Some((name.clone(), preflight::DmName::Same));
            }
            Step::CheckPlain { plain } => asked.unverified = Some(format!("{plain}, as it ran before")),
            _ => {}
        }
    }
    let system = system::Running::default().look();
    let mut found = inspect::look(new, &machine::kernel_release());
    if let Some(why) = no_init {
        found.init = Some(Err(why));
    }
    if !asked.critical.is_empty() {
        let (unit_orders, unread) = unit_order::look(new);
        found.unit_orders = unit_orders;
        found.unread.extend(unread);
    }
    found.arms_watchdog = system.watchdog.as_ref().and_then(|watchdog| {
        manager_conf::arms_watchdog(new, Path::new("/"), &system.command_line, &watchdog.device)
    });
    preflight::examine(&asked, &system, &found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::preflight::Check;

    /// `--force` once went over everything that preflight found.
    #[test]
    fn nothing_goes_over_policy() {
        let check = |name: &&'static str| Check {
            name,
            result: Verdict::Fail,
            found: "no".to_owned(),
            advice: None,
            why: "",
        };
        for (failed, force, expected) in [
            (&[][..], false, Ok(())),
            (&["modules"][..], false, Err("x needs a full reboot: modules: no; ")),
            (&["init", "modules"], false, Err("x would not run here: init: no; modules: no; ")),
            (&["modules"], true, Ok(())),
            (
                &["root-hash"],
                false,
                Err("x is forbidden by policy, which --force does not change: root-hash: no"),
            ),
            (
                &["root-hash"],
                true,
                Err("x is forbidden by policy, which --force does not change: root-hash: no"),
            ),
            (
                &["modules", "image-version"],
                true,
                Err("x is forbidden by policy, which --force does not change: image-version: no"),
            ),
            (
                &["modules", "image-version"],
                false,
                Err(
                    "x is forbidden by policy, which --force does not change: image-version: no; modules: no",
                ),
            ),
        ] {
            let report = Report { checks: failed.iter().map(check).collect(), ..Report::default() };
            let request = Request { source: "x".to_owned(), force, ..Request::default() };
            let got = refuse(&request, &report).map_err(|error| error.to_string());
            match (got, expected) {
                (Ok(()), Ok(())) => {}
                (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{got}"),
                (got, expected) => panic!("{failed:?} {force}: {got:?} {expected:?}"),
            }
        }
    }
}
