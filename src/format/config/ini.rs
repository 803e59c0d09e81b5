//! What configuration files and units are written in: sections, keys and values as systemd.syntax(7) has
//! them.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The line that it begins on, counted from 1.
    pub line: usize,
    /// The section; empty in front of the first.
    pub section: String,
    /// What stands in front of the equals sign.
    pub key: String,
    /// What stands behind it.
    pub value: String,
}

/// A value, and who wrote it where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// The place, for messages: `/etc/nextroot/nextroot.conf:3 (ImagePolicy=root=signed)`.
    pub place: String,
}

/// A file that cannot be read as configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line that is neither a section nor an assignment.
    #[error("{file}:{line}: \"{text}\" is neither [Section] nor Key=value")]
    Line {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A value that is not possible.
    #[error("{file}:{line}: {key}={value}: {allowed} is needed")]
    Value {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// A value that is wrong in one place.
    #[error("{file}:{line}: {key}={value}: {why}")]
    Part {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Where it is wrong, and what is possible there.
        why: String,
    },
}

impl Assignment {
    /// The error of a value that cannot be: `allowed` is what the key takes.
    #[must_use]
    pub fn impossible(&self, file: &str, allowed: &'static str) -> Error {
        Error::Value {
            file: file.to_owned(),
            line: self.line,
            key: self.key.clone(),
            value: shortened(&self.value),
            allowed,
        }
    }

    /// What the value is read as, with its place; `None` where it is empty, which takes back what was assigned before.
    pub fn placed<T>(
        &self,
        file: &str,
        read: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<Option<Placed<T>>, Error> {
        let Self { line, key, value, .. } = self;
        if value.is_empty() {
            return Ok(None);
        }
        Ok(Some(Placed { value: read(value)?, place: format!("{file}:{line} ({key}={value})") }))
    }

    /// The error of a value that is wrong in one place, which `why` tells.
    #[must_use]
    pub fn wrong(&self, file: &str, why: impl Display) -> Error {
        let (file, line, why) = (file.to_owned(), self.line, why.to_string());
        Error::Part { file, line, key: self.key.clone(), value: self.value.clone(), why }
    }
}

/// Reads a file's text, `file` is its name for messages.
pub fn parse(text: &str, file: &str) -> Result<Vec<Assignment>, Error> {
    match read(text) {
        (_, Some((line, text))) => Err(Error::Line { file: file.to_owned(), line, text: shortened(&text) }),
        (assignments, None) => Ok(assignments),
    }
}

/// Reads the text of a file of systemd. What is neither a section nor an assignment is passed over, as systemd does
/// after logging it.
#[must_use]
pub fn parse_leniently(text: &str) -> Vec<Assignment> {
    read(text).0
}

/// A text for a message, which is a line in a log.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut rest = text.chars();
    let start: String = rest.by_ref().take(LONGEST).collect();
    if rest.next().is_none() { start } else { start + "..." }
}

/// The assignments, and the first line that is neither a section nor one of them.
fn read(text: &str) -> (Vec<Assignment>, Option<(usize, String)>) {
    let (mut assignments, mut wrong) = (Vec::new(), None);
    let mut section = String::new();
    for (line, text) in logical_lines(text) {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = text.split_once('=') {
            assignments.push(Assignment {
                line,
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        } else {
            wrong.get_or_insert_with(|| (line, text.to_owned()));
        }
    }
    (assignments, wrong)
}

/// systemd's words for yes and no.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// The words of a list: white space parts them, quotes hold them together, a backslash is followed by
/// itself, a quote, `s` (a space), `t` (a tab) or `x` and two hexadecimal digits (an ASCII character).
/// `None` where a quote is not closed or a backslash is followed by something else.
#[must_use]
pub fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => word.get_or_insert_default().push(escaped(&mut rest)?),
            _ if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ if quote.is_none() && c.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        c @ ('\\' | '"' | '\'') => Some(c),
        's' => Some(' '),
        't' => Some('\t'),
        'x' => {
            let (high, low) = (rest.next()?.to_digit(16)?, rest.next()?.to_digit(16)?);
            char::from_u32(high << 4 | low).filter(|c| c.is_ascii() && *c != '\0')
        }
        _ => None,
    }
}

/// Lines with what their trailing backslashes join, without comments and empty ones, each with the number
/// of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, text) in (1..).zip(text.lines()) {
        let comment = matches!(text.trim_start().bytes().next(), None | Some(b'#' | b';'));
        if comment && !open {
            continue;
        }
        if comment {
            open = !text.trim().is_empty(); // a comment within a continued line is left out of it
            continue;
        }
        // A backslash that another one escapes does not join.
        let continues = text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
        let text = if continues { text.strip_suffix('\\').unwrap_or(text) } else { text };
        match lines.last_mut().filter(|_| open) {
            Some((_, line)) => {
                line.push(' ');
                line.push_str(text);
            }
            None => lines.push((number, text.to_owned())),
        }
        open = continues;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(usize, String)> {
        let show = |a: Assignment| (a.line, format!("[{}] {}={}", a.section, a.key, a.value));
        parse(text, "f").unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn files() {
        for (text, expected) in [
            ("", vec![]),
            ("A=b\n", vec![(1, "[] A=b")]),
            ("# c\n; c\n\n[S]\n A = b = c \n", vec![(5, "[S] A=b = c")]),
            ("[S]\nA=b \\\n  # inside\n  c\n[T]\nB=\n", vec![(2, "[S] A=b    c"), (6, "[T] B=")]),
            ("[S]\nA=a\\\\\nA=b\\\n\nA=c\n", vec![(2, "[S] A=a\\\\"), (3, "[S] A=b"), (5, "[S] A=c")]),
            ("[S]\r\nA=b\r\n", vec![(2, "[S] A=b")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(line, text)| (line, text.to_owned())).collect();
            assert_eq!(parsed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn booleans() {
        for (text, value) in
            [("yes", Some(true)), ("On", Some(true)), ("0", Some(false)), ("", None), ("2", None)]
        {
            assert_eq!(boolean(text), value, "{text}");
        }
    }

    #[test]
    fn lists() {
        for (text, expected) in [
            ("", Some(vec![])),
            (" /a  /b\t/c ", Some(vec!["/a", "/b", "/c"])),
            (r#""/a b" '/c d' "" /e" f""#, Some(vec!["/a b", "/c d", "", "/e f"])),
            (r#"/a\sb /c\x20d /e\\f "it's" \'"#, Some(vec!["/a b", "/c d", r"/e\f", "it's", "'"])),
            (r#""/a"#, None),
            (r"/a\q", None),
            (r"/a\x2", None),
            (r"/a\x00", None),
            (r"/a\xff", None),
            (r"/a\", None),
        ] {
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(words(text), expected, "{text}");
        }
    }

    /// A line of 16 MiB was repeated in the message, which goes to the kernel log.
    #[test]
    fn a_message_is_no_longer_than_a_line() {
        let long = "x".repeat(1 << 20);
        assert!(parse(&long, "f").unwrap_err().to_string().len() < 300);
        let assignment = Assignment { line: 1, section: String::new(), key: "Key".to_owned(), value: long };
        assert!(assignment.impossible("f", "no").to_string().len() < 300);
    }
}
