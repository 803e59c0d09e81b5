//! nextroot beside the floor with two processors, on which it loads at the same time what does not need each other. Two processors
//! count no instructions: their time is the host's, so both are booted in turn, again and again.

use nextroot_qemu::{
    begun::Begun,
    measured::{Boot, Measured},
};
use serde::Serialize;

use super::{DISK, MEMORY, QUIET, peers::Made, times};
use crate::{Outcome, runs::median};

/// How often each is booted.
const RUNS: usize = 10;

/// From the kernel's first program to the root's init, in seconds of the host.
#[derive(Debug, Serialize)]
pub(super) struct Parallel {
    nextroot: Vec<f64>,
    floor: Vec<f64>,
    /// How many times the floor's median nextroot's is.
    ratio: f64,
}

pub(super) fn measure(
    measured: &Measured,
    begun: &Begun,
    both: [(&str, &Made, &str); 2],
) -> Outcome<Parallel> {
    let boot = |made: &Made, more: &str| -> Outcome<f64> {
        let told = times(
            measured,
            &Boot {
                initramfs: &made.file,
                disks: &[DISK],
                command_line: &format!("{QUIET} {more}"),
                memory: MEMORY,
                processors: 2,
            },
        )?;
        Ok(told.root - told.first)
    };
    let mut all = Parallel { nextroot: Vec::new(), floor: Vec::new(), ratio: f64::NAN };
    for run in 1..=RUNS {
        measured.say(&format!("two processors, run {run}"));
        for ((name, made, more), seconds) in both.iter().zip([&mut all.nextroot, &mut all.floor]) {
            seconds.push(begun.get(&format!("two-processors-{name}-{run}"), || boot(made, more))?);
        }
    }
    let spread = |runs: &[f64]| {
        let (least, most) =
            runs.iter().fold((f64::MAX, 0.0), |(least, most), run| (run.min(least), run.max(most)));
        format!("{:.2} s ({least:.2} to {most:.2})", median(runs))
    };
    println!("two processors: nextroot {}, the floor {}", spread(&all.nextroot), spread(&all.floor));
    all.ratio = median(&all.nextroot) / median(&all.floor);
    Ok(all)
}
