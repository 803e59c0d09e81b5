//! `nextroot gc`: closes what earlier roots left open.

use crate::{
    plan::state::State,
    run::{
        closing, configuration, execute,
        soft_reboot::{
            holders, orders, running,
            state::{self, Store},
        },
    },
};

/// Why nothing could be closed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mounts that are not the system's.
    #[error(transparent)]
    OwnMounts(#[from] running::OwnMounts),
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// nextroot.conf, which says how many of them stay open.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// A device.
    #[error("close what earlier roots left open")]
    Close(#[from] execute::Error),
}

/// Closes the devices of roots that are neither running, nor staged, nor the one before, unless `Keep=0` says that it goes, too;
/// a line each. One that is in use goes when that ends, and who uses it is named.
pub fn run() -> Result<Vec<String>, Error> {
    running::shares_mounts()?;
    let store = Store::default();
    let _lock = store.lock()?;
    let mut state = running::settled::<Error>(&store)?;
    let collected = collect(&mut state);
    store.save(&state)?;
    collected
}

/// The same for a state that is held.
pub(super) fn collect(state: &mut State) -> Result<Vec<String>, Error> {
    if configuration::read(None)?.keeps_none {
        state.retire_previous();
    }
    let (mut lines, mut left) = (Vec::new(), Vec::new());
    let mut failed = super::cancel::end_look(state).map(|kept| lines.extend(kept));
    for root in state.unused() {
        // The others go all the same.
        if let Err(error) = closing::close_if_there(&root.name) {
            failed = failed.and(Err(error));
            left.push(root.name);
            continue;
        }
        let users: Vec<String> = holders::of_dm(&root.name).iter().map(ToString::to_string).collect();
        lines.push(match users.as_slice() {
            [] => format!("closed dm-verity {}", root.name),
            users => format!("dm-verity {} goes when {} end", root.name, users.join(", ")),
        });
    }
    state.forget_closed(&left);
    let outlived = state.outlived_orders();
    if !outlived.is_empty() {
        orders::remove(&outlived)?;
        lines.push(format!("ordered as before: {}", outlived.join(" ")));
        state.ordered.retain(|unit| !outlived.contains(unit));
    }
    failed?;
    Ok(lines)
}
