//! `nextroot cancel`: takes back what is staged, or what a killed stage left.

use super::client;
use crate::{
    plan::{
        Plan, Step,
        event::Event,
        state::{Staged, State},
    },
    run::{
        execute, journal,
        soft_reboot::{
            boot_entries,
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
    running::settle(&mut state)?;
    let looked = undo(&std::mem::take(&mut state.looking));
    let staged = state.staged.take();
    client::stop();
    // Both are tried, and where one fails the state still knows of both.
    let undone = staged.as_ref().map_or_else(Undone::default, |staged| undo(&staged.begun)).and(looked);
    undone.outcome?;
    state.looking.steps = undone.entries;
    store.save(&state)?;
    let outcome = match staged {
        Some(staged) => took_back(staged),
        None => swept()?,
    };
    undone.why.map_or(Ok(outcome), |why| Err(why.into()))
}

/// What lies about and no state knows of is undone, too.
fn swept() -> Result<Outcome, Error> {
    let source = "what was staged by a run that left no state".to_owned();
    Ok(match staging::sweep()? {
        true => Outcome::TookBack(Done { source, holders: Vec::new() }),
        // One of --direct whose state was lost cannot be told from a mount that somebody else made.
        false => Outcome::Nothing { foreign: staging::at_next()? },
    })
}

fn took_back(staged: Staged) -> Outcome {
    journal::tell(&Event::TookBack { source: staged.root.source.clone() });
    let opened = staged.begun.steps.iter().find_map(|step| match step {
        Step::OpenVerity(open) => Some(&open.name),
        _ => None,
    });
    let holders = opened.map(|name| holders::of_dm(name)).unwrap_or_default();
    let holders = holders.iter().map(ToString::to_string).collect();
    Outcome::TookBack(Done { source: staged.root.source, holders })
}

/// Undoes what was done to look at a root, or to leave this one for good, which then was not left; whoever holds the state saves it.
/// Why an entry of the boot loader keeps its name until the next time is returned: that is to be told.
pub(super) fn end_look(state: &mut State) -> Result<Option<String>, execute::Error> {
    let Undone { outcome, entries, why } = undo(&state.looking);
    outcome?;
    state.looking.steps = entries;
    Ok(why.as_ref().map(kept))
}

/// What is told where an entry of the boot loader keeps its name.
pub(super) fn kept(why: &execute::Error) -> String {
    format!("{}; until nextroot cancel or gc can do it, the next cold boot may not go there", chain(why))
}

/// What came of undoing steps.
#[derive(Debug)]
pub(super) struct Undone {
    /// The first failure, but for those of the boot loader's entries.
    pub(super) outcome: Result<(), execute::Error>,
    /// Steps that could not be undone as an entry of the boot loader keeps its name: what was done is more than those, and they
    /// are tried again.
    pub(super) entries: Vec<Step>,
    /// Why the first of them could not.
    pub(super) why: Option<execute::Error>,
}

impl Default for Undone {
    fn default() -> Self {
        Self { outcome: Ok(()), entries: Vec::new(), why: None }
    }
}

impl Undone {
    fn and(self, other: Self) -> Self {
        Self {
            outcome: self.outcome.and(other.outcome),
            entries: [other.entries, self.entries].concat(),
            why: self.why.or(other.why),
        }
    }
}

/// Undoes steps, the last first. All are tried.
pub(super) fn undo(plan: &Plan) -> Undone {
    let mut undone = Undone::default();
    for step in plan.steps.iter().rev() {
        match staging::undo(step) {
            Ok(()) => {}
            Err(execute::Error::Entries(why)) => {
                // Where it is gone nothing is left to be undone.
                if !matches!(why, boot_entries::Error::Gone { .. }) {
                    undone.entries.insert(0, step.clone());
                }
                undone.why.get_or_insert(why.into());
            }
            Err(error) => undone.outcome = undone.outcome.and(Err(error)),
        }
    }
    undone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::kernel::devno::Devno,
        plan::{boot_entry::Renaming, device::Device},
    };

    /// It was forgotten, and the boot loader passed over a root that was well.
    #[test]
    fn an_entry_that_keeps_its_name_is_tried_again() {
        let partition =
            Device { name: "none".to_owned(), devno: Devno { major: 0, minor: 0 }, diskseq: None };
        let entry = |name: &str| {
            let (directory, from) = ("loader/entries".to_owned(), format!("{name}+2.conf"));
            let to = format!("{name}+0.conf");
            Step::MarkEntryBad(Renaming { partition: partition.clone(), directory, from, to })
        };
        let looking = Plan { steps: vec![entry("a"), entry("b")] };
        let mut state = State { looking: looking.clone(), ..State::default() };
        for _ in 0..2 {
            let told = end_look(&mut state).unwrap().unwrap();
            assert!(told.contains("none") && told.ends_with("the next cold boot may not go there"), "{told}");
            assert_eq!(state.looking, looking);
        }
    }
}
