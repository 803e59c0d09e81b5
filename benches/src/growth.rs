//! How an init's time grows with the disks and the partitions of its machine.

use std::{fs, path::PathBuf};

use argh::FromArgs;
use nextroot_qemu::measured::{Boot, Disk, Measured};
use serde::Serialize;

use crate::{
    Outcome, chart,
    initramfs::{
        DISK, MEMORY, QUIET,
        peers::{VERITY, nextroot_generic},
        times,
    },
};

/// Boot with ever more disks and partitions.
#[derive(FromArgs)]
#[argh(subcommand, name = "growth")]
pub(crate) struct Asked {
    /// directory with nextroot's binaries; default: target/dist
    #[argh(option, default = "PathBuf::from(\"target/dist\")")]
    dist: PathBuf,
    /// where the figures go
    #[argh(option, short = 'o')]
    output: PathBuf,
}

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

/// A point: so many of them, and seconds of the guest from the kernel's first program to the root's init.
#[derive(Debug, Serialize)]
struct Row {
    series: &'static str,
    count: usize,
    seconds: f64,
}

/// Measures, prints and writes.
pub(crate) fn run(asked: &Asked) -> Outcome<()> {
    let measured = Measured::new(&asked.dist)?;
    let made = nextroot_generic(&measured, &asked.dist)?;
    let command_line = format!("{QUIET} {VERITY}");
    let mut rows: Vec<Row> = Vec::new();
    for Series { name, image, times: steps, each, least } in SERIES {
        let begin = rows.len();
        for step in steps {
            let count = least + step * each;
            measured.say(&format!("{count} {name}"));
            let disks = [Disk { image, scsi: true, times: *step }, Disk { scsi: true, ..DISK }];
            let boot =
                Boot { initramfs: &made.file, disks: &disks, command_line: &command_line, memory: MEMORY };
            let told = times(&measured, &boot).map_err(|error| format!("{count} {name}: {error}"))?;
            let seconds = told.root - told.first;
            println!("{count:5} {name:10} {seconds:8.3} s");
            rows.push(Row { series: name, count, seconds });
        }
        let points: Vec<(f64, f64)> =
            rows.iter().skip(begin).map(|row| (row.count as f64, row.seconds)).collect();
        let picture = asked.output.with_file_name(format!("growth-{name}.svg"));
        let title = format!("From \"Run /init\" to the root's init, by {name}");
        chart::growth(&picture, &title, [name, "seconds of guest time"], &points)?;
    }
    Ok(fs::write(&asked.output, serde_json::to_vec_pretty(&rows)?)?)
}
