//! `nextroot plan`: what would be done, touching nothing. [`boot`]: by the init role. [`soft_reboot`]: by stage, and at
//! the soft reboot.

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::{
    format::config::initramfs,
    plan::{boot as decision, intent, soft_reboot as whole},
    run::{execute, machine, probe, soft_reboot::state},
};

use super::request;

pub mod boot;
pub mod soft_reboot;

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The plan, for people.
    #[default]
    Text,
    /// The plan as JSON.
    Json,
    /// What was found, as `--facts` takes it, and no plan.
    Facts,
}

/// Version of the plan's JSON: raised whenever a field changes its meaning or goes away.
const PLAN_VERSION: u32 = 1;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, or something that the machine should say.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// A file that is named and not there.
    #[error("read {0}: there is no such file")]
    NoFile(String),
    /// Facts that cannot be read.
    #[error("read facts from {path}: write them with nextroot plan {asked}--show-facts")]
    Facts {
        /// The file.
        path: String,
        /// `SOURCE `, where one is planned for.
        asked: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Facts of a boot, for a soft reboot.
    #[error(
        "plan a soft reboot from {0}: it has the facts of a boot, which say nothing of mounts: write those of a running system with nextroot plan SOURCE --show-facts, or leave SOURCE out"
    )]
    FactsOfBoot(String),
    /// Facts of a running system, for a boot.
    #[error(
        "plan a boot from {0}: it has the facts of a running system, which are for a soft reboot: name a SOURCE, or write those of a boot with nextroot plan --show-facts"
    )]
    FactsOfSystem(String),
    /// Facts that do not go far enough.
    #[error(
        "the facts lack what devices hold: {wanted}: write them anew with nextroot plan {asked}--show-facts"
    )]
    Unread {
        /// What has to be looked into.
        wanted: String,
        /// `SOURCE `, where one is planned for.
        asked: &'static str,
    },
    /// Something that cannot be written as JSON.
    #[error("write the plan as JSON")]
    Json(#[source] serde_json::Error),
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
    Refused(#[from] decision::Error),
    /// What the init role would wait for.
    #[error("{0}")]
    Waiting(String),
    /// What stage would refuse.
    #[error(transparent)]
    Whole(#[from] whole::Error),
    /// A source that cannot be looked at.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Mounts.
    #[error(transparent)]
    Mounts(#[from] execute::Error),
}

/// What facts are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Boot,
    SoftReboot,
}

impl Use {
    /// What stands on the command line between `plan` and the options.
    fn asked(self) -> &'static str {
        match self {
            Self::Boot => "",
            Self::SoftReboot => "SOURCE ",
        }
    }
}

/// Facts that were written down.
fn facts<T: DeserializeOwned>(path: &str, wanted: Use) -> Result<T, Error> {
    let text = file(path)?;
    serde_json::from_str(&text).map_err(|source| match (wanted, found_use(&text)) {
        (Use::Boot, Some(Use::SoftReboot)) => Error::FactsOfSystem(path.to_owned()),
        (Use::SoftReboot, Some(Use::Boot)) => Error::FactsOfBoot(path.to_owned()),
        _ => Error::Facts { path: path.to_owned(), asked: wanted.asked(), source },
    })
}

/// What facts are for that do not read as those that were wanted, by a field that only one of both kinds has.
fn found_use(text: &str) -> Option<Use> {
    /// Without what is in them: a tree of values takes many times the memory of its text.
    #[derive(Deserialize)]
    struct Fields {
        devices: Option<IgnoredAny>,
        machine: Option<IgnoredAny>,
    }
    let Fields { devices, machine } = serde_json::from_str(text).ok()?;
    match (devices, machine) {
        (Some(_), None) => Some(Use::Boot),
        (None, Some(_)) => Some(Use::SoftReboot),
        _ => None,
    }
}

fn unread(wanted: &[decision::Read], of: Use) -> Error {
    let wanted: Vec<String> = wanted.iter().map(decision::Read::to_string).collect();
    Error::Unread { wanted: wanted.join(", "), asked: of.asked() }
}

/// A file that was named on the command line.
fn file(path: &str) -> Result<String, Error> {
    machine::read_named(path)?.ok_or_else(|| Error::NoFile(path.to_owned()))
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(Error::Json)
}
