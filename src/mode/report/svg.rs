//! A report as a picture, in the manner of `systemd-analyze plot`: time goes to the right, a unit a line. SVG 1.1, in one file, with
//! nothing that would have to be fetched.

use std::fmt::{Error, Write};

use crate::{
    mode::status::date,
    plan::report::{Fate, Probed, Unit, seconds},
};

use super::Report;

/// Pixels: what is drawn, what stands left of it for names, what right of it for figures, and a line.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 280.0;
const RIGHT: f64 = 120.0;
const LINE: f64 = 18.0;
/// The head: title, roots, phases, the scale.
const HEAD: f64 = 120.0;
/// A little of what was before and is after.
const MARGIN: f64 = 0.04;

const STYLE: &str = "\
text{font:12px sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}.end{text-anchor:end}.middle{text-anchor:middle}\
.small{font-size:10px;fill:#555}.grid{stroke:#ddd}.mark{stroke:#888;stroke-dasharray:3 2}\
.active{fill:#7fbf7f}.stopping{fill:#f0ad4e}.away{fill:#e9e9e9}.starting{fill:#5b9bd5}.survived{fill:#2e8b57}\
.answered{fill:#b7d7e8}.unanswered{fill:#c0392b}\
.odd{fill:#c9c9dd}.even{fill:#e3e3f0}";

/// Where a time lies.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        let span = (self.to - self.from).max(f64::MIN_POSITIVE);
        LEFT + ((at - self.from) / span).clamp(0.0, 1.0) * WIDTH
    }

    /// Between two marks of the scale: 1, 2 or 5 of something, so that there are ten or less.
    fn step(&self) -> f64 {
        let least = ((self.to - self.from) / 10.0).max(1e-3);
        let power = 10_f64.powf(least.log10().floor());
        [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|times| times * power)
            .find(|step| *step >= least)
            .unwrap_or(power)
    }
}

pub(super) fn draw(all: &Report) -> Result<String, Error> {
    let report = &all.report;
    let units: Vec<&Unit> = report.units.iter().filter(|unit| unit.serves()).collect();
    // What is started hours later, at somebody's login, is no part of it.
    let is_over = report.finished_us.is_some();
    let started = units.iter().filter_map(|unit| unit.active_us).filter(|_| !is_over);
    let ends = report.phases.iter().map(|phase| phase.end_us).chain(started);
    let end = report.since_asked(ends.max().unwrap_or(report.switched_us));
    let scale = Scale { from: -MARGIN * end, to: end * (1.0 + MARGIN) };
    let clients = all.probed.as_deref().unwrap_or_default();
    let lines = units.len() + clients.len();
    let (width, height) = (LEFT + WIDTH + RIGHT, HEAD + LINE * (lines as f64 + 2.5));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut title = format!("soft reboot, asked for {}", date(all.asked_at));
    if let Some(finished) = report.finished_us {
        write!(title, ", over after {:.3} s", report.since_asked(finished))?;
    }
    text(&mut svg, 10.0, 24.0, "title", &title)?;
    for (y, name, end) in [(42.0, "from", &all.from), (57.0, "to", &all.to)] {
        if let Some(end) = end {
            text(&mut svg, 10.0, y, "", &format!("{name} {}", end.root))?;
        }
    }
    grid(&mut svg, &scale, height)?;
    phases(&mut svg, all, &scale)?;
    for (number, unit) in units.iter().enumerate() {
        row(&mut svg, all, &scale, unit, HEAD + LINE * number as f64)?;
    }
    for (number, seen) in clients.iter().enumerate() {
        client(&mut svg, all, &scale, seen, HEAD + LINE * (units.len() + number) as f64)?;
    }
    let switched = scale.x(report.since_asked(report.switched_us));
    writeln!(
        svg,
        "<line class=\"mark\" x1=\"{switched:.1}\" y1=\"{HEAD}\" x2=\"{switched:.1}\" y2=\"{:.1}\"/>",
        height - LINE * 2.0
    )?;
    legend(&mut svg, height - LINE * 0.7, !clients.is_empty())?;
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn grid(svg: &mut String, scale: &Scale, height: f64) -> Result<(), Error> {
    let step = scale.step();
    let mut at = 0.0;
    while at <= scale.to {
        let x = scale.x(at);
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>",
            HEAD - 14.0,
            height - LINE * 2.0
        )?;
        let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
        text(svg, x, HEAD - 18.0, "small middle", &format!("{at:.digits$} s"))?;
        at += step;
    }
    Ok(())
}

/// Bands, with their names where these have room.
fn phases(svg: &mut String, all: &Report, scale: &Scale) -> Result<(), Error> {
    for (number, phase) in all.report.phases.iter().enumerate() {
        let (from, to) = (all.report.since_asked(phase.begin_us), all.report.since_asked(phase.end_us));
        let (x, to) = (scale.x(from), scale.x(to));
        let class = if number % 2 == 0 { "even" } else { "odd" };
        let told = format!("{} {:.3} s", phase.name, seconds(phase.took_us()));
        writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"68\" width=\"{:.1}\" height=\"16\"><title>{}</title></rect>",
            to - x,
            escaped(&told)
        )?;
        let shown = if to - x > 6.0 * told.len() as f64 { told.as_str() } else { &phase.name };
        if to - x > 6.0 * shown.len() as f64 {
            text(svg, f64::midpoint(x, to), 80.0, "small middle", shown)?;
        }
    }
    Ok(())
}

fn bar(svg: &mut String, y: f64, class: &str, from: f64, to: f64) -> Result<(), Error> {
    let width = (to - from).max(0.0);
    writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
        y + 2.0,
        LINE - 4.0
    )
}

/// What a client saw.
fn client(svg: &mut String, all: &Report, scale: &Scale, seen: &Probed, y: f64) -> Result<(), Error> {
    text(svg, LEFT - 8.0, y + 13.0, "end", &shortened(&seen.address))?;
    let (begin, end) = (scale.x(scale.from), scale.x(scale.to));
    bar(svg, y, "answered", begin, end)?;
    for away in &seen.away {
        let from = scale.x(all.report.since_asked(away.begin_us));
        let to = away.end_us.map_or(end, |end| scale.x(all.report.since_asked(end)));
        bar(svg, y, "unanswered", from, to)?;
    }
    let told = match seen.away.iter().any(|away| away.end_us.is_none()) {
        true => "no answer".to_owned(),
        false => format!("{:.3} s", seconds(seen.away_us())),
    };
    text(svg, LEFT + WIDTH + 8.0, y + 13.0, "", &told)
}

fn row(svg: &mut String, all: &Report, scale: &Scale, unit: &Unit, y: f64) -> Result<(), Error> {
    text(svg, LEFT - 8.0, y + 13.0, "end", &shortened(&unit.unit))?;
    let at = |time: Option<u64>| time.map(|time| scale.x(all.report.since_asked(time)));
    let (begin, end) = (scale.x(scale.from), scale.x(scale.to));
    let mut bar = |class: &str, from: f64, to: f64| bar(svg, y, class, from, to);
    if unit.fate == Fate::Survived {
        bar("survived", begin, end)?;
    } else {
        let stopping = at(unit.stopping_us).unwrap_or(begin);
        let stopped = at(unit.stopped_us).unwrap_or(stopping);
        let active = at(unit.active_us).unwrap_or(end);
        let starting = at(unit.starting_us).unwrap_or(active);
        bar("active", begin, stopping)?;
        bar("stopping", stopping, stopped)?;
        bar("away", stopped, starting)?;
        bar("starting", starting, active)?;
        bar("active", active, end)?;
    }
    let away = match unit.interruption_us {
        Some(0) => "ran on".to_owned(),
        Some(away) => format!("{:.3} s", seconds(away)),
        None => "does not run".to_owned(),
    };
    text(svg, LEFT + WIDTH + 8.0, y + 13.0, "", &away)
}

fn legend(svg: &mut String, y: f64, has_clients: bool) -> Result<(), Error> {
    let mut x = LEFT;
    let of_clients: &[_] =
        if has_clients { &[("answered", "answered"), ("unanswered", "no answer")] } else { &[] };
    let of_units = [
        ("active", "active"),
        ("stopping", "stopping"),
        ("away", "away"),
        ("starting", "starting"),
        ("survived", "ran on"),
    ];
    for (class, told) in of_units.iter().chain(of_clients) {
        writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\"/>",
            y - 10.0
        )?;
        text(svg, x + 16.0, y, "small", told)?;
        x += 90.0;
    }
    text(svg, x, y, "small", "dashed: the new systemd begins")
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, text: &str) -> Result<(), Error> {
    writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(text))
}

/// A name that has room beside the picture.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 40;
    let length = name.chars().count();
    if length <= LONGEST {
        return name.to_owned();
    }
    let (head, tail) = (LONGEST / 2, LONGEST - LONGEST / 2 - 1);
    let end = name.chars().skip(length - tail);
    name.chars().take(head).chain(['\u{2026}']).chain(end).collect()
}

/// Text in XML: what it has no way to write is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
