//! What a newcomer watches: Debian boots from a verified root and soft-reboots into another and back, while a
//! client asks its services; then one byte of the image is changed, and the boot is refused.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

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
    ("asked", "answers of a web service behind a socket that survives"),
    ("ordinary", "an ordinary service, stopped and started again"),
];
/// How long it may take, once there are trees and images.
const LIMIT: Duration = Duration::from_secs(240);
/// Characters of a timeline.
const WIDTH: usize = 64;

/// Shows it.
pub(crate) fn run(rig: &Rig, progress: &Progress) -> Outcome<ExitCode> {
    let scenario = scenario::all()?.into_iter().find(|scenario| scenario.name == SCENARIO);
    let scenario: Scenario = scenario.ok_or("the scenario to show is gone")?;
    let mut good = scenario.boot.first().cloned().ok_or("the scenario has no boot")?;
    rig.prepare(&[&scenario], progress)?;
    let begun = Instant::now();
    good.limit = good.limit.min(LIMIT.as_secs());

    progress.line(
        "1. Debian 13 from power-on, root A on dm-verity; then B is staged while A serves, a soft reboot into B, and one back to A",
    );
    let mut started = boot::start(rig, &good, Console::Log, progress)?;
    let heard = tell(&mut started, progress)?;
    let mut problem = started.judge(&heard)?;
    let good_log = started.log();
    interruptions(&heard, progress);

    progress.line("");
    progress.line("2. The same image with one byte of A's file system changed, from power-on");
    let mut boot: Boot = good;
    boot.limit = LIMIT.saturating_sub(begun.elapsed()).as_secs();
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

/// What the guest said of the services: what each did during each switch.
fn interruptions(heard: &Heard, progress: &Progress) {
    progress.line("");
    for life in 1..=3 {
        let status =
            said(&heard.witness, life, "status").last().unwrap_or_default().replace("current:    ", "");
        progress.line(&format!("   life {life} of userspace  {status}"));
    }
    for (life, about) in [(2, "A to B"), (3, "B to A")] {
        progress.line("");
        progress.line(&format!(
            "   {about}, from the wish until the new system had started ('#' serves, '.' is away)"
        ));
        timeline(&heard.witness, life).iter().for_each(|line| progress.line(line));
        staging(&heard.witness, life).iter().for_each(|line| progress.line(line));
    }
    let asked = said(&heard.witness, 3, "asked").last().unwrap_or_default();
    let count = |name: &str| {
        let value = asked.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        value.map_or("?".to_owned(), |count| count.to_string())
    };
    progress.line("");
    progress.line(&format!(
        "   the client was answered {} times by {} processes, and refused {} times",
        count("answered="),
        count("servers="),
        count("failed=")
    ));
}

/// What the guest said of a name in one of its lives.
fn said<'a>(witness: &'a [String], life: u32, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    let start = format!("rig: {life} {name}=");
    witness.iter().filter_map(move |line| line.strip_prefix(&start))
}

/// A switch as lines: the seconds, and each service below them.
fn timeline(witness: &[String], life: u32) -> Vec<String> {
    let span = |text: &str| -> Option<(u64, u64)> {
        let (from, to) = text.split_once(' ')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    let Some(switch) = said(witness, life, "switch").find_map(span).filter(|(from, to)| from < to) else {
        return vec!["   the guest did not tell of it".to_owned()];
    };
    let seconds = (switch.1 - switch.0) as f64 / 1e3;
    let mut lines = vec![format!("   {:9} 0 s{:>width$}", "", format!("{seconds:.1} s"), width = WIDTH - 3)];
    for (name, about) in SERVICES {
        let silences: Vec<(u64, u64)> =
            said(witness, life, &format!("silent-{name}")).filter_map(span).collect();
        let longest = silences.iter().map(|(from, to)| to.saturating_sub(*from)).max();
        let away = longest.map_or("never".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3));
        lines.push(format!("   {name:9} {} away {away:>6}  {about}", bar(switch, &silences)));
    }
    lines
}

/// How a client fared while the root of this life was staged.
fn staging(witness: &[String], life: u32) -> Option<String> {
    let (took, waited) = said(witness, life, "staging").last()?.split_once(' ')?;
    let seconds = |ms: &str| Some(ms.parse::<f64>().ok()? / 1e3);
    Some(format!(
        "   it was staged in {:.1} s, while the client waited {:.1} s at most",
        seconds(took)?,
        seconds(waited)?
    ))
}

/// A span of time, and what of it a service was silent, in characters.
fn bar((from, to): (u64, u64), silences: &[(u64, u64)]) -> String {
    let middle = |column: usize| from + (to - from) * (2 * column as u64 + 1) / (2 * WIDTH as u64);
    let is_silent = |time: u64| silences.iter().any(|(begin, end)| (*begin..*end).contains(&time));
    (0..WIDTH).map(|column| if is_silent(middle(column)) { '.' } else { '#' }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_drawn_as_it_was() {
        let witness = [
            "rig: 2 switch=1000 7400",
            "rig: 2 silent-ordinary=1600 4600",
            "rig: 2 silent-asked=2000 2400",
            "rig: 2 silent-asked=7000 7400",
            "rig: 3 silent-survivor=1000 7400",
            "rig: 2 staging=3420 560",
        ];
        let witness = witness.map(str::to_owned);
        let [scale, survivor, asked, ordinary] = timeline(&witness, 2).try_into().unwrap();
        assert_eq!(scale.trim_start(), format!("0 s{:>61}", "6.4 s"));
        for (line, bar, away) in [
            (survivor, "#".repeat(64), "never"),
            (asked, format!("{}{}{}{}", "#".repeat(10), "....", "#".repeat(46), "...."), "0.4 s"),
            (ordinary, format!("{}{}{}", "#".repeat(6), ".".repeat(30), "#".repeat(28)), "3.0 s"),
        ] {
            assert!(line.contains(&format!(" {bar} away ")) && line.contains(away), "{line}");
        }
        let told = staging(&witness, 2).unwrap();
        assert!(told.contains(" in 3.4 s, ") && told.contains(" 0.6 s at most"), "{told}");
        assert_eq!(staging(&witness, 3), None);
        assert_eq!(timeline(&witness, 3), ["   the guest did not tell of it"]);
    }
}
