//! A root that is asked for, by arguments and nextroot.conf: found, touching nothing.

use std::path::Path;

use crate::{
    format::{config::host_config::HostConfig, kernel::cmdline::CommandLine},
    plan::{
        boot,
        carry::{self, Row},
        choose::{self, Chosen, Written},
        demands::{self, Demands},
        facts::{Content, Facts},
        signed,
        soft_reboot::{self, Answer, Asked, Opening},
        source::Source,
        stage::Intent,
        state::State,
        system_facts::Configured,
    },
    run::{
        configuration, execute, machine,
        probe::{self, Prober},
        soft_reboot::{
            image::OpenImage,
            in_files::{self, InFiles},
            mount_units, running, staging, state,
        },
    },
};

pub use crate::format::config::{host_config::service, prewarm::seconds as prewarm_timeout};
pub use crate::plan::{carry::Wanted, stage::Way};

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The source, as written.
    pub source: String,
    /// `--roothash`
    pub root_hash: Option<String>,
    /// `--hash-device`
    pub hash_device: Option<String>,
    /// `--direct`
    pub way: Way,
    /// `--force`
    pub force: bool,
    /// `--carry`, `--no-carry`
    pub wanted: Wanted,
    /// `--critical`
    pub critical: Vec<String>,
    /// `--replace`
    pub replace: bool,
    /// `--no-prewarm`
    pub no_prewarm: bool,
    /// `--prewarm-timeout`
    pub prewarm_timeout_sec: Option<u64>,
    /// Whether nextroot.conf says which source, and nobody here.
    pub by_itself: bool,
    /// Why the root that runs counts as failed once it is left for this one; `None` where it does not.
    pub gives_up: Option<String>,
    /// What nextroot.conf says.
    pub configured: Configured,
    /// `systemd.allow_userspace_verity=no` on the kernel command line: signatures are left to the kernel.
    pub kernel_only: bool,
}

/// Exit code where a check of preflight, or policy, refuses it: mostly for what the image is, which is so everywhere.
pub const REFUSED: u8 = 2;
/// Exit code where `slot:other` has nothing newer: nothing is staged, and nothing is wrong.
pub const NOTHING_NEWER: u8 = 3;
/// Exit code where what is newer failed before.
pub const ONLY_FAILED: u8 = 4;
/// Exit code where no soft reboot leads there, and a full one would.
pub const NEEDS_FULL_REBOOT: u8 = 5;

impl Request {
    /// Whether it says which root, so that not just any will do.
    #[must_use]
    pub fn names_a_root(&self) -> bool {
        !self.source.is_empty() || self.root_hash.is_some() || self.hash_device.is_some()
    }

    /// With what nextroot.conf says where the arguments say nothing; and a line for each warning of it.
    pub fn configured(mut self) -> Result<(Self, Vec<String>), Error> {
        let config = configuration::read(None)?;
        if self.source.is_empty() {
            self.source = config.stage.source.clone().ok_or(Error::NoSource)?;
            self.by_itself = true;
            let named = config.stage.root_hash.as_ref();
            self.root_hash = self.root_hash.or_else(|| named.map(ToString::to_string));
        }
        let line = command_line()?;
        let configured = of_config(&config, &line)?;
        self.kernel_only = !signed::allows_userspace(&line);
        Ok((self.with(configured), config.warnings))
    }

    /// With what nextroot.conf says beside the source: the arguments go before it.
    #[must_use]
    pub fn with(mut self, configured: Configured) -> Self {
        if configured.direct && self.way == Way::Relay {
            self.way = Way::Direct;
        }
        let new = |list: &[String], other: &[String]| -> Vec<String> {
            list.iter().filter(|at| !other.contains(at)).cloned().collect()
        };
        let carry = new(&configured.carry, &self.wanted.leave);
        let leave = new(&configured.no_carry, &self.wanted.carry);
        self.wanted.carry.extend(carry);
        self.wanted.leave.extend(leave);
        self.configured = configured;
        let named = self.critical.iter().filter(|unit| !self.configured.critical.contains(unit));
        let named: Vec<String> = named.cloned().collect();
        self.configured.critical.extend(named);
        self.configured.prewarm.wanted &= !self.no_prewarm;
        if let Some(seconds) = self.prewarm_timeout_sec {
            self.configured.prewarm.timeout_sec = seconds;
        }
        self
    }

    /// What is asked for, read.
    pub(super) fn asked(&self) -> Result<Asked, soft_reboot::Error> {
        let asked = Asked::parse(&self.source, self.root_hash.as_deref(), self.hash_device.as_deref())?;
        Ok(Asked {
            written: Written {
                failed_too: self.force,
                filters: self.configured.image_filters.clone(),
                ..asked.written
            },
            way: self.way,
            wanted: self.wanted.clone(),
            verity_required: self.configured.verity_required,
            demands: self.configured.demands.clone(),
            kernel_only: self.kernel_only,
            trial: self.configured.trial.clone(),
            prewarm: self.configured.prewarm,
            exitrd: self.configured.exitrd,
            by_itself: self.by_itself && !self.force,
            source_name: asked.source_name,
        })
    }
}

/// The kernel command line.
pub(super) fn command_line() -> Result<CommandLine, Error> {
    Ok(CommandLine::parse(&machine::command_line()?))
}

/// What counts beside the source: what nextroot.conf says, and what the kernel command line demands.
pub(super) fn of_config(config: &HostConfig, line: &CommandLine) -> Result<Configured, Error> {
    let of_line = demands::of_command_line(line)?;
    Ok(Configured {
        direct: config.stage.direct,
        carry: config.carry.paths.clone(),
        no_carry: config.carry.not.clone(),
        verity_required: config.verity_required,
        demands: Demands {
            image_policies: config.image_policy.clone().into_iter().chain(of_line).collect(),
            minimum_version: config.minimum_version.clone(),
        },
        image_filters: config.stage.image_filter.iter().cloned().collect(),
        trial: config.trial.clone(),
        prewarm: config.stage.prewarm,
        exitrd: config.stage.exitrd,
        critical: config.stage.critical.clone(),
    })
}

/// Why nothing was staged. The machine is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Something waits already.
    #[error(
        "{source_name} is staged already: --replace puts another in its place, nextroot cancel takes it back"
    )]
    Staged {
        /// What.
        source_name: String,
    },
    /// Mounts that are not the system's.
    #[error(transparent)]
    OwnMounts(#[from] running::OwnMounts),
    /// Something that is not ours.
    #[error(
        "/run/nextroot is a mount that nextroot does not know of: nextroot cancel takes it back if it is a stage's whose state was lost, else unmount it"
    )]
    Foreign,
    /// What is planned for it.
    #[error(transparent)]
    Plan(#[from] soft_reboot::Error),
    /// Image files.
    #[error(transparent)]
    InFiles(#[from] in_files::Error),
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// The image policy of the kernel command line.
    #[error(transparent)]
    Policy(#[from] demands::NotAPolicy),
    /// The kernel command line.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// No source, neither here nor there.
    #[error("no source is named: write one, or Source= in nextroot.conf")]
    NoSource,
    /// Devices.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// What was found cannot be what was asked for.
    #[error(transparent)]
    Refused(#[from] boot::Error),
    /// Mounts that cannot be carried.
    #[error(transparent)]
    Carry(#[from] carry::Error),
    /// A step.
    #[error(transparent)]
    Execute(#[from] execute::Error),
    /// What policy forbids.
    #[error("{source_name} is forbidden by policy, which --force does not change: {}", .failed.join("; "))]
    Forbidden {
        /// The source.
        source_name: String,
        /// A line for each check that failed.
        failed: Vec<String>,
    },
    /// What preflight found.
    #[error("{source_name} would not run here: {}; nextroot preflight shows every check, --force goes on all the same", .failed.join("; "))]
    Unfit {
        /// The source.
        source_name: String,
        /// A line for each check that failed.
        failed: Vec<String>,
    },
    /// What preflight found, all of it of the kernel that a soft reboot keeps.
    #[error("{source_name} needs a full reboot: {}; --force goes on all the same", .failed.join("; "))]
    NeedsFullReboot {
        /// The source.
        source_name: String,
        /// A line for each check that failed.
        failed: Vec<String>,
    },
}

/// What is to be staged, and what was seen for it.
pub(super) struct Prepared {
    pub(super) opening: Opening,
    pub(super) facts: Facts,
    /// An image in files: kept open, so that what is attached is what was looked at.
    pub(super) image: Option<OpenImage>,
}

/// This machine, and what is asked for in files.
pub(super) struct Looked {
    pub(super) prober: Prober,
    pub(super) in_files: Option<(Chosen, OpenImage)>,
}

/// Why nothing is to be staged, with a line for each slot that was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed<'a> {
    /// Nothing is newer.
    NothingNewer(&'a [String]),
    /// What is newer failed before.
    OnlyFailed(&'a [String]),
}

impl Error {
    /// Where it only says that all slots were passed over.
    #[must_use]
    pub fn passed(&self) -> Option<Passed<'_>> {
        match self {
            Self::Plan(soft_reboot::Error::Source(error)) => match error {
                choose::Error::NothingNewer(skipped) => Some(Passed::NothingNewer(skipped)),
                choose::Error::Runs { .. } => Some(Passed::NothingNewer(&[])),
                choose::Error::OnlyFailed(why) | choose::Error::Failed { why, .. } => {
                    Some(Passed::OnlyFailed(why))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The exit code that it ends with.
    #[must_use]
    pub fn code(&self) -> u8 {
        match (self, self.passed()) {
            (_, Some(Passed::NothingNewer(_))) => NOTHING_NEWER,
            (_, Some(Passed::OnlyFailed(_))) => ONLY_FAILED,
            (Self::NeedsFullReboot { .. }, _) => NEEDS_FULL_REBOOT,
            _ if self.is_refusal() => REFUSED,
            _ => 1,
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Forbidden { .. } | Self::Unfit { .. } => true,
            Self::Plan(error) => error.is_policy(),
            Self::Refused(error) => error.is_policy(),
            Self::Execute(error) => error.is_refusal(),
            _ => false,
        }
    }
}

/// A root that was found.
pub(super) struct Found {
    asked: Asked,
    chosen: Chosen,
    prober: Prober,
    image: Option<OpenImage>,
}

/// Finds what is asked for.
pub(super) fn find(request: &Request, state: &State) -> Result<Found, Error> {
    let asked = request.asked()?;
    let Looked { prober, in_files } = look(&asked)?;
    let (chosen, image) = match in_files {
        Some((chosen, image)) => (chosen, Some(image)),
        None => (soft_reboot::choose(&asked, state, prober.facts())?, None),
    };
    Ok(Found { asked, chosen, prober, image })
}

impl Found {
    /// What is to be opened.
    pub(super) fn intent(&self) -> Intent {
        soft_reboot::intent(&self.asked, &self.chosen)
    }

    /// A line for each slot or file that was passed over.
    pub(super) fn skipped(&self) -> &[String] {
        &self.chosen.skipped
    }

    /// How it is opened.
    pub(super) fn open(&mut self, state: &State) -> Result<Prepared, soft_reboot::Error> {
        loop {
            match soft_reboot::open(&self.asked, &self.chosen, state, self.prober.facts())? {
                Answer::Known(opening) => {
                    let (facts, image) = (self.prober.facts().clone(), self.image.take());
                    return Ok(Prepared { opening, facts, image });
                }
                Answer::Read(wanted) => self.prober.read(&wanted),
            }
        }
    }
}

/// Finds what is asked for, and how it is opened.
pub(super) fn prepare(request: &Request, state: &State) -> Result<Prepared, Error> {
    Ok(find(request, state)?.open(state)?)
}

/// Looks at this machine, and into the files that are asked for: what they hold is shown to the decisions as devices.
pub(super) fn look(asked: &Asked) -> Result<Looked, Error> {
    let mut prober = Prober::of_running_system()?;
    read_all(&mut prober);
    let Written { root_hash, filters, .. } = &asked.written;
    let root_hash = root_hash.as_ref();
    let InFiles { root, devices, skipped, image } = match &asked.written.source {
        Source::File(path) => in_files::look(Path::new(path), root_hash, filters)?,
        Source::Directory(path) => in_files::newest(path, root_hash, filters)?,
        _ => return Ok(Looked { prober, in_files: None }),
    };
    prober.facts_mut().devices.extend(devices);
    Ok(Looked { prober, in_files: Some((Chosen { root, skipped }, image)) })
}

/// Looks into every device: fstab and mount units name file systems by what they hold, and a signature what it is of.
fn read_all(prober: &mut Prober) {
    let unread = prober.facts().devices.iter().filter(|device| device.content == Content::Unread);
    let wanted: Vec<boot::Read> = unread.map(|device| boot::Read::Superblock(device.devno)).collect();
    prober.read(&wanted);
    prober.read_signatures();
}

/// What becomes of the mounts, where the next system is the one at `root`.
pub(super) fn rows(request: &Request, facts: &Facts, root: &Path) -> Result<Vec<Row>, Error> {
    let mounts = staging::mounts()?;
    let new = mount_units::look(root, &mounts)?;
    Ok(carry::decide(&mounts, facts, &new, &request.wanted)?)
}
