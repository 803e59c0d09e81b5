//! Spans of time as systemd.time(7) writes them: `90`, `1min 30s`, `1.5 h`.

use std::time::Duration;

/// Units, by all their names, with their microseconds. A month is 30.44 days, a year 365.25.
const UNITS: [(&[&str], u64); 9] = [
    (&["us", "usec", "\u{b5}s", "\u{3bc}s"], 1),
    (&["ms", "msec"], 1_000),
    (&["", "s", "sec", "second", "seconds"], 1_000_000),
    (&["m", "min", "minute", "minutes"], 60_000_000),
    (&["h", "hr", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "week", "weeks"], 604_800_000_000),
    (&["M", "month", "months"], 2_629_800_000_000),
    (&["y", "year", "years"], 31_557_600_000_000),
];

/// Reads a span; a number without a unit is seconds. `None` where it is none, where it is `infinity`, and
/// where it does not fit.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim_start();
    let mut total: u64 = 0;
    let mut any = false;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (name, after) = split(after.trim_start(), |c| !c.is_ascii_whitespace() && !c.is_ascii_digit());
        let (_, unit) = UNITS.iter().find(|(names, _)| names.contains(&name))?;
        total = total.checked_add(microseconds(number, *unit)?)?;
        any = true;
        rest = after.trim_start();
    }
    any.then(|| Duration::from_micros(total))
}

/// What `number` units are; digits below a microsecond are left out.
fn microseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut unit = unit;
    for digit in fraction.chars() {
        unit /= 10;
        total = total.checked_add(unit.checked_mul(u64::from(digit.to_digit(10)?))?)?;
    }
    Some(total)
}

/// The beginning of `text` that consists of such characters, and the rest.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, milliseconds) in [
            ("0", 0),
            ("90", 90_000),
            ("1min 30s", 90_000),
            ("1min30s", 90_000),
            (" 2 h ", 7_200_000),
            ("1.5h", 5_400_000),
            (".5", 500),
            ("1.", 1_000),
            ("300ms20s 5day", 432_020_300),
            ("1M", 2_629_800_000),
            ("1y", 31_557_600_000),
            ("5 10", 15_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("7\u{b5}s"), Some(Duration::from_micros(7)));
        assert_eq!(parse("1.0000015s"), Some(Duration::from_micros(1_000_001)));
    }

    #[test]
    fn malformed() {
        for text in
            ["", " ", "s", "-1", "1x", "1.2.3", ".", "infinity", "999999999999999999999", "9999999999999y"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
