//! What nextroot's client writes down: a line a request, with microseconds of CLOCK_MONOTONIC when it began, microseconds that it took,
//! how it ended, and what was asked: `81234567 350 answered http://127.0.0.1:8080/`.

use std::{fmt, time::Duration};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was answered.
    Answered,
    /// Nobody listened, or the server said that it cannot.
    Refused,
    /// There was no answer, or not all of it.
    Lost,
}

const WORDS: [(&str, Answer); 3] =
    [("answered", Answer::Answered), ("refused", Answer::Refused), ("lost", Answer::Lost)];

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it began, by CLOCK_MONOTONIC.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub answer: Answer,
    /// What was asked.
    pub address: String,
}

impl Request {
    /// When it ended.
    #[must_use]
    pub fn ended(&self) -> Duration {
        self.begun + self.took
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(_, answer)| *answer == self.answer).map_or("", |(word, _)| word);
        write!(f, "{} {} {word} {}", self.begun.as_micros(), self.took.as_micros(), self.address)
    }
}

/// A line that is none of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is none of a client of nextroot: {text:?}")]
pub struct Error {
    /// The line, counted from 1.
    line: usize,
    /// The line itself.
    text: String,
}

/// Reads a log. A last line without its end was being written, and is left out.
pub fn parse(text: &str) -> Result<Vec<Request>, Error> {
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let failed = |(number, text): (usize, &str)| Error { line: number + 1, text: text.to_owned() };
    lines.enumerate().map(|line| request(line.1).ok_or_else(|| failed(line))).collect()
}

fn request(line: &str) -> Option<Request> {
    let mut words = line.splitn(4, ' ');
    let mut time = || words.next()?.parse().ok().map(Duration::from_micros);
    let (begun, took) = (time()?, time()?);
    let word = words.next()?;
    let (_, answer) = WORDS.iter().find(|(known, _)| *known == word)?;
    let is_address = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let address = words.next().filter(is_address)?.to_owned();
    Some(Request { begun, took, answer: *answer, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs() {
        let request = |begun, took, answer, address: &str| Request {
            begun: Duration::from_micros(begun),
            took: Duration::from_micros(took),
            answer,
            address: address.to_owned(),
        };
        for (text, expected) in [
            ("", Some(vec![])),
            (
                "81234567 350 answered http://a/\n81334567 20 refused tcp://b:1\n81434567 10000000 lost http://a/\n",
                Some(vec![
                    request(81_234_567, 350, Answer::Answered, "http://a/"),
                    request(81_334_567, 20, Answer::Refused, "tcp://b:1"),
                    request(81_434_567, 10_000_000, Answer::Lost, "http://a/"),
                ]),
            ),
            ("1 2 answered a\n3 4 ans", Some(vec![request(1, 2, Answer::Answered, "a")])),
            ("1 2 answ", Some(vec![])),
            ("1 2 answ\n", None),
            ("1 2 answered \n", None),
            ("1 2 answered a b\n", None),
            ("1 2 answered a\r\n", None),
            ("1 2 answered a\r\r\n3 4 answered b\n", None),
            ("1 answered a\n", None),
            ("-1 2 answered a\n", None),
            ("\n\n", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text:?}");
            if let Some(requests) = expected {
                let lines: Vec<String> = requests.iter().map(ToString::to_string).collect();
                assert!(text.starts_with(&lines.join("\n")), "{text:?}");
            }
        }
        let message = parse("1 2 answered a\nb\n").unwrap_err().to_string();
        assert_eq!(message, "line 2 is none of a client of nextroot: \"b\"");
    }
}
