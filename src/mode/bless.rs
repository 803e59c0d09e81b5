//! `nextroot bless`: the running root is healthy, and the one before last is not needed any more.

use crate::run::{
    execute, machine,
    soft_reboot::{
        running,
        state::{self, Store},
    },
};

use super::gc;

/// Why it could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mounts that are not the system's.
    #[error(transparent)]
    OwnMounts(#[from] running::OwnMounts),
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// A device.
    #[error("close what earlier roots left open")]
    Close(#[from] execute::Error),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether the root was on trial; else it was blessed before, or no switch led to it.
    pub was_on_trial: bool,
    /// The root, as `status` has it; `None` where it cannot be told.
    pub root: Option<String>,
    /// A line for each device that was closed.
    pub closed: Vec<String>,
}

/// Declares the running root healthy, and closes what only roots before the previous one needed.
pub fn run() -> Result<Done, Error> {
    running::shares_mounts()?;
    let store = Store::default();
    let _lock = store.lock()?;
    let mut state = running::settled::<Error>(&store)?;
    let was_on_trial = state.bless(machine::clock());
    // It is blessed, whatever becomes of devices that nobody needs.
    store.save(&state)?;
    let closed = gc::collect(&mut state)?;
    store.save(&state)?;
    Ok(Done { was_on_trial, root: state.current.as_ref().map(ToString::to_string), closed })
}
