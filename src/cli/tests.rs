//! What --help and the man pages show is typed here, and not done.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{ffi::OsString, fs, path::Path, process::Command};

use argh::{ArgsInfo, CommandInfoWithArgs};
use nextroot_usage::Early;

use super::arguments::Arguments;

fn read(words: &[&str]) -> Result<Arguments, Early> {
    nextroot_usage::read(["nextroot"].iter().chain(words).map(OsString::from))
}

/// Each command as it is typed, as `verity format`, and what is known of it.
fn commands(
    typed: Vec<&'static str>,
    info: CommandInfoWithArgs,
) -> Vec<(Vec<&'static str>, CommandInfoWithArgs)> {
    let below: Vec<_> = (info.commands.iter())
        .flat_map(|one| {
            let typed = typed.iter().copied().chain([one.name]).collect();
            commands(typed, one.command.clone())
        })
        .collect();
    [(typed, info)].into_iter().chain(below).collect()
}

/// What a shell gives to nextroot where it reads such a line; it finds no other program.
fn given(line: &str) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("nextroot() {{ printf '%s\\037' \"$@\" >&3; echo >&3; }}\nexec 3>words\n{line}\n");
    let mut shell = Command::new("/bin/sh");
    let shell =
        shell.args(["-c", &script]).current_dir(directory.path()).env_clear().env("PATH", "/dev/null");
    shell.output().unwrap();
    let words = fs::read_to_string(directory.path().join("words")).unwrap();
    words.lines().map(|line| line.split_terminator('\u{1f}').map(str::to_owned).collect()).collect()
}

/// The commands below EXAMPLES.
fn examples(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/man").join(page);
    let text = fs::read_to_string(path).unwrap();
    let section = text.split(".Sh EXAMPLES\n").nth(1).unwrap().split(".Sh ").next().unwrap();
    let lines = section.lines().map(|line| line.strip_prefix(".Dl ").unwrap_or(line));
    lines.filter(|line| line.split(' ').any(|word| word == "nextroot")).map(str::to_owned).collect()
}

#[track_caller]
fn check(line: &str) {
    let given = given(line);
    assert!(!given.is_empty(), "{line}");
    for words in given {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(read(&words).err(), None, "{line}");
    }
}

#[test]
fn examples_of_help_can_be_typed() {
    let mut count = 0;
    for (_, info) in commands(Vec::new(), Arguments::get_args_info()) {
        info.examples.iter().for_each(|line| check(line));
        count += info.examples.len();
    }
    assert!(count >= 15, "{count}");
}

#[test]
fn examples_of_man_pages_can_be_typed() {
    for page in ["nextroot.8", "nextroot-verity.8"] {
        let lines = examples(page);
        assert!(lines.len() >= 5, "{page}: {lines:?}");
        lines.iter().for_each(|line| check(line));
    }
}

#[test]
fn shells_are_read_as_they_read() {
    let line = "if nextroot plan 'a b' >out; then nextroot status; fi # nextroot gc";
    assert_eq!(given(line), [vec!["plan", "a b"], vec!["status"]]);
    assert_eq!(given("systemctl soft-reboot"), Vec::<Vec<String>>::new());
}

#[test]
fn every_command_has_a_version() {
    let all = commands(Vec::new(), Arguments::get_args_info());
    assert!(all.iter().any(|(typed, _)| *typed == ["verity", "format"]));
    for (mut typed, _) in all {
        typed.push("--version");
        let arguments = read(&typed).unwrap_or_else(|error| panic!("{typed:?}: {error:?}"));
        assert!(arguments.version && arguments.command.is_none(), "{typed:?}");
    }
}
