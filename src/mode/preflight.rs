//! `nextroot preflight`: whether a source could be the next root, by opening it aside and looking.

use std::path::Path;

use serde::Serialize;

use crate::{
    plan::{
        Plan, Step,
        boot::Decision,
        carry::{self, Row},
        preflight::{self, Report, Verdict},
        stage::{self, Intent},
        state::State,
    },
    run::{
        execute::{self, Executor},
        machine,
        soft_reboot::{inspect, manager_conf, running, staging, state::Store, system},
    },
};

use super::request::{Error, Prepared, Request, Way, prepare, rows};

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
    end_look(&mut state, &store)?;
    let prepared = prepare(request, &state)?;
    let looked = look_aside(request, &prepared, &mut state, &store);
    let ended = end_look(&mut state, &store);
    let examined = looked?;
    ended?;
    Ok(examined)
}

/// Undoes what was done to look at a root; where that fails, the state still knows of it.
pub(super) fn end_look(state: &mut State, store: &Store) -> Result<(), Error> {
    if state.looking.steps.is_empty() {
        return Ok(());
    }
    super::cancel::end_look(state)?;
    Ok(store.save(state)?)
}

/// Opens and mounts a root aside, and looks; what that takes is in the state.
pub(super) fn look_aside(
    request: &Request,
    prepared: &Prepared,
    state: &mut State,
    store: &Store,
) -> Result<Examined, Error> {
    let aside = Intent { way: Way::Look, ..prepared.opening.intent.clone() };
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
    let mut rows = rows(request, &prepared.facts, new)?;
    carry::place(&mut rows, &request.wanted, |at| staging::has_place(new, at))?;
    let report = examine(request, &executor.proven(looking), &rows, new);
    let (source, skipped) = (request.source.clone(), prepared.opening.skipped.clone());
    Ok(Examined { version: PREFLIGHT_VERSION, source, report, mounts: rows, skipped })
}

/// Version of preflight's JSON: raised whenever a field changes its meaning or goes away.
const PREFLIGHT_VERSION: u32 = 1;

impl Examined {
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
        (false, true, _) if others.iter().all(|check| check.is_of_running_kernel()) => {
            Err(Error::NeedsFullReboot { source_name, failed: told(&others) })
        }
        (false, ..) => Err(Error::Unfit { source_name, failed: told(&[policy, others].concat()) }),
    }
}

pub(super) fn lines(report: &Report, verdict: Verdict) -> Vec<String> {
    report.checks.iter().filter(|check| check.result == verdict).map(line).collect()
}

/// A check in a line.
fn line(check: &preflight::Check) -> String {
    let advice = check.advice.as_ref().map(|advice| format!(": {advice}")).unwrap_or_default();
    format!("{}: {}{advice}", check.name, check.found)
}

/// Holds a mounted root against the running system.
pub(super) fn examine(request: &Request, mounting: &Plan, rows: &[Row], new: &Path) -> Report {
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
    let unverified = mounting.steps.iter().find_map(|step| match step {
        Step::CheckPlain { plain } => Some(format!("{plain}, as it ran before")),
        _ => None,
    });
    let asked = preflight::Asked {
        unverified,
        dm_name,
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
        root_hash: root_hash.map(|(hash, from)| preflight::RootHashUse { hash, from }),
    };
    let system = system::Running::default().look();
    let mut found = inspect::look(new, &machine::kernel_release());
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
            (&["root-hash"], false, Err("x would not run here: root-hash: no; ")),
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
                Err("x would not run here: image-version: no; modules: no; "),
            ),
        ] {
            let report = Report {
                checks: failed.iter().map(check).collect(),
                survives: Vec::new(),
                stops: Vec::new(),
                watcher: None,
                watchdog: None,
            };
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
