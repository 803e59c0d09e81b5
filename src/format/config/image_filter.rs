//! systemd's image filter: which partitions of an image are looked at, by their labels. The syntax is that of
//! systemd.image-filter(7), as 262 reads it (src/shared/dissect-image.c, `image_filter_parse`), without quotes.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{image_policy::Designator, ini::Placed};

/// Patterns of labels, by what the partition is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFilter(BTreeMap<Designator, String>);

/// A filter that cannot be meant. Characters are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A rule without an equals sign, or with two.
    #[error("character {at}: \"{rule}\" is no rule: write PARTITION=PATTERN, rules parted by \":\"")]
    NoRule {
        /// Where it begins.
        at: usize,
        /// The rule.
        rule: String,
    },
    /// A partition that is not known.
    #[error("character {at}: \"{word}\" is no partition: write {}", Designator::names())]
    Partition {
        /// Where it begins.
        at: usize,
        /// The word.
        word: String,
    },
    /// Two rules for one partition.
    #[error("character {at}: there is a rule for {word} before this one: leave one of them out")]
    Twice {
        /// Where the second begins.
        at: usize,
        /// The partition.
        word: String,
    },
    /// A pattern that does not say what it means.
    #[error("character {at}: the pattern {pattern} {why}: write text, *, ?, and [abc], [a-c] or [!abc]")]
    Pattern {
        /// Where it begins.
        at: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl ImageFilter {
    /// The pattern that a label has to match, where it does not.
    #[must_use]
    pub fn refuses(&self, designator: Designator, label: &str) -> Option<&str> {
        let pattern = self.0.get(&designator)?;
        (!matches(pattern, label)).then_some(pattern)
    }
}

/// The first of several filters that does not take a label: the pattern that it has to match, and where that stands.
#[must_use]
pub fn refusal<'a>(
    filters: &'a [Placed<ImageFilter>],
    designator: Designator,
    label: &str,
) -> Option<(&'a str, &'a str)> {
    filters.iter().find_map(|filter| Some((filter.value.refuses(designator, label)?, filter.place.as_str())))
}

impl FromStr for ImageFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut filter = Self::default();
        let mut at = 1;
        for rule in text.split(':') {
            let (word, pattern) = match rule.split_once('=') {
                Some((word, pattern)) if !pattern.contains('=') => (word, pattern),
                _ => return Err(Error::NoRule { at, rule: rule.to_owned() }),
            };
            let Some(designator) = Designator::named(word) else {
                return Err(Error::Partition { at, word: word.to_owned() });
            };
            if let Some(why) = unclear(pattern) {
                let at = at + word.chars().count() + 1;
                return Err(Error::Pattern { at, pattern: pattern.to_owned(), why });
            }
            if filter.0.insert(designator, pattern.to_owned()).is_some() {
                return Err(Error::Twice { at, word: word.to_owned() });
            }
            at += rule.chars().count() + 1;
        }
        Ok(filter)
    }
}

/// What fnmatch(3) would take for something that is not meant here, or would take differently from one C library to the
/// next.
fn unclear(pattern: &str) -> Option<&'static str> {
    if pattern.contains(['"', '\'', '\\']) {
        return Some("has a quote or a backslash in it");
    }
    let mut rest = pattern;
    while let Some((_, set)) = rest.split_once('[') {
        let (set, after) = match split_set(set) {
            Some(parts) => parts,
            None => return Some("has a [ without its ]"),
        };
        if set.contains('[') {
            return Some("has a [ inside of brackets");
        }
        rest = after;
    }
    None
}

/// What stands between brackets, and what follows them. A `]` that comes first is one of the characters.
fn split_set(text: &str) -> Option<(&str, &str)> {
    let start = text.strip_prefix(['!', '^']).unwrap_or(text);
    let skipped = text.len() - start.len();
    let end = start.char_indices().skip(1).find(|(_, c)| *c == ']').map(|(index, _)| index + skipped)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Whether a text matches, as fnmatch(3) with `FNM_NOESCAPE` has it. A step back goes to the last `*` only, so time is
/// bounded by the product of both lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&str, &str)> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix('*') {
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        let mut after = text.chars();
        match after.next().map(|c| (one(pattern, c), c)) {
            None if pattern.is_empty() => return true,
            Some((Some(rest), _)) => {
                (pattern, text) = (rest, after.as_str());
                continue;
            }
            _ => {}
        }
        let Some((rest, from)) = retry else { return false };
        let mut later = from.chars();
        if later.next().is_none() {
            return false;
        }
        retry = Some((rest, later.as_str()));
        (pattern, text) = (rest, later.as_str());
    }
}

/// What is left of a pattern once its first element took a character.
fn one(pattern: &str, c: char) -> Option<&str> {
    let mut rest = pattern.chars();
    match rest.next()? {
        '?' => Some(rest.as_str()),
        '[' => {
            let (set, after) = split_set(rest.as_str())?;
            let listed = set.strip_prefix(['!', '^']);
            (in_set(listed.unwrap_or(set), c) != listed.is_some()).then_some(after)
        }
        first => (first == c).then_some(rest.as_str()),
    }
}

fn in_set(set: &str, c: char) -> bool {
    let characters: Vec<char> = set.chars().collect();
    let mut rest = characters.as_slice();
    loop {
        let found;
        (found, rest) = match rest {
            [from, '-', to, rest @ ..] => ((*from..=*to).contains(&c), rest),
            [first, rest @ ..] => (*first == c, rest),
            [] => return false,
        };
        if found {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (pattern, label, expected) in [
            ("ParticleOS-*", "ParticleOS-1", true),
            ("ParticleOS-*", "ParticleOS-", true),
            ("ParticleOS-*", "ParticleOS", false),
            ("ParticleOS_47110815", "ParticleOS_47110815", true),
            ("ParticleOS_47110815", "particleos_47110815", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "\u{e9}", true),
            ("?", "\u{e9}", true),
            ("?", "", false),
            ("??", "a", false),
            ("*a*b*", "xaxxbx", true),
            ("*a*b", "ab-ab-a", false),
            ("*ab", "aab", true),
            ("kn*arz", "knarz", true),
            ("kn*arz", "knarrz", false),
            ("a[bc]d", "acd", true),
            ("a[bc]d", "add", false),
            ("a[b-d]", "ac", true),
            ("a[!b-d]", "ac", false),
            ("a[^b-d]", "ae", true),
            ("a[!b]", "a", false),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[a-]", "-", true),
            ("[!!]", "!", false),
            ("[!!]", "a", true),
            ("[!^]]", "]", false),
            ("*[0-9]", "os_1", true),
            ("a/b*", "a/b/c", true),
        ] {
            let filter: ImageFilter = format!("usr=x:root={pattern}").parse().unwrap();
            let refused = filter.refuses(Designator::Root, label);
            assert_eq!(refused.is_none(), expected, "{pattern} {label}");
            assert_eq!(filter.refuses(Designator::Home, label), None);
        }
    }

    #[test]
    fn malformed() {
        let rule = "is no rule: write PARTITION=PATTERN, rules parted by \":\"";
        let write = "write text, *, ?, and [abc], [a-c] or [!abc]";
        for (filter, message) in [
            ("", format!("character 1: \"\" {rule}")),
            (":", format!("character 1: \"\" {rule}")),
            ("-", format!("character 1: \"-\" {rule}")),
            ("root=a:", format!("character 8: \"\" {rule}")),
            ("root=a=b", format!("character 1: \"root=a=b\" {rule}")),
            (
                "root=a:schlumpf=b",
                format!("character 8: \"schlumpf\" is no partition: write {}", Designator::names()),
            ),
            (
                "root=a:root=a",
                "character 8: there is a rule for root before this one: leave one of them out".to_owned(),
            ),
            ("root=[a", format!("character 6: the pattern [a has a [ without its ]: {write}")),
            ("root=[]", format!("character 6: the pattern [] has a [ without its ]: {write}")),
            ("root=[[x]", format!("character 6: the pattern [[x] has a [ inside of brackets: {write}")),
            (
                "root=\"a\"",
                format!("character 6: the pattern \"a\" has a quote or a backslash in it: {write}"),
            ),
            (
                "usr=a:root=a\\*",
                format!("character 12: the pattern a\\* has a quote or a backslash in it: {write}"),
            ),
        ] {
            assert_eq!(filter.parse::<ImageFilter>().unwrap_err().to_string(), message, "{filter}");
        }
    }
}
