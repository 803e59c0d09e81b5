//! What is said of a command line that cannot be read.

use std::cmp::Reverse;

use super::{Command, HELP, internal};

/// From what `argh` says of it.
pub(crate) fn text(command: &Command<'_>, said: &str) -> String {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let (name, info) = (&command.name, command.info);
    let wrong = match said.strip_prefix(UNKNOWN) {
        None => said.trim_end_matches('.').to_owned(),
        Some(word) if word.starts_with('-') => {
            let known = info.flags.iter().map(|flag| flag.long).chain([HELP]);
            let meant = match meant(word, known) {
                meant if meant.is_empty() && !info.commands.is_empty() => {
                    " here: options of a command stand behind it".to_owned()
                }
                meant => meant,
            };
            format!("there is no option {word}{meant}")
        }
        Some(word) if info.commands.is_empty() && info.positionals.is_empty() => {
            format!("it takes options only: {word} is none")
        }
        Some(word) if info.commands.is_empty() => format!("one argument too many: {word}"),
        Some(word) => {
            let typed = info.commands.iter().filter(|one| internal(one).is_none());
            format!("there is no command {word}{}", meant(word, typed.map(|one| one.name)))
        }
    };
    format!("{name}: {wrong}\n  {name} {HELP} tells what there is")
}

/// What is nearly the same, or in it, as `reboot` is in `soft-reboot`.
fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let far = |one: &str| if word.contains(one) { 1 } else { strsim::damerau_levenshtein(one, word) };
    let near = known
        .map(|one| (far(one), one))
        .filter(|(far, one)| *far <= FAR && *far < one.trim_start_matches('-').len());
    let nearest = near.min_by_key(|(far, one)| (*far, Reverse(one.len())));
    nearest.map(|(_, one)| format!(": did you mean {one}?")).unwrap_or_default()
}

/// How `argh` begins where it does not know a word.
const UNKNOWN: &str = "Unrecognized argument: ";
/// How many letters may be wrong, missing, too many or in the place of the next.
const FAR: usize = 2;
