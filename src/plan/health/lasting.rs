//! For how long it has been so: PID 1 silent, on its way down, or up without a failed unit; and how often it started again.

use std::time::Duration;

use super::unit::{Manager, Unit};

/// Since when PID 1 has not answered, by CLOCK_MONOTONIC. Time in which nobody asked it is none of its silence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence(Option<Duration>);

impl Silence {
    /// Takes in a question that was asked `asked` then and is over `now`: how long it has been silent. One answer that is
    /// missing is no silence yet.
    pub fn after(&mut self, asked: Duration, now: Duration, is_answered: bool) -> Duration {
        let before = self.0;
        self.0 = if is_answered { None } else { before.or(Some(asked)) };
        before.filter(|_| !is_answered).map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

/// Since when PID 1 has been on its way down, by CLOCK_MONOTONIC: somebody asked for a soft reboot, or for more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Descent(Option<Duration>);

impl Descent {
    /// Takes in what PID 1 said of itself `now`: how long it has been on its way down; `None` where it is not. On its way it may cease
    /// to answer.
    pub fn after(&mut self, now: Duration, manager: &Result<Option<Manager>, String>) -> Option<Duration> {
        match manager {
            Ok(Some(Manager::Stopping)) => drop(self.0.get_or_insert(now)),
            Ok(_) => self.0 = None,
            Err(_) => {}
        }
        self.0.map(|since| now.saturating_sub(since))
    }
}

/// How many soft reboots there had been when PID 1 was first asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restarts(Option<u32>);

impl Restarts {
    /// Takes in how many there were by now, where PID 1 says so: how often the same root has started again.
    pub fn after(&mut self, soft_reboots: Option<u32>) -> u32 {
        soft_reboots.map_or(0, |count| count.saturating_sub(*self.0.get_or_insert(count)))
    }
}

/// Since when it has been up without a failed unit, by CLOCK_MONOTONIC.
#[derive(Clone, Debug, Default)]
pub struct Clean {
    since: Option<Duration>,
    /// How many jobs had failed when it was last up.
    failed_jobs: Option<u32>,
    last_failed: Vec<String>,
}

impl Clean {
    /// Takes in a look at the system, which was up `now`: how long it is so. What failed since the look before, and was started again,
    /// is none of its units that are failed now: a job of it failed.
    pub fn after(
        &mut self,
        now: Duration,
        manager: &Result<Option<Manager>, String>,
        units: &Result<Vec<Unit>, String>,
    ) -> Duration {
        let failed = |unit: &&Unit| unit.has_failed();
        let failed: Vec<String> = units.iter().flatten().filter(failed).map(|unit| unit.id.clone()).collect();
        let failed_jobs = match manager {
            Ok(Some(Manager::Up { failed_jobs })) if units.is_ok() => Some(*failed_jobs),
            _ => None,
        };
        if !failed.is_empty() || matches!(manager, Ok(Some(Manager::Maintenance | Manager::Stopping))) {
            self.since = None;
        } else if failed_jobs.is_some() {
            self.since = self.since.filter(|_| failed_jobs == self.failed_jobs).or(Some(now));
        }
        self.failed_jobs = failed_jobs.or(self.failed_jobs);
        if !failed.is_empty() {
            self.last_failed = failed;
        }
        self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Whether it has been up.
    #[must_use]
    pub fn has_been_up(&self) -> bool {
        self.failed_jobs.is_some()
    }

    /// The units that were failed when some last were.
    #[must_use]
    pub fn last_failed(&self) -> &[String] {
        &self.last_failed
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::unit::tests::{UP, unit},
        *,
    };

    #[test]
    fn a_shutdown_is_timed_from_when_it_was_first_seen() {
        let second = Duration::from_secs;
        let mut descent = Descent::default();
        let silent = || Err("late".to_owned());
        for (now, manager, expected) in [
            (5, silent(), None),
            (10, Ok(Some(UP)), None),
            (20, Ok(Some(Manager::Stopping)), Some(0)),
            (50, silent(), Some(30)),
            (60, Ok(Some(Manager::Stopping)), Some(40)),
            // It was called off.
            (70, Ok(Some(UP)), None),
            (80, silent(), None),
            (90, Ok(Some(Manager::Stopping)), Some(0)),
            // The same root, started again.
            (99, Ok(Some(Manager::Starting)), None),
        ] {
            assert_eq!(descent.after(second(now), &manager), expected.map(second), "{now}");
        }
    }

    #[test]
    fn starts_are_counted_from_the_first_answer() {
        let mut restarts = Restarts::default();
        for (count, expected) in
            [(None, 0), (Some(3), 0), (Some(3), 0), (None, 0), (Some(4), 1), (Some(7), 4), (Some(1), 0)]
        {
            assert_eq!(restarts.after(count), expected, "{count:?}");
        }
    }

    #[test]
    fn silence_is_what_nobody_answers() {
        let second = Duration::from_secs;
        let mut silence = Silence::default();
        for (asked, now, is_answered, expected) in [
            // The first answer comes late, and nobody had asked before.
            (100, 130, false, 0),
            (131, 161, false, 61),
            (162, 162, true, 0),
            // A look at the units and the command took their time.
            (260, 290, false, 0),
            (291, 292, true, 0),
            (293, 293, false, 0),
            (294, 294, false, 1),
            (295, 295, false, 2),
        ] {
            let silent = silence.after(second(asked), second(now), is_answered);
            assert_eq!(silent, second(expected), "{asked}");
        }
    }

    #[test]
    fn a_unit_that_failed_twice_a_second_was_missed_by_every_look() {
        let second = Duration::from_secs;
        let up = |failed_jobs| Ok(Some(Manager::Up { failed_jobs }));
        let restarts = "b.service activating/auto-restart=exit-code";
        let mut clean = Clean::default();
        for (now, manager, units, expected) in [
            (5, Ok(Some(Manager::Starting)), &[][..], 0),
            // What failed in the root before is none of this one's.
            (10, up(7), &[], 0),
            (12, up(7), &["b.service active"], 2),
            // It is starting again, when it is looked at.
            (14, up(8), &["b.service activating/start"], 0),
            (17, up(8), &["b.service activating/start"], 3),
            // Up to 254 it says so with any job.
            (18, Ok(Some(Manager::Starting)), &[], 4),
            (19, Err("late".to_owned()), &[], 5),
            (20, up(8), &["b.service activating/auto-restart=success"], 6),
            (21, up(8), &[restarts], 0),
            (22, up(8), &["b.service active"], 0),
            (23, up(8), &["b.service activating/auto-restart=exit-code@8999999"], 1),
            (24, up(8), &["b.service failed@8999999"], 2),
            (25, up(8), &["b.service failed"], 0),
            (26, up(8), &[], 0),
            (30, up(8), &[], 4),
            (31, Ok(Some(Manager::Stopping)), &[], 0),
        ] {
            let units: Vec<Unit> = units.iter().map(|line| unit(line)).collect();
            assert_eq!(clean.after(second(now), &manager, &Ok(units)), second(expected), "{now}");
        }
        assert_eq!(clean.after(second(40), &up(8), &Err("late".to_owned())), second(0));
    }

    #[test]
    fn after_a_failure_254_was_taken_for_never_up_and_its_units_were_not_asked_about() {
        let second = Duration::from_secs;
        let mut clean = Clean::default();
        let mut look = |manager, units: &[&str]| {
            clean.after(second(1), &Ok(Some(manager)), &Ok(units.iter().map(|line| unit(line)).collect()));
            (clean.has_been_up(), clean.last_failed().join(" "))
        };
        for (manager, units, has_been_up, last_failed) in [
            (Manager::Starting, &[][..], false, ""),
            (Manager::Starting, &["a.service failed"], false, "a.service"),
            (UP, &["a.service failed", "b.service failed"], true, "a.service b.service"),
            (Manager::Starting, &["a.service activating/start"], true, "a.service b.service"),
            (UP, &["b.service activating/auto-restart=exit-code"], true, "b.service"),
            (UP, &["b.service active"], true, "b.service"),
        ] {
            assert_eq!(look(manager, units), (has_been_up, last_failed.to_owned()), "{units:?}");
        }
    }
}
