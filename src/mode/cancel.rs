//! `nextroot cancel`: takes back what is staged, or what a killed stage left.

use super::{client, complain};
use crate::{
    plan::{Plan, Step, event::Event, state::State},
    run::{
        execute, journal,
        soft_reboot::{
            handover::chain,
            holders, running, staging,
            state::{self, Store},
        },
    },
};

/// Why it could not be taken back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Mounts that are not the system's.
    #[error(transparent)]
    OwnMounts(#[from] running::OwnMounts),
    /// A step.
    #[error("undo, nextroot cancel may be tried again")]
    Undo(#[from] execute::Error),
}

/// How it ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// What was staged was taken back.
    TookBack(Done),
    /// Nothing was staged, as far as that is known.
    Nothing {
        /// What is mounted where a staged root would be, and is not known as ours.
        foreign: Option<String>,
    },
}

/// What was taken back.
#[derive(Clone, Debug)]
pub struct Done {
    /// The source that was staged.
    pub source: String,
    /// Processes that still see it in mount namespaces of their own: its device goes when they end.
    pub holders: Vec<String>,
}

/// Takes it back. A stage that is at work is asked to end first.
pub fn run() -> Result<Outcome, Error> {
    running::shares_mounts()?;
    let store = Store::default();
    let _lock = store.take_over()?;
    take_back(&store)
}

/// The same, by whoever holds the lock.
pub(super) fn take_back(store: &Store) -> Result<Outcome, Error> {
    // Of a damaged state nothing can be kept: what it told of is known by what is there.
    let mut state = match store.load() {
        Err(state::Error::Damaged { .. }) => State::default(),
        loaded => loaded?,
    };
    state.settle(running::root(), staging::waits()?);
    let looked = undo(&std::mem::take(&mut state.looking));
    let staged = state.staged.take();
    client::stop();
    // Both are tried, and where one fails the state still knows of both.
    staged.as_ref().map_or(Ok(()), |staged| undo(&staged.begun)).and(looked)?;
    store.save(&state)?;
    let Some(staged) = staged else {
        let source = "what was staged by a run that left no state".to_owned();
        return Ok(match staging::sweep()? {
            true => Outcome::TookBack(Done { source, holders: Vec::new() }),
            // One of --direct whose state was lost cannot be told from a mount that somebody else made.
            false => Outcome::Nothing { foreign: staging::at_next()? },
        });
    };
    journal::tell(&Event::TookBack { source: staged.root.source.clone() });
    let opened = staged.begun.steps.iter().find_map(|step| match step {
        Step::OpenVerity(open) => Some(&open.name),
        _ => None,
    });
    let holders = opened.map(|name| holders::of_dm(name)).unwrap_or_default();
    let holders = holders.iter().map(ToString::to_string).collect();
    Ok(Outcome::TookBack(Done { source: staged.root.source, holders }))
}

/// Undoes what was done to look at a root, or to leave this one for good, which then was not left; whoever holds the state saves it.
pub(super) fn end_look(state: &mut State) -> Result<(), execute::Error> {
    undo(&state.looking)?;
    state.looking = Plan::default();
    Ok(())
}

/// Undoes steps, the last first. All are tried; the first failure is told.
pub(super) fn undo(plan: &Plan) -> Result<(), execute::Error> {
    let mut outcome = Ok(());
    for step in plan.steps.iter().rev() {
        outcome = outcome.and(match staging::undo(step) {
            // What is staged is more than the boot loader's entry.
            Err(error @ execute::Error::Entries(_)) => {
                complain(format_args!(
                    "nextroot: warning: {}, ignoring: the next cold boot does not go there",
                    chain(&error)
                ));
                Ok(())
            }
            undone => undone,
        });
    }
    outcome
}
