//! The interruption of a web server and of a database on the way from one system to the next, as clients outside see it, by the
//! clock of a machine that counts instructions.

use std::{collections::BTreeMap, fs, path::PathBuf};

use argh::FromArgs;
use nextroot_qemu::{
    begun::Begun,
    measured::{Boot, Disk, Measured, Port, Scripted, Told},
};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{
    Outcome,
    chart::{Bar, bars},
    initramfs::peers::Made,
    runs::{chosen, median},
};

mod clients;
mod ways;

use clients::{Answer, Question, SERVICES, Service};
use ways::{WAYS, Way};

const IMAGE: &str = "serving";
const MEMORY: u64 = 2048;
const COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 roothash={roothash:os_1} systemd.default_device_timeout_sec=300";

/// Go from one system to the next in several ways, in turn.
#[derive(FromArgs)]
#[argh(subcommand, name = "soft-reboot")]
pub(crate) struct Asked {
    /// directory with nextroot's binaries; default: target/dist
    #[argh(option, default = "PathBuf::from(\"target/dist\")")]
    dist: PathBuf,
    /// how often each way is gone; default: 3
    #[argh(option, default = "3")]
    runs: usize,
    /// where the figures go
    #[argh(option, short = 'o')]
    output: PathBuf,
    /// some ways only
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
}

/// A way.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    /// The initramfs, and how it was made.
    initramfs: String,
    /// By service: the median of all runs, in seconds of the guest, and how many times that of a plain soft reboot.
    interruption: BTreeMap<&'static str, f64>,
    /// How many times as long an answer took while the next system was seen to: the median of all runs.
    slower: BTreeMap<&'static str, f64>,
    ratio: BTreeMap<&'static str, f64>,
    /// Bytes that the second system had to be read from its partition until it had started: the median.
    read: Option<f64>,
    /// How much of what `nextroot` read then was in memory before.
    hit_rate: Option<f64>,
    runs: Vec<Run>,
}

/// One time on the way.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    services: BTreeMap<String, Away>,
    read: Option<f64>,
    /// What the guest told of it: stage, status, and what survived.
    told: Vec<String>,
}

/// How a service was away.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Away {
    /// From the last answer of the first system to the first of the second, in seconds of the guest.
    interruption: f64,
    /// Questions in between that were refused, and that nobody answered in time.
    refused: usize,
    lost: usize,
    /// The longest that an answer took outside of it, in seconds of this side's clock.
    slowest: f64,
    /// How long answers took before anything was done about the next system, and while that was opened, mounted and read ahead.
    before: Took,
    meanwhile: Took,
}

/// How long answers took, in seconds of this side's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Took {
    /// How many there were.
    answers: usize,
    median: f64,
    slowest: f64,
}

impl Took {
    fn of(seconds: &[f64]) -> Self {
        match seconds.len() {
            0 => Self::default(),
            answers => Self {
                answers,
                median: median(seconds),
                slowest: seconds.iter().copied().fold(0.0, f64::max),
            },
        }
    }
}

/// Measures, prints and writes.
pub(crate) fn run(asked: &Asked) -> Outcome<()> {
    let measured = Measured::new(&asked.dist)?;
    let mut made: Vec<(&Way, Made, Vec<Run>)> = Vec::new();
    let begun = Begun::new(&asked.output, &asked.dist)?;
    for way in chosen(WAYS, &asked.names, |way| way.name)? {
        made.push((way, (way.initramfs)(&measured, &asked.dist)?, Vec::new()));
    }
    for number in 1..=asked.runs.max(1) {
        for (way, made, runs) in &mut made {
            measured.say(&format!("run {number}: {}", way.name));
            let run = begun.get(&format!("{}-{number}", way.name), || go(&measured, way, made));
            runs.push(run.map_err(|error| format!("{}: {error}", way.name))?);
        }
    }
    let mut rows: Vec<Row> = made.into_iter().map(|(way, made, runs)| row(way, made, runs)).collect();
    compare(&mut rows);
    print(&rows);
    let (_, kernel) = measured.kernel()?;
    let clock = "guest instructions, and the host's time where the guest waits (QEMU -icount shift=0,sleep=on, one processor)";
    let figures = Figures { kernel, image: IMAGE, clock, rows };
    fs::write(&asked.output, serde_json::to_vec_pretty(&figures)?)?;
    SERVICES.iter().try_for_each(|service| draw(asked, &figures.rows, service))?;
    begun.end()
}

/// Holds each against a plain soft reboot to the same system on the same disk, and what is read ahead against nothing that is.
fn compare(rows: &mut [Row]) {
    let of = |name: &str| rows.iter().find(|row| row.name == name);
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let on = row.name.find('@').map_or("", |at| &row.name[at..]);
            let ahead = row.name.starts_with("nextroot-prewarm");
            let cold = of(&format!("nextroot{on}")).and_then(|cold| cold.read).filter(|_| ahead);
            (of(&format!("plain{on}")).map(|plain| plain.interruption.clone()), cold)
        })
        .collect();
    for (row, (plain, cold)) in rows.iter_mut().zip(told) {
        row.hit_rate = row.read.zip(cold).map(|(read, cold)| 1.0 - read / cold);
        for (service, seconds) in &row.interruption {
            if let Some(plain) = plain.as_ref().and_then(|plain| plain.get(service)) {
                row.ratio.insert(service, seconds / plain);
            }
        }
    }
}

/// Once, with clients.
fn go(measured: &Measured, way: &Way, made: &Made) -> Outcome<Run> {
    let ports = SERVICES
        .iter()
        .map(|service| Ok(Port { host: clients::free_port()?, guest: service.port }))
        .collect::<Outcome<Vec<Port>>>()?;
    let disk = |image| Disk { image, scsi: false, times: 1, rate: way.rate };
    let disks: Vec<Disk<'_>> = [Some(IMAGE), way.next.image].into_iter().flatten().map(disk).collect();
    let boot = Boot {
        initramfs: &made.file,
        disks: &disks,
        command_line: COMMAND_LINE,
        memory: MEMORY,
        processors: 1,
    };
    let script = way.script();
    let scripted = Scripted { script: &script, ports: &ports, has_kernel: way.kexec };
    let here: Vec<u16> = ports.iter().map(|port| port.host).collect();
    let (told, questions) = clients::asking(&here, || measured.play(&boot, scripted));
    let told = told?;
    let moments = Moments::of(&told)?;
    let services = SERVICES.iter().zip(&questions).map(|(service, questions)| {
        let away = away(questions, &moments);
        let log = told.log.display();
        let away = away.ok_or_else(|| format!("{} did not answer in both systems: {log}", service.name))?;
        Ok((service.name.to_owned(), away))
    });
    Ok(Run {
        services: services.collect::<Outcome<_>>()?,
        read: way.survives.then(|| read(&told)).transpose()?,
        told: told.witness.lines().filter_map(|line| line.strip_prefix("rig: ")).map(str::to_owned).collect(),
    })
}

/// When what happened, in seconds of the machine's clock.
struct Moments {
    /// The first system had started, and its next was seen to.
    ready: f64,
    /// It was told to go.
    go: f64,
    /// How far the machine's clock is before that of its first system and of its second.
    ahead: [f64; 2],
}

impl Moments {
    fn of(told: &Told) -> Outcome<Self> {
        let line = Regex::new(r"rig: \d+ (clock|ready|go)=machine=(\d+) system=(\d+)")?;
        let (mut ahead, mut ready, mut go) = (Vec::new(), None, None);
        for found in told.witness.lines().filter_map(|text| line.captures(text)) {
            let (machine, system) = (found[2].parse::<f64>()? / 1e9, found[3].parse::<f64>()? / 1e9);
            match &found[1] {
                "ready" => ready = Some(machine),
                "go" => go = Some(machine),
                _ => ahead.push(machine - system),
            }
        }
        match (ready.zip(go), ahead.as_slice()) {
            (Some((ready, go)), [first, second]) => Ok(Self { ready, go, ahead: [*first, *second] }),
            _ => Err(format!("the machine did not go to a second system: {}", told.log.display()).into()),
        }
    }
}

/// What was read of the second system's partition from the wish to leave the first.
fn read(told: &Told) -> Outcome<f64> {
    let line = Regex::new(r"rig: \d+ read=(\d+)")?;
    let said: Vec<&str> = told.witness.lines().filter(|text| line.is_match(text)).collect();
    let number = |text: &str| -> Outcome<f64> { Ok(line.captures(text).ok_or("no number")?[1].parse()?) };
    match said.as_slice() {
        [before, .., after] => Ok(number(after)? - number(before)?),
        _ => Err(format!("the guest did not say what was read: {}", told.log.display()).into()),
    }
}

/// What its questions say of a service. The longest that there was no answer, by this side's clock, is the way from the first
/// system to the second; it has to end after that began.
fn away(questions: &[Question], moments: &Moments) -> Option<Away> {
    let [first, second] = moments.ahead;
    let mut given: Vec<(&Question, f64)> = questions
        .iter()
        .filter_map(|question| match question.answer {
            Answer::Given(clock) => Some((question, clock)),
            Answer::Refused | Answer::Lost => None,
        })
        .collect();
    given.sort_by_key(|(question, _)| question.answered());
    let silence = |((one, _), (other, _)): &(&(&Question, f64), &(&Question, f64))| {
        other.answered().saturating_sub(one.answered())
    };
    let ((last, last_clock), (next, next_clock)) =
        given.iter().zip(given.iter().skip(1)).max_by_key(silence)?;
    let (end, begin) = (next_clock + second, last_clock + first);
    if end < moments.go {
        return None;
    }
    let during = |question: &&Question| question.at > last.answered() && question.at < next.answered();
    let between =
        |answer: Answer| questions.iter().filter(during).filter(|question| question.answer == answer).count();
    let outside = given.iter().filter(|(question, _)| !during(question));
    let took = |from: f64, to: f64| {
        let asked = given.iter().filter(|(question, clock)| {
            question.answered() <= last.answered() && (from..to).contains(&(clock + first))
        });
        Took::of(&asked.map(|(question, _)| question.took.as_secs_f64()).collect::<Vec<f64>>())
    };
    Some(Away {
        interruption: end - begin,
        refused: between(Answer::Refused),
        lost: between(Answer::Lost),
        slowest: outside.map(|(question, _)| question.took.as_secs_f64()).fold(0.0, f64::max),
        before: took(f64::MIN, moments.ready),
        meanwhile: took(moments.ready, moments.go),
    })
}

fn row(way: &Way, made: Made, runs: Vec<Run>) -> Row {
    let interruption = SERVICES.iter().map(|service| {
        let all = runs.iter().filter_map(|run| run.services.get(service.name));
        (service.name, median(&all.map(|away| away.interruption).collect::<Vec<f64>>()))
    });
    let slower = SERVICES.iter().map(|service| {
        let all = runs.iter().filter_map(|run| run.services.get(service.name));
        (
            service.name,
            median(&all.map(|away| away.meanwhile.median / away.before.median).collect::<Vec<f64>>()),
        )
    });
    let read: Option<Vec<f64>> = runs.iter().map(|run| run.read).collect();
    Row {
        name: way.name,
        what: way.what,
        initramfs: made.command,
        interruption: interruption.collect(),
        slower: slower.filter(|(_, times)| times.is_finite() && *times > 0.0).collect(),
        ratio: BTreeMap::new(),
        read: read.map(|read| median(&read)),
        hit_rate: None,
        runs,
    }
}

fn print(rows: &[Row]) {
    for row in rows {
        if let Some(read) = row.read {
            let hits = row.hit_rate.map(|rate| format!(", {:.0} % less", rate * 100.0)).unwrap_or_default();
            println!("{:18} {:.1} MiB read by the second system{hits}", row.name, read / f64::from(1 << 20));
        }
        for (service, seconds) in &row.interruption {
            let ratio = row.ratio.get(service).map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let all: Vec<String> = row
                .runs
                .iter()
                .filter_map(|run| run.services.get(*service))
                .map(|away| {
                    format!("{:.3} ({} refused, {} lost)", away.interruption, away.refused, away.lost)
                })
                .collect();
            let slower = row
                .slower
                .get(service)
                .map(|times| format!("; answers took {times:.2} times as long meanwhile"));
            let slower = slower.unwrap_or_default();
            println!("{:18} {service:12} {seconds:>8.3} s {ratio:>6}  {}{slower}", row.name, all.join(", "));
        }
    }
}

/// A picture of each service, beside the figures.
fn draw(asked: &Asked, rows: &[Row], service: &Service) -> Outcome<()> {
    let bar = |row: &Row| Some(Bar::seconds(row.name, *row.interruption.get(service.name)?));
    let all: Vec<Bar> = rows.iter().filter_map(bar).collect();
    let name = asked.output.file_stem().unwrap_or_default().to_string_lossy();
    let picture = asked.output.with_file_name(format!("{name}-{}.svg", service.name));
    let title = format!("{}: from its last answer to its first (Debian 13, one processor)", service.name);
    bars(&picture, &title, "seconds of guest time", &all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_silence_is_the_way() {
        let question = |at: u64, took: u64, answer| Question {
            at: Duration::from_millis(at),
            took: Duration::from_millis(took),
            answer,
        };
        let questions = [
            question(0, 1, Answer::Refused),
            question(100, 20, Answer::Given(50.0)),
            question(200, 30, Answer::Given(50.1)),
            question(300, 0, Answer::Refused),
            question(400, 3000, Answer::Lost),
            question(500, 0, Answer::Refused),
            // The second system's clock is a second behind.
            question(900, 40, Answer::Given(49.9)),
            question(1000, 10, Answer::Given(50.0)),
            question(1100, 0, Answer::Refused),
        ];
        let moments = |go| Moments { ready: 60.05, go, ahead: [10.0, 11.0] };
        let seen = away(&questions, &moments(60.2)).unwrap();
        assert!((seen.interruption - 0.8).abs() < 1e-9, "{seen:?}");
        assert_eq!((seen.refused, seen.lost), (2, 1));
        assert!((seen.slowest - 0.03).abs() < 1e-9, "{seen:?}");
        assert_eq!(seen.before, Took { answers: 1, median: 0.02, slowest: 0.02 });
        assert_eq!(seen.meanwhile, Took { answers: 1, median: 0.03, slowest: 0.03 });
        assert_eq!(away(&questions[..2], &moments(60.2)), None);
        // The second system never answered.
        assert_eq!(away(&questions[..6], &moments(70.0)), None);
    }
}
