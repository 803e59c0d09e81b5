//! What undoes each step of a plan.

use std::fmt;

use super::{Step, boot_entry::Renaming};

/// How a step is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Nothing was changed.
    NotNeeded,
    /// It stays, with the reason.
    Stays(&'static str),
    /// Closes the dm device of this name.
    Close(String),
    /// Unmounts what is mounted last at this path.
    Unmount(String),
    /// Removes these units.
    RemoveUnits(Vec<String>),
    /// Removes the drop-ins of these units.
    RemoveOrders(Vec<String>),
    /// Removes the copy of this program for the end of the machine's run.
    RemoveExitrd,
    /// Puts the one back that was there before.
    PutExitrdBack,
    /// Takes the watcher away, unless the running root is on trial.
    EndWatcher,
    /// Moves a mount back.
    MoveBack {
        /// Where it is.
        from: String,
        /// Where it was.
        to: String,
    },
    /// Gives a boot loader's entry its name back.
    Rename(Renaming),
    /// There is none.
    Impossible,
}

impl Step {
    /// What undoes this step.
    #[must_use]
    pub fn undo(&self) -> Undo {
        match self {
            Self::LoadModules { .. } => Undo::Stays("modules stay loaded"),
            Self::AttachLoop { .. } => Undo::Stays("it goes when nobody uses it"),
            Self::OpenVerity(open) => Undo::Close(open.name.clone()),
            Self::ReuseVerity { .. }
            | Self::CheckVerity { .. }
            | Self::CheckPlain { .. }
            | Self::CheckVersion { .. }
            | Self::FindInit { .. }
            | Self::Isolate { .. }
            | Self::Follow { .. } => Undo::NotNeeded,
            Self::FurnishRelay { .. } | Self::Publish { .. } => Undo::Stays("it goes with the tmpfs"),
            Self::Prewarm { .. } => Undo::Stays("memory is had back when it is needed"),
            Self::LeaveUnits { names } => Undo::RemoveUnits(names.clone()),
            Self::Order { orders } => {
                Undo::RemoveOrders(orders.iter().map(|order| order.unit.clone()).collect())
            }
            Self::Watch { .. } => Undo::EndWatcher,
            Self::MarkEntryBad(renaming) => Undo::Rename(renaming.back()),
            Self::ArmWatchdog(_) => Undo::Stays("the next PID 1 feeds it"),
            Self::KeepExitrd => Undo::PutExitrdBack,
            Self::LeaveExitrd => Undo::RemoveExitrd,
            Self::Move { from, to } => Undo::MoveBack { from: to.clone(), to: from.clone() },
            Self::Mount { at, .. }
            | Self::Tmpfs { at, .. }
            | Self::Overlay { at, .. }
            | Self::VolatileUsr { at, .. }
            | Self::Carry { at, .. }
            | Self::Bind { at, .. } => Undo::Unmount(at.clone()),
            Self::BaseFileSystem { .. } => Undo::Stays("it goes with the tmpfs"),
            Self::NameVolatileRoot { .. } => Undo::Stays("/run goes with the initramfs"),
            Self::Pivot { .. } | Self::MoveApi { .. } | Self::SwitchRoot { .. } | Self::Exec => {
                Undo::Impossible
            }
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("not needed"),
            Self::Stays(why) => f.write_str(why),
            Self::Close(name) => write!(f, "close {name}"),
            Self::Unmount(at) => write!(f, "unmount {at}"),
            Self::RemoveUnits(names) => write!(f, "remove {}", names.join(" ")),
            Self::RemoveOrders(units) => write!(f, "remove the drop-ins of {}", units.join(" ")),
            Self::RemoveExitrd => f.write_str("remove it"),
            Self::PutExitrdBack => f.write_str("put it back"),
            Self::EndWatcher => f.write_str("end it, unless this root is on trial"),
            Self::MoveBack { from, to } => write!(f, "move {from} back to {to}"),
            Self::Rename(Renaming { directory, from, to, .. }) => {
                write!(f, "rename {directory}/{from} back to {to}")
            }
            Self::Impossible => f.write_str("impossible"),
        }
    }
}
