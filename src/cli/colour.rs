//! Colour on a terminal that has it, by whoever set neither NO_COLOR nor CLICOLOR=0.

use std::borrow::Cow;

use console::{Color, Style};

/// What a check came to.
const VERDICTS: [(&str, Color); 3] = [("ok", Color::Green), ("warn", Color::Yellow), ("fail", Color::Red)];

/// A text for standard output, in which lines that begin with what a check came to show that at a glance.
pub(super) fn of_checks(text: &str) -> String {
    text.split_inclusive('\n').map(|line| verdict(line, Style::new())).collect()
}

fn verdict(line: &str, style: Style) -> Cow<'_, str> {
    let found = VERDICTS.iter().find_map(|(word, color)| {
        let rest = line.strip_prefix(word).filter(|rest| rest.starts_with(' '))?;
        Some(format!("{}{rest}", style.clone().fg(*color).bold().apply_to(word)))
    });
    found.map_or(Cow::Borrowed(line), Cow::Owned)
}

/// What begins an error, and what a warning, on standard error.
pub(super) fn error() -> impl std::fmt::Display {
    Style::new().for_stderr().fg(Color::Red).bold().apply_to("nextroot:")
}

pub(super) fn warning() -> impl std::fmt::Display {
    Style::new().for_stderr().fg(Color::Yellow).bold().apply_to("nextroot: warning:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_check_came_to_has_a_colour() {
        for (line, painted) in [
            ("ok    root  as it is ok\n", "\u{1b}[32m\u{1b}[1mok\u{1b}[0m    root  as it is ok\n"),
            ("warn  hook  off", "\u{1b}[33m\u{1b}[1mwarn\u{1b}[0m  hook  off"),
            ("fail  hook  off", "\u{1b}[31m\u{1b}[1mfail\u{1b}[0m  hook  off"),
            ("okay  then", "okay  then"),
            ("  ok  then", "  ok  then"),
            ("failed: root", "failed: root"),
        ] {
            assert_eq!(verdict(line, Style::new().force_styling(true)), painted);
            assert_eq!(verdict(line, Style::new().force_styling(false)), line);
        }
    }
}
