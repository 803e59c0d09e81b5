//! Who has the state locked, by the kernel's own word: what stands in the lock's file was written by the last who took it, who may
//! be gone, and whose number may be another's.

use std::{fmt, fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use crate::{
    format::kernel::process,
    run::machine::in_time,
    sys::{self, pidfd::Other},
};

/// How long it may take to look at all processes: a file that one of them has open may be on a disk that does not answer.
const TO_LOOK: Duration = Duration::from_secs(10);
/// As much is told of what it was started with.
const LONGEST: usize = 120;

/// A process that has a file locked.
#[derive(Debug)]
pub struct LockHolder {
    process: Other,
    id: u32,
    arguments: Vec<String>,
}

impl LockHolder {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it was started with.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Asks it to end (SIGTERM), also where it was stopped; a nextroot undoes what it did.
    pub fn ask_to_end(&self) -> Result<(), sys::Error> {
        self.process.ask_to_end()
    }

    /// Waits for its end, so long at most.
    pub(super) fn wait(&self, patience: Duration) -> Result<(), sys::Error> {
        self.process.wait(patience)
    }
}

impl fmt::Display for LockHolder {
    /// `process 812 (nextroot stage slot:other)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.id)?;
        let words: Vec<&str> =
            self.arguments.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        let plain = |c: char| if c.is_control() { '?' } else { c };
        let text: String = words.join(" ").chars().take(LONGEST).map(plain).collect();
        if text.is_empty() { Ok(()) } else { write!(f, " ({text})") }
    }
}

/// The processes that hold the lock of this file, but for PID 1 and this one, which are never asked to end. None where that cannot
/// be told in time.
#[must_use]
pub fn of(lock: &Path) -> Vec<LockHolder> {
    let lock = lock.to_owned();
    in_time(TO_LOOK, move || look(&lock)).ok().flatten().unwrap_or_default()
}

fn look(lock: &Path) -> Vec<LockHolder> {
    let Ok(lock) = fs::canonicalize(lock) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = ids.filter(|id| *id > 1 && *id != std::process::id());
    others
        .filter_map(|id| {
            // First: what is found out then is of this process, or it has ended, and nobody is asked.
            let process = Other::open(id).ok()?;
            holds(id, &lock).then(|| LockHolder { arguments: process.arguments(), process, id })
        })
        .collect()
}

/// Whether a process has a descriptor by which the file is locked. Others may have it open, and wait.
fn holds(id: u32, lock: &Path) -> bool {
    let process = Path::new("/proc").join(id.to_string());
    let inode = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let is_lock = |descriptor: &fs::DirEntry| {
        // In another mount namespace the same name may be of another file; what has another name is not looked at any further.
        fs::read_link(descriptor.path()).is_ok_and(|to| to == lock)
            && inode(&descriptor.path()).is_some_and(|found| Some(found) == inode(lock))
    };
    let mut descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
    descriptors.any(|descriptor| {
        let told = || fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()));
        is_lock(&descriptor) && told().is_ok_and(|text| process::holds_flock(&text))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        process::{Child, Command, Stdio},
        time::Instant,
    };

    use super::*;

    /// A program that sleeps, with this file as its standard input.
    fn sleeps(file: File) -> Child {
        Command::new("sleep").arg("300").stdin(file).stdout(Stdio::null()).spawn().unwrap()
    }

    /// As children of other tests may have every descriptor of this process for a moment.
    fn found(lock: &Path, expected: &[u32]) -> Vec<LockHolder> {
        let begun = Instant::now();
        loop {
            let holders = of(lock);
            if holders.iter().map(LockHolder::id).eq(expected.iter().copied()) {
                return holders;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{holders:?}, not {expected:?}");
        }
    }

    #[test]
    fn whose_number_stands_in_the_lock_need_not_have_it() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        assert!(of(&lock).is_empty(), "there is no such file");
        let open =
            || File::options().create(true).truncate(false).read(true).write(true).open(&lock).unwrap();
        let mut waits = sleeps(open());
        let held = open();
        held.lock().unwrap();
        let mut holds = sleeps(held);
        fs::write(&lock, format!("{}\n", waits.id())).unwrap();
        let holders = found(&lock, &[holds.id()]);
        assert_eq!(holders[0].to_string(), format!("process {} (sleep 300)", holds.id()));
        assert_eq!(holders[0].arguments()[..2], ["sleep", "300"]);
        holders[0].ask_to_end().unwrap();
        assert!(!holds.wait().unwrap().success());
        found(&lock, &[]);
        assert!(holders[0].ask_to_end().is_err(), "its number may be another's by now");
        assert_eq!(waits.try_wait().unwrap(), None);
        // This one has it itself, and is not to end itself.
        let own = open();
        own.lock().unwrap();
        found(&lock, &[]);
        waits.kill().unwrap();
        waits.wait().unwrap();
    }
}
