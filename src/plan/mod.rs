//! Pure decisions: what was asked ([`intent`]) and what was found ([`facts`]) become an ordered list of
//! steps. No I/O, no file descriptors; the text of a [`Plan`] is what people read, golden tests compare
//! and the kernel log shows.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod boot;
pub mod boot_entry;
pub mod carry;
pub mod choose;
#[cfg(feature = "cli")]
pub mod client;
mod decision;
pub mod demands;
pub mod device;
mod discover;
#[cfg(feature = "dissect")]
mod dissect;
pub mod doctor;
pub mod event;
pub mod facts;
mod find;
pub mod health;
mod hold;
pub mod image_file;
pub mod intent;
mod invalid;
pub mod leaving;
pub mod locked;
mod look;
pub mod new_mounts;
pub mod order;
mod pair;
mod partitioned;
pub mod plain;
mod policy;
pub mod preflight;
pub mod prewarm;
pub mod refusal;
pub mod report;
pub mod request;
mod resolve;
mod settings;
pub mod shutdown;
pub mod signed;
pub mod slot;
pub mod soft_reboot;
pub mod source;
pub mod stage;
pub mod state;
pub mod step;
pub mod system_facts;
mod tag;
pub mod told;
pub mod undo;
mod verified;
pub mod watchdog;

pub use step::Step;

/// Steps in the order in which they are done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan as text, a step a line, with `>>` before the step at `failed`.
    #[must_use]
    pub fn with_failed(&self, failed: usize) -> String {
        self.lines(Some(failed))
    }

    /// Takes out the steps that opened a device that `other` goes on with: who goes on with it has to close it.
    #[must_use]
    pub fn hand_over(&mut self, other: &Plan) -> Vec<Step> {
        let goes_on = |step: &Step| match step {
            Step::OpenVerity(open) => other
                .steps
                .iter()
                .any(|other| matches!(other, Step::ReuseVerity { name, .. } if *name == open.name)),
            _ => false,
        };
        let (handed, kept) = std::mem::take(&mut self.steps).into_iter().partition(goes_on);
        self.steps = kept;
        handed
    }

    fn lines(&self, failed: Option<usize>) -> String {
        let line = |(index, step): (usize, &Step)| {
            let mark = if failed == Some(index) { ">>" } else { "  " };
            format!("{mark}{:2}. {step} [undo: {}]\n", index + 1, step.undo())
        };
        self.steps.iter().enumerate().map(line).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines(None))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        device::Device,
        step::{HashOrigin, OpenVerity},
        *,
    };
    use crate::format::kernel::devno::Devno;

    /// A device that a plan went on with was closed under it, with what it had replaced.
    #[test]
    fn who_goes_on_with_a_device_closes_it() {
        let digest = "ab".repeat(32);
        let table: crate::format::verity::table::VerityTable =
            format!("1 254:1 254:2 4096 4096 2048 1 sha256 {digest} -").parse().unwrap();
        let devno = Devno { major: 254, minor: 1 };
        let device = Device { name: "vda1".to_owned(), devno, diskseq: None };
        let open = |name: &str| {
            Step::OpenVerity(OpenVerity {
                name: name.to_owned(),
                uuid: String::new(),
                data: device.clone(),
                hash: device.clone(),
                fec: None,
                table: table.clone(),
                root_hash_from: HashOrigin::Arguments,
                signature: None,
            })
        };
        let check = || Step::CheckVerity { name: "a".to_owned(), corruption_ignored: false, repaired: false };
        let mut plan = Plan { steps: vec![open("a"), check(), open("b")] };
        let other =
            Plan { steps: vec![Step::ReuseVerity { name: "a".to_owned(), devno, table: table.clone() }] };
        assert_eq!(plan.hand_over(&Plan { steps: vec![open("a")] }), []);
        assert_eq!(plan.hand_over(&other), [open("a")]);
        assert_eq!(plan.steps, [check(), open("b")]);
        assert_eq!(plan.hand_over(&other), []);
    }
}
