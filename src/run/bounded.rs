//! Programs that may not take longer than we can wait.

use std::{
    fmt,
    io::{self, PipeReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::{run::machine::in_time, sys::pidfd::Other};

pub(crate) use super::own_copy::SELF;

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
    passed_on(Command::new(program), arguments, limit)
}

/// The same with this program, for a service that outlives a soft reboot: so does what it runs. systemd 254 knows that by the first
/// character of its name, later ones by its control group.
pub fn run_self_as_survivor(arguments: &[&str], limit: Duration) -> io::Result<Ended> {
    let mut command = Command::new(SELF);
    command.arg0("@nextroot");
    passed_on(command, arguments, limit)
}

fn passed_on(command: Command, arguments: &[&str], limit: Duration) -> io::Result<Ended> {
    // The program must not stop because nobody reads what it says, ignoring.
    watched(command, arguments, limit, |part| drop(io::stderr().write_all(part)))
}

/// The same, with the last that it wrote instead of all of it: one line, as far as there was any.
pub fn last_words(program: &str, arguments: &[&str], limit: Duration) -> io::Result<(Ended, Option<String>)> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let ended = watched(Command::new(program), arguments, limit, move |part| {
        let mut kept = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(part);
        let excess = kept.len().saturating_sub(LONGEST);
        kept.drain(..excess);
    })?;
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((ended, last_line(&String::from_utf8_lossy(&kept))))
}

/// Runs a program: what `talk` made of it before its end was waited for, and how it ended; `None` where it takes longer,
/// and is killed. Neither its start nor its end is waited for any longer: where its disk does not answer, it hangs before its
/// first instruction, and does not end when it is killed.
pub(super) fn within<T: Send + 'static>(
    mut command: Command,
    limit: Duration,
    talk: impl FnOnce(&mut Child) -> T + Send + 'static,
) -> io::Result<Option<(T, ExitStatus)>> {
    let run = Arc::new(Mutex::new(Run::Starts));
    let seen = Arc::clone(&run);
    let ended = in_time(limit, move || {
        let mut child = command.spawn()?;
        drop(command); // its ends of the pipes
        let started = seen.lock().unwrap_or_else(PoisonError::into_inner).started(&child);
        if let Err(error) = started {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        let talk = talk(&mut child);
        Ok((talk, child.wait()?))
    })?;
    if ended.is_none() {
        run.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
    ended.transpose()
}

/// A program that is killed where it is late.
enum Run {
    Starts,
    Runs(Other),
    Late,
}

impl Run {
    fn started(&mut self, child: &Child) -> io::Result<()> {
        if matches!(self, Self::Late) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        *self = Self::Runs(Other::open(child.id()).map_err(io::Error::other)?);
        Ok(())
    }

    fn end(&mut self) {
        if let Self::Runs(program) = self {
            // It may have ended meanwhile, ignoring.
            let _ = program.kill();
        }
        *self = Self::Late;
    }
}

/// As much of what a program writes last is kept.
const LONGEST: usize = 300;
/// How long the last words of a program that has ended may be under way: somebody that it left behind may go on to write.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// The last line that says something, without what a terminal would obey.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

fn watched(
    mut command: Command,
    arguments: &[&str],
    limit: Duration,
    take: impl FnMut(&[u8]) + Send + 'static,
) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    command.args(arguments).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let Some((heard, status)) = within(command, limit, |_| listen(reader, take))? else {
        return Ok(Ended::Killed);
    };
    let _ = heard?.recv_timeout(UNDER_WAY);
    Ok(Ended::Exit(status.code()))
}

/// Takes what is written to a pipe, until nobody has its other end; that is told.
fn listen(
    mut reader: PipeReader,
    mut take: impl FnMut(&[u8]) + Send + 'static,
) -> io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = reader.read(&mut buffer) {
            match buffer.get(..count) {
                Some(part) if !part.is_empty() => take(part),
                _ => break,
            }
        }
        // Nobody listens any more after the limit, ignoring.
        let _ = sender.send(());
    })?;
    Ok(receiver)
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
        // Its output was waited for, and it was killed as late.
        let left = "sleep 60 & echo last; exit 0";
        let (ended, last) = last_words("sh", &["-c", left], long).unwrap();
        assert_eq!((ended, last.as_deref()), (Ended::Exit(Some(0)), Some("last")));
        let (_, last) = last_words("sh", &["-c", "yes | head -c 100000 | tr -d '\\n'"], long).unwrap();
        assert_eq!(last.map(|last| last.len()), Some(LONGEST));
    }

    #[test]
    fn what_is_late_is_killed_and_reaped() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id");
        let script = format!("echo $$ >{}; exec sleep 60", file.display());
        assert_eq!(run("sh", &["-c", &script], Duration::from_secs(2)).unwrap(), Ended::Killed);
        let id = std::fs::read_to_string(file).unwrap();
        let process = std::path::Path::new("/proc").join(id.trim());
        let begun = std::time::Instant::now();
        while process.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{process:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_starts_too_late_does_not_go_on() {
        let mut run = Run::Starts;
        run.end();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(run.started(&child).unwrap_err().kind(), io::ErrorKind::TimedOut);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
