//! Decides whether a root that was switched to is healthy: what `[Trial]` of nextroot.conf asks for, held against what
//! systemd says of itself and of its units.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::format::{
    config::trial::Trial,
    system::{job_list::Job, unit_list::Listed},
};

use super::state::{OnTrial, Root, State};

mod lasting;
mod unit;

pub use lasting::{Clean, Descent, Restarts, Silence};
pub use unit::{MANAGER_PROPERTIES, Manager, Told, UNIT_PROPERTIES, Unit};

use unit::waits_for_restart;

/// What the watcher has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Something is staged, and waits for a soft reboot.
    Await,
    /// The running root is on trial.
    Judge {
        /// The root.
        root: Box<Root>,
        /// Its trial.
        trial: Box<OnTrial>,
    },
    /// Nothing.
    Nothing,
}

impl Duty {
    /// By what is remembered.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let on_trial = state.trial.as_ref().filter(|trial| !state.blessed && trial.stays.is_none());
        match (on_trial, &state.current, &state.staged) {
            (Some(trial), Some(root), _) => {
                Self::Judge { root: Box::new(root.clone()), trial: Box::new(trial.clone()) }
            }
            (_, _, Some(_)) => Self::Await,
            _ => Self::Nothing,
        }
    }
}

/// What was seen of a root on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// From the switch until this look began.
    pub begun: Duration,
    /// From the switch until now.
    pub since: Duration,
    /// How long PID 1 has not answered: [`Silence`].
    pub silent: Duration,
    /// How long it has been on its way down: [`Descent`]; `None` where it is not.
    pub stopping: Option<Duration>,
    /// How often it has started again, by soft reboots into itself: [`Restarts`].
    pub restarts: u32,
    /// What PID 1 says, `None` where that is nothing that is known; `Err` with the reason where it does not answer.
    pub manager: Result<Option<Manager>, String>,
    /// The units that it has in memory; `Err` with the reason where they cannot be listed.
    pub units: Result<Vec<Unit>, String>,
    /// How long it is up without a failed unit.
    pub clean: Duration,
    /// The units that were failed when some last were.
    pub last_failed: Vec<String>,
    /// The jobs that PID 1 has, where it was asked: [`asks_for_jobs`].
    pub jobs: Vec<Job>,
    /// How the command ended: `Err` with what went wrong; `None` where it was not run yet.
    pub command: Option<Result<(), String>>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is healthy.
    Healthy,
    /// It is not, yet, for this reason.
    NotYet(String),
    /// All but the command is as it should be: its turn.
    RunCommand,
    /// Somebody else ends this life.
    Leaving,
    /// It is not healthy, for this reason.
    Failed(String),
    /// The same, and PID 1 is past being asked to leave it.
    Stuck(String),
}

impl Verdict {
    /// Whether the trial ends with it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Healthy | Self::Failed(_) | Self::Stuck(_))
    }
}

/// How long PID 1 may be silent: it answers within milliseconds, under heavy load within seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// The same on its way down: at the end it answers nobody while it waits for what it kills, twice for as long as
/// DefaultTimeoutStopSec= (90 s) says.
const LAST_SILENCE: Duration = Duration::from_secs(300);
/// How long it may be on its way down. By itself it comes to an end after half an hour, as soft-reboot.target, reboot.target and
/// their likes have it (`JobTimeoutSec=30min`, with the action that was asked for, by force), and kills what still runs: whoever asked
/// gets that, late, and a service that takes its time to stop gets its time. What is not over by then will not be.
const DESCENT: Duration = Duration::from_secs(2100);

/// How often it may start again before it is healthy: once, as somebody may have asked for it. One that does so for a service that fails
/// would never end, or, where systemd has enough of that service, be up without it.
const RESTARTS: u32 = 1;

/// Judges.
#[must_use]
pub fn judge(rules: &Trial, seen: &Seen) -> Verdict {
    let silent = |why: &str| format!("PID 1 has not answered for {} s: {why}", seen.silent.as_secs());
    let found = match &seen.manager {
        Err(why) if seen.stopping.is_some() && seen.silent >= LAST_SILENCE => Verdict::Stuck(silent(why)),
        Err(_) if seen.stopping.is_some() => Verdict::Leaving,
        Err(why) if seen.silent >= SILENCE.min(rules.timeout()) => Verdict::Failed(silent(why)),
        // Also where time is over: what is done about it depends on whether it is gone.
        Err(why) => return Verdict::NotYet(format!("PID 1 does not answer: {why}")),
        Ok(None) => Verdict::NotYet("what PID 1 says of itself is not known".to_owned()),
        Ok(Some(Manager::Stopping)) => match seen.stopping {
            Some(time) if time >= DESCENT.max(rules.timeout()) => Verdict::Stuck(format!(
                "it has been shutting down for {} s, and does not end",
                time.as_secs()
            )),
            _ => Verdict::Leaving,
        },
        Ok(Some(Manager::Maintenance)) => {
            Verdict::Failed("it came up in rescue or emergency mode".to_owned())
        }
        Ok(Some(_)) if seen.restarts > RESTARTS => {
            Verdict::Failed(format!("it started again {} times before it was healthy", seen.restarts))
        }
        Ok(Some(manager)) => match &seen.units {
            Err(why) => Verdict::NotYet(format!("its units cannot be listed: {why}")),
            Ok(units) if *manager == Manager::Starting => {
                required_units(rules, units).unwrap_or_else(|| Verdict::NotYet(starting(seen)))
            }
            Ok(units) => up(rules, seen, units),
        },
    };
    let late = |why: &str| Verdict::Failed(format!("it was not healthy within {} s{why}", rules.timeout_sec));
    match found {
        Verdict::NotYet(why) if seen.since >= rules.timeout() => late(&format!(": {why}")),
        // What a look found that began in time was so in time, however long it took.
        Verdict::Healthy if seen.begun >= rules.timeout() => late(", but later"),
        Verdict::RunCommand if seen.begun >= rules.timeout() => late(": its command has not ended well"),
        other => other,
    }
}

/// That it starts, and what for: a person is told where the time is over, and by then it can no longer be asked.
fn starting(seen: &Seen) -> String {
    let runs = |job: &&Job| job.state == "running";
    let waits_for: Vec<&str> = seen.jobs.iter().filter(runs).map(|job| job.unit.as_str()).collect();
    let waits_for = match waits_for.as_slice() {
        [] => String::new(),
        units => format!(": waits for {}", units.join(" ")),
    };
    format!("start-up has not finished{waits_for}{}", last_failed(seen))
}

fn last_failed(seen: &Seen) -> String {
    match seen.last_failed.as_slice() {
        [] => String::new(),
        units => format!(", last failed: {}", units.join(" ")),
    }
}

/// Whether PID 1 has to be asked for its jobs in a look that has taken until `since`: where it may be the last one.
#[must_use]
pub fn asks_for_jobs(rules: &Trial, since: Duration, manager: &Result<Option<Manager>, String>) -> bool {
    matches!(manager, Ok(Some(Manager::Starting))) && since + BEAT >= rules.timeout()
}

fn up(rules: &Trial, seen: &Seen, units: &[Unit]) -> Verdict {
    if let Some(verdict) = required_units(rules, units).or_else(|| boot_complete(units)) {
        return verdict;
    }
    for name in &rules.units {
        let active = find(units, name).map_or("not loaded", |unit| &unit.active);
        if active != "active" {
            return Verdict::NotYet(format!("{name} is {active}"));
        }
    }
    if seen.clean < rules.without_failures() {
        let failed: Vec<&str> =
            units.iter().filter(|unit| unit.has_failed()).map(|unit| unit.id.as_str()).collect();
        return Verdict::NotYet(match failed.as_slice() {
            [] => format!("no unit has been failed for {} s only{}", seen.clean.as_secs(), last_failed(seen)),
            failed => format!("failed: {}", failed.join(" ")),
        });
    }
    match &seen.command {
        _ if rules.command.is_empty() => Verdict::Healthy,
        None => Verdict::RunCommand,
        Some(Ok(())) => Verdict::Healthy,
        Some(Err(why)) => Verdict::NotYet(why.clone()),
    }
}

/// A unit that has to be active, and failed, will not be by itself.
fn required_units(rules: &Trial, units: &[Unit]) -> Option<Verdict> {
    let failed = rules.units.iter().find(|name| find(units, name).is_some_and(Unit::is_failed))?;
    Some(Verdict::Failed(format!("{failed} failed")))
}

const BOOT_COMPLETE: &str = "boot-complete.target";

/// boot-complete.target has to be reached where something that is started by default pulls it in (systemd.special(7)).
fn boot_complete(units: &[Unit]) -> Option<Verdict> {
    let active = find(units, BOOT_COMPLETE).map_or("not loaded", |unit| &unit.active);
    if active == "active" || !pulled_in(units).contains(BOOT_COMPLETE) {
        return None;
    }
    // What it requires has failed: nothing is left that could still lead there.
    Some(Verdict::Failed(format!("{BOOT_COMPLETE} is {active}, and start-up is over")))
}

/// Which of the units that PID 1 has in memory it has to be asked about: to tell of all takes it hundreds of times as long as to
/// list them, and the system has just started. All are asked about where what pulls boot-complete.target in decides.
#[must_use]
pub fn to_ask(rules: &Trial, listed: &[Listed]) -> Vec<String> {
    let told = |wanted: &dyn Fn(&Listed) -> bool| -> Vec<String> {
        listed.iter().filter(|unit| wanted(unit)).map(|unit| unit.unit.clone()).collect()
    };
    if !told(&|unit| unit.unit == BOOT_COMPLETE && unit.active != "active").is_empty() {
        return vec!["*".to_owned()];
    }
    let named =
        told(&|unit| unit.active == "failed" || waits_for_restart(&unit.sub) || unit.unit == BOOT_COMPLETE);
    rules.units.iter().cloned().chain(named).collect()
}

/// All that default.target pulls in.
fn pulled_in(units: &[Unit]) -> BTreeSet<&str> {
    let mut by_name = BTreeMap::new();
    for unit in units {
        by_name.extend(unit.names.iter().map(|name| (name.as_str(), unit)));
    }
    let mut found = BTreeSet::from(["default.target"]);
    let mut open = vec!["default.target"];
    while let Some(name) = open.pop() {
        let pulls = by_name.get(name).into_iter().flat_map(|unit| &unit.pulls).map(String::as_str);
        open.extend(pulls.filter(|name| found.insert(name)));
    }
    found
}

fn find<'a>(units: &'a [Unit], name: &str) -> Option<&'a Unit> {
    units.iter().find(|unit| unit.names.contains(name))
}

/// The least that is waited between two looks at the system.
const BEAT: Duration = Duration::from_secs(1);

/// How long to wait after a look at the system that took this long: a second, and longer where looking is dear. A system
/// that starts needs its processors, and PID 1, for itself. Of what is `left` of the time to be healthy, all but the last second is
/// seen.
#[must_use]
pub fn pause_after(look: Duration, left: Duration) -> Duration {
    let pause = (look * 3).clamp(BEAT, Duration::from_secs(10));
    if left > BEAT { pause.min(left - BEAT) } else { pause }
}

#[cfg(test)]
mod tests {
    use super::{
        unit::tests::{UP, unit},
        *,
    };

    fn rules() -> Trial {
        Trial { units: vec!["a.service".to_owned()], ..Trial::default() }
    }

    fn seen(manager: Result<Manager, String>, units: &[&str]) -> Seen {
        let manager = manager.map(Some);
        let second = Duration::from_secs;
        let units = Ok(units.iter().map(|line| unit(line)).collect());
        Seen {
            begun: second(20),
            since: second(20),
            silent: second(0),
            stopping: None,
            restarts: 0,
            manager,
            units,
            clean: second(5),
            last_failed: Vec::new(),
            jobs: Vec::new(),
            command: None,
        }
    }

    #[test]
    fn what_is_asked_about() {
        for (listed, asked) in [
            (&[][..], &["a.service"][..]),
            (&["a.service active", "b.service active", "c.service inactive"], &["a.service"]),
            (&["a.service failed", "b.service failed"], &["a.service", "a.service", "b.service"]),
            (
                &["b.service activating auto-restart", "c.service activating start"],
                &["a.service", "b.service"],
            ),
            // What has to be active may pull it in.
            (&["boot-complete.target active"], &["a.service", "boot-complete.target"]),
            (&["boot-complete.target inactive", "b.service failed"], &["*"]),
        ] {
            let listed: Vec<Listed> = listed
                .iter()
                .map(|line| {
                    let mut words = line.split(' ').map(str::to_owned);
                    let (unit, active) = (words.next().unwrap(), words.next().unwrap());
                    Listed { unit, sub: words.next().unwrap_or_else(|| active.clone()), active }
                })
                .collect();
            assert_eq!(to_ask(&rules(), &listed), asked, "{listed:?}");
        }
    }

    #[test]
    fn duties() {
        let root: Root = serde_json::from_str(
            r#"{"source": "a", "unreachable": "it is a test", "system": null, "version": null}"#,
        )
        .unwrap();
        let staged = serde_json::json!({
            "root": root, "direct": false, "complete": true, "begun": {"steps": []}, "mounts": [],
        });
        let trial = |stays: Option<&str>| OnTrial {
            rules: rules(),
            since_us: None,
            came_back: false,
            asked_back: false,
            stays: stays.map(str::to_owned),
        };
        let judged = || Duty::Judge { root: Box::new(root.clone()), trial: Box::new(trial(None)) };
        for (blessed, trial, is_staged, expected) in [
            (true, None, false, Duty::Nothing),
            (true, None, true, Duty::Await),
            // On trial, and nobody asked for somebody to watch.
            (false, None, false, Duty::Nothing),
            (false, Some(trial(None)), false, judged()),
            // What runs comes before what is staged.
            (false, Some(trial(None)), true, judged()),
            (true, Some(trial(None)), false, Duty::Nothing),
            (false, Some(trial(Some("it is the last"))), false, Duty::Nothing),
            (false, Some(trial(Some("it is the last"))), true, Duty::Await),
        ] {
            let staged = is_staged.then(|| serde_json::from_value(staged.clone()).unwrap());
            let state = State { blessed, trial, staged, current: Some(root.clone()), ..State::default() };
            assert_eq!(Duty::of(&state), expected, "{state:?}");
        }
    }

    #[test]
    fn a_dear_look_is_taken_less_often() {
        let ms = Duration::from_millis;
        for (look, left, pause) in [
            (0, 90_000, 1_000),
            (300, 90_000, 1_000),
            (800, 90_000, 2_400),
            (30_000, 90_000, 10_000),
            // The time ended in the middle of the pause, and what was healthy by then was first seen after it.
            (30_000, 5_000, 4_000),
            (0, 1_500, 500),
            (0, 1_000, 1_000),
            (30_000, 0, 10_000),
        ] {
            assert_eq!(pause_after(ms(look), ms(left)), ms(pause), "{look} {left}");
        }
    }

    #[test]
    fn a_root_that_was_healthy_after_the_time_only_was_blessed() {
        let second = Duration::from_secs;
        let plain = rules();
        let command = Trial { command: vec!["/check".to_owned()], ..rules() };
        let failed = || Verdict::Failed("it was not healthy within 300 s, but later".to_owned());
        let ended_well = Some(Ok(()));
        for (rules, begun, since, command, expected) in [
            (&plain, 299, 300, None, Verdict::Healthy),
            (&plain, 299, 330, None, Verdict::Healthy),
            (&plain, 300, 300, None, failed()),
            (&command, 299, 299, None, Verdict::RunCommand),
            (&command, 299, 301, ended_well.clone(), Verdict::Healthy),
            (
                &command,
                300,
                300,
                None,
                Verdict::Failed("it was not healthy within 300 s: its command has not ended well".to_owned()),
            ),
            (&command, 300, 301, ended_well, failed()),
        ] {
            let seen = seen(Ok(UP), &["a.service active"]);
            let seen = Seen { begun: second(begun), since: second(since), command, ..seen };
            assert_eq!(judge(rules, &seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn verdicts() {
        use Verdict::{Failed, Healthy, Leaving, NotYet};
        let failed = |why: &str| Failed(why.to_owned());
        let not_yet = |why: &str| NotYet(why.to_owned());
        let silent = || Err("no answer".to_owned());
        let default = "multi-user.target=default.target active > a.service boot.service";
        for (manager, units, expected) in [
            (silent(), &[][..], not_yet("PID 1 does not answer: no answer")),
            (Ok(Manager::Starting), &[], not_yet("start-up has not finished")),
            (Ok(Manager::Starting), &["a.service failed"], failed("a.service failed")),
            // It failed in the root before.
            (Ok(Manager::Starting), &["a.service failed@8999999"], not_yet("start-up has not finished")),
            (Ok(UP), &["a.service failed@8999999"], not_yet("a.service is failed")),
            (Ok(Manager::Stopping), &["a.service failed"], Leaving),
            (Ok(Manager::Maintenance), &[], failed("it came up in rescue or emergency mode")),
            (Ok(UP), &[], not_yet("a.service is not loaded")),
            (Ok(UP), &["a.service activating"], not_yet("a.service is activating")),
            (Ok(UP), &["a.service active"], Healthy),
            (Ok(UP), &["b.service=a.service active"], Healthy),
            // Others may fail, where nobody asks for a time without.
            (Ok(UP), &["a.service active", "b.service failed"], Healthy),
            // boot-complete.target counts where it is pulled in by what is started.
            (Ok(UP), &[default, "a.service active", "boot-complete.target inactive"], Healthy),
            (
                Ok(UP),
                &[
                    default,
                    "a.service active",
                    "boot.service inactive > boot-complete.target",
                    "boot-complete.target inactive",
                ],
                failed("boot-complete.target is inactive, and start-up is over"),
            ),
            (
                Ok(UP),
                &[
                    default,
                    "a.service active",
                    "boot.service active > boot-complete.target",
                    "boot-complete.target active",
                ],
                Healthy,
            ),
            (
                Ok(UP),
                &[
                    default,
                    "a.service active",
                    "other.service active > boot-complete.target",
                    "boot-complete.target inactive",
                ],
                Healthy,
            ),
        ] {
            assert_eq!(judge(&rules(), &seen(manager, units)), expected, "{units:?}");
        }
    }

    #[test]
    fn time_runs_out() {
        let second = Duration::from_secs;
        let late = |manager| Seen { since: second(300), ..seen(manager, &[]) };
        assert_eq!(
            judge(&rules(), &late(Ok(UP))),
            Verdict::Failed("it was not healthy within 300 s: a.service is not loaded".to_owned())
        );
        assert_eq!(judge(&rules(), &late(Ok(Manager::Stopping))), Verdict::Leaving);
        let silent = |seconds| Seen { silent: second(seconds), ..seen(Err("late".to_owned()), &[]) };
        assert!(matches!(judge(&rules(), &silent(59)), Verdict::NotYet(_)));
        assert_eq!(
            judge(&rules(), &silent(60)),
            Verdict::Failed("PID 1 has not answered for 60 s: late".to_owned())
        );
        // A list that is late says nothing of PID 1.
        let unlisted = Seen { units: Err("late".to_owned()), silent: second(0), ..silent(90) };
        let unlisted = Seen { manager: Ok(Some(UP)), ..unlisted };
        assert_eq!(
            judge(&rules(), &unlisted),
            Verdict::NotYet("its units cannot be listed: late".to_owned())
        );
        let unknown = |since| Seen { since: second(since), manager: Ok(None), ..seen(Ok(UP), &[]) };
        assert!(matches!(judge(&rules(), &unknown(299)), Verdict::NotYet(_)));
        assert!(matches!(judge(&rules(), &unknown(300)), Verdict::Failed(_)));
        let short = Trial { timeout_sec: 10, ..rules() };
        assert!(matches!(judge(&short, &silent(10)), Verdict::Failed(_)));
    }

    #[test]
    fn a_root_whose_shutdown_never_ended_was_watched_for_ever() {
        let second = Duration::from_secs;
        let slow = Trial { timeout_sec: 7200, ..rules() };
        let leaving = || Verdict::Leaving;
        let stuck = |seconds: u64| {
            Verdict::Stuck(format!("it has been shutting down for {seconds} s, and does not end"))
        };
        let stops = || Ok(Manager::Stopping);
        let late = || Err("late".to_owned());
        for (rules, manager, stopping, silent, expected) in [
            (rules(), stops(), 0, 0, leaving()),
            // systemd itself forces it after 1800 s.
            (rules(), stops(), 2099, 0, leaving()),
            (rules(), stops(), 2100, 0, stuck(2100)),
            (slow.clone(), stops(), 7199, 0, leaving()),
            (slow, stops(), 7200, 0, stuck(7200)),
            // The minute that PID 1 has else would be over before it has killed what still runs.
            (rules(), late(), 299, 299, leaving()),
            (rules(), late(), 400, 300, Verdict::Stuck("PID 1 has not answered for 300 s: late".to_owned())),
        ] {
            let seen = Seen {
                since: second(9999),
                stopping: Some(second(stopping)),
                silent: second(silent),
                ..seen(manager, &[])
            };
            assert_eq!(judge(&rules, &seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_root_that_soft_rebooted_itself_four_times_was_blessed() {
        for (restarts, manager, expected) in [
            (1, UP, Verdict::Healthy),
            (2, UP, Verdict::Failed("it started again 2 times before it was healthy".to_owned())),
            (
                4,
                Manager::Starting,
                Verdict::Failed("it started again 4 times before it was healthy".to_owned()),
            ),
            // It is not over yet.
            (4, Manager::Stopping, Verdict::Leaving),
        ] {
            let seen = Seen { restarts, ..seen(Ok(manager), &["a.service active"]) };
            assert_eq!(judge(&rules(), &seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_silent_pid_1_is_not_judged_by_the_time_alone() {
        let second = Duration::from_secs;
        let rules = Trial { timeout_sec: 30, ..rules() };
        let at = |since, silent| {
            judge(
                &rules,
                &Seen { since: second(since), silent: second(silent), ..seen(Err("late".to_owned()), &[]) },
            )
        };
        assert_eq!(at(32, 20), Verdict::NotYet("PID 1 does not answer: late".to_owned()));
        assert_eq!(at(42, 30), Verdict::Failed("PID 1 has not answered for 30 s: late".to_owned()));
    }

    #[test]
    fn what_waits_for_being_started_again_is_named() {
        let second = Duration::from_secs;
        let restarts = "b.service activating/auto-restart=exit-code";
        let rules = Trial { without_failures_sec: 30, ..Trial::default() };
        let seen = Seen { clean: second(0), ..seen(Ok(UP), &[restarts]) };
        assert_eq!(judge(&rules, &seen), Verdict::NotYet("failed: b.service".to_owned()));
    }

    #[test]
    fn what_start_up_waits_for_is_named_when_the_time_is_over() {
        let second = Duration::from_secs;
        let job = |unit: &str, state: &str| Job { unit: unit.to_owned(), state: state.to_owned() };
        let jobs =
            || vec![job("a.device", "running"), job("b.target", "waiting"), job("c.service", "running")];
        let starting = || Ok(Manager::Starting);
        for (manager, jobs, last_failed, expected) in [
            (starting(), vec![], None, "start-up has not finished"),
            (starting(), jobs(), None, "start-up has not finished: waits for a.device c.service"),
            // Up to 254 it starts again with each job.
            (starting(), vec![], Some("d.service"), "start-up has not finished, last failed: d.service"),
            (
                starting(),
                jobs(),
                Some("d.service"),
                "start-up has not finished: waits for a.device c.service, last failed: d.service",
            ),
            (
                Ok(UP),
                vec![],
                Some("d.service"),
                "no unit has been failed for 5 s only, last failed: d.service",
            ),
        ] {
            let rules = Trial { without_failures_sec: 10, ..Trial::default() };
            let last_failed = last_failed.map(str::to_owned).into_iter().collect();
            let seen = Seen { since: second(300), jobs, last_failed, ..seen(manager, &[]) };
            let expected = format!("it was not healthy within 300 s: {expected}");
            assert_eq!(judge(&rules, &seen), Verdict::Failed(expected));
        }
        for (manager, since, asks) in [
            (starting(), 298, false),
            (starting(), 299, true),
            (starting(), 310, true),
            (Ok(UP), 310, false),
            (Err("late".to_owned()), 310, false),
        ] {
            assert_eq!(asks_for_jobs(&rules(), second(since), &manager.map(Some)), asks, "{since}");
        }
    }

    #[test]
    fn failures_and_the_command() {
        let rules =
            Trial { without_failures_sec: 30, command: vec!["/check".to_owned()], ..Trial::default() };
        let second = Duration::from_secs;
        let is = |clean, units: &[&str], command| {
            judge(&rules, &Seen { clean: second(clean), command, ..seen(Ok(UP), units) })
        };
        assert_eq!(is(0, &["b.service failed"], None), Verdict::NotYet("failed: b.service".to_owned()));
        assert_eq!(is(29, &[], None), Verdict::NotYet("no unit has been failed for 29 s only".to_owned()));
        assert_eq!(is(30, &[], None), Verdict::RunCommand);
        assert_eq!(is(30, &[], Some(Err("exit 1".to_owned()))), Verdict::NotYet("exit 1".to_owned()));
        assert_eq!(is(30, &[], Some(Ok(()))), Verdict::Healthy);
    }
}
