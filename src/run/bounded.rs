//! Programs that may not take longer than we can wait.

use std::{
    io::{self, Read, Write},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// This program, for a run of its own that can be ended.
pub const SELF: &str = "/proc/self/exe";

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code; `None` where a signal ended it.
    Exit(Option<i32>),
    /// It took too long, and was killed.
    Killed,
}

/// Runs a program with what it writes going to our standard error, and kills it at the limit.
pub fn run(program: &str, arguments: &[&str], limit: Duration) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    let (sender, receiver) = mpsc::channel();
    // Ends with the program, or with whoever it left its output to.
    thread::spawn(move || {
        forward(reader);
        // Nobody listens any more after the limit, ignoring.
        let _ = sender.send(());
    });
    if receiver.recv_timeout(limit).is_ok() {
        return child.wait().map(|status| Ended::Exit(status.code()));
    }
    // It may have ended meanwhile, ignoring. It is not waited for: one that hangs in the kernel does not end.
    let _ = child.kill();
    Ok(Ended::Killed)
}

fn forward(mut from: io::PipeReader) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { return };
        // The program must not stop because nobody reads what it says, ignoring.
        let _ = io::stderr().write_all(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let long = Duration::from_secs(30);
        for (script, limit, expected) in [
            ("exit 0", long, Ended::Exit(Some(0))),
            ("exit 3", long, Ended::Exit(Some(3))),
            ("kill -9 $$", long, Ended::Exit(None)),
            ("exec sleep 60", Duration::from_millis(200), Ended::Killed),
        ] {
            assert_eq!(run("sh", &["-c", script], limit).unwrap(), expected, "{script}");
        }
        assert!(run("/nowhere", &[], long).is_err());
    }
}
