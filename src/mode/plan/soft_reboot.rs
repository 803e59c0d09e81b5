//! What stage would do with a source, and what is left for the soft reboot.

use std::path::Path;

use serde::Serialize;

use crate::{
    plan::{
        order::Order,
        preflight,
        soft_reboot::{self, Answer, Planned},
        stage::VERITY_UNITS,
        system_facts::SystemFacts,
        told::Told,
        watchdog::Watchdog,
    },
    run::{
        machine,
        probe::Prober,
        soft_reboot::{
            exitrd, manager_conf, mount_units, running, staging, state::Store, system, unit_order,
            units::Systemctl,
        },
    },
};

use super::{
    super::{
        complain,
        request::{self, Request},
    },
    Error, Form, PLAN_VERSION, Use,
};

/// The plan of this machine; what nextroot.conf says is in the request.
pub fn of_machine(request: &Request, form: Form) -> Result<String, Error> {
    let asked = request.asked()?;
    if form == Form::Facts {
        asked.not_in_files()?;
    }
    let request::Looked { mut prober, in_files } = request::look(&asked)?;
    let in_files = in_files.map(|(chosen, _)| chosen);
    let mut facts = collect(request, &prober)?;
    let planned = loop {
        match soft_reboot::decide(&asked, in_files.as_ref(), &facts) {
            Ok(Answer::Known(planned)) => break Ok(planned),
            Ok(Answer::Read(wanted)) => prober.read(&wanted),
            Err(error) => break Err(error),
        }
        facts.machine = prober.facts().clone();
    };
    match form {
        // They say why a plan is refused, too.
        Form::Facts => super::json(&facts),
        _ => print(request, &planned?, form),
    }
}

/// The plan that follows from facts that were written down: nothing of this machine counts.
pub fn of_facts(request: Request, path: &str, form: Form) -> Result<String, Error> {
    let facts: SystemFacts = super::facts(path, Use::SoftReboot)?;
    let request = request.with(facts.configured.clone());
    let asked = request.asked()?;
    asked.not_in_files()?;
    if form == Form::Facts {
        return super::json(&facts);
    }
    match soft_reboot::decide(&asked, None, &facts)? {
        Answer::Known(planned) => print(&request, &planned, form),
        Answer::Read(wanted) => Err(super::unread(&wanted, Use::SoftReboot)),
    }
}

/// Everything that the plan depends on, but for what devices hold: that is looked into where it is asked for.
fn collect(request: &Request, prober: &Prober) -> Result<SystemFacts, Error> {
    let state = running::settled::<Error>(&Store::default())?;
    let missing = staging::missing_units(&VERITY_UNITS);
    let units = VERITY_UNITS.iter().filter(|name| !missing.contains(name));
    let mounts = staging::mounts()?;
    let told = mount_units::look(Path::new("/"), &mounts)?;
    let system::Handover { systemd, restrict_execution, program, watchdog, command_line, unread, .. } =
        system::Running::default().look_at_handover();
    unread.iter().for_each(|why| {
        complain(format_args!(
            "nextroot: warning: {why}, ignoring: the plan may lack what becomes of the watchdog"
        ));
    });
    let root = Path::new("/");
    let arms = |fed: &Watchdog| manager_conf::arms_watchdog(root, root, &command_line, &fed.device);
    Ok(SystemFacts {
        machine: prober.facts().clone(),
        mounts,
        mount_units: told.units,
        mount_drop_ins: told.drop_ins,
        fstab: machine::read("/etc/fstab")?.unwrap_or_default().lines().map(str::to_owned).collect(),
        current: state.current,
        previous: state.previous,
        failed: state.failed,
        units: units.map(|name| (*name).to_owned()).collect(),
        arms_watchdog: watchdog.as_ref().and_then(arms),
        systemd,
        restrict_execution,
        program,
        watchdog,
        exitrd: exitrd::found(),
        orders: orders(&request.configured.critical),
        configured: request.configured.clone(),
    })
}

/// What is put behind critical units.
fn orders(critical: &[String]) -> Vec<Order> {
    if critical.is_empty() {
        return Vec::new();
    }
    let units = Systemctl::default().units().unwrap_or_else(|error| {
        complain(format_args!(
            "nextroot: warning: {error}, ignoring: the plan lacks the order of critical units"
        ));
        Vec::new()
    });
    preflight::orders(critical, &units, &unit_order::look(Path::new("/")).0)
}

/// The plan for programs: docs/plan.schema.json.
#[derive(Serialize)]
struct Whole<'a> {
    version: u32,
    source: &'a str,
    skipped: &'a [String],
    stage: Vec<Told<'a>>,
    relay: Option<Ways<'a>>,
}

/// What the relay does.
#[derive(Serialize)]
struct Ways<'a> {
    forward: Vec<Told<'a>>,
    back: Vec<Told<'a>>,
}

fn print(request: &Request, planned: &Planned, form: Form) -> Result<String, Error> {
    if form == Form::Text {
        return Ok(planned.to_string());
    }
    let relay = planned.relay.as_ref();
    super::json(&Whole {
        version: PLAN_VERSION,
        source: &request.source,
        skipped: &planned.skipped,
        stage: planned.stage.told(),
        relay: relay.map(|relay| Ways { forward: relay.forward.told(), back: relay.back.told() }),
    })
}
