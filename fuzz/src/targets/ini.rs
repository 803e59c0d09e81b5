//! `format/config/ini.rs`, `format/system/unit_file.rs`: assignments stand on lines that are there, in order, with no
//! space around keys and values; who is lenient reads at least what who is strict does; words that are quoted again
//! read back.

use nextroot::format::{
    config::ini::{boolean, parse, parse_leniently, words},
    system::unit_file::{self, values},
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let lenient = parse_leniently(&text);
    assert!(parse(&text, "f").is_ok_and(|strict| strict == lenient) || parse(&text, "f").is_err());
    assert!(lenient.is_sorted_by_key(|assignment| assignment.line));
    let lines = text.lines().count();
    for assignment in &lenient {
        assert!((1..=lines).contains(&assignment.line));
        assert_eq!((assignment.key.trim(), assignment.value.trim()), (&*assignment.key, &*assignment.value));
        assert!(!assignment.key.contains(['=', '\n']) && !assignment.value.contains('\n'));
        assert_eq!(boolean(&assignment.value), unit_file::boolean(&assignment.value));
        if let Some(program) = unit_file::program(&assignment.value) {
            assert!(program.starts_with('/') && assignment.value.contains(program), "{program}");
        }
        let found = values(&text, &assignment.section, &assignment.key);
        assert!(found.iter().all(|value| !value.is_empty()));
    }
    if let Some(list) = words(&text) {
        assert!(list.iter().map(String::len).sum::<usize>() <= text.len());
        let quote = |word: &String| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
        let quoted: Vec<String> = list.iter().map(quote).collect();
        assert_eq!(words(&quoted.join(" ")), Some(list));
    }
}
