//! What is put behind a unit that must not be away for long: as a drop-in of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A unit, and what stops before it and starts after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The unit.
    pub unit: String,
    /// What is put behind it.
    pub before: Vec<String>,
}

/// The drop-in (systemd.unit(5)), and by its first line ours.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{OURS}\n[Unit]")?;
        self.before.iter().try_for_each(|other| writeln!(f, "Before={other}"))
    }
}

/// What the drop-in begins with.
pub const OURS: &str =
    "# Left by nextroot: last to stop and first to start, until the root of the soft reboot is blessed.";
