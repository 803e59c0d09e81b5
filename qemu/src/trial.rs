//! Runs a scenario, boot by boot, and says how it went.

use std::{borrow::Cow, fmt, fs, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{
    Outcome,
    boot::{self, Left, Place},
    listen::values,
    machine::Console,
    progress::Progress,
    rig::Rig,
    scenario::{Boot, Scenario},
};

/// How a scenario went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    result: Cow<'static, str>,
    pub(crate) reason: String,
    guest_s: f64,
    wall_s: f64,
    log: String,
    /// What its guests said of what their boots tell.
    told: Vec<String>,
}

/// Runs a scenario to its end.
pub(crate) fn run(rig: &Rig, scenario: &Scenario, progress: &Progress) -> Verdict {
    let begun = Instant::now();
    let mut verdict = Verdict {
        name: scenario.name.clone(),
        result: "pass".into(),
        reason: String::new(),
        guest_s: 0.0,
        wall_s: 0.0,
        log: String::new(),
        told: Vec::new(),
    };
    let mut left = None;
    for (number, boot) in scenario.boot.iter().enumerate() {
        let leaves = scenario.boot.get(number + 1).is_some_and(|next| next.goes_on);
        let saved = rig.saved(boot).filter(|_| !leaves);
        let place = Place { before: left.take().filter(|_| boot.goes_on), leaves, saves: false, saved };
        match run_boot(rig, &format!("{}-{number}", scenario.name), place, boot, &mut verdict, progress) {
            Ok(Ok(disks)) => left = Some(disks),
            Ok(Err(reason)) => verdict.fail(format!("boot {}: {reason}", number + 1)),
            Err(error) => verdict.fail(format!("boot {}: {error}", number + 1)),
        }
        if !verdict.passed() {
            break;
        }
    }
    verdict.wall_s = begun.elapsed().as_secs_f64();
    verdict
}

/// What it left, or why it did not go as it has to.
fn run_boot(
    rig: &Rig,
    name: &str,
    place: Place,
    boot: &Boot,
    verdict: &mut Verdict,
    progress: &Progress,
) -> Outcome<Result<Left, String>> {
    let work = rig.work(name)?;
    verdict.log = work.join("console.log").display().to_string();
    let leaves = place.leaves;
    let mut started = boot::start_in(work, place, rig, boot, Console::Log, progress)?;
    let heard = started.listen(|_| ())?;
    verdict.guest_s += heard.guest_s;
    let mut reason = started.judge(&heard)?;
    if reason.is_some() {
        for lines in [&heard.console, &heard.witness] {
            lines.iter().skip(lines.len().saturating_sub(30)).for_each(|line| progress.line(line));
        }
    }
    for name in &boot.tells {
        match values(&heard.witness, name).last() {
            Some(said) => verdict.told.push(format!("{name}: {said}")),
            None => reason = reason.or_else(|| Some(format!("nobody told {name}"))),
        }
    }
    let left = started.left();
    // The disks and kernels are large and can be had again; what was said stays.
    for entry in fs::read_dir(&left.work)?.filter_map(Result::ok) {
        let kind = entry.path().extension().map(|kind| kind.to_os_string()).unwrap_or_default();
        if kind != "log" && !(leaves && kind == "raw") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(reason.map_or(Ok(left), Err))
}

impl Verdict {
    /// Whether it went as it has to.
    pub(crate) fn passed(&self) -> bool {
        self.result == "pass"
    }

    fn fail(&mut self, reason: String) {
        self.result = "fail".into();
        self.reason = reason;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason, guest_s, wall_s, log, told, .. } = self;
        match self.passed() {
            true => write!(f, "PASS {name} guest={guest_s:.1} wall={wall_s:.1}")?,
            false => write!(f, "FAIL {name} {reason} log={log}")?,
        }
        told.iter().try_for_each(|told| write!(f, "\n     {told}"))
    }
}
