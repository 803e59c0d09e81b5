//! `nextroot reboot`: stages where that is needed, and asks systemd for the soft reboot.

use crate::{
    plan::state::{Failed, Root, Staged},
    run::{
        execute::{self, Progress},
        machine,
        soft_reboot::{
            running, staging,
            state::{self, Store},
        },
    },
};

use super::{
    cancel,
    request::{self, Request},
    stage,
};

/// The first systemd that has soft reboots.
const SINCE: u32 = 254;

/// Why nothing was asked for: the system serves on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Staging.
    #[error(transparent)]
    Stage(#[from] request::Error),
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Mounts.
    #[error(transparent)]
    Mounts(#[from] execute::Error),
    /// Nothing to go to.
    #[error(
        "nothing is staged, and a soft reboot would start this root again: write nextroot reboot SOURCE, or nextroot stage SOURCE first"
    )]
    Nothing,
    /// The way back leads to a root that was left for this one.
    #[error(
        "the root that ran before failed itself: {why}; nextroot reboot previous goes there all the same"
    )]
    GivenUp {
        /// How.
        why: String,
    },
    /// What is staged is not whole.
    #[error("what is staged is not whole: nextroot cancel, then stage it again")]
    Half,
    /// What was staged is not there any more.
    #[error(
        "what was staged is not mounted at /run/nextroot any more, and a soft reboot would start this root again: nextroot cancel, then stage it again"
    )]
    Gone,
    /// What is staged would not start any more.
    #[error("what is staged does not hold any more: nextroot cancel, then stage it again")]
    Broken(#[source] execute::Error),
    /// Somebody else staged.
    #[error(
        "another nextroot staged {now} meanwhile: nextroot reboot goes there, nextroot cancel takes it back"
    )]
    Another {
        /// What is staged now.
        now: String,
    },
    /// A wish of somebody.
    #[error(
        "it was asked to end: PID 1 was not asked for the soft reboot, and what was staged for it is taken back"
    )]
    Ended,
    /// The same, and more.
    #[error("it was asked to end, and what was staged cannot be taken back: nextroot cancel tries again")]
    Stays(#[source] cancel::Error),
    /// Another init.
    #[error("PID 1 is no systemd that could be recognised: a soft reboot needs systemd {SINCE} or newer")]
    NoSystemd,
    /// An old systemd.
    #[error("systemd {0} has no soft reboot: {SINCE} or newer is needed")]
    Old(u32),
    /// The signal.
    #[error("ask PID 1 for a soft reboot")]
    Signal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether another nextroot is at work.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let (Self::State(error) | Self::Stage(request::Error::State(error))) = self else { return false };
        matches!(error, state::Error::Locked(_))
    }
}

/// What nextroot.conf names.
fn configured() -> Result<(Request, Vec<String>), Error> {
    match Request::default().configured() {
        Ok(configured) => Ok(configured),
        Err(request::Error::NoSource) => Err(Error::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// Why a root that somebody rolled back counts as failed.
pub const GIVEN_UP: &str = "it was left by nextroot rollback";

/// What leads back to the root that ran before, whatever else is staged; the one that runs counts as failed from then on.
/// Not to a root that was itself given up: the good one would be condemned, and a second call would go to and fro.
/// `why` is what is told of it.
pub fn back(why: &str) -> Result<Request, Error> {
    let state = running::settled::<Error>(&Store::default())?;
    let previous = state.previous.as_ref().and_then(Root::verity);
    let given_up =
        state.failed.iter().find(|failed| previous.is_some_and(|it| it.root_hash == failed.root_hash));
    if let Some(Failed { why, .. }) = given_up {
        return Err(Error::GivenUp { why: why.clone() });
    }
    let gives_up = Some(why.to_owned());
    Ok(Request { source: "previous".to_owned(), replace: true, gives_up, ..Request::default() })
}

/// Asks for it, unless somebody wished meanwhile that this ends: then what was staged for it is taken back. `request` names the source; without one, what is staged, or else what nextroot.conf names.
pub fn run(
    request: Option<&Request>,
    progress: Option<Progress<'_>>,
    mut tell: impl FnMut(&str),
) -> Result<Staged, Error> {
    match running::systemd() {
        None => return Err(Error::NoSystemd),
        Some(version) if version < SINCE => return Err(Error::Old(version)),
        Some(_) => {}
    }
    let staged = match request {
        Some(request) => stage::run(request, progress, tell)?.staged,
        None => {
            let state = running::settled::<Error>(&Store::default())?;
            match state.staged {
                Some(staged) => staged,
                None => {
                    let (request, warnings) = configured()?;
                    warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
                    stage::run(&request, progress, tell)?.staged
                }
            }
        }
    };
    ask(&staged)?;
    Ok(staged)
}

/// Asks PID 1 to go where this leads. Nobody takes it back, or stages another, while it is looked at.
fn ask(staged: &Staged) -> Result<(), Error> {
    let store = Store::default();
    let _lock = store.lock()?;
    let state = running::settled::<Error>(&store)?;
    let there = is_there(staged, state.staged.as_ref(), staging::is_published()?)
        .and_then(|()| staging::is_sound(staged).map_err(Error::Broken));
    match there {
        Err(Error::Another { .. }) => there,
        _ if machine::is_to_end() => {
            Err(cancel::take_back(&store).map_or_else(Error::Stays, |_| Error::Ended))
        }
        Err(_) => there,
        Ok(()) => running::soft_reboot().map_err(|e| Error::Signal(e.into())),
    }
}

/// Whether what is to be gone to is what is staged now, and whole.
fn is_there(wanted: &Staged, now: Option<&Staged>, is_published: bool) -> Result<(), Error> {
    match now {
        Some(now) if now.root != wanted.root => Err(Error::Another { now: now.root.source.clone() }),
        Some(now) if !now.complete => Err(Error::Half),
        Some(_) if is_published => Ok(()),
        _ => Err(Error::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_may_change_meanwhile() {
        let staged = |source: &str, complete: bool| -> Staged {
            let root = serde_json::json!({
                "source": source, "unreachable": "it is a test", "system": null, "version": null,
            });
            let staged = serde_json::json!({
                "root": root, "direct": false, "complete": complete, "begun": {"steps": []}, "mounts": [],
            });
            serde_json::from_value(staged).unwrap()
        };
        let a = staged("a", true);
        for (now, is_published, expected) in [
            (Some(staged("a", true)), true, None),
            (Some(staged("a", true)), false, Some("not mounted at /run/nextroot any more")),
            (Some(staged("a", false)), true, Some("is not whole")),
            (Some(staged("b", true)), true, Some("another nextroot staged b meanwhile")),
            (None, true, Some("not mounted at /run/nextroot any more")),
        ] {
            let why = is_there(&a, now.as_ref(), is_published).err().map(|error| error.to_string());
            assert_eq!(why.is_some(), expected.is_some(), "{now:?} {why:?}");
            assert!(why.unwrap_or_default().contains(expected.unwrap_or_default()), "{now:?}");
        }
    }
}
