//! Command lines that each program reads and explains alike: what `argh` derives, with a `--help` that fits a terminal, and with
//! errors that name the command and what was probably meant.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, SubCommandInfo};

mod help;
mod wrong;

/// Why there are no arguments to go on with.
#[derive(Debug, PartialEq, Eq)]
pub enum Early {
    /// That was asked for: for standard output.
    Help(String),
    /// They are wrong: for standard error.
    Wrong(String),
}

impl Early {
    /// Says so; the exit code that goes with it. Nobody may read it any more.
    pub fn tell(&self) -> ExitCode {
        match self {
            Self::Help(text) => {
                _ = writeln!(io::stdout(), "{text}");
                ExitCode::SUCCESS
            }
            Self::Wrong(text) => {
                _ = writeln!(io::stderr(), "{text}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Reads the words of a command line, the first of which is the program.
///
/// An option's value may stand behind a `=`, as everywhere else; `-h` is `--help`, where it has no other meaning; `--version` of a
/// command is the program's.
///
/// # Errors
///
/// Help was asked for, or the words are not what `T` says.
pub fn read<T: FromArgs + ArgsInfo>(words: impl IntoIterator<Item = OsString>) -> Result<T, Early> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default().to_string_lossy().into_owned();
    let program = program.rsplit('/').next().unwrap_or_default();
    let words: Vec<String> = words.map(OsString::into_string).collect::<Result<_, _>>().map_err(|word| {
        Early::Wrong(format!("{program}: {}: an argument that is no UTF-8", word.display()))
    })?;
    let info = T::get_args_info();
    let command = Command::of(program, &info, &words);
    let words = command.parted(&words)?;
    T::from_args(&[program], &words).map_err(|early| match early.status {
        Ok(()) => Early::Help(help::text(&command)),
        Err(()) => Early::Wrong(wrong::text(&command, &early.output)),
    })
}

/// The command that a command line names, as `verity format`.
struct Command<'a> {
    /// With the program, as it is typed.
    name: String,
    info: &'a CommandInfoWithArgs,
}

impl<'a> Command<'a> {
    /// Up to the first word that is not known: what is wrong is wrong there.
    fn of(program: &str, info: &'a CommandInfoWithArgs, words: &[String]) -> Self {
        let mut command = Self { name: program.to_owned(), info };
        for word in words {
            if let Some(next) = command.info.commands.iter().find(|next| next.name == word) {
                command = Self { name: format!("{} {word}", command.name), info: &next.command };
            } else if !matches!(word.as_str(), HELP | "-h" | "help") && command.flag(word).is_none() {
                break;
            }
        }
        command
    }

    fn flag(&self, name: &str) -> Option<&'a FlagInfo<'static>> {
        let is_short = |flag: &FlagInfo<'_>| flag.short.is_some_and(|short| name == format!("-{short}"));
        self.info.flags.iter().find(|flag| flag.long == name || is_short(flag))
    }

    /// With `--name=value` as two words, but for values, and for what stands behind `--`.
    fn parted<'b>(&self, words: &'b [String]) -> Result<Vec<&'b str>, Early> {
        let ended = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let (options, rest) = words.split_at(ended);
        let mut all = Vec::with_capacity(words.len());
        let mut options = options.iter().map(String::as_str).peekable();
        while let Some(word) = options.next() {
            match word.split_once('=') {
                Some((name, _)) if self.is_switch(name) => {
                    let said =
                        format!("{}: {name} takes no value: leave out what stands behind it", self.name);
                    return Err(Early::Wrong(said));
                }
                Some((name, value)) if name.len() > 2 && name.starts_with("--") => all.extend([name, value]),
                // Without a value it asks for help, whatever else it may mean.
                _ if word == "-h" && (self.flag(word).is_none() || options.peek().is_none()) => {
                    all.push(HELP)
                }
                // Nothing else counts then, or is missing.
                _ if matches!(word, VERSION | "-V") && self.flag(word).is_none() => return Ok(vec![VERSION]),
                _ if self.flag(word).is_some() && !self.is_switch(word) => {
                    all.extend([word].into_iter().chain(options.next()))
                }
                _ => all.push(word),
            }
        }
        all.extend(rest.iter().map(String::as_str));
        Ok(all)
    }

    fn is_switch(&self, name: &str) -> bool {
        name == HELP || self.flag(name).is_some_and(|flag| flag.kind == FlagInfoKind::Switch)
    }
}

const HELP: &str = "--help";
const VERSION: &str = "--version";

/// What a command does that people do not type; `None` of one that they do.
fn internal(command: &SubCommandInfo) -> Option<&'static str> {
    command.command.description.strip_prefix("Internal: ")
}

#[cfg(test)]
mod tests;
