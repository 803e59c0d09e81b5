//! What `--help` says.

use argh::{FlagInfo, FlagInfoKind, Optionality};
use textwrap::Options;

use super::{Command, HELP, internal};

/// Columns of a terminal that nobody made larger.
const WIDTH: usize = 80;
/// Where what is said of something begins, if its name is short enough.
const COLUMN: usize = 21;
/// The same of an exit code.
const CODE: usize = 5;
/// A space at which no line ends.
const TOGETHER: &str = "\u{a0}";

pub(crate) fn text(command: &Command<'_>) -> String {
    let info = command.info;
    let usage = format!("Usage: {}{}", command.name, takes(command));
    let mut text = vec![filled(&usage, "", "    "), filled(info.description, "", "")];
    let arguments = info.positionals.iter().map(|one| (one.name.to_owned(), one.description));
    text.extend(list("Arguments:", COLUMN, arguments));
    let options = info.flags.iter().filter(|flag| flag.long != HELP).map(|flag| {
        let short = flag.short.map(|short| format!("-{short}, ")).unwrap_or_default();
        (format!("{short}{}{}", flag.long, value(flag, " ")), flag.description)
    });
    let help = if command.flag("-h").is_some() { HELP } else { "-h, --help" };
    text.extend(list("Options:", COLUMN, options.chain([(help.to_owned(), "show this")])));
    let commands = || info.commands.iter().map(|one| (one, one.name.to_owned()));
    let typed = commands().filter(|(one, _)| internal(one).is_none());
    text.extend(list(
        "Commands:",
        COLUMN,
        typed.map(|(one, name)| (name, sentence(one.command.description))),
    ));
    let internal = commands().filter_map(|(one, name)| Some((name, sentence(internal(one)?))));
    text.extend(list("Commands that only units run:", COLUMN, internal));
    let codes = info.error_codes.iter().map(|one| (one.code.to_string(), one.description));
    text.extend(list("Exit codes:", CODE, codes));
    if !info.examples.is_empty() {
        text.push(format!("Examples:\n{}", indented(&info.examples.join("\n"))));
    }
    // The first line of a note is its heading.
    let notes = info.notes.iter().map(|note| note.split_once('\n').unwrap_or((note, "")));
    text.extend(notes.map(|(heading, rest)| format!("{heading}\n{}", indented(rest))));
    text.join("\n\n")
}

fn takes(command: &Command<'_>) -> String {
    let info = command.info;
    let mut text = String::new();
    for flag in info.flags.iter().filter(|flag| flag.long != HELP) {
        text.push_str(&wanted(&format!("{}{}", flag.long, value(flag, TOGETHER)), &flag.optionality));
    }
    for one in info.positionals {
        text.push_str(&wanted(one.name, &one.optionality));
    }
    if !info.commands.is_empty() {
        text.push_str(" COMMAND ...");
    }
    text
}

fn value(flag: &FlagInfo<'_>, space: &str) -> String {
    match flag.kind {
        FlagInfoKind::Switch => String::new(),
        FlagInfoKind::Option { arg_name } => format!("{space}{arg_name}"),
    }
}

/// As synopses have it: `[what may be left out]`, `what may be given again...`
fn wanted(text: &str, optionality: &Optionality) -> String {
    match optionality {
        Optionality::Required => format!(" {text}"),
        Optionality::Repeating => format!(" [{text}]..."),
        _ => format!(" [{text}]"),
    }
}

/// The first of what a command is described with.
fn sentence(description: &str) -> &str {
    description.split_once(". ").map_or(description, |(first, _)| first).trim_end_matches('.')
}

fn list<'a>(heading: &str, column: usize, rows: impl Iterator<Item = (String, &'a str)>) -> Option<String> {
    let mut text = heading.to_owned();
    for (name, description) in rows {
        let indent = " ".repeat(column);
        let beside = format!("  {name:width$} ", width = column - 3);
        text.push('\n');
        if beside.len() > column {
            text.push_str(&format!("  {name}\n{}", filled(description, &indent, &indent)));
        } else {
            text.push_str(&filled(description, &beside, &indent));
        }
    }
    (text != heading).then_some(text)
}

fn indented(text: &str) -> String {
    format!("  {}", text.replace('\n', "\n  "))
}

fn filled(text: &str, first: &str, later: &str) -> String {
    let options = Options::new(WIDTH).initial_indent(first).subsequent_indent(later).break_words(false);
    textwrap::fill(text, options.word_splitter(textwrap::WordSplitter::NoHyphenation)).replace(TOGETHER, " ")
}
