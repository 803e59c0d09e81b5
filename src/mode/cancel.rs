//! `nextroot cancel`: takes back what is staged, or what a killed stage left.

use crate::{
    plan::Plan,
    run::{
        execute, running, staging,
        state::{self, Store},
    },
};

/// Why it could not be taken back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// A step.
    #[error("undo, nextroot cancel may be tried again")]
    Undo(#[from] execute::Error),
}

/// Takes it back; what it was, or `None` where nothing was staged.
pub fn run() -> Result<Option<String>, Error> {
    let store = Store::default();
    let _lock = store.lock()?;
    let mut state = store.load()?;
    state.settle(running::root(), staging::waits()?);
    let Some(staged) = state.staged.take() else { return Ok(None) };
    undo(&staged.begun)?;
    store.save(&state)?;
    Ok(Some(staged.root.source))
}

/// Undoes steps, the last first. All are tried; the first failure is told.
pub(super) fn undo(plan: &Plan) -> Result<(), execute::Error> {
    let mut outcome = Ok(());
    for step in plan.steps.iter().rev() {
        outcome = outcome.and(staging::undo(step));
    }
    outcome
}
