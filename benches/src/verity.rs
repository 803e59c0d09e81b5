//! Hash trees: `nextroot verity` beside veritysetup, on data that is in the page cache; and how the time grows with the
//! image.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use argh::FromArgs;
use serde::Serialize;

use crate::{
    Outcome,
    chart::{self, Bar},
    runs::{median, peak_memory, timed},
};

/// The most memory that nextroot may take, whatever the image's size.
const MEMORY: u64 = 64 << 20;
/// Both make the same tree, so that each has the same work.
const SALT: &str = "--salt=6e657874726f6f746e657874726f6f746e657874726f6f746e657874726f6f74";
/// Sizes of an image that is one hole, in MiB.
const GROWTH: [u64; 6] = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10];
/// What is done with them.
const HOLE: &str = "format of a hole";

/// Make and check hash trees with nextroot and with veritysetup, in turn.
#[derive(FromArgs)]
#[argh(subcommand, name = "verity")]
pub(crate) struct Asked {
    /// the nextroot to measure
    #[argh(option)]
    nextroot: String,
    /// the veritysetup to measure: a command line, its words apart by spaces
    #[argh(option)]
    veritysetup: String,
    /// how many MiB of data; default: 1024
    #[argh(option, default = "1024")]
    size: u64,
    /// runs of each; default: 7
    #[argh(option, default = "7")]
    runs: usize,
    /// directory for the data: a file system in memory shows the processor alone
    #[argh(option)]
    work: PathBuf,
    /// where the figures go
    #[argh(option, short = 'o')]
    output: PathBuf,
}

/// A figure.
#[derive(Debug, Serialize)]
struct Row {
    tool: String,
    operation: &'static str,
    bytes: u64,
    /// The median.
    seconds: f64,
    /// How many times as fast as veritysetup.
    ratio: Option<f64>,
    runs: Vec<f64>,
}

/// Measures, prints and writes.
pub(crate) fn run(asked: &Asked) -> Outcome<()> {
    fs::create_dir_all(&asked.work)?;
    let data = asked.work.join("data");
    let bytes = asked.size << 20;
    fill(&data, bytes)?;
    let mut rows = compared(asked, &data, bytes)?;
    fs::remove_file(&data)?;
    for mib in GROWTH {
        let file = File::create(&data)?;
        file.set_len(mib << 20)?;
        let words = format(&words(&asked.nextroot, true), &data, &asked.work.join("hash"));
        let runs = (0..3).map(|_| Ok(timed(&words)?.1)).collect::<Outcome<Vec<f64>>>()?;
        rows.push(row("nextroot", HOLE, mib << 20, runs));
        fs::remove_file(asked.work.join("hash"))?;
    }
    fs::remove_file(&data)?;
    for Row { tool, operation, bytes, seconds, ratio, .. } in &rows {
        let times = ratio.map(|ratio| format!("  {ratio:.2} times veritysetup")).unwrap_or_default();
        println!("{tool:12} {operation:17} {:6} MiB {seconds:8.3} s{times}", bytes >> 20);
    }
    let memory = peak_memory()?;
    println!("most memory of any run: {} MiB", memory >> 20);
    fs::write(&asked.output, serde_json::to_vec_pretty(&rows)?)?;
    draw(asked, &rows)?;
    if memory > MEMORY {
        return Err(format!("a run took {} MiB, more than {}", memory >> 20, MEMORY >> 20).into());
    }
    Ok(())
}

/// Pictures beside the figures: both tools, and growth.
fn draw(asked: &Asked, rows: &[Row]) -> Outcome<()> {
    let (holes, files): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.operation == HOLE);
    let bar = |row: &&Row| Bar::seconds(&format!("{} {}", row.tool, row.operation), row.seconds);
    let title = format!("Hash trees of {} MiB in the page cache", asked.size);
    let bars: Vec<Bar> = files.iter().map(bar).collect();
    chart::bars(&asked.output.with_extension("svg"), &title, "seconds", &bars)?;
    let points: Vec<(f64, f64)> =
        holes.iter().map(|row| ((row.bytes >> 20) as f64 / 1024.0, row.seconds)).collect();
    let picture = asked.output.with_file_name("growth-verity.svg");
    chart::growth(&picture, "verity format, of an image that is one hole", ["GiB", "seconds"], &points)
}

/// In turn, so that what else the machine does meets both.
fn compared(asked: &Asked, data: &Path, bytes: u64) -> Outcome<Vec<Row>> {
    let tools =
        [("nextroot", words(&asked.nextroot, true)), ("veritysetup", words(&asked.veritysetup, false))];
    let mut formats = [Vec::new(), Vec::new()];
    let mut checks = [Vec::new(), Vec::new()];
    let mut root = None;
    for _ in 0..asked.runs.max(1) {
        for (number, (name, tool)) in tools.iter().enumerate() {
            let hash = asked.work.join(format!("hash-{name}"));
            let (text, seconds) = timed(&format(tool, data, &hash))?;
            formats.get_mut(number).ok_or("no such tool")?.push(seconds);
            let found = text.lines().find_map(|line| line.strip_prefix("Root hash:")).map(str::trim);
            let found = found.ok_or_else(|| format!("{name} printed no root hash:\n{text}"))?.to_owned();
            if *root.get_or_insert_with(|| found.clone()) != found {
                return Err(format!("{name} made another root hash: {found}").into());
            }
        }
        for (number, (name, tool)) in tools.iter().enumerate() {
            let hash = asked.work.join(format!("hash-{name}"));
            let root = root.clone().unwrap_or_default();
            let check = ["verify".into(), shown(data), shown(&hash), root];
            let (_, seconds) = timed(&[tool.as_slice(), check.as_slice()].concat())?;
            checks.get_mut(number).ok_or("no such tool")?.push(seconds);
        }
    }
    let mut rows = Vec::new();
    for (operation, [ours, theirs]) in [("format", formats), ("verify", checks)] {
        let ratio = median(&theirs) / median(&ours);
        rows.push(Row { ratio: Some(ratio), ..row("nextroot", operation, bytes, ours) });
        rows.push(row("veritysetup", operation, bytes, theirs));
    }
    for (name, _) in &tools {
        fs::remove_file(asked.work.join(format!("hash-{name}")))?;
    }
    Ok(rows)
}

fn row(tool: &str, operation: &'static str, bytes: u64, runs: Vec<f64>) -> Row {
    Row { tool: tool.to_owned(), operation, bytes, seconds: median(&runs), ratio: None, runs }
}

fn words(command: &str, ours: bool) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).chain(ours.then(|| "verity".to_owned())).collect()
}

fn format(tool: &[String], data: &Path, hash: &Path) -> Vec<String> {
    [tool, &["format".to_owned(), shown(data), shown(hash), SALT.to_owned()]].concat()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Bytes that look random (a linear congruential generator), so that nothing of them is a hole or a block of zeros.
fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..bytes / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&(state ^ (state >> 33)).to_le_bytes())?;
    }
    file.flush()
}
