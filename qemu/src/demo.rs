//! What a newcomer watches: Debian boots from a verified root and soft-reboots into another and back, while a
//! client asks its services; then one byte of the image is changed, and the boot is refused.

use std::{process::ExitCode, time::Instant};

use regex::Regex;

use crate::{
    Outcome,
    boot::{self, Started},
    image::Fault,
    listen::Heard,
    machine::Console,
    progress::Progress,
    rig::Rig,
    scenario::{self, Boot, Scenario},
};

/// The scenario that is shown.
const SCENARIO: &str = "60-demo";

/// What is asked how it fared, and what it is.
const SERVICES: [(&str, &str); 3] = [
    ("survivor", "a service that survives (SurviveFinalKillSignal=)"),
    ("asked", "a client of a socket that survives"),
    ("ordinary", "an ordinary service, stopped and started again"),
];

/// Shows it.
pub(crate) fn run(rig: &Rig, progress: &Progress) -> Outcome<ExitCode> {
    let begun = Instant::now();
    let scenario = scenario::all()?.into_iter().find(|scenario| scenario.name == SCENARIO);
    let scenario: Scenario = scenario.ok_or("the scenario to show is gone")?;
    let good = scenario.boot.first().ok_or("the scenario has no boot")?;
    rig.prepare(std::slice::from_ref(&scenario), progress)?;

    progress.line(
        "1. Debian 13 from power-on, root A on dm-verity; then B is staged while A serves, a soft reboot into B, and one back to A",
    );
    let mut started = boot::start(rig, good, Console::Log, progress)?;
    let heard = tell(&mut started, progress)?;
    let mut problem = started.judge(&heard)?;
    let good_log = started.log();
    interruptions(&heard, progress);

    progress.line("");
    progress.line("2. The same image with one byte of A's file system changed, from power-on");
    let mut boot: Boot = good.clone();
    for disk in &mut boot.disks {
        disk.faults = vec![Fault::Flip { partition: "os_1".to_owned(), at: 1030 }];
    }
    (boot.refused, boot.guest, boot.never, boot.same) = (true, Vec::new(), Vec::new(), Vec::new());
    boot.console = vec!["nextroot: .*FAILED: dm-verity root does not hold".to_owned()];
    let mut started = boot::start(rig, &boot, Console::Log, progress)?;
    let heard = tell(&mut started, progress)?;
    problem = problem.or(started.judge(&heard)?);

    progress.finish();
    println!();
    println!("console logs: {good_log} and {}", started.log());
    match &problem {
        None => println!(
            "A to B and back with its services, and the damaged image was refused ({:.0} s in all).",
            begun.elapsed().as_secs_f64()
        ),
        Some(problem) => println!("This did not go as it has to: {problem}"),
    }
    Ok(if problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the guest said of the services: the longest that each was away, after each switch.
fn interruptions(heard: &Heard, progress: &Progress) {
    let said = |life: u32, name: &str| {
        let start = format!("rig: {life} {name}=");
        heard.witness.iter().rev().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
    };
    let value = |text: &str, name: &str| -> Option<u64> {
        text.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok())
    };
    progress.line("");
    for life in 1..=3 {
        progress.line(&format!(
            "   life {life} of userspace  {}",
            said(life, "status").replace("current:    ", "")
        ));
    }
    progress.line("");
    progress.line("   longest silence so far, in ms               in A    after A to B   after B to A");
    for (name, about) in SERVICES {
        let of = |life| {
            let text = said(life, name);
            value(text, "gap=").or(value(text, "slowest=")).map_or("?".to_owned(), |ms| ms.to_string())
        };
        progress.line(&format!("   {name:10} {:>37} {:>15} {:>14}   {about}", of(1), of(2), of(3)));
    }
    let asked = said(3, "asked");
    let count = |name| value(asked, name).map_or("?".to_owned(), |count| count.to_string());
    progress.line(&format!(
        "   the client was answered {} times by {} processes, and refused {} times",
        count("answered="),
        count("servers="),
        count("failed=")
    ));
}

/// Prints a boot's story while it happens.
fn tell(started: &mut Started, progress: &Progress) -> Outcome<Heard> {
    let ours = Regex::new(r"nextroot: \[ *([0-9.]+)\] (.*)$")?;
    let clock = Regex::new(r"^\[ *([0-9.]+)\] (.*)$")?;
    let others = [
        "Run /init",
        "running in system mode",
        "Reached target multi-user",
        "Reached target soft-reboot",
        "Soft-rebooting",
        "Soft-reboot finished",
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
                let shown: String = found[2].chars().take(150).collect();
                let time = found[1].get(..6).unwrap_or(&found[1]);
                progress.line(&format!("   kernel   {time:>6} s  {shown}"));
            }
        }
    })
}
