//! `nextroot doctor`: whether this machine could soft-reboot into another root, and what it lacks. Nothing is changed.

use std::{fmt, path::Path};

use serde::Serialize;

use crate::{
    plan::{
        doctor::{self, Leads, Machine, Next, Verity},
        preflight::{Check, Verdict},
    },
    run::{
        configuration, machine,
        soft_reboot::{handover, inspect, running, state::Store, system},
    },
};

use super::{
    is_root,
    request::{Error, Request, find},
};

/// Version of doctor's JSON: raised whenever a field changes its meaning or goes away.
const DOCTOR_VERSION: u32 = 2;

/// What it found, for programs: docs/doctor.schema.json.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    version: u32,
    /// Whether nothing is missing; `None` where nothing is that was looked at, and not all of it was.
    able: Option<bool>,
    checks: Vec<Check>,
}

/// Looks at the machine; `source` is looked for in the place of the configured one.
#[must_use]
pub fn run(source: Option<String>) -> Diagnosis {
    let machine = look(source);
    Diagnosis::of(doctor::examine(&machine), machine.is_root)
}

fn look(source: Option<String>) -> Machine {
    let (config, unusable) = match configuration::read(None) {
        Ok(config) => (config, None),
        Err(error) => (Default::default(), Some(handover::chain(&error))),
    };
    let release = machine::kernel_release();
    let has_module = || {
        let modules = inspect::modules(Path::new("/"), &release);
        modules.and_then(Result::ok).is_some_and(|modules| modules.contains("dm_verity"))
    };
    let verity = match Path::new("/sys/module/dm_verity").exists() {
        true => Some(Verity::Loaded),
        false => has_module().then_some(Verity::Module),
    };
    let configured = config.stage.source.clone();
    Machine {
        is_root: is_root(),
        booted: Path::new("/run/systemd/system").is_dir(),
        system: system::Running::default().look(),
        own_mounts: running::shares_mounts().is_err(),
        verity,
        root: running::root(),
        unwatched: !config.trial.automatic_return,
        direct: config.stage.direct,
        prewarm: config.stage.prewarm,
        next: (is_root() && unusable.is_none()).then(|| next(source, configured.as_deref())),
        warnings: config.warnings,
        configured,
        unusable,
    }
}

/// What a source leads to, opening nothing: one that was named, that of nextroot.conf, or the other slot.
fn next(named: Option<String>, configured: Option<&str>) -> Next {
    // Without one that was asked for it is found as the hook finds it.
    let (asked, source) = match (named, configured) {
        (None, Some(configured)) => (String::new(), configured.to_owned()),
        (named, _) => {
            let source = named.unwrap_or_else(|| doctor::OTHER.to_owned());
            (source.clone(), source)
        }
    };
    let looked = || -> Result<Next, Error> {
        let request = Request { source: asked.clone(), ..Request::default() };
        let (request, _) = request.configured()?;
        let state = running::settled::<Error>(&Store::default())?;
        let mut found = find(&request, &state)?;
        let skipped = found.skipped().to_vec();
        let prepared = found.open(&state)?;
        let root = prepared.opening.root;
        let on = root
            .verity()
            .map_or_else(|| root.to_string(), |verity| format!("root hash {}", verity.root_hash));
        Ok(Next { source: source.clone(), is: Leads::To(on), skipped })
    };
    looked().unwrap_or_else(|error| {
        let why = handover::chain(&error);
        let is = if error.passed().is_some() { Leads::Nowhere(why) } else { Leads::Wrong(why) };
        Next { source: source.clone(), is, skipped: Vec::new() }
    })
}

impl Diagnosis {
    fn of(checks: Vec<Check>, all_seen: bool) -> Self {
        let failed = checks.iter().any(|check| check.result == Verdict::Fail);
        let able = if failed { Some(false) } else { all_seen.then_some(true) };
        Self { version: DOCTOR_VERSION, able, checks }
    }

    /// Whether nothing is missing; `None` where that is not known.
    #[must_use]
    pub fn is_able(&self) -> Option<bool> {
        self.able
    }

    /// As JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))?;
        let count = |wanted| self.checks.iter().filter(|check| check.result == wanted).count();
        match (self.able, count(Verdict::Fail), count(Verdict::Warn)) {
            (None, ..) => {
                writeln!(
                    f,
                    "\nwhether this machine can soft-reboot into another root only root can see; what was looked at lacks nothing"
                )
            }
            (_, 0, 0) => writeln!(f, "\nthis machine can soft-reboot into another root"),
            (_, 0, warned) => {
                writeln!(f, "\nthis machine can soft-reboot into another root; {warned} checks warn")
            }
            (_, failed, _) => {
                writeln!(f, "\nthis machine cannot soft-reboot into another root: {failed} checks failed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It said that a machine could, of which it had not looked for another root.
    #[test]
    fn what_was_not_looked_at_is_not_promised() {
        let check = |result| Check { name: "a", result, found: String::new(), advice: None, why: "" };
        for (results, all_seen, able, told) in [
            ([Verdict::Ok, Verdict::Ok], true, Some(true), "this machine can soft-reboot into another root"),
            ([Verdict::Ok, Verdict::Warn], true, Some(true), "into another root; 1 checks warn"),
            (
                [Verdict::Ok, Verdict::Warn],
                false,
                None,
                "only root can see; what was looked at lacks nothing",
            ),
            (
                [Verdict::Ok, Verdict::Fail],
                true,
                Some(false),
                "cannot soft-reboot into another root: 1 checks",
            ),
            (
                [Verdict::Ok, Verdict::Fail],
                false,
                Some(false),
                "cannot soft-reboot into another root: 1 checks",
            ),
        ] {
            let diagnosis = Diagnosis::of(results.map(check).into(), all_seen);
            assert_eq!(diagnosis.is_able(), able, "{results:?} {all_seen}");
            assert!(diagnosis.to_string().contains(told), "{diagnosis}");
        }
    }
}
