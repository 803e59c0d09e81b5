//! What the last soft reboot cost: the way from one userspace to the next in phases, how long each unit was away, and what stood in
//! the way. All of it by what PID 1 and the journal say of themselves; time stamps are CLOCK_MONOTONIC, which runs on.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::format::system::journal_entry::Entry;

mod events;
mod hints;
mod probed;
mod stamps;

pub use events::MESSAGE_IDS;
pub use probed::{Away, Probed};
pub use stamps::{Active, MANAGER_PROPERTIES, Manager, UNIT_PROPERTIES};

use events::{Event, What};

/// The longest that a shutdown is looked for in the journal: systemd forces its own after half an hour (`JobTimeoutSec=30min` of
/// soft-reboot.target).
pub const LONGEST: Duration = Duration::from_secs(2100);

/// Of so many services at most is asked what they are: their names have to fit into a command line.
const MOST: usize = 1000;

/// The first systemd whose time stamps are those of the userspace that it started.
const KEEPS: u32 = 255;

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// PID 1.
    pub manager: Manager,
    /// Units that are active.
    pub units: Vec<Active>,
    /// What PID 1 and nextroot said, from [`LONGEST`] before the switch to as long after it.
    pub entries: Vec<Entry>,
    /// `Type=` of units that are not active.
    pub types: BTreeMap<String, String>,
}

/// A soft reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// When it began: systemd was asked for it.
    pub asked_us: u64,
    /// When the new PID 1 began.
    pub switched_us: u64,
    /// When start-up was over; `None` where it is not.
    pub finished_us: Option<u64>,
    /// What it went through, one after the other.
    pub phases: Vec<Phase>,
    /// Services and sockets, those that were away longest first.
    pub units: Vec<Unit>,
    /// What would make it shorter.
    pub hints: Vec<String>,
}

/// A part of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What it is.
    pub name: Cow<'static, str>,
    /// From.
    pub begin_us: u64,
    /// To.
    pub end_us: u64,
}

impl Phase {
    /// From one moment to another.
    #[must_use]
    pub fn new(name: &'static str, begin: Duration, end: Duration) -> Self {
        Self { name: Cow::Borrowed(name), begin_us: micros(begin), end_us: micros(end) }
    }

    /// How long it took.
    #[must_use]
    pub fn took_us(&self) -> u64 {
        self.end_us.saturating_sub(self.begin_us)
    }
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It ended, and was started again.
    Interrupted,
    /// It ran on.
    Survived,
    /// It ended, and does not run.
    Gone,
}

/// A service or socket that was active before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name.
    pub unit: String,
    /// What became of it.
    pub fate: Fate,
    /// `Type=` of a service that runs; `None` where that is not known.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// From its last moment of being active to its first; `None` where it does not run.
    pub interruption_us: Option<u64>,
    /// Its last moment of being active.
    pub stopping_us: Option<u64>,
    /// When it had stopped.
    pub stopped_us: Option<u64>,
    /// When it was started again.
    pub starting_us: Option<u64>,
    /// Its first moment of being active.
    pub active_us: Option<u64>,
    /// Whether nothing stopped it: it was killed at the end.
    pub killed: bool,
}

impl Unit {
    /// Whether it is something that serves: what runs once and is done does not.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.kind.as_deref() != Some("oneshot")
    }

    /// How long it took to stop, and to start.
    #[must_use]
    pub fn took(&self) -> [Option<u64>; 2] {
        let between = |from: Option<u64>, to: Option<u64>| to?.checked_sub(from?);
        [between(self.stopping_us, self.stopped_us), between(self.starting_us, self.active_us)]
    }
}

/// There is nothing to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not one.
    #[error("there was no soft reboot since this machine was started")]
    None,
    /// Its systemd has the time stamps of the machine's start (src/core/manager-serialize.c, `manager_timestamp_shall_serialize`).
    #[error("systemd {0} does not tell when its last soft reboot was: {KEEPS} and later do")]
    Old(u32),
    /// Its beginning.
    #[error(
        "when the last soft reboot was asked for is not known: the journal of the system before is gone (Storage=none, or it was vacuumed)"
    )]
    Forgotten,
}

impl Report {
    /// Puts it together.
    pub fn of(given: &Given) -> Result<Self, Error> {
        given.manager.tells()?;
        let events = Event::all(&given.entries);
        let switched = given.manager.userspace.filter(|_| given.has_switched()).ok_or(Error::None)?;
        let asked = given.asked(&events, switched).ok_or(Error::Forgotten)?;
        let finished = given.manager.finished.filter(|finished| *finished >= switched);
        let span = Span { asked, killed: given.killed(asked, switched), switched, up: finished };
        let phases = phases(given, &span, finished);
        let mut units = units(given, &events, &span);
        units.sort_by(|one, other| {
            let rank = |unit: &Unit| unit.interruption_us.unwrap_or(u64::MAX);
            rank(other).cmp(&rank(one)).then_with(|| one.unit.cmp(&other.unit))
        });
        let hints = hints::hints(&phases, &units);
        let [asked_us, switched_us] = [asked, switched].map(micros);
        Ok(Self { asked_us, switched_us, finished_us: finished.map(micros), phases, units, hints })
    }

    /// Seconds from its beginning.
    #[must_use]
    pub fn since_asked(&self, at_us: u64) -> f64 {
        seconds(at_us) - seconds(self.asked_us)
    }
}

/// Microseconds as seconds.
#[must_use]
pub fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// The moments that everything is held against.
struct Span {
    asked: Duration,
    /// What had not stopped was killed.
    killed: Duration,
    switched: Duration,
    /// Start-up was over.
    up: Option<Duration>,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What nextroot's relay says (`mode/relay.rs`), and PID 1 when it kills what is left (src/core/main.c).
const BEGINS: &str = "relay: begins";
const MOVED: &str = "relay: all mounts moved";
const KILLS: &str = "Soft-rebooting.";

impl Manager {
    /// Whether there was a soft reboot that it knows of, as far as it says so itself.
    pub fn tells(&self) -> Result<(), Error> {
        match (self.version.filter(|version| *version < KEEPS), self.soft_reboots) {
            (Some(old), _) => Err(Error::Old(old)),
            (None, Some(0)) => Err(Error::None),
            (None, _) => Ok(()),
        }
    }
}

impl Given {
    /// Services that something happened to, and of which PID 1 does not say what they are, as they are not active.
    #[must_use]
    pub fn of_unknown_type(&self) -> Vec<&str> {
        let is_active = |name: &str| self.units.iter().any(|unit| unit.id == name);
        let names = self.entries.iter().map(|entry| entry.unit.as_str());
        let services = names.filter(|name| name.ends_with(".service") && !is_active(name));
        services.collect::<BTreeSet<&str>>().into_iter().take(MOST).collect()
    }

    /// Puts what stands in the kernel's log on CLOCK_MONOTONIC: the kernel has a clock of its own for it, which nobody corrects, so that
    /// they part in weeks of running. The relay knows both, of the moment when it began.
    pub fn set_kernel_clock(&mut self, begun_us: Option<u64>) {
        let Some(begun) = begun_us.map(Duration::from_micros) else { return };
        let of_kernel = |entry: &&mut Entry| entry.pid.is_none();
        let begins = |entry: &&Entry| entry.pid.is_none() && entry.message.ends_with(BEGINS);
        let Some(logged) = self.entries.iter().rfind(begins).map(|entry| entry.at) else { return };
        for entry in self.entries.iter_mut().filter(of_kernel) {
            entry.at = (entry.at + begun).saturating_sub(logged);
        }
    }

    /// The first time in the log that it was said, between two moments. nextroot puts its own time before.
    fn said(&self, who: &str, what: &str, from: Duration, to: Duration) -> Option<Duration> {
        let says = |entry: &&Entry| {
            let message =
                entry.message.rsplit_once("] ").map_or(entry.message.as_str(), |(_, message)| message);
            entry.identifier == who && message.starts_with(what) && entry.at >= from && entry.at <= to
        };
        self.entries.iter().find(says).map(|entry| entry.at)
    }

    /// systemd counts soft reboots from 256 on.
    fn has_switched(&self) -> bool {
        let relayed = || self.said("nextroot", MOVED, Duration::ZERO, Duration::MAX).is_some();
        self.manager.soft_reboots.map_or_else(relayed, |count| count > 0)
    }

    /// When it was asked for: systemd says so from 256 on. Before, it is when the first of the targets stopped that was up until then.
    fn asked(&self, events: &[Event<'_>], switched: Duration) -> Option<Duration> {
        let told = self.manager.shutdown.filter(|told| *told < switched);
        told.or_else(|| {
            let earliest = switched.saturating_sub(LONGEST);
            let before = || events.iter().filter(|event| event.at >= earliest && event.at < switched);
            let up = |event: &Event<'_>| {
                let later = |other: &Event<'_>| other.unit == event.unit && other.at > event.at;
                !before().any(|other| later(other) && other.what == What::Started)
            };
            let stops =
                before().filter(|event| event.what == What::Stopped && event.unit.ends_with(".target"));
            stops.filter(|event| up(event)).map(|event| event.at).min()
        })
    }

    fn killed(&self, asked: Duration, switched: Duration) -> Duration {
        let said = |who, what| self.said(who, what, asked, switched);
        said("systemd", KILLS).or_else(|| said("nextroot", BEGINS)).unwrap_or(switched)
    }
}

fn phases(given: &Given, span: &Span, finished: Option<Duration>) -> Vec<Phase> {
    let said = |what| given.said("nextroot", what, span.asked, span.switched);
    let manager = &given.manager;
    let mut phases = Vec::new();
    let mut from = span.asked;
    // One begins where the one before ends: what is not known is part of the next.
    let mut until = |name, to: Option<Duration>| {
        if let Some(to) = to.filter(|to| *to > from) {
            phases.push(Phase::new(name, from, to));
            from = to;
        }
    };
    until("stop units", (span.killed < span.switched).then_some(span.killed));
    until("kill what is left", said(BEGINS));
    until("relay", said(MOVED));
    until("execute systemd", Some(span.switched));
    until("set up systemd", manager.generators[0]);
    until("run generators", manager.generators[1]);
    until("load units", manager.loaded);
    until("start units", finished);
    phases
}

fn units(given: &Given, events: &[Event<'_>], span: &Span) -> Vec<Unit> {
    let active: BTreeMap<&str, &Active> = given.units.iter().map(|unit| (unit.id.as_str(), unit)).collect();
    let names = events.iter().map(|event| event.unit).chain(active.keys().copied());
    let names: BTreeSet<&str> =
        names.filter(|name| name.ends_with(".service") || name.ends_with(".socket")).collect();
    let mut all: BTreeMap<&str, Vec<&Event<'_>>> = BTreeMap::new();
    for event in events {
        all.entry(event.unit).or_default().push(event);
    }
    let of = |name| unit(name, all.get(name).map_or(&[], Vec::as_slice), active.get(name).copied(), span);
    let typed =
        |unit: Unit| Unit { kind: unit.kind.or_else(|| given.types.get(&unit.unit).cloned()), ..unit };
    names.into_iter().filter_map(of).map(typed).collect()
}

/// What became of a unit; `None` where it was not active before.
fn unit(name: &str, events: &[&Event<'_>], active: Option<&Active>, span: &Span) -> Option<Unit> {
    let first = |what: &[What], from: Duration, to: Duration| {
        let mut times =
            events.iter().filter(|event| what.contains(&event.what) && event.at >= from && event.at < to);
        times.next().map(|event| event.at)
    };
    let before = |what: &[What]| first(what, span.asked, span.switched);
    let after = |what: &[What]| first(what, span.switched, Duration::MAX);
    let own = |time: Option<Duration>| time.filter(|time| *time >= span.switched);
    // The new PID 1 finds it dead: nothing had stopped it. One that runs on may be stopped, or fail, much later.
    let next = events.iter().find(|event| event.at >= span.switched);
    let in_time = |at: Duration| span.up.is_none_or(|up| at <= up);
    let found_dead =
        active.and_then(|unit| own(unit.left).zip(unit.starting)).is_some_and(|(left, starting)| match next
            .map(|next| (next.what, next.at))
        {
            Some((What::Stopped | What::Ended, at)) => in_time(at),
            Some((What::Stopping, _)) => false,
            Some((What::Starting | What::Started, at)) => left <= at,
            None => left <= starting && in_time(left),
        });
    let entered = active.and_then(|unit| unit.entered);
    let ended = before(&[What::Stopped, What::Ended]);
    // The journal has no line of its own end: PID 1 keeps the time.
    let unheard = || {
        let left = own(entered).and(active?.left);
        left.filter(|left| (span.asked..span.switched).contains(left))
    };
    let stopping = before(&[What::Stopping]).or(ended).or_else(unheard);
    let killed = stopping.is_none() && found_dead;
    let left = stopping.or_else(|| killed.then_some(span.killed));
    // What begins while the journal is not there yet is first seen to end.
    let ran_on = next.filter(|next| span.up.is_none_or(|up| next.at > up));
    let ran_on = ran_on.is_some_and(|next| matches!(next.what, What::Stopping | What::Stopped | What::Ended));
    let survived = left.is_none() && (ran_on || entered.is_some_and(|entered| entered < span.asked));
    if left.is_none() && !survived {
        return None;
    }
    let [starting, active_from] = [
        (after(&[What::Starting]), active.and_then(|unit| own(unit.starting))),
        (after(&[What::Started]), own(entered)),
    ]
    // The journal has the first time, PID 1 the last.
    .map(|(journal, own)| journal.into_iter().chain(own).min().filter(|_| left.is_some()));
    let interruption = left.zip(active_from).map(|(left, back)| back.saturating_sub(left));
    Some(Unit {
        unit: name.to_owned(),
        fate: match (survived, active_from) {
            (true, _) => Fate::Survived,
            (false, Some(_)) => Fate::Interrupted,
            (false, None) => Fate::Gone,
        },
        kind: active.and_then(|unit| unit.kind.clone()),
        interruption_us: if survived { Some(0) } else { interruption.map(micros) },
        stopping_us: left.map(micros),
        stopped_us: if killed { Some(span.killed) } else { ended }.map(micros),
        starting_us: starting.map(micros),
        active_us: active_from.map(micros),
        killed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTING: &str = MESSAGE_IDS[0];
    const STARTED: &str = MESSAGE_IDS[1];
    const STOPPING: &str = MESSAGE_IDS[2];
    const STOPPED: &str = MESSAGE_IDS[3];
    const ENDED: &str = MESSAGE_IDS[4];

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// What PID 1 says of a unit.
    fn told(seconds: f64, unit: &str, id: &str) -> Entry {
        Entry {
            at: at(seconds),
            identifier: "systemd".to_owned(),
            pid: Some(1),
            message_id: id.to_owned(),
            unit: unit.to_owned(),
            job_result: "done".to_owned(),
            ..Entry::default()
        }
    }

    fn logged(seconds: f64, who: &str, message: &str) -> Entry {
        Entry { at: at(seconds), identifier: who.to_owned(), message: message.to_owned(), ..Entry::default() }
    }

    fn active(id: &str, starting: f64, entered: f64) -> Active {
        let (starting, entered) = (Some(at(starting)), Some(at(entered)));
        Active { id: id.to_owned(), kind: None, starting, entered, left: None }
    }

    /// A switch that was asked for at 100 s, with a new PID 1 at 110 s.
    fn given(units: Vec<Active>, entries: Vec<Entry>) -> Given {
        let manager = Manager {
            version: Some(257),
            userspace: Some(at(110.0)),
            userspace_clock: None,
            shutdown: Some(at(100.0)),
            generators: [111.0, 112.0].map(|seconds| Some(at(seconds))),
            loaded: Some(at(114.0)),
            finished: Some(at(120.0)),
            soft_reboots: Some(1),
        };
        Given { manager, units, entries, types: BTreeMap::new() }
    }

    #[test]
    fn phases_follow_each_other() {
        let entries = vec![
            logged(105.0, "systemd", "Soft-rebooting."),
            logged(106.0, "nextroot", "[  0.008] relay: begins"),
            logged(
                107.0,
                "nextroot",
                "[  0.102] relay: all mounts moved in 84155 us, executing /usr/lib/systemd/systemd",
            ),
        ];
        let of = |given: &Given| -> Vec<(String, u64, u64)> {
            let report = Report::of(given).unwrap();
            let all = report.phases.iter();
            all.map(|phase| (phase.name.to_string(), phase.begin_us / 1_000_000, phase.end_us / 1_000_000))
                .collect()
        };
        let phase = |name: &str, begin, end| (name.to_owned(), begin, end);
        let since = [
            phase("set up systemd", 110, 111),
            phase("run generators", 111, 112),
            phase("load units", 112, 114),
            phase("start units", 114, 120),
        ];
        let relayed = [
            phase("stop units", 100, 105),
            phase("kill what is left", 105, 106),
            phase("relay", 106, 107),
            phase("execute systemd", 107, 110),
        ];
        assert_eq!(of(&given(vec![], entries.clone())), [&relayed[..], &since].concat());
        // By systemd itself, or with a kernel log that is gone: what is not known is part of what follows.
        let direct = [phase("stop units", 100, 105), phase("execute systemd", 105, 110)];
        assert_eq!(of(&given(vec![], entries[..1].to_vec())), [&direct[..], &since].concat());
        assert_eq!(of(&given(vec![], vec![])), [&[phase("execute systemd", 100, 110)][..], &since].concat());
        // It is not over yet.
        let mut early = given(vec![], entries);
        early.manager.finished = Some(at(50.0));
        assert_eq!(of(&early), [&relayed[..], &since[..3]].concat());
        assert_eq!(Report::of(&early).unwrap().finished_us, None);
    }

    /// Weeks of running part the clocks by seconds.
    #[test]
    fn the_log_of_the_kernel_has_a_clock_of_its_own() {
        let entries = vec![
            logged(45.0, "systemd", "Soft-rebooting."),
            logged(46.0, "nextroot", "[  0.008] relay: begins"),
            logged(47.0, "nextroot", "[  0.102] relay: all mounts moved in 84155 us, executing /sbin/init"),
            told(101.0, "a.service", STOPPING),
        ];
        let mut given = given(vec![], entries);
        given.set_kernel_clock(Some(106_000_000));
        let seconds: Vec<u64> = given.entries.iter().map(|entry| entry.at.as_secs()).collect();
        assert_eq!(seconds, [105, 106, 107, 101]);
    }

    #[test]
    fn what_becomes_of_units() {
        use Fate::{Gone, Interrupted, Survived};
        // Name, entries, what PID 1 has of it now: fate, milliseconds away, whether it was killed.
        let kills = logged(105.0, "systemd", "Soft-rebooting.");
        let a = |seconds, id| told(seconds, "a.service", id);
        let stop = || vec![a(101.0, STOPPING), a(103.0, ENDED), a(103.1, STOPPED)];
        let with = |mut entries: Vec<Entry>, more: Vec<Entry>| {
            entries.extend(more);
            entries
        };
        let skipped = Entry { message: "A skipped, unmet condition check".to_owned(), ..a(116.0, STARTED) };
        let killed = Active { left: Some(at(114.2)), ..active("a.service", 114.5, 115.0) };
        let foreign = Entry { pid: Some(77), ..a(101.0, STOPPING) };
        for (what, entries, unit, expected) in [
            (
                "by both",
                with(stop(), vec![a(115.0, STARTING), a(116.0, STARTED)]),
                Some(active("a.service", 115.0, 116.0)),
                Some((Interrupted, Some(15_000), false)),
            ),
            (
                "by PID 1 alone",
                stop(),
                Some(active("a.service", 115.0, 116.0)),
                Some((Interrupted, Some(15_000), false)),
            ),
            (
                "started once more later",
                with(stop(), vec![a(116.0, STARTED)]),
                Some(active("a.service", 200.0, 201.0)),
                Some((Interrupted, Some(15_000), false)),
            ),
            (
                "ended since",
                with(stop(), vec![a(116.0, STARTED)]),
                None,
                Some((Interrupted, Some(15_000), false)),
            ),
            ("not started", stop(), None, Some((Gone, None, false))),
            ("a condition was not met", with(stop(), vec![skipped]), None, Some((Gone, None, false))),
            (
                "ended by itself meanwhile",
                vec![a(102.0, ENDED)],
                Some(active("a.service", 115.0, 116.0)),
                Some((Interrupted, Some(14_000), false)),
            ),
            ("ran on", vec![], Some(active("a.service", 10.0, 11.0)), Some((Survived, Some(0), false))),
            ("killed", vec![kills.clone()], Some(killed.clone()), Some((Interrupted, Some(10_000), true))),
            (
                "killed, as PID 1 said",
                vec![kills.clone(), a(114.2, ENDED), a(114.5, STARTING), a(115.0, STARTED)],
                Some(killed),
                Some((Interrupted, Some(10_000), true)),
            ),
            (
                "stopped, when there was no journal any more",
                vec![kills.clone()],
                Some(Active { left: Some(at(104.5)), ..active("a.service", 114.5, 115.0) }),
                Some((Interrupted, Some(10_500), false)),
            ),
            (
                "stopped before, and started since",
                vec![],
                Some(Active { left: Some(at(50.0)), ..active("a.service", 114.5, 115.0) }),
                None,
            ),
            // Each was killed once, and away for hours.
            (
                "ran on, and was started again later",
                vec![a(9000.0, STOPPING), a(9001.0, STOPPED), a(9001.1, STARTED)],
                Some(Active { left: Some(at(9000.0)), ..active("a.service", 9001.0, 9001.1) }),
                Some((Survived, Some(0), false)),
            ),
            (
                "ran on, and failed later",
                vec![a(9000.0, ENDED), a(9001.1, STARTED)],
                Some(Active { left: Some(at(9000.0)), ..active("a.service", 9001.0, 9001.1) }),
                Some((Survived, Some(0), false)),
            ),
            (
                "new, and started again later",
                vec![a(115.0, STARTED), a(9000.0, STOPPING), a(9001.1, STARTED)],
                Some(Active { left: Some(at(9000.0)), ..active("a.service", 9001.0, 9001.1) }),
                None,
            ),
            ("new", vec![a(115.0, STARTING)], Some(active("a.service", 115.0, 116.0)), None),
            ("new, begun before the journal was there, and over", vec![a(114.2, ENDED)], None, None),
            ("stopped before", vec![a(50.0, STOPPING)], Some(active("a.service", 115.0, 116.0)), None),
            (
                "somebody else says so",
                vec![foreign],
                Some(active("a.service", 10.0, 11.0)),
                Some((Survived, Some(0), false)),
            ),
        ] {
            let report = Report::of(&given(unit.into_iter().collect(), entries)).unwrap();
            let seen = report
                .units
                .first()
                .map(|unit| (unit.fate, unit.interruption_us.map(|away| away / 1000), unit.killed));
            assert_eq!(seen, expected, "{what}");
        }
    }

    #[test]
    fn who_was_away_longest_comes_first() {
        let entries = vec![
            told(101.0, "short.service", STOPPING),
            told(102.0, "long.service", STOPPING),
            told(102.5, "gone.socket", STOPPED),
            told(102.6, "dev-a.mount", STOPPED),
        ];
        let units = vec![
            active("short.service", 111.0, 111.0),
            active("long.service", 118.0, 119.0),
            active("on.socket", 5.0, 5.0),
        ];
        let report = Report::of(&given(units, entries)).unwrap();
        let names: Vec<&str> = report.units.iter().map(|unit| unit.unit.as_str()).collect();
        assert_eq!(names, ["gone.socket", "long.service", "short.service", "on.socket"]);
    }

    #[test]
    fn without_a_word_of_systemd_the_first_target_that_stopped_tells() {
        let entries = vec![
            // By hand, and started again.
            told(20.0, "a.target", STOPPED),
            told(30.0, "a.target", STARTED),
            told(101.5, "timers.target", STOPPED),
            told(102.0, "a.target", STOPPED),
            logged(107.0, "nextroot", "[  0.102] relay: all mounts moved in 84155 us, executing /sbin/init"),
        ];
        let mut old = given(vec![], entries);
        (old.manager.shutdown, old.manager.soft_reboots) = (None, None);
        assert_eq!(Report::of(&old).unwrap().asked_us, 101_500_000);
        // It is the next one that it tells of.
        old.manager.shutdown = Some(at(300.0));
        assert_eq!(Report::of(&old).unwrap().asked_us, 101_500_000);
        old.entries.truncate(2);
        assert_eq!(Report::of(&old), Err(Error::None));
        old.manager.soft_reboots = Some(1);
        assert_eq!(Report::of(&old), Err(Error::Forgotten));
        old.manager.soft_reboots = Some(0);
        assert_eq!(Report::of(&old), Err(Error::None));
        old.manager.version = Some(254);
        assert_eq!(Report::of(&old), Err(Error::Old(254)));
    }

    #[test]
    fn what_would_help_is_what_took_long() {
        let entries = vec![
            told(100.1, "quick.service", STOPPING),
            told(100.2, "quick.service", STOPPED),
            told(100.1, "slow.service", STOPPING),
            told(104.0, "slow.service", STOPPED),
            told(104.1, "a.socket", STOPPED),
            told(115.0, "slow.service", STARTING),
            told(116.0, "slow.service", STARTED),
        ];
        let units = vec![active("a.socket", 116.5, 116.5), active("quick.service", 116.0, 116.1)];
        let hints = Report::of(&given(units, entries)).unwrap().hints;
        let begins: Vec<&str> = hints.iter().filter_map(|hint| hint.split(" to ").next()).collect();
        assert_eq!(
            begins,
            [
                "a.socket was closed for 12.400 s: with DefaultDependencies=no in it connections would have waited (systemd-soft-reboot.service(8))",
                "slow.service took 3.900 s",
                "systemd took 2.000 s",
                "slow.service took 1.000 s",
                "generators took 1.000 s (systemd.generator(7)): each that is not there is not waited for",
            ]
        );
        assert!(hints[1].contains("to stop, and the switch waited for it"), "{hints:?}");
    }
}
