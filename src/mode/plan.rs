//! `nextroot plan`: what the init role would do, touching nothing.

use crate::{
    format::{
        config::initramfs::{self, Config},
        kernel::cmdline::CommandLine,
    },
    plan::{
        boot::{self, Decision},
        facts::Facts,
        intent::{self, Intent},
    },
    run::{
        machine,
        probe::{self, Prober},
    },
};

/// What was asked for; what is missing is taken from this machine.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The kernel command line.
    pub command_line: Option<String>,
    /// A file with facts.
    pub facts: Option<String>,
    /// A file with configuration.
    pub config: Option<String>,
    /// Whether the facts are wanted, and no plan.
    pub show_facts: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, or something that the machine should say.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// A file that is named and not there.
    #[error("{0} is not there")]
    NoFile(String),
    /// Facts that cannot be read.
    #[error("read facts from {path}: write them with nextroot plan --show-facts")]
    Facts {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Configuration that cannot be read.
    #[error(transparent)]
    Config(#[from] initramfs::Error),
    /// A command line that cannot be meant.
    #[error(transparent)]
    Intent(#[from] intent::Error),
    /// Devices that cannot be looked at.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// What the init role would refuse.
    #[error(transparent)]
    Refused(#[from] boot::Error),
    /// What the init role would wait for.
    #[error("{0}")]
    Waiting(String),
}

/// The plan, as text.
pub fn run(request: &Request) -> Result<String, Error> {
    let line = match &request.command_line {
        Some(line) => line.clone(),
        None => machine::command_line()?,
    };
    let config = match &request.config {
        Some(path) => Config::parse(&file(path)?, path)?,
        None => Config::default(),
    };
    let intent = Intent::resolve(&CommandLine::parse(&line), &config)?;
    let mut source = match &request.facts {
        Some(path) => {
            let facts = serde_json::from_str(&file(path)?);
            Source::File(facts.map_err(|source| Error::Facts { path: path.clone(), source })?)
        }
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
    if request.show_facts {
        let text = serde_json::to_string_pretty(source.facts());
        return text
            .map(|text| text + "\n")
            .map_err(|source| Error::Facts { path: "this machine".to_owned(), source });
    }
    let notes: String = intent.notes.iter().map(|note| format!("note: {note}\n")).collect();
    Ok(notes + &plan.to_string())
}

fn file(path: &str) -> Result<String, Error> {
    machine::read(path)?.ok_or_else(|| Error::NoFile(path.to_owned()))
}

/// Where facts come from.
enum Source {
    File(Facts),
    Machine(Prober),
}

impl Source {
    /// Looks at this machine; no module is loaded for it.
    fn look() -> Result<Self, Error> {
        let mut prober = Prober::of_running_system()?;
        prober.facts_mut().loader_partition = machine::loader_partition()?;
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
            Self::File(_) => {
                let wanted: Vec<String> = wanted.iter().map(boot::Read::to_string).collect();
                Err(Error::Waiting(format!("the facts lack what devices hold: {}", wanted.join(", "))))
            }
        }
    }
}
