//! The words of the command line; `verity` knows the short options of veritysetup(8).

use std::{ffi::OsString, process::ExitCode};

use argh::{ArgsInfo, FromArgs};

/// Reads the command line; the exit code where that is all there is to do, as for --help.
pub(super) fn read<T: FromArgs + ArgsInfo>(words: impl Iterator<Item = OsString>) -> Result<T, ExitCode> {
    let mut words: Vec<OsString> = words.collect();
    if let [_, first, of_verity @ ..] = words.as_mut_slice()
        && first == "verity"
    {
        lengthen(of_verity);
    }
    nextroot_usage::read(words).map_err(|early| early.tell())
}

/// Short options of veritysetup. Its `-h` has a value; without one it asks for help here.
fn lengthen(words: &mut [OsString]) {
    let ended = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let last = words.len().saturating_sub(1);
    for (number, word) in words.iter_mut().enumerate().take(ended) {
        if word == "-h" && number < last {
            *word = "--hash".into();
        } else if word == "-s" {
            *word = "--salt".into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_options_of_veritysetup() {
        for (words, expected) in [
            (&["format", "-h", "sha512", "-s", "-"][..], &["format", "--hash", "sha512", "--salt", "-"][..]),
            (&["format", "-h"], &["format", "-h"]),
            (&["dump", "--", "-s"], &["dump", "--", "-s"]),
        ] {
            let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
            lengthen(&mut words);
            assert_eq!(words, expected);
        }
    }
}
