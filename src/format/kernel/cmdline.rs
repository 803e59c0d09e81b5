//! The kernel command line, split as the kernel splits it (lib/cmdline.c, `next_arg`).
//!
//! A word ends at white space outside of double quotes; quotes around a whole word or around its value do
//! not belong to it. After `--` everything is for init.

/// A command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Parameters before `--`, in order. What follows it the kernel hands to init itself.
    pub parameters: Vec<Parameter>,
}

/// A word of it: `NAME` or `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name, as written.
    pub name: String,
    /// The value; empty for `NAME=`, `None` for `NAME`.
    pub value: Option<String>,
}

impl CommandLine {
    /// Splits a command line.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parameters = Vec::new();
        let mut rest = text.trim_start_matches(is_space);
        while !rest.is_empty() {
            let (word, after) = split(rest);
            let parameter = parameter(word);
            if parameter.name == "--" && parameter.value.is_none() {
                break;
            }
            parameters.push(parameter);
            rest = after.trim_start_matches(is_space);
        }
        Self { parameters }
    }
}

/// Names as the kernel and systemd compare them: `-` and `_` are one.
#[must_use]
pub fn same_name(one: &str, other: &str) -> bool {
    let normal = |byte: u8| if byte == b'-' { b'_' } else { byte };
    one.bytes().map(normal).eq(other.bytes().map(normal))
}

/// White space of C's locale. (The kernel also takes the byte 0xa0, which in UTF-8 is part of letters.)
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The first word, quotes and all, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        is_space(c) && !quoted
    });
    text.split_at(end.unwrap_or(text.len()))
}

fn parameter(word: &str) -> Parameter {
    // Quotes before the name hold the whole word together.
    let word = unquote(word);
    // A name has one character at least: the first one is no separator.
    let separator = word.char_indices().skip(1).find(|(_, c)| *c == '=');
    let split = separator.and_then(|(at, _)| Some((word.get(..at)?, word.get(at + 1..)?)));
    match split {
        Some((name, value)) => Parameter { name: name.to_owned(), value: Some(unquote(value).to_owned()) },
        None => Parameter { name: word.to_owned(), value: None },
    }
}

/// Without a quote at the start, and then without one at the end.
fn unquote(text: &str) -> &str {
    text.strip_prefix('"').map_or(text, |inner| inner.strip_suffix('"').unwrap_or(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        type Row<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)]);
        let rows: [Row<'_>; 20] = [
            ("", &[]),
            ("  \n", &[]),
            ("quiet ro\n", &[("quiet", None), ("ro", None)]),
            ("a\x0bb\x0cc\td", &[("a", None), ("b", None), ("c", None), ("d", None)]),
            ("root=UUID=1=2", &[("root", Some("UUID=1=2"))]),
            ("root=", &[("root", Some(""))]),
            ("a=\"b c\" d", &[("a", Some("b c")), ("d", None)]),
            ("\"a=b c\" d", &[("a", Some("b c")), ("d", None)]),
            ("\"a b\"", &[("a b", None)]),
            ("\"a=\"b", &[("a", Some("b"))]),
            ("a=\"b c", &[("a", Some("b c"))]),
            ("a=\"\" b", &[("a", Some("")), ("b", None)]),
            ("a=b\"c d\"e", &[("a", Some("b\"c d\"e"))]),
            ("a -- b=c", &[("a", None)]),
            ("a \"--\" b=c", &[("a", None)]),
            ("a=-- --b c", &[("a", Some("--")), ("--b", None), ("c", None)]),
            ("=x", &[("=x", None)]),
            ("=x=y", &[("=x", Some("y"))]),
            ("LABEL=\u{e0}\u{a0}\u{3000}b c", &[("LABEL", Some("\u{e0}\u{a0}\u{3000}b")), ("c", None)]),
            ("\"", &[("", None)]),
        ];
        for (text, expected) in rows {
            let line = CommandLine::parse(text);
            let got: Vec<_> = line.parameters.iter().map(|p| (p.name.as_str(), p.value.as_deref())).collect();
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn names() {
        assert!(same_name("virtio-blk.x_y", "virtio_blk.x-y"));
        assert!(!same_name("root", "roots"));
    }
}
