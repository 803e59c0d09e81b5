//! `nextroot bless`: the running root is healthy, and the one before last is not needed any more, or neither.

use crate::{
    plan::event::Event,
    run::{
        journal, machine,
        soft_reboot::{running, state::Store},
    },
};

use super::gc;
pub use super::gc::Error;

/// What became of it.
#[derive(Debug)]
pub struct Done {
    /// Whether the root was on trial; else it was blessed before, or no switch led to it.
    pub was_on_trial: bool,
    /// The root, as `status` has it; `None` where it cannot be told.
    pub root: Option<String>,
    /// A line for each device that was closed, or why one could not be: the root is blessed all the same.
    pub closed: Result<Vec<String>, Error>,
}

/// Declares the running root healthy, and closes what only roots before the previous one needed, or before itself.
pub fn run() -> Result<Done, Error> {
    running::shares_mounts()?;
    let store = Store::default();
    let _lock = store.lock()?;
    let mut state = running::settled::<Error>(&store)?;
    let was_on_trial = state.bless(machine::clock());
    store.save(&state)?;
    if let Some(root) = state.current.as_ref().filter(|_| was_on_trial) {
        journal::tell(&Event::Blessed(root.clone()));
    }
    let collected = gc::collect(&mut state);
    let closed = store.save(&state).map_err(Error::from).and(collected);
    Ok(Done { was_on_trial, root: state.current.as_ref().map(ToString::to_string), closed })
}
