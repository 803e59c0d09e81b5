//! How what we do grows with what there is of a machine: linear or better.

use std::{
    fs,
    path::{Path, PathBuf},
};

use argh::FromArgs;
use nextroot_qemu::{begun::Begun, measured::Measured};
use serde::{Deserialize, Serialize};

use crate::{Outcome, chart};

mod boots;
mod lives;

/// Measure with ever more disks, partitions, files in the page cache, soft reboots.
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

/// A part of the measurements.
type Measure = fn(&Measured, &Path) -> Outcome<Vec<Row>>;

/// A point: so many of them, and seconds of the guest.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    series: String,
    count: usize,
    seconds: f64,
    /// The most memory that was taken, in KiB, where it was told.
    memory: Option<u64>,
}

/// What is drawn of a series.
const PICTURES: [(&str, &str); 4] = [
    ("disks", "From \"Run /init\" to the root's init"),
    ("partitions", "From \"Run /init\" to the root's init"),
    ("files", "stage, by files of the running root that were read before"),
    ("soft-reboots", "A soft reboot, by how many there were"),
];

/// Measures, prints and writes, a part after the other.
pub(crate) fn run(asked: &Asked) -> Outcome<()> {
    let measured = Measured::new(&asked.dist)?;
    let begun = Begun::new(&asked.output, &asked.dist)?;
    let mut rows: Vec<Row> = Vec::new();
    let parts: [(&str, Measure); 3] =
        [("boots", boots::measure), ("stage", lives::stage), ("soft-reboots", lives::soft_reboots)];
    for (part, measure) in parts {
        let more = begun.get(part, || measure(&measured, &asked.dist))?;
        for Row { series, count, seconds, memory } in &more {
            let memory = memory.map(|memory| format!("  {memory} KiB")).unwrap_or_default();
            println!("{count:5} {series:12} {seconds:8.3} s{memory}");
        }
        rows.extend(more);
        fs::write(&asked.output, serde_json::to_vec_pretty(&rows)?)?;
    }
    for (name, title) in PICTURES {
        let points: Vec<(f64, f64)> =
            rows.iter().filter(|row| row.series == name).map(|row| (row.count as f64, row.seconds)).collect();
        let picture = asked.output.with_file_name(format!("growth-{name}.svg"));
        chart::growth(&picture, title, [name, "seconds of guest time"], &points)?;
    }
    begun.end()
}
