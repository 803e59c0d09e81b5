//! Initramfs images: nextroot's beside others, from the kernel's start to the first instruction of the root's init, by the clock of
//! a guest that counts instructions.

use std::{fs, path::PathBuf};

use argh::FromArgs;
use nextroot_qemu::{
    begun::Begun,
    measured::{Boot, Disk, Measured, Told},
};
use serde::{Deserialize, Serialize};

use crate::{
    Outcome,
    chart::{self, Bar, Span},
    runs::{chosen, median},
};

mod archive;
mod floor;
mod parallel;
pub(crate) mod peers;
mod phases;

use parallel::Parallel;
use peers::{Made, PEERS, Peer, VERITY};

/// The image that all start: a small root on erofs and dm-verity, whose init tells when it began.
pub(crate) const DISK: Disk<'_> = Disk { image: "verity", scsi: false, times: 1, rate: None };
pub(crate) const MEMORY: u64 = 1024;
/// Nothing of it goes to the console, which costs a guest an instruction or two for each character.
pub(crate) const QUIET: &str = "quiet console=ttyS0 panic=-1 init=/usr/sbin/init rig.do=tell-times";

/// Boot with nextroot's initramfs and with others, in turn.
#[derive(FromArgs)]
#[argh(subcommand, name = "initrd")]
pub(crate) struct Asked {
    /// directory with nextroot's binaries; default: target/dist
    #[argh(option, default = "PathBuf::from(\"target/dist\")")]
    dist: PathBuf,
    /// boots of each; default: 3
    #[argh(option, default = "3")]
    runs: usize,
    /// where the figures go
    #[argh(option, short = 'o')]
    output: PathBuf,
    /// some of them only
    #[argh(positional)]
    names: Vec<String>,
}

/// What was measured, and on what.
#[derive(Debug, Serialize)]
struct Figures {
    kernel: String,
    image: &'static str,
    clock: &'static str,
    rows: Vec<Row>,
    /// What nextroot did when, in a run of its own that tells of it.
    spans: Vec<Span>,
    /// With two processors, beside the floor.
    parallel: Option<Parallel>,
}

/// An initramfs. Times are seconds of the guest.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    command: String,
    verity: bool,
    /// Bytes of the file, of what is in it, and how many files those are.
    bytes: u64,
    unpacked: u64,
    files: u64,
    /// Medians: from the kernel's start to its first program, and from there to the root's init.
    kernel: f64,
    initramfs: f64,
    /// How many times nextroot's that is.
    ratio: Option<f64>,
    runs: Vec<Times>,
}

/// When it was there, in seconds since the kernel's start.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) first: f64,
    pub(crate) root: f64,
    /// The most memory that the first program had, in KiB.
    pub(crate) memory: u64,
}

/// Measures, prints and writes.
pub(crate) fn run(asked: &Asked) -> Outcome<()> {
    let measured = Measured::new(&asked.dist)?;
    let mut made: Vec<(&Peer, Made)> = Vec::new();
    let begun = Begun::new(&asked.output, &asked.dist)?;
    for peer in chosen(PEERS, &asked.names, |peer| peer.name)? {
        measured.say(&format!("making the initramfs of {}", peer.name));
        made.push((peer, (peer.make)(&measured, &asked.dist)?));
    }
    let mut times = vec![Vec::new(); made.len()];
    for run in 1..=asked.runs.max(1) {
        for ((peer, made), times) in made.iter().zip(&mut times) {
            measured.say(&format!("run {run}: {}", peer.name));
            times.push(begun.get(&format!("{}-{run}", peer.name), || boot(&measured, peer, made))?);
        }
    }
    let mut rows = made
        .iter()
        .zip(times)
        .map(|((peer, made), runs)| row(peer, made, runs))
        .collect::<Outcome<Vec<Row>>>()?;
    let ours = rows.iter().find(|row| row.name == "nextroot").map(|row| row.initramfs);
    for row in &mut rows {
        row.ratio = ours.map(|ours| row.initramfs / ours);
    }
    print(&rows);
    let (_, kernel) = measured.kernel()?;
    let clock = "guest instructions (QEMU -icount shift=0,sleep=off, one processor)";
    let ours = made.iter().find(|(peer, _)| peer.name == "nextroot");
    let spans = ours.map(|(_, made)| phases::measure(&measured, &made.file)).transpose()?.unwrap_or_default();
    let floor = made.iter().find(|(peer, _)| peer.name == "floor");
    let mut figures = Figures { kernel, image: DISK.image, clock, rows, spans, parallel: None };
    let write =
        |figures: &Figures| Outcome::Ok(fs::write(&asked.output, serde_json::to_vec_pretty(figures)?)?);
    write(&figures)?;
    if let (Some((_, ours)), Some((peer, floor))) = (ours, floor) {
        // A machine with two processors is lost now and then: what was counted is written before.
        let both = [("nextroot", ours, VERITY), ("floor", floor, peer.command_line)];
        figures.parallel = Some(parallel::measure(&measured, &begun, both)?);
        write(&figures)?;
    }
    if !figures.spans.is_empty() {
        let picture = asked.output.with_file_name("phases.svg");
        let title = "What nextroot does between \"Run /init\" and the root's init";
        chart::spans(&picture, title, "seconds of guest time", &figures.spans)?;
    }
    draw(asked, &figures.rows)?;
    begun.end()
}

/// The figures as a picture, beside them.
fn draw(asked: &Asked, rows: &[Row]) -> Outcome<()> {
    let bars: Vec<Bar> = rows
        .iter()
        .map(|row| Bar {
            name: row.name.to_owned(),
            value: row.initramfs,
            told: format!(
                "{:.2} s, {} KiB{}",
                row.initramfs,
                row.bytes >> 10,
                if row.verity { "" } else { ", not verified" }
            ),
            ours: row.name.starts_with("nextroot"),
        })
        .collect();
    let title = "From \"Run /init\" to the first instruction of the root's init (Debian 13, one processor)";
    chart::bars(&asked.output.with_extension("svg"), title, "seconds of guest time", &bars)
}

fn boot(measured: &Measured, peer: &Peer, made: &Made) -> Outcome<Times> {
    let command_line = format!("{QUIET} {}", peer.command_line);
    let boot = Boot {
        initramfs: &made.file,
        disks: &[peer.disk],
        command_line: &command_line,
        memory: MEMORY,
        processors: 1,
    };
    times(measured, &boot).map_err(|error| format!("{}: {error}", peer.name).into())
}

/// Boots, and reads what the root's init told.
pub(crate) fn times(measured: &Measured, boot: &Boot<'_>) -> Outcome<Times> {
    let told = measured.boot(boot)?;
    let seconds = |name: &str| Outcome::Ok(number_of(&told, name)? as f64 / 1e6);
    Ok(Times { first: seconds("first")?, root: seconds("begun")?, memory: number_of(&told, "memory")? })
}

/// A number that the root's init told.
fn number_of(told: &Told, name: &str) -> Outcome<u64> {
    let start = format!("rig: {name}=");
    let said = told.witness.lines().find_map(|line| line.strip_prefix(&start));
    let log = told.log.display();
    let said = said.ok_or_else(|| format!("the root's init did not tell of {name}: {log}"))?;
    Ok(said.trim().parse()?)
}

fn row(peer: &Peer, made: &Made, runs: Vec<Times>) -> Outcome<Row> {
    let of = |time: fn(&Times) -> f64| median(&runs.iter().map(time).collect::<Vec<f64>>());
    let contents = archive::contents(&fs::read(&made.file)?)?;
    Ok(Row {
        name: peer.name,
        what: peer.what,
        command: made.command.clone(),
        verity: peer.verity,
        bytes: fs::metadata(&made.file)?.len(),
        unpacked: contents.bytes,
        files: contents.files,
        kernel: of(|times| times.first),
        initramfs: of(|times| times.root - times.first),
        ratio: None,
        runs,
    })
}

fn print(rows: &[Row]) {
    println!(
        "{:16} {:>9} {:>9} {:>6} {:>8} {:>10} {:>7}",
        "", "KiB", "unpacked", "files", "kernel s", "initramfs s", "ratio"
    );
    for row in rows {
        let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        println!(
            "{:16} {:>9} {:>9} {:>6} {:>8.3} {:>10.3} {:>7}  {}",
            row.name,
            row.bytes >> 10,
            row.unpacked >> 10,
            row.files,
            row.kernel,
            row.initramfs,
            ratio,
            row.what
        );
    }
}
