//! A block device, as decisions and steps name it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::kernel::devno::Devno;

/// A block device that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The kernel's name, `vda2`.
    pub name: String,
    /// Its number, by which it is opened.
    pub devno: Devno,
    /// What tells its disk from any other of that number, where the kernel says it: what was looked at is what is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diskseq: Option<u64>,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.devno)
    }
}
