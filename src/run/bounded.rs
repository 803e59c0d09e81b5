//! Programs that may not take longer than we can wait.

use std::{
    fmt,
    io::{self, Read, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
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
    // The program must not stop because nobody reads what it says, ignoring.
    watched(program, arguments, limit, |part| drop(io::stderr().write_all(part)))
}

/// The same, with the last that it wrote instead of all of it: one line, as far as there was any.
pub fn last_words(program: &str, arguments: &[&str], limit: Duration) -> io::Result<(Ended, Option<String>)> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let ended = watched(program, arguments, limit, move |part| {
        let mut kept = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(part);
        let excess = kept.len().saturating_sub(LONGEST);
        kept.drain(..excess);
    })?;
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((ended, last_line(&String::from_utf8_lossy(&kept))))
}

/// As much of what a program writes last is kept.
const LONGEST: usize = 300;

/// The last line that says something, without what a terminal would obey.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

fn watched(
    program: &str,
    arguments: &[&str],
    limit: Duration,
    mut take: impl FnMut(&[u8]) + Send + 'static,
) -> io::Result<Ended> {
    let (mut reader, writer) = io::pipe()?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    let (sender, receiver) = mpsc::channel();
    // Ends with the program, or with whoever it left its output to.
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = reader.read(&mut buffer) {
            match buffer.get(..count) {
                Some(part) if !part.is_empty() => take(part),
                _ => break,
            }
        }
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

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(Some(code)) => write!(f, "ended with exit code {code}"),
            Self::Exit(None) => f.write_str("was ended by a signal"),
            Self::Killed => f.write_str("took too long, and was killed"),
        }
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

    #[test]
    fn words() {
        let long = Duration::from_secs(30);
        for (script, expected) in [
            ("exit 1", None),
            ("echo one; echo two >&2; exit 1", Some("two")),
            ("printf 'a \\033[31mred\\n\\n  \\n'; exit 1", Some("a ?[31mred")),
        ] {
            let (ended, last) = last_words("sh", &["-c", script], long).unwrap();
            assert_eq!((ended, last.as_deref()), (Ended::Exit(Some(1)), expected), "{script}");
        }
        let (_, last) = last_words("sh", &["-c", "yes | head -c 100000 | tr -d '\\n'"], long).unwrap();
        assert_eq!(last.map(|last| last.len()), Some(LONGEST));
    }
}
