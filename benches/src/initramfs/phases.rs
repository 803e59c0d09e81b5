//! Where the time of a boot goes: what nextroot's log tells of its steps and modules, by the kernel's stamps.

use nextroot_qemu::measured::{Boot, Measured};
use regex::Regex;

use super::{DISK, MEMORY, QUIET, number_of, peers::VERITY};
use crate::{Outcome, chart::Span};

/// What was done when, in seconds since the kernel's first program began.
pub(super) fn measure(measured: &Measured, initramfs: &std::path::Path) -> Outcome<Vec<Span>> {
    let command_line = format!("{QUIET} {VERITY} rd.debug");
    let told = measured.boot(&Boot {
        initramfs,
        disks: &[DISK],
        command_line: &command_line,
        memory: MEMORY,
        processors: 1,
    })?;
    let (first, begun) = (number_of(&told, "first")?, number_of(&told, "begun")?);
    spans(&told.witness, first, begun).map_err(|error| format!("{error}: {}", told.log.display()).into())
}

/// Stamps are microseconds. A module's line stands at its end, a step's at its begin.
fn spans(witness: &str, first: u64, begun: u64) -> Outcome<Vec<Span>> {
    let line = Regex::new(r"^rig: log=(\d+) nextroot: \[ *[0-9.]+\] (.*)$")?;
    let module = Regex::new(r"^module (\S+): Ok.* in (\d+) us$")?;
    let step = Regex::new(r"^\d+/\d+ (.*)$")?;
    let since = |stamp: u64| stamp.saturating_sub(first) as f64 / 1e6;
    let mut modules: Vec<Span> = Vec::new();
    let mut steps: Vec<(u64, String)> = vec![(first, "until nextroot's first line".to_owned())];
    for found in witness.lines().filter_map(|text| line.captures(text)) {
        let (stamp, text) = (found[1].parse::<u64>()?, &found[2]);
        if let Some(module) = module.captures(text) {
            let (name, end) = (module[1].to_owned(), since(stamp));
            modules.push(Span { name, begin: end - module[2].parse::<f64>()? / 1e6, end });
        } else if let Some(step) = step.captures(text) {
            let words: Vec<&str> = step[1].split_whitespace().take(3).collect();
            steps.push((stamp, words.join(" ").trim_end_matches(':').to_owned()));
        } else if text.ends_with(" begins") {
            steps.push((stamp, "find the root, load drivers".to_owned()));
        }
    }
    if modules.is_empty() || steps.len() < 3 {
        return Err("nextroot's log tells of no modules, or of no steps".into());
    }
    let ends = steps.iter().skip(1).map(|(begin, _)| *begin).chain([begun]);
    let mut all: Vec<Span> = steps
        .iter()
        .zip(ends)
        .map(|((begin, name), end)| Span { name: name.clone(), begin: since(*begin), end: since(end) })
        .collect();
    all.extend(modules);
    all.sort_by(|one, other| one.begin.total_cmp(&other.begin));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_where_the_next_begins_and_modules_where_they_are_told() {
        let witness = "rig: module=x\n\
            rig: log=1010000 nextroot: [  0.010] nextroot 0.1.0 begins\n\
            rig: log=1200000 nextroot: [  0.200] module virtio_blk: Ok(()) in 150000 us\n\
            rig: log=1250000 nextroot: [  0.250] 1/2 mount dm-verity root at /sysroot as its superblock says, ro\n\
            rig: log=1300000 nextroot: [  0.300] 2/2 execute the init that was found\n";
        let all = spans(witness, 1_000_000, 1_400_000).unwrap();
        let seen: Vec<(&str, u64, u64)> = all
            .iter()
            .map(|span| {
                let ms = |seconds: f64| (seconds * 1e3).round() as u64;
                (span.name.as_str(), ms(span.begin), ms(span.end))
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("until nextroot's first line", 0, 10),
                ("find the root, load drivers", 10, 250),
                ("virtio_blk", 50, 200),
                ("mount dm-verity root", 250, 300),
                ("execute the init", 300, 400),
            ]
        );
        assert!(spans("rig: module=x\n", 0, 1).is_err());
    }
}
