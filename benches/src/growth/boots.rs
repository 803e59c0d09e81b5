//! An init and its machine's disks and partitions: to the root's init, by the guest's clock.

use std::path::Path;

use nextroot_qemu::measured::{Boot, Disk, Measured};

use super::Row;
use crate::{
    Outcome,
    initramfs::{
        DISK, MEMORY, QUIET,
        peers::{VERITY, nextroot_generic},
        times,
    },
};

/// What grows.
struct Series {
    name: &'static str,
    /// The image on each of the disks beside the root's.
    image: &'static str,
    /// How many of them, each time.
    times: &'static [usize],
    /// What each adds, and what there is without.
    each: usize,
    least: usize,
}

const SERIES: [Series; 2] = [
    Series { name: "disks", image: "noise", times: &[0, 7, 15, 31, 63], each: 1, least: 1 },
    Series { name: "partitions", image: "many", times: &[0, 1, 2, 4, 8], each: 125, least: 2 },
];

/// Boots with ever more of both.
pub(super) fn measure(measured: &Measured, dist: &Path) -> Outcome<Vec<Row>> {
    let made = nextroot_generic(measured, dist)?;
    let command_line = format!("{QUIET} {VERITY}");
    let mut rows = Vec::new();
    for Series { name, image, times: steps, each, least } in SERIES {
        for step in steps {
            let count = least + step * each;
            measured.say(&format!("{count} {name}"));
            let disks = [Disk { image, scsi: true, times: *step, rate: None }, Disk { scsi: true, ..DISK }];
            let boot = Boot {
                initramfs: &made.file,
                disks: &disks,
                command_line: &command_line,
                memory: MEMORY,
                processors: 1,
            };
            let told = times(measured, &boot).map_err(|error| format!("{count} {name}: {error}"))?;
            let memory = Some(told.memory);
            rows.push(Row { series: name.to_owned(), count, seconds: told.root - told.first, memory });
        }
    }
    Ok(rows)
}
