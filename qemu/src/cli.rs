//! The command line.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::ExitCode,
};

use argh::FromArgs;

use crate::{
    Outcome,
    begun::Begun,
    boot, demo, faults, image,
    machine::Console,
    parallel,
    progress::Progress,
    rig::Rig,
    scenario::{self, Scenario},
    tree,
    trial::{self, Verdict},
};

/// Boot nextroot in virtual machines and check what they say.
#[derive(FromArgs)]
struct Arguments {
    /// directory with nextroot, mkinitrd and guest-init, as "make build" fills it
    #[argh(option, default = "PathBuf::from(\"target/dist\")")]
    dist: PathBuf,
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Run(Run),
    List(List),
    Shell(Shell),
    Images(Images),
    Trees(Trees),
    Faults(Faults),
    Demo(Demo),
    Tool(Tool),
}

/// Run scenarios: those named, or all but the long matrix.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
struct Run {
    /// scenarios, by name or by the start of it
    #[argh(positional)]
    names: Vec<String>,
    /// scenarios of this file instead of the built-in ones
    #[argh(option)]
    from: Option<PathBuf>,
    /// the long matrix, too: every scenario on every systemd
    #[argh(switch)]
    full: bool,
    /// write the results there, as a JSON array
    #[argh(option)]
    json: Option<PathBuf>,
    /// go on where the same run was interrupted, with --json: what passed then, by the same programs, is not run again
    #[argh(switch)]
    go_on: bool,
    /// how many machines at once; default: 2
    #[argh(option, default = "2")]
    jobs: usize,
    /// how many processors a machine has; default: 1, which takes a tenth less time, and 2 with --full
    #[argh(option)]
    processors: Option<u8>,
    /// how often each; default: 1
    #[argh(option, default = "1")]
    times: usize,
    /// how often one does what it repeats, such as soft reboots in a row; default: as its file says
    #[argh(option)]
    rounds: Option<u64>,
}

/// List the scenarios: name, tab, what it shows.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {}

/// Boot a scenario's machine with its console on this terminal (Ctrl-A X ends it).
#[derive(FromArgs)]
#[argh(subcommand, name = "shell")]
struct Shell {
    /// a scenario
    #[argh(positional, default = "\"01\".to_owned()")]
    name: String,
}

/// Make images: those named, or all.
#[derive(FromArgs)]
#[argh(subcommand, name = "images")]
struct Images {
    /// images
    #[argh(positional)]
    names: Vec<String>,
}

/// Make the trees that images and machines are made of.
#[derive(FromArgs)]
#[argh(subcommand, name = "trees")]
struct Trees {}

/// Print the matrix of faults, with the results of a run: docs/faults.md.
#[derive(FromArgs)]
#[argh(subcommand, name = "faults")]
struct Faults {
    /// results, as run --json writes them
    #[argh(positional)]
    results: PathBuf,
}

/// Print the command line that starts a program of a tree from outside of it.
#[derive(FromArgs)]
#[argh(subcommand, name = "tool")]
struct Tool {
    /// a tree: tools, trixie, forky, bookworm
    #[argh(positional)]
    tree: String,
    /// a program in its /usr/bin or /usr/sbin
    #[argh(positional)]
    program: String,
}

/// Show a boot from a verified root, and the refusal of a damaged one.
#[derive(FromArgs)]
#[argh(subcommand, name = "demo")]
struct Demo {}

/// How many processors a machine has that is to be like others.
const MANY: u8 = 2;

/// Does what the arguments say.
pub(crate) fn run() -> Outcome<ExitCode> {
    let arguments: Arguments = argh::from_env();
    let dist = std::fs::canonicalize(&arguments.dist).map_err(|e| {
        format!("{}: {e}: run \"make build\" first, or name another with --dist", arguments.dist.display())
    });
    let progress = Progress::new();
    match arguments.command {
        Command::Run(run) => {
            let processors = run.processors.unwrap_or(if run.full { MANY } else { 1 });
            run_all(&run, &Rig::new(dist?, processors)?, &progress)
        }
        Command::List(List {}) => {
            for scenario in scenario::all()? {
                println!("{}\t{}", scenario.name, scenario.shows);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Shell(shell) => {
            let rig = Rig::new(dist?, MANY)?;
            let scenario = chosen(std::slice::from_ref(&shell.name), false, None, None)?;
            let boot =
                scenario.first().and_then(|scenario| scenario.boot.first()).ok_or("it has no machine")?;
            boot::start(&rig, boot, Console::Terminal, &progress)?.wait()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Images(images) => {
            let dist = dist?;
            let all: Vec<String> = image::names().map(str::to_owned).collect();
            for name in if images.names.is_empty() { &all } else { &images.names } {
                let image = image::get(name, &dist, &progress)?;
                progress.line(&format!("{name}\t{}", image.disk().display()));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Trees(Trees {}) => {
            // The others are made with it.
            tree::get("tools", &progress)?;
            let names: Vec<&str> = tree::names().collect();
            let made = parallel::map(&names, 2, |name| tree::get(name, &progress).map(drop));
            made.into_iter().collect::<Outcome<()>>()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Faults(Faults { results }) => {
            print!("{}", faults::page(&results, &scenario::all()?)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Tool(tool) => {
            println!("{}", tree::get(&tool.tree, &progress)?.command(&tool.program)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(Demo {}) => demo::run(&Rig::new(dist?, MANY)?, &progress),
    }
}

/// Scenarios by name, or by the start of it, all where none is named; what they repeat is done `rounds` times.
fn chosen(names: &[String], full: bool, from: Option<&Path>, rounds: Option<u64>) -> Outcome<Vec<Scenario>> {
    let filled = |all: Vec<Scenario>| all.into_iter().map(|scenario| scenario.repeating(rounds)).collect();
    let mut all = match from {
        Some(file) => scenario::read(&std::fs::read_to_string(file)?, &file.display().to_string())?,
        None => scenario::all()?,
    };
    if names.is_empty() {
        all.retain(|scenario| full || !scenario.only_full);
        return filled(all);
    }
    let mut chosen = Vec::new();
    for name in names {
        let found: Vec<&Scenario> =
            all.iter().filter(|scenario| scenario.name.starts_with(name.as_str())).collect();
        if found.is_empty() {
            return Err(format!("no scenario is called {name}: see \"list\"").into());
        }
        chosen.extend(found.into_iter().cloned());
    }
    filled(chosen)
}

fn run_all(run: &Run, rig: &Rig, progress: &Progress) -> Outcome<ExitCode> {
    let chosen = chosen(&run.names, run.full, run.from.as_deref(), run.rounds)?;
    let scenarios: Vec<Scenario> = std::iter::repeat_n(chosen, run.times).flatten().collect();
    let begun = match (&run.json, run.go_on) {
        (Some(json), true) => Some(Begun::of_scenarios(json, &rig.dist)?),
        (None, true) => return Err("--go-on needs --json: beside that is what it goes on from".into()),
        (_, false) => None,
    };
    let (mut kept, scenarios) = kept(begun.as_ref(), scenarios)?;
    if !kept.is_empty() {
        progress.line(&format!("{} have passed before the run was interrupted", kept.len()));
    }
    // What the machines need is made before the first of them starts: their times are theirs alone.
    rig.prepare(&scenarios.iter().map(|(_, scenario)| scenario).collect::<Vec<_>>(), progress)?;
    let verdicts: Vec<Outcome<Verdict>> = parallel::map(&scenarios, run.jobs, |(place, scenario)| {
        progress.say(&format!("running {}", scenario.name));
        let verdict = trial::run(rig, scenario, progress);
        progress.line(&verdict.to_string());
        if let Some(begun) = begun.as_ref().filter(|_| verdict.passed()) {
            begun.keep(place, &verdict)?;
        }
        Ok(verdict)
    });
    progress.finish();
    kept.extend(verdicts.into_iter().collect::<Outcome<Vec<Verdict>>>()?);
    let mut verdicts = kept;
    verdicts.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(path) = &run.json {
        std::fs::write(path, serde_json::to_vec_pretty(&verdicts)?)?;
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    // Once what failed is mended, what passed counts.
    if let Some(begun) = begun.filter(|_| failed == 0) {
        begun.end()?;
    }
    println!("{} passed, {failed} failed", verdicts.len() - failed);
    // Nothing run is no success.
    Ok(if failed == 0 && !verdicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A scenario, by the name under which its verdict is kept.
type Named = (String, Scenario);

/// What has passed, and what is to be run.
fn kept(begun: Option<&Begun>, scenarios: Vec<Scenario>) -> Outcome<(Vec<Verdict>, Vec<Named>)> {
    let (mut passed, mut left) = (Vec::new(), Vec::new());
    let mut times = BTreeMap::new();
    for scenario in scenarios {
        // By all that it is: one that was mended is run.
        let mut hasher = DefaultHasher::new();
        format!("{scenario:?}").hash(&mut hasher);
        let place = format!("{}-{:016x}", scenario.name, hasher.finish());
        let number = times.entry(place.clone()).and_modify(|number| *number += 1).or_insert(1_u32);
        let place = format!("{place}-{number}");
        match begun.map(|begun| begun.find(&place)).transpose()?.flatten() {
            Some(verdict) => passed.push(verdict),
            None => left.push((place, scenario)),
        }
    }
    Ok((passed, left))
}
