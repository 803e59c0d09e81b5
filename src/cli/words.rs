//! The words of the command line: an option's value may stand behind a `=`, as everywhere else; `verity` knows the short
//! options of veritysetup(8).

use std::{ffi::OsString, process::ExitCode};

use argh::FromArgs;
use nextroot::mode::{complain, say};

/// Reads the command line; the exit code where that is all there is to do, as for --help.
pub(super) fn read<T: FromArgs>(mut words: impl Iterator<Item = OsString>) -> Result<T, ExitCode> {
    let program = words.next().unwrap_or_default();
    let program = program.to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default();
    let words: Vec<String> = words.map(OsString::into_string).collect::<Result<_, _>>().map_err(|word| {
        complain(format_args!("nextroot: {}: an argument that is no UTF-8", word.display()));
        ExitCode::FAILURE
    })?;
    let words = parted(&words);
    T::from_args(&[program], &words).map_err(|early| match early.status {
        Ok(()) => {
            say(early.output.trim_end());
            ExitCode::SUCCESS
        }
        Err(()) => {
            complain(early.output.trim_end());
            complain(format_args!("Run {program} --help for more information."));
            ExitCode::FAILURE
        }
    })
}

/// With `--name=value` as two words, but for what stands behind `--`.
fn parted(words: &[String]) -> Vec<&str> {
    let ended = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (options, rest) = words.split_at(ended);
    let mut all = Vec::with_capacity(words.len());
    for word in options {
        match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => all.extend([name, value]),
            _ => all.push(word.as_str()),
        }
    }
    if let [first, of_verity @ ..] = all.as_mut_slice()
        && *first == "verity"
    {
        lengthen(of_verity);
    }
    all.extend(rest.iter().map(String::as_str));
    all
}

/// Short options of veritysetup. Its `-h` has a value; without one it asks for help here.
fn lengthen(words: &mut [&str]) {
    let last = words.len().saturating_sub(1);
    for (number, word) in words.iter_mut().enumerate() {
        match *word {
            "-h" if number < last => *word = "--hash",
            "-s" => *word = "--salt",
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_behind_an_equals_sign() {
        for (words, expected) in [
            (&["plan", "--roothash=ab", "PARTLABEL=x"][..], &["plan", "--roothash", "ab", "PARTLABEL=x"][..]),
            (&["--cmdline=root=LABEL=a b"], &["--cmdline", "root=LABEL=a b"]),
            (&["--salt=", "--salt=-"], &["--salt", "", "--salt", "-"]),
            (&["--", "--a=b"], &["--", "--a=b"]),
            (&["a=b", "-c=d"], &["a=b", "-c=d"]),
            (
                &["verity", "format", "-h", "sha512", "-s", "-"],
                &["verity", "format", "--hash", "sha512", "--salt", "-"],
            ),
            (&["verity", "format", "-h"], &["verity", "format", "-h"]),
            (&["stage", "-h", "-s"], &["stage", "-h", "-s"]),
            (&["verity", "dump", "--", "-s"], &["verity", "dump", "--", "-s"]),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(parted(&words), expected);
        }
    }
}
