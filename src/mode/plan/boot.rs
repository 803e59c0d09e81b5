//! What the init role would do for a kernel command line.

use serde::Serialize;

use crate::{
    format::{config::initramfs::Config, kernel::cmdline::CommandLine},
    plan::{
        boot::{self, Decision},
        facts::Facts,
        intent::Intent,
        told::Told,
    },
    run::{machine, probe::Prober},
};

use super::{Error, Form, PLAN_VERSION, Use};

/// What was asked for; what is missing is taken from this machine.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The kernel command line.
    pub command_line: Option<String>,
    /// A file with facts.
    pub facts: Option<String>,
    /// A file with configuration.
    pub config: Option<String>,
    /// What is printed.
    pub form: Form,
}

/// The plan for programs: docs/plan.schema.json.
#[derive(Serialize)]
struct Whole<'a> {
    version: u32,
    notes: &'a [String],
    steps: Vec<Told<'a>>,
}

/// The plan, or the facts, as text.
pub fn run(request: &Request) -> Result<String, Error> {
    let line = match &request.command_line {
        Some(line) => line.clone(),
        None => machine::command_line()?,
    };
    let config = match &request.config {
        Some(path) => Config::parse(&super::file(path)?, path)?,
        None => Config::default(),
    };
    let intent = Intent::resolve(&CommandLine::parse(&line), &config)?;
    let mut source = match &request.facts {
        Some(path) => Source::File(super::facts(path, Use::Boot)?),
        None => Source::look()?,
    };
    let plan = loop {
        match boot::decide(&intent, source.facts()) {
            Decision::Go(plan) => break plan,
            Decision::Read(wanted) => source.read(&wanted)?,
            Decision::Wait(wants) => return Err(Error::Waiting(boot::waiting(&wants, source.facts(), &[]))),
            Decision::Refuse(error) => return Err(error.into()),
        }
    };
    match request.form {
        Form::Text => {
            let notes: String = intent.notes.iter().map(|note| format!("note: {note}\n")).collect();
            Ok(notes + &plan.to_string())
        }
        Form::Json => super::json(&Whole { version: PLAN_VERSION, notes: &intent.notes, steps: plan.told() }),
        Form::Facts => super::json(source.facts()),
    }
}

/// Where facts come from.
enum Source {
    File(Facts),
    Machine(Prober),
}

impl Source {
    /// Looks at this machine; no module is loaded for it, and nothing mounted.
    fn look() -> Result<Self, Error> {
        let mut prober = Prober::of_running_system()?;
        prober.facts_mut().loader_partition = machine::known_loader_partition();
        Ok(Self::Machine(prober))
    }

    fn facts(&self) -> &Facts {
        match self {
            Self::File(facts) => facts,
            Self::Machine(prober) => prober.facts(),
        }
    }

    fn read(&mut self, wanted: &[boot::Read]) -> Result<(), Error> {
        match self {
            Self::Machine(prober) => {
                prober.read(wanted);
                Ok(())
            }
            Self::File(_) => Err(super::unread(wanted, Use::Boot)),
        }
    }
}
