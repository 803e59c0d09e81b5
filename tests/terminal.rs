//! What a person at a terminal sees, and a program does not: by script(1), which makes a terminal.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

const NEXTROOT: &str = env!("CARGO_BIN_EXE_nextroot");

/// What a command line prints on a terminal, with a variable of the environment.
fn on_terminal(line: &str, (name, value): (&str, &str)) -> String {
    let mut command = Command::new("script");
    command.args(["-qec", line, "/dev/null"]).stdin(Stdio::null());
    command.env_remove("NO_COLOR").env_remove("CLICOLOR").env("TERM", "xterm").env(name, value);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn colour_is_for_people_who_want_it() {
    let doctor = format!("{NEXTROOT} doctor");
    let painted = on_terminal(&doctor, ("TERM", "xterm"));
    assert!(painted.contains("\u{1b}[32m"), "{painted}");
    for plain in [
        on_terminal(&doctor, ("NO_COLOR", "1")),
        on_terminal(&doctor, ("TERM", "dumb")),
        on_terminal(&format!("{doctor} | cat"), ("TERM", "xterm")),
    ] {
        assert!(plain.contains("ok ") && !plain.contains('\u{1b}'), "{plain}");
    }
    let wrong = format!("{NEXTROOT} verity dump /does/not/exist");
    assert!(on_terminal(&wrong, ("TERM", "xterm")).contains("\u{1b}[31m"));
    assert!(!on_terminal(&wrong, ("NO_COLOR", "1")).contains('\u{1b}'));
}
