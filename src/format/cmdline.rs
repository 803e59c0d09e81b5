//! The kernel command line, split as the kernel splits it (lib/cmdline.c, `next_arg`).
//!
//! A word ends at white space outside of double quotes; quotes around a whole word or around its value do
//! not belong to it. After `--` everything is for init.

/// A command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Parameters before `--`, in order.
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
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let word;
            (word, rest) = split(rest);
            if word == "--" {
                break;
            }
            parameters.push(parameter(word));
            rest = rest.trim_start();
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

/// The first word, quotes and all, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    text.split_at(end.unwrap_or(text.len()))
}

fn parameter(word: &str) -> Parameter {
    // Quotes before the name hold the whole word together.
    let word = word.strip_prefix('"').map_or(word, |inner| inner.strip_suffix('"').unwrap_or(inner));
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let unquote = |value: &str| match value.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner).to_owned(),
        None => value.to_owned(),
    };
    Parameter { name: name.to_owned(), value: value.map(unquote) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        type Row<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)]);
        let rows: [Row<'_>; 12] = [
            ("", &[]),
            ("  \n", &[]),
            ("quiet ro\n", &[("quiet", None), ("ro", None)]),
            ("root=UUID=1=2", &[("root", Some("UUID=1=2"))]),
            ("root=", &[("root", Some(""))]),
            ("a=\"b c\" d", &[("a", Some("b c")), ("d", None)]),
            ("\"a=b c\" d", &[("a", Some("b c")), ("d", None)]),
            ("a=\"b c", &[("a", Some("b c"))]),
            ("a=b\"c d\"e", &[("a", Some("b\"c d\"e"))]),
            ("a -- b=c", &[("a", None)]),
            ("a=-- b", &[("a", Some("--")), ("b", None)]),
            ("=x", &[("", Some("x"))]),
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
