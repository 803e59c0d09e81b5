//! Comparing versions in text, as systemd does it (strverscmp_improved; UAPI.10 describes it, but for `^`).

use std::cmp::Ordering;

/// Which of two texts has the higher version. Texts that differ only in other characters than those that
/// make up a version are equal.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        (one, other) = (skip(one, |byte| !is_part(byte)), skip(other, |byte| !is_part(byte)));
        // `1~rc1` comes before `1` itself, so this is asked before whether one has ended.
        match separators(one, other, b"~").and_then(|(one, other)| {
            if one.is_empty() || other.is_empty() {
                return Err(other.is_empty().cmp(&one.is_empty()));
            }
            let (one, other) = separators(one, other, b"-^.")?;
            component(one, other)
        }) {
            Ok(rest) => (one, other) = rest,
            Err(order) => return order,
        }
    }
}

/// What remains of two texts that are equal so far.
type Rest<'a> = (&'a [u8], &'a [u8]);

/// Both texts without the separators that they begin with; whoever has one that the other lacks is lower.
fn separators<'a>(one: &'a [u8], other: &'a [u8], separators: &[u8]) -> Result<Rest<'a>, Ordering> {
    separators.iter().try_fold((one, other), |(one, other), separator| {
        match (one.strip_prefix(&[*separator]), other.strip_prefix(&[*separator])) {
            (Some(one), Some(other)) => Ok((one, other)),
            (Some(_), None) => Err(Ordering::Less),
            (None, Some(_)) => Err(Ordering::Greater),
            (None, None) => Ok((one, other)),
        }
    })
}

/// Compares the numbers, or else the words, that two texts begin with. A number is higher than a word, also if it is 0.
fn component<'a>(one: &'a [u8], other: &'a [u8]) -> Result<Rest<'a>, Ordering> {
    let begins = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
    let is_number = match (begins(one), begins(other)) {
        (true, true) => true,
        (false, false) => false,
        (one, other) => return Err(one.cmp(&other)),
    };
    let part = |text| match is_number {
        true => split(skip(text, |byte| byte == b'0'), |byte| byte.is_ascii_digit()),
        false => split(text, |byte| byte.is_ascii_alphabetic()),
    };
    let ((part, rest), (others_part, others_rest)) = (part(one), part(other));
    let by_length = if is_number { part.len().cmp(&others_part.len()) } else { Ordering::Equal };
    match by_length.then_with(|| part.cmp(others_part)) {
        Ordering::Equal => Ok((rest, others_rest)),
        order => Err(order),
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"~-^.".contains(&byte)
}

fn skip(text: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    split(text, unwanted).1
}

fn split(text: &[u8], wanted: impl Fn(u8) -> bool) -> Rest<'_> {
    let end = text.iter().position(|byte| !wanted(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No number counted as 0, so that 1.0 was older than 1.a: a word that somebody chose was newer than a number.
    #[test]
    fn zero_is_higher_than_a_word() {
        for (word, number) in [("a", "0"), ("1.a", "1.0"), ("1~rc", "1~0"), ("z", "00")] {
            assert_eq!(compare(word, number), Ordering::Less, "{word} {number}");
            assert_eq!(compare(number, word), Ordering::Greater, "{number} {word}");
        }
    }

    #[test]
    fn versions() {
        use Ordering::{Equal, Less};
        for (one, order, other) in [
            ("11", Equal, "11"),
            ("systemd-123", Equal, "systemd-123"),
            ("bar-123", Less, "foo-123"),
            ("123", Less, "123a"),
            ("123", Less, "123.a"),
            ("123.a", Less, "123.b"),
            ("123.a", Less, "123a"),
            ("11\u{3b1}", Equal, "11\u{3b2}"),
            ("A", Less, "a"),
            ("", Less, "0"),
            ("~", Less, ""),
            ("1~rc1", Less, "1"),
            ("0", Less, "0."),
            ("0", Less, "0.0"),
            ("1_", Equal, "1"),
            ("_1", Equal, "1"),
            ("1_", Less, "1.2"),
            ("1.3.3", Less, "1_2_3"),
            ("1~rc1", Less, "1~rc2"),
            ("1~rc1", Less, "1.0"),
            ("1.0-1", Less, "1.0.1"),
            ("1.0", Less, "1.0^1"),
            ("1.0^1", Less, "1.0.1"),
            ("123-1.1", Less, "123^post1"),
            ("123.1-1", Less, "123a-1"),
            ("123~rc1-1", Less, "123"),
            ("1..2", Less, "1.2"),
            ("0010", Equal, "10"),
            ("9", Less, "10"),
            ("99999999999999999999998", Less, "99999999999999999999999"),
            ("root_9", Less, "root_10"),
            ("a", Less, "1"),
            ("a", Less, "0"),
        ] {
            assert_eq!(compare(one, other), order, "{one} {other}");
            assert_eq!(compare(other, one), order.reverse(), "{other} {one}");
        }
    }
}
