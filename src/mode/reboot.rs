//! `nextroot reboot`: stages where that is needed, and asks systemd for the soft reboot.

use crate::{
    plan::state::{Failed, Root, Staged, State},
    run::{
        execute::{self, Progress},
        machine,
        soft_reboot::{
            running, staging,
            state::{self, Store},
            system,
        },
    },
};

use super::{
    cancel, client, preflight,
    request::{self, Request, Wanted, Way},
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
    /// The root that is asked for, otherwise.
    #[error(
        "{source_name} is staged already, and not as --direct, --carry, --no-carry or --critical say: --replace stages it anew, nextroot reboot without them goes there as it is"
    )]
    Otherwise {
        /// What.
        source_name: String,
    },
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
    /// It has crashed.
    #[error(
        "PID 1 does not answer, and would never go: see its last lines in the kernel log; systemctl reboot --force --force restarts the machine"
    )]
    Deaf(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The signal.
    #[error("ask PID 1 for a soft reboot")]
    Signal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether something else is staged than what is asked for.
    fn is_of_another(&self) -> bool {
        matches!(self, Self::Otherwise { .. } | Self::Stage(request::Error::Staged { .. }))
    }

    /// Whether another nextroot is at work.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let (Self::State(error) | Self::Stage(request::Error::State(error))) = self else { return false };
        matches!(error, state::Error::Locked(_))
    }
}

/// With what nextroot.conf says.
fn configured(written: Request, tell: &mut impl FnMut(&str)) -> Result<Request, Error> {
    match written.configured() {
        Ok((request, warnings)) => {
            warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
            Ok(request)
        }
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

/// Stages what is asked for, and asks for the soft reboot into it.
pub fn run(
    request: &Request,
    progress: Option<Progress<'_>>,
    mut tell: impl FnMut(&str),
) -> Result<Staged, Error> {
    can_be_asked()?;
    let staged = stage::run(request, progress, &mut tell)?.staged;
    ask(&staged, request.force, tell)?;
    Ok(staged)
}

/// Asks for a soft reboot into what the arguments name: into what is staged, where that is it, and else it is staged first.
/// Where they name nothing, into what is staged, or else what nextroot.conf names.
pub fn go(
    written: Request,
    progress: Option<Progress<'_>>,
    mut tell: impl FnMut(&str),
) -> Result<Staged, Error> {
    can_be_asked()?;
    // Where the watcher asks, nobody has to answer: it restarts the machine after a while.
    if let Some(error) = system::Running::default().unanswered() {
        return Err(Error::Deaf(error.into()));
    }
    let state = running::settled::<Error>(&Store::default())?;
    let force = written.force;
    let mut named = match written.names_a_root() {
        true => Some(configured(written.clone(), &mut tell)?),
        false => None,
    };
    // What was ended half-way leaves nothing to lose.
    let whole = state.staged.as_ref().filter(|it| it.complete || !(written.replace || named.is_some()));
    let fits = match whole.map(|staged| is_it((&written, named.as_ref()), staged, &state)) {
        Some(Err(error)) if !(written.replace && error.is_of_another()) => return Err(error),
        fits => fits.is_some_and(|fits| fits.is_ok()),
    };
    let staged = match whole.filter(|_| fits) {
        Some(staged) => staged.clone(),
        None => {
            let replace = written.replace || state.staged.is_some();
            let request = named.take().map_or_else(|| configured(written, &mut tell), Ok)?;
            stage::run(&Request { replace, ..request }, progress, &mut tell)?.staged
        }
    };
    client::start_configured(&mut tell);
    ask(&staged, force, tell).inspect_err(|_| client::stop())?;
    Ok(staged)
}

fn can_be_asked() -> Result<(), Error> {
    match running::systemd() {
        None => Err(Error::NoSystemd),
        Some(version) if version < SINCE => Err(Error::Old(version)),
        Some(_) => Ok(()),
    }
}

/// Whether what is staged is what the arguments name: the same root, where they name one, and no other wishes for it.
fn is_it(
    (written, named): (&Request, Option<&Request>),
    staged: &Staged,
    state: &State,
) -> Result<(), Error> {
    let source_name = staged.root.source.clone();
    if let Some(request) = named {
        let wanted = request::prepare(request, state)?.opening.root;
        // One by which the running root is given up is more than a switch.
        if !wanted.is_same_image(&staged.root) || staged.gives_up.is_some() {
            return Err(request::Error::Staged { source_name }.into());
        }
    }
    match is_as_wished(staged, written) {
        true => Ok(()),
        false => Err(Error::Otherwise { source_name }),
    }
}

/// Whether what is staged is so as the arguments want it; where they say nothing, any way will do.
fn is_as_wished(staged: &Staged, written: &Request) -> bool {
    let is_carried = |at: &String| {
        let at = at.trim_end_matches('/');
        staged.mounts.iter().any(|row| row.at == at && row.carried)
    };
    let Wanted { carry, leave } = &written.wanted;
    let ordered = staged.ordered();
    (written.way != Way::Direct || staged.direct)
        && carry.iter().all(is_carried)
        && !leave.iter().any(is_carried)
        && written.critical.iter().all(|unit| ordered.contains(unit))
}

/// Asks PID 1 to go where this leads, unless somebody holds the shutdown back, or wished meanwhile that this ends: then what was
/// staged for it is taken back. Nobody takes it back, or stages another, while it is looked at.
fn ask(staged: &Staged, force: bool, tell: impl FnMut(&str)) -> Result<(), Error> {
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
        Ok(()) => {
            // logind, which would have looked, is not asked. What was seen when it was staged may be long ago.
            if !force {
                preflight::held_back(&staged.root.source, tell)?;
            }
            running::soft_reboot().map_err(|e| Error::Signal(e.into()))
        }
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

    fn staged(source: &str, complete: bool) -> Staged {
        let root = serde_json::json!({
            "source": source, "unreachable": "it is a test", "system": null, "version": null,
        });
        let mount = |at: &str, carried: bool| serde_json::json!({"at": at, "what": "", "carried": carried, "reason": ""});
        let staged = serde_json::json!({
            "root": root, "direct": false, "complete": complete, "begun": {"steps": []},
            "mounts": [mount("/var", true), mount("/srv", false)],
        });
        serde_json::from_value(staged).unwrap()
    }

    /// What was staged before was put away, and staged anew, whatever it was.
    #[test]
    fn what_is_staged_is_gone_to_where_it_is_what_is_asked_for() {
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        for (direct, carry, leave, [by_relay, by_systemd]) in [
            (false, &[][..], &[][..], [true, true]),
            (true, &[], &[], [false, true]),
            (false, &["/var/"], &["/srv"], [true, true]),
            (false, &["/srv"], &[], [false, false]),
            (false, &["/nowhere"], &[], [false, false]),
            (false, &[], &["/var"], [false, false]),
        ] {
            let written = Request {
                way: if direct { Way::Direct } else { Way::Relay },
                wanted: Wanted { carry: paths(carry), leave: paths(leave) },
                ..Request::default()
            };
            let mut staged = staged("a", true);
            assert_eq!(is_as_wished(&staged, &written), by_relay, "{written:?}");
            staged.direct = true;
            assert_eq!(is_as_wished(&staged, &written), by_systemd, "{written:?}");
        }
        let (with_order, written) = (
            serde_json::json!({"do": "order", "orders": [{"unit": "a.service", "before": []}]}),
            |unit: &str| Request { critical: vec![unit.to_owned()], ..Request::default() },
        );
        let mut ordered = staged("a", true);
        ordered.begun.steps.push(serde_json::from_value(with_order).unwrap());
        assert!(is_as_wished(&ordered, &written("a.service")));
        assert!(!is_as_wished(&ordered, &written("b.service")));
        let verity = |name: &str, root_hash: &str| -> Root {
            serde_json::from_value(serde_json::json!({
                "source": name, "name": name, "root_hash": root_hash, "root_hash_from": "arguments",
                "system": null, "version": null,
            }))
            .unwrap()
        };
        assert!(verity("a", "00").is_same_image(&verity("a-2", "00")));
        assert!(!verity("a", "00").is_same_image(&verity("a", "11")));
        assert!(!verity("a", "00").is_same_image(&staged("a", true).root));
    }

    #[test]
    fn what_is_staged_may_change_meanwhile() {
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
