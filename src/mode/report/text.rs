//! A report for a terminal: phases, units, what would help. Times are seconds since the soft reboot was asked for.

use std::fmt;

use crate::{
    mode::status::date,
    plan::report::{self, Fate, Phase, Probed, Unit, seconds},
};

use super::Report;

fn phases(report: &report::Report, phases: &[Phase], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for phase in phases {
        let at = report.since_asked(phase.begin_us);
        writeln!(f, "{at:>8.3} {:>8.3}  {}", seconds(phase.took_us()), phase.name)?;
    }
    Ok(())
}

fn clients(report: &report::Report, probed: &[Probed], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let width = probed.iter().map(|seen| seen.address.chars().count()).max().unwrap_or(0);
    writeln!(f, "\n    away  {:width$} requests  refused     lost     slow  slowest", "as clients saw it")?;
    for seen in probed {
        let slowest = seen.slowest_us.map_or_else(|| "-".to_owned(), |took| format!("{:.3}", seconds(took)));
        let Probed { address, requests, refused, lost, slow, .. } = seen;
        writeln!(
            f,
            "{:>8.3}  {address:width$} {requests:>8} {refused:>8} {lost:>8} {slow:>8} {slowest:>8}",
            seconds(seen.away_us())
        )?;
        for away in &seen.away {
            let begin = report.since_asked(away.begin_us);
            match away.end_us {
                Some(end) => writeln!(f, "          from {begin:.3} to {:.3}", report.since_asked(end))?,
                None => writeln!(f, "          from {begin:.3} on: no answer came any more")?,
            }
        }
    }
    if probed.is_empty() {
        writeln!(f, "          nobody asked: the last client ended before this soft reboot was asked for")?;
    }
    Ok(())
}

pub(super) fn write(all: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let report = &all.report;
    writeln!(f, "soft reboot, asked for {}", date(all.asked_at))?;
    for (name, end) in [("from", &all.from), ("to", &all.to)] {
        if let Some(end) = end {
            writeln!(f, "  {name:5}{}", end.root)?;
        }
    }
    if !all.stage.is_empty() {
        writeln!(f, "\n      at     took  stage, while everything ran on")?;
        phases(report, &all.stage, f)?;
    }
    writeln!(f, "\n      at     took  the switch")?;
    phases(report, &report.phases, f)?;
    match report.finished_us {
        Some(finished) => {
            writeln!(f, "{:>8.3}           start-up was over", report.since_asked(finished))?;
        }
        None => {
            writeln!(f, "                   start-up is not over yet: what follows is what is known so far")?
        }
    }
    let (serving, once): (Vec<&Unit>, Vec<&Unit>) = report.units.iter().partition(|unit| unit.serves());
    let width = serving.iter().map(|unit| unit.unit.chars().count()).max().unwrap_or(0);
    writeln!(f, "\n    away  {:width$} stopping  stopped starting   active", "")?;
    for unit in serving {
        let away =
            unit.interruption_us.map_or_else(|| "-".to_owned(), |away| format!("{:.3}", seconds(away)));
        write!(f, "{away:>8}  {:width$}", unit.unit)?;
        match unit.fate {
            Fate::Survived => writeln!(f, "  ran on")?,
            fate => {
                for at in [unit.stopping_us, unit.stopped_us, unit.starting_us, unit.active_us] {
                    let at = at.map_or_else(|| "-".to_owned(), |at| format!("{:.3}", report.since_asked(at)));
                    write!(f, " {at:>8}")?;
                }
                let killed = if unit.killed { "  killed at the end" } else { "" };
                let gone = if fate == Fate::Gone { "  does not run" } else { "" };
                writeln!(f, "{killed}{gone}")?;
            }
        }
    }
    if !once.is_empty() {
        writeln!(f, "          {} more, which run once and are done, are in --json", once.len())?;
    }
    if let Some(probed) = &all.probed {
        clients(report, probed, f)?;
    }
    if !report.hints.is_empty() {
        writeln!(f, "\nwhat would help")?;
        report.hints.iter().try_for_each(|hint| writeln!(f, "  {hint}"))?;
    }
    Ok(())
}
