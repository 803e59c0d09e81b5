//! What happens to roots, as the journal is told: each with an ID by which programs find it and the catalog explains it
//! (dist/nextroot.catalog), and what an operator does about it (docs/operations.md).

use std::fmt;

use super::state::Root;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A root waits for the next soft reboot.
    Staged(Root),
    /// It was taken back.
    TookBack {
        /// How it was named.
        source: String,
    },
    /// The soft reboot was called off, before anything stopped.
    CalledOff {
        /// Why.
        why: String,
    },
    /// The switch came back to the root that ran.
    CameBack {
        /// Why.
        why: String,
    },
    /// A root runs since a switch, and is watched.
    OnTrial(Root),
    /// It is healthy.
    Blessed(Root),
    /// It is not, and is left for the one before.
    Leaving {
        /// The root.
        root: Root,
        /// Why.
        why: String,
    },
    /// Another nextroot keeps what became of it from being done or written down, and is asked to end.
    AskedToEnd {
        /// Which process.
        process: String,
        /// What cannot be done meanwhile.
        why: String,
    },
    /// It is not, and stays.
    Staying {
        /// The root.
        root: Root,
        /// Why it is not healthy, and why it stays.
        why: String,
    },
    /// PID 1 does nothing about it: the machine restarts.
    Restarting {
        /// Why.
        why: String,
    },
}

/// By how much it matters, as syslog(3) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// `LOG_ALERT`
    Alert = 1,
    /// `LOG_ERR`
    Error = 3,
    /// `LOG_WARNING`
    Warning = 4,
    /// `LOG_NOTICE`
    Notice = 5,
    /// `LOG_INFO`
    Info = 6,
}

impl Event {
    /// Its ID, 128 bits in hexadecimal (sd-id128(3)): `MESSAGE_ID=`.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Staged(_) => "633fc7138449490ea712919cb9d0f9ef",
            Self::TookBack { .. } => "4c96e87a9d304cd9a6b172d863196bc9",
            Self::CalledOff { .. } => "25d09414d24e4cefbff53581332b7712",
            Self::CameBack { .. } => "73bdab00449747de82198b4011ed8321",
            Self::OnTrial(_) => "aed8530eefad452691b46d01c49caecf",
            Self::Blessed(_) => "b12db5b496ca446fb95185eca1d33165",
            Self::Leaving { .. } => "4eea2876aafa4a9bae02bed8afb850d5",
            Self::AskedToEnd { .. } => "a69556927d004f3da01d1579daece242",
            Self::Staying { .. } => "48fb7fef7e0c4c91b01b80882bc74a5a",
            Self::Restarting { .. } => "08dfcb86586e463a95ba4399f17ffde2",
        }
    }

    /// How much it matters.
    #[must_use]
    pub fn priority(&self) -> Priority {
        match self {
            Self::Restarting { .. } => Priority::Alert,
            Self::CalledOff { .. } | Self::Leaving { .. } | Self::Staying { .. } => Priority::Error,
            Self::CameBack { .. } | Self::AskedToEnd { .. } => Priority::Warning,
            Self::OnTrial(_) | Self::Blessed(_) => Priority::Notice,
            Self::Staged(_) | Self::TookBack { .. } => Priority::Info,
        }
    }

    /// Its fields beside message, ID and priority.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let (root, source, why) = match self {
            Self::Staged(root) | Self::OnTrial(root) | Self::Blessed(root) => (Some(root), None, None),
            Self::Leaving { root, why } | Self::Staying { root, why } => (Some(root), None, Some(why)),
            Self::CalledOff { why }
            | Self::CameBack { why }
            | Self::AskedToEnd { why, .. }
            | Self::Restarting { why } => (None, None, Some(why)),
            Self::TookBack { source } => (None, Some(source), None),
        };
        let process = match self {
            Self::AskedToEnd { process, .. } => Some(process),
            _ => None,
        };
        let source = source.or(root.map(|root| &root.source));
        let root_hash = root.and_then(Root::verity).map(|verity| &verity.root_hash);
        [
            ("NEXTROOT_ROOT", root.map(ToString::to_string)),
            ("NEXTROOT_ROOT_HASH", root_hash.cloned()),
            ("NEXTROOT_SOURCE", source.cloned()),
            ("NEXTROOT_REASON", why.cloned()),
            ("NEXTROOT_PROCESS", process.cloned()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Staged(root) => write!(f, "staged {}: {root}", root.source),
            Self::TookBack { source } => write!(f, "took back {source}"),
            Self::CalledOff { why } => write!(f, "the soft reboot is called off: {why}"),
            Self::CameBack { why } => write!(f, "the switch came back to the root that ran: {why}"),
            Self::OnTrial(root) => write!(f, "on trial: {root}"),
            Self::Blessed(root) => write!(f, "blessed: {root}"),
            Self::Leaving { root, why } => {
                write!(f, "not healthy, going back to the root before: {root}: {why}")
            }
            Self::AskedToEnd { process, why } => {
                write!(f, "asked {process} to end, which has the state locked: {why}")
            }
            Self::Staying { root, why } => write!(f, "not healthy, and stays: {root}: {why}"),
            Self::Restarting { why } => write!(f, "restarting the machine: {why}"),
        }
    }
}
