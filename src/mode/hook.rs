//! `nextroot hook early|late`: what the units in dist/systemd run when a soft reboot was asked for
//! (docs/decisions/0010).

use std::time::{Duration, Instant};

use crate::{
    format::config::host_config::{HostConfig, WhenNothingStaged},
    plan::{event::Event, soft_reboot, state::Staged},
    run::{
        bounded::{self, Ended, SELF},
        configuration, execute, journal,
        log::Log,
        machine,
        soft_reboot::{
            handover::chain,
            running, staging,
            state::{self, Store},
        },
    },
};

use super::{cancel, client, complain, request};

/// Why the soft reboot must not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Configuration.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// What is staged does not hold any more.
    #[error("what is staged, {source_name}, does not hold any more: nextroot cancel, then stage it again")]
    Broken {
        /// The source.
        source_name: String,
        /// Why.
        #[source]
        source: execute::Error,
    },
    /// What is staged is not whole.
    #[error("what is staged, {source_name}, is not whole: nextroot cancel, then stage it again")]
    Half {
        /// The source.
        source_name: String,
    },
    /// The configured source could not be staged.
    #[error("the configured source {source_name} could not be staged: the lines above say why")]
    NotStaged {
        /// The source.
        source_name: String,
    },
    /// Staging took too long.
    #[error("staging the configured source {source_name} took longer than [Hook] TimeoutSec={} s", .limit.as_secs())]
    Late {
        /// The source.
        source_name: String,
        /// The limit.
        limit: Duration,
    },
    /// Nobody could look at what is staged.
    #[error("what is staged could not be looked at within [Hook] TimeoutSec={} s: its disk may not answer", .limit.as_secs())]
    NoAnswer {
        /// The limit.
        limit: Duration,
    },
    /// A program.
    #[error("run {program}")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is demanded of the next root cannot be read.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// What is staged is forbidden by now.
    #[error(transparent)]
    Policy(#[from] soft_reboot::Error),
    /// Undoing.
    #[error(transparent)]
    Cancel(#[from] cancel::Error),
    /// Mounts.
    #[error(transparent)]
    Mounts(#[from] execute::Error),
}

/// How long `systemctl cancel` may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// While everything runs: checks what is staged, also against the policy of now, or stages the configured source. Where that fails, the
/// soft reboot is called off: all jobs are cancelled.
pub fn early() -> Result<(), Error> {
    let outcome = config().and_then(|config| {
        if prepare(&config)? {
            client::start(&config.probe, |line| complain(format_args!("nextroot: {line}")));
        }
        Ok(())
    });
    if let Err(error) = &outcome {
        journal::tell(&Event::CalledOff { why: chain(error) });
        complain(format_args!("nextroot: the soft reboot is called off, this system serves on"));
        let told = match bounded::run("systemctl", &["cancel"], PATIENCE) {
            Ok(Ended::Exit(Some(0))) => return outcome,
            Ok(ended) => ended.to_string(),
            Err(error) => error.to_string(),
        };
        complain(format_args!("nextroot: systemctl cancel: {told}; the late check stands behind this"));
    }
    outcome
}

/// nextroot.conf. That of a root that is given up does not keep anybody in it.
fn config() -> Result<HostConfig, Error> {
    configuration::read(None).map_err(Error::from).or_else(|error| {
        let staged = running::settled::<Error>(&Store::default()).ok().and_then(|state| state.staged);
        if staged.is_none_or(|staged| staged.gives_up.is_none()) {
            return Err(error);
        }
        complain(format_args!("nextroot: warning: {}, ignoring: this root is left for good", chain(&error)));
        Ok(HostConfig::default())
    })
}

/// Whether it leads into another root.
fn prepare(config: &HostConfig) -> Result<bool, Error> {
    config.warnings.iter().for_each(|warning| complain(format_args!("nextroot: warning: {warning}")));
    let limit = config.hook.timeout;
    let held = match machine::in_time(limit, holds) {
        Ok(held) => held.ok_or(Error::NoAnswer { limit })??,
        // No thread can be made: it is looked at without a limit.
        Err(_) => holds()?,
    };
    if let Some(staged) = held {
        // What leads back was held against policy when it was staged; that of a root which is given up does not count.
        if staged.gives_up.is_some() {
            return Ok(true);
        }
        let configured = request::of_config(config, &request::command_line()?)?;
        soft_reboot::still_allowed(&configured, &staged)?;
        return Ok(true);
    }
    let Some(source_name) = config.stage.source.clone() else {
        complain(format_args!(
            "nextroot: nothing is staged, and nextroot.conf has no Source=: this root starts again"
        ));
        return Ok(false);
    };
    if config.hook.when_nothing_staged == WhenNothingStaged::Pass {
        return Ok(false);
    }
    // Reading ahead is no reason to call it off: it has half of the time at most.
    let ahead = config.stage.prewarm.timeout_sec.min((limit.as_secs() / 2).max(1));
    let ended = bounded::run(SELF, &["stage", &format!("--prewarm-timeout={ahead}")], limit)
        .map_err(|e| Error::Program { program: "nextroot stage", source: e })?;
    match ended {
        Ended::Exit(Some(0)) => Ok(true),
        // A soft reboot into this root stays what it is.
        Ended::Exit(Some(code)) if code == i32::from(request::NOTHING_NEWER) => Ok(false),
        // So does one where the only newer image failed before: it would be tried again, and again.
        Ended::Exit(Some(code)) if code == i32::from(request::ONLY_FAILED) => {
            complain(format_args!("nextroot: warning: {source_name} failed before: this root starts again"));
            Ok(false)
        }
        Ended::Exit(_) => Err(Error::NotStaged { source_name }),
        Ended::Killed => {
            cancel::run()?;
            Err(Error::Late { source_name, limit })
        }
    }
}

/// When all but survivors have stopped: the last look at what is staged. It speaks through the kernel log.
pub fn late() -> Result<(), Error> {
    let log = Log::open(Instant::now());
    let outcome = holds().map(drop);
    if let Err(error) = &outcome {
        log.error(&format!("hook: the soft reboot is called off, the old root serves again: {error}"));
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            log.error(&format!("hook:   because: {cause}"));
            source = cause.source();
        }
    }
    outcome
}

/// What is staged; an error where that is not what it was.
fn holds() -> Result<Option<Staged>, Error> {
    let state = running::settled::<Error>(&Store::default())?;
    let Some(staged) = state.staged else { return Ok(None) };
    let source_name = staged.root.source.clone();
    if !staged.complete {
        return Err(Error::Half { source_name });
    }
    match staging::still_holds(&staged) {
        Ok(()) => Ok(Some(staged)),
        Err(source) => Err(Error::Broken { source_name, source }),
    }
}
