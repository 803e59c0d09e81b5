//! Pictures of figures.

use std::path::Path;

use plotters::prelude::*;

use crate::Outcome;

/// A bar, with what is written behind it.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) told: String,
    /// Whether it is ours.
    pub(crate) ours: bool,
}

impl Bar {
    /// How long something took.
    pub(crate) fn seconds(name: &str, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            value,
            told: format!("{value:.2} s"),
            ours: name.starts_with("nextroot"),
        }
    }
}

const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const FONT: &str = "sans-serif";

/// Draws bars beside each other, the first at the top, as SVG.
pub(crate) fn bars(to: &Path, title: &str, unit: &str, bars: &[Bar]) -> Outcome<()> {
    let rows = bars.len();
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let height = 100 + 30 * u32::try_from(rows)?;
    let area = SVGBackend::new(to, (900, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(140)
        .build_cartesian_2d(0.0..most * 1.3, (0..rows).into_segmented())?;
    // Rows count from below.
    let bar = |row: usize| rows.checked_sub(row + 1).and_then(|number| bars.get(number));
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(row) => bar(*row).map(|bar| bar.name.clone()).unwrap_or_default(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_desc(unit)
        .y_labels(rows)
        .y_label_formatter(&name)
        .label_style((FONT, 14))
        .draw()?;
    for (row, bar) in (0..rows).filter_map(|row| Some((row, bar(row)?))) {
        let color = if bar.ours { OURS } else { OTHERS };
        let mut shape = Rectangle::new(
            [(0.0, SegmentValue::Exact(row)), (bar.value, SegmentValue::Exact(row + 1))],
            color.filled(),
        );
        shape.set_margin(5, 5, 0, 0);
        chart.draw_series([shape])?;
        let told = format!(" {}", bar.told);
        chart.draw_series([Text::new(told, (bar.value, SegmentValue::CenterOf(row)), (FONT, 13))])?;
    }
    Ok(area.present()?)
}

/// Something that took its time, on an axis from 0.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) begin: f64,
    pub(crate) end: f64,
}

/// Draws what was done when, the first at the top, as SVG.
pub(crate) fn spans(to: &Path, title: &str, unit: &str, spans: &[Span]) -> Outcome<()> {
    let rows = spans.len();
    let most = spans.iter().map(|span| span.end).fold(f64::MIN_POSITIVE, f64::max);
    let area = SVGBackend::new(to, (900, 90 + 22 * u32::try_from(rows)?)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(40)
        .build_cartesian_2d(0.0..most * 1.35, (0..rows).into_segmented())?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().x_desc(unit).label_style((FONT, 14)).draw()?;
    // Rows count from below.
    for (row, span) in spans.iter().rev().enumerate() {
        let corners = [(span.begin, SegmentValue::Exact(row)), (span.end, SegmentValue::Exact(row + 1))];
        let mut shape = Rectangle::new(corners, OURS.filled());
        shape.set_margin(3, 3, 0, 0);
        chart.draw_series([shape])?;
        let told = format!(" {} {:.0} ms", span.name, (span.end - span.begin) * 1e3);
        chart.draw_series([Text::new(told, (span.end, SegmentValue::CenterOf(row)), (FONT, 12))])?;
    }
    Ok(area.present()?)
}

/// Draws how something grows, as SVG: `points` of both axes, joined in their order.
pub(crate) fn growth(to: &Path, title: &str, axes: [&str; 2], points: &[(f64, f64)]) -> Outcome<()> {
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(f64::MIN_POSITIVE, f64::max) * 1.1;
    let area = SVGBackend::new(to, (600, 360)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1))?;
    chart.configure_mesh().x_desc(axes[0]).y_desc(axes[1]).label_style((FONT, 13)).draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), OURS.stroke_width(2)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, OURS.filled())))?;
    Ok(area.present()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_is_drawn_with_its_name_and_length() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("spans.svg");
        let span = |name: &str, begin, end| Span { name: name.to_owned(), begin, end };
        spans(&file, "When it was", "seconds", &[span("first", 0.0, 0.5), span("second", 0.25, 0.3)])
            .unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        for part in ["When it was", "first 500 ms", "second 50 ms", "#1F6FB4"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn each_bar_is_drawn_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bars.svg");
        let bar = |name: &str, value| Bar {
            name: name.to_owned(),
            value,
            told: format!("{value} s"),
            ours: value < 2.0,
        };
        bars(&file, "What it took", "seconds", &[bar("first", 1.5), bar("second", 3.0)]).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        for part in ["What it took", "first", "second", "1.5 s", "3 s", "#1F6FB4", "#9AA5B1"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.find("first") > text.find("second"), "{text}");
    }
}
