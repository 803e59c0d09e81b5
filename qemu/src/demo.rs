//! What a newcomer watches: Debian boots from a verified root; then one byte of the image is changed, and
//! the boot is refused.

use std::{process::ExitCode, time::Instant};

use regex::Regex;

use crate::{
    Outcome,
    boot::{self, Heard, Started},
    image::Fault,
    machine::Console,
    progress::Progress,
    rig::Rig,
    scenario::{self, Boot, Scenario},
};

/// The scenario that is shown.
const SCENARIO: &str = "21-trixie";

/// Shows it.
pub(crate) fn run(rig: &Rig, progress: &Progress) -> Outcome<ExitCode> {
    let begun = Instant::now();
    let scenario = scenario::all()?.into_iter().find(|scenario| scenario.name == SCENARIO);
    let scenario: Scenario = scenario.ok_or("the scenario to show is gone")?;
    let good = scenario.boot.first().ok_or("the scenario has no boot")?;
    rig.prepare(std::slice::from_ref(&scenario), progress)?;

    progress.line(
        "1. Debian 13, from power-on to multi-user, root on dm-verity (root hash on the kernel command line)",
    );
    let started = boot::start(rig, good, Console::Log, progress)?;
    let heard = tell(&started, progress)?;
    for fact in ["state", "analyze", "status", "veritysetup"] {
        for line in heard.witness.iter().filter_map(|line| line.strip_prefix(&format!("rig: {fact}="))) {
            progress.line(&format!("   guest says  {fact}: {}", line.trim()));
        }
    }
    let mut problem = started.judge(&heard)?;
    let good_log = started.log();

    progress.line("");
    progress.line("2. The same image with one byte of its file system changed");
    let mut boot: Boot = good.clone();
    for disk in &mut boot.disks {
        disk.faults = vec![Fault::Flip { partition: "root".to_owned(), at: 1030 }];
    }
    (boot.refused, boot.guest, boot.never) = (true, Vec::new(), Vec::new());
    boot.console = vec!["nextroot: .*FAILED: dm-verity root does not hold".to_owned()];
    let started = boot::start(rig, &boot, Console::Log, progress)?;
    let heard = tell(&started, progress)?;
    problem = problem.or(started.judge(&heard)?);

    progress.finish();
    println!();
    println!("console logs: {good_log} and {}", started.log());
    match &problem {
        None => println!(
            "The verified image booted, the damaged one was refused ({:.0} s in all).",
            begun.elapsed().as_secs_f64()
        ),
        Some(problem) => println!("This did not go as it has to: {problem}"),
    }
    Ok(if problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a boot's story while it happens.
fn tell(started: &Started, progress: &Progress) -> Outcome<Heard> {
    let ours = Regex::new(r"nextroot: \[ *([0-9.]+)\] (.*)$")?;
    let clock = Regex::new(r"^\[ *([0-9.]+)\] (.*)$")?;
    let others = [
        "Run /init",
        "systemd 2",
        "Reached target multi-user",
        "Reached target \u{1b}",
        "Power down",
        "device-mapper: verity",
    ];
    progress.say("the machine starts");
    started.listen(|line| {
        if let Some(found) = ours.captures(line) {
            let (time, text) = (&found[1], &found[2]);
            let shown: String = text.chars().take(150).collect();
            let more = if shown.len() < text.len() { " ..." } else { "" };
            progress.line(&format!("   nextroot {time:>6} s  {shown}{more}"));
        } else if let Some(found) = clock.captures(line) {
            progress.tick(|| format!("guest clock {} s", &found[1]));
            if others.iter().any(|other| found[2].contains(other)) {
                progress.line(&format!(
                    "   kernel   {:>6} s  {}",
                    found[1].get(..6).unwrap_or(&found[1]),
                    &found[2]
                ));
            }
        }
    })
}
