//! How long it takes to make an initramfs: nextroot's mkinitrd beside others, in turn, with all that they read in the page cache.

use std::{fs, path::PathBuf, time::Instant};

use argh::FromArgs;
use nextroot_qemu::measured::Measured;
use serde::Serialize;

use crate::{
    Outcome,
    chart::{Bar, bars},
    initramfs::peers::{PEERS, Peer},
    runs::median,
};

/// Make initramfs images with nextroot and with others, in turn.
#[derive(FromArgs)]
#[argh(subcommand, name = "mkinitrd")]
pub(crate) struct Asked {
    /// directory with nextroot's binaries; default: target/dist
    #[argh(option, default = "PathBuf::from(\"target/dist\")")]
    dist: PathBuf,
    /// runs of each, after one that is not counted; default: 5
    #[argh(option, default = "5")]
    runs: usize,
    /// where the figures go
    #[argh(option, short = 'o')]
    output: PathBuf,
}

/// One that makes them. Times are seconds on this machine.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    command: String,
    /// The median.
    seconds: f64,
    /// How many times nextroot's that is.
    ratio: Option<f64>,
    runs: Vec<f64>,
}

/// Measures, prints and writes.
pub(crate) fn run(asked: &Asked) -> Outcome<()> {
    let measured = Measured::new(&asked.dist)?;
    let peers: Vec<&Peer> = PEERS.iter().filter(|peer| peer.makes).collect();
    let mut rows: Vec<Row> = Vec::new();
    for peer in &peers {
        measured.say(&format!("making an initramfs with {}", peer.name));
        let command = (peer.make)(&measured, &asked.dist)?.command;
        rows.push(Row {
            name: peer.name,
            what: peer.what,
            command,
            seconds: 0.0,
            ratio: None,
            runs: Vec::new(),
        });
    }
    for run in 1..=asked.runs.max(1) {
        for (peer, row) in peers.iter().zip(&mut rows) {
            measured.say(&format!("run {run}: {}", peer.name));
            let begun = Instant::now();
            (peer.make)(&measured, &asked.dist)?;
            row.runs.push(begun.elapsed().as_secs_f64());
        }
    }
    rows.iter_mut().for_each(|row| row.seconds = median(&row.runs));
    let ours = rows.iter().find(|row| row.name == "nextroot").map(|row| row.seconds);
    for row in &mut rows {
        row.ratio = ours.map(|ours| row.seconds / ours);
        println!(
            "{:16} {:8.3} s {:8.1} times  {}",
            row.name,
            row.seconds,
            row.ratio.unwrap_or(f64::NAN),
            row.what
        );
    }
    fs::write(&asked.output, serde_json::to_vec_pretty(&rows)?)?;
    let drawn: Vec<Bar> = rows.iter().map(|row| Bar::seconds(row.name, row.seconds)).collect();
    bars(
        &asked.output.with_extension("svg"),
        "Making an initramfs (all in the page cache)",
        "seconds",
        &drawn,
    )
}
