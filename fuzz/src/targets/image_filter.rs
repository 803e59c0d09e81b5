//! `format/config/image_filter.rs`: a pattern takes the labels that a plain table of all beginnings says it takes, and
//! what refuses a label is written in the filter. (The first line is the filter, the second a label.)

use nextroot::format::config::{image_filter::ImageFilter, image_policy::Designator};

/// Characters of a pattern, and of a label: the table has the product of both.
const LONGEST: usize = 512;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let (written, label) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(filter) = written.parse::<ImageFilter>() else { return };
    let rules: Vec<(&str, &str)> = written.split(':').filter_map(|rule| rule.split_once('=')).collect();
    for designator in Designator::all() {
        let refused = filter.refuses(designator, label);
        let name = designator.to_string();
        let Some((_, pattern)) = rules.iter().find(|(word, _)| *word == name) else {
            assert_eq!(refused, None);
            continue;
        };
        assert!(refused.is_none_or(|refused| refused == *pattern));
        if pattern.chars().count().max(label.chars().count()) <= LONGEST {
            assert_eq!(refused.is_none(), takes(pattern, label), "{pattern} {label}");
        }
    }
}

/// An element of a pattern.
enum Element {
    /// `*`
    Any,
    /// What else there is: whether it takes a character.
    One(Box<dyn Fn(char) -> bool>),
}

/// Whether a pattern takes a label: which beginnings of the label are taken, element after element.
fn takes(pattern: &str, label: &str) -> bool {
    let label: Vec<char> = label.chars().collect();
    let mut taken = vec![false; label.len() + 1];
    taken[0] = true;
    for element in elements(pattern) {
        taken = match element {
            Element::Any => {
                let first = taken.iter().position(|taken| *taken).unwrap_or(taken.len());
                (0..taken.len()).map(|end| end >= first).collect()
            }
            Element::One(one) => {
                let of_label = label.iter().zip(&taken).map(|(c, before)| *before && one(*c));
                std::iter::once(false).chain(of_label).collect()
            }
        };
    }
    taken.ends_with(&[true])
}

fn elements(pattern: &str) -> Vec<Element> {
    let mut rest = pattern.chars().peekable();
    let mut elements = Vec::new();
    while let Some(first) = rest.next() {
        elements.push(match first {
            '*' => Element::Any,
            '?' => Element::One(Box::new(|_| true)),
            '[' => {
                let inverted = rest.next_if(|c| matches!(c, '!' | '^')).is_some();
                // Its first character is one of the set, whichever it is.
                let mut set: Vec<char> = rest.next().into_iter().collect();
                set.extend(std::iter::from_fn(|| rest.next_if(|c| *c != ']')));
                assert_eq!(rest.next(), Some(']'), "a set that was let through has an end: {pattern}");
                Element::One(Box::new(move |c| is_in(&set, c) != inverted))
            }
            other => Element::One(Box::new(move |c| c == other)),
        });
    }
    elements
}

fn is_in(set: &[char], c: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        let is_range = set.get(at + 1) == Some(&'-') && at + 2 < set.len();
        let last = if is_range { set[at + 2] } else { set[at] };
        if (set[at]..=last).contains(&c) {
            return true;
        }
        at += if is_range { 3 } else { 1 };
    }
    false
}
