//! `nextroot report`: what the last soft reboot cost.

mod svg;
mod text;

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    format::system::probe_log::Request,
    plan::{
        report::{self, Given, Phase, Probed},
        state::{Root, State},
    },
    run::{
        configuration, execute, machine,
        soft_reboot::{
            asking, client, journalctl, running,
            state::{self, Store},
            units::Systemctl,
        },
    },
};

/// Version of the JSON, docs/report.schema.json: raised whenever a field changes its meaning or goes away.
const VERSION: u32 = 1;

/// It cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Mounts.
    #[error(transparent)]
    Mounts(#[from] execute::Error),
    /// PID 1 or the journal.
    #[error(transparent)]
    Asked(#[from] asking::Error),
    /// What the client saw.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// What is slow.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// What they say.
    #[error(transparent)]
    Report(#[from] report::Error),
}

/// Where the way begins or ends.
#[derive(Clone, Debug, Serialize)]
struct End {
    /// The root, as `status` has it.
    root: String,
    /// `None` where it is not verified.
    root_hash: Option<String>,
}

impl End {
    fn of(root: &Root) -> Self {
        Self { root: root.to_string(), root_hash: root.verity().map(|verity| verity.root_hash.clone()) }
    }
}

/// A report, and what it is about.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    version: u32,
    /// Lives of userspace since the machine was started.
    generation: u64,
    /// The root that ran before, as far as it is known.
    from: Option<End>,
    /// The root that runs.
    to: Option<End>,
    /// When it was asked for, by the wall clock: seconds since 1970.
    asked_at: u64,
    /// What stage took before, while everything ran on.
    stage: Vec<Phase>,
    #[serde(flatten)]
    report: report::Report,
    /// What clients saw, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    probed: Option<Vec<Probed>>,
}

impl Report {
    /// Looks.
    pub fn look() -> Result<Self, Error> {
        let state = running::settled::<Error>(&Store::default())?;
        let systemctl = Systemctl::default();
        let manager = systemctl.stamps()?;
        manager.tells()?;
        // The journal is looked up by the wall clock, and that of then counts: since then it may have been set, and the machine may have
        // slept.
        let switched = manager.userspace.unwrap_or_default();
        let clock =
            manager.userspace_clock.unwrap_or_else(|| Duration::from_secs(machine::clock_at(switched)));
        let [since, until] = [clock.saturating_sub(report::LONGEST), clock.saturating_add(report::LONGEST)];
        let entries = journalctl::of_switches(since.as_secs(), until.as_secs())?;
        let mut given = Given { manager, units: systemctl.active()?, entries, ..Given::default() };
        given.types = systemctl.types(&given.of_unknown_type())?;
        given.set_kernel_clock(state.relay.as_ref().and_then(|pass| pass.begun_us));
        let report = report::Report::of(&given)?;
        let before = switched.saturating_sub(Duration::from_micros(report.asked_us));
        let asked_at = clock.saturating_sub(before).as_secs();
        Ok(Self::of(report, &state, asked_at))
    }

    /// With what the state says, and when it was asked for, in seconds since 1970.
    #[must_use]
    pub fn of(report: report::Report, state: &State, asked_at: u64) -> Self {
        // A soft reboot that nextroot had nothing to do with, or that came back, leads from a root to itself.
        let is_switch = state.switched_us.is_some_and(|at| at >= report.asked_us);
        let from = if is_switch { &state.previous } else { &state.current };
        let [from, to] = [from, &state.current].map(|root| root.as_ref().map(End::of));
        Self {
            version: VERSION,
            generation: state.generation,
            from,
            to,
            asked_at,
            stage: if is_switch { state.stage.clone() } else { Vec::new() },
            report,
            probed: None,
        }
    }

    /// With what the client that `[Probe]` configures saw of it.
    pub fn probed(self) -> Result<Self, Error> {
        let (log, slow) = (client::log()?, configuration::read(None)?.probe.slow);
        Ok(self.with_probed(&log, slow))
    }

    /// With what the client saw that wrote this down; an answer is slow that took as long as `slow`.
    #[must_use]
    pub fn with_probed(self, log: &[Request], slow: Duration) -> Self {
        let from = Duration::from_micros(self.report.asked_us);
        Self { probed: Some(Probed::all(log, from, slow)), ..self }
    }

    /// As JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// As a picture.
    pub fn svg(&self) -> Result<String, fmt::Error> {
        svg::draw(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}
