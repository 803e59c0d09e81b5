//! Asks systemd by its own programs: docs/decisions/0011-asking-systemd.md says why.

use std::{
    io,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{run::bounded, sys::file::until_end, units::Bytes};

/// systemd's answers that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program.
    #[error("start {program}: is systemd installed, and in PATH?")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not end.
    #[error("{command} has not answered for {} s: {} may be frozen, see its last lines in the kernel log", LONGEST.as_secs(), whom(command))]
    Late {
        /// The command.
        command: String,
    },
    /// It ended, but not well.
    #[error("{command} failed ({status}): {message}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        message: String,
    },
    /// What it wrote cannot be read.
    #[error("read what {command} wrote")]
    Answer {
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its output broke off.
    #[error("read from {command}")]
    Read {
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// PID 1 answers within milliseconds; under heavy load within seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// What is read of an answer: of a unit there is a KiB or two, and a machine may have thousands of them.
const LONGEST_ANSWER: Bytes = Bytes(64 << 20);

/// Who has the answer.
fn whom(command: &str) -> &'static str {
    if command.starts_with("journalctl") { "the disk with the journal" } else { "PID 1" }
}

/// What a program answers; `command` is how it was asked, for errors.
pub(super) fn ask(program: &str, arguments: &[&str], command: &str) -> Result<String, Error> {
    let command = command.to_owned();
    let mut asked = Command::new(program);
    asked
        .arg("--no-pager")
        .args(arguments)
        .envs([("LC_ALL", "C"), ("SYSTEMD_COLORS", "0"), ("SYSTEMD_URLIFY", "0")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = bounded::within(asked, LONGEST, answer);
    let (answer, status) = match ended {
        Ok(Some(ended)) => ended,
        Ok(None) => return Err(Error::Late { command }),
        Err(source) => return Err(Error::Start { program: program.to_owned(), source }),
    };
    let (answer, message) = match answer {
        Ok(answer) => answer,
        Err(source) => return Err(Error::Read { command, source }),
    };
    if !status.success() {
        let message = String::from_utf8_lossy(&message).trim().replace('\n', " ");
        return Err(Error::Failed { command, status: status.to_string(), message });
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What a program writes until it ends, to its standard output and its standard error.
fn answer(program: &mut Child) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (stdout, stderr) = (program.stdout.take(), program.stderr.take());
    let answer = stdout.map_or(Ok(Vec::new()), |pipe| until_end(pipe, LONGEST_ANSWER));
    let message = || stderr.map_or(Ok(Vec::new()), |pipe| until_end(pipe, LONGEST_ANSWER));
    let both = answer.and_then(|answer| Ok((answer, message()?)));
    if both.is_err() {
        // It may have ended meanwhile, ignoring.
        let _ = program.kill();
    }
    both
}
