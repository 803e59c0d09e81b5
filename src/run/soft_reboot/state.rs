//! What is remembered in /run: read, written whole, and locked.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    plan::state::{State, VERSION},
    run::machine,
    sys::{
        file::{LONGEST_TEXT, whole_at},
        lock::{Lock, LockError},
    },
};

use super::lock_holders::{self, LockHolder};

/// Where it lives.
pub use crate::run::boot::record::DIRECTORY;

/// It cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error("{what} {path}")]
    File {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Content that is not ours.
    #[error(
        "read {path}: it is damaged: nextroot cancel finds by what is mounted what was staged, takes it back, and writes it anew"
    )]
    Damaged {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A layout that this program cannot know.
    #[error(
        "read {path}: it has version {found}, and this program knows up to {VERSION}: use the newer nextroot that wrote it"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
    /// Another run.
    #[error("another nextroot is at work: wait for it, or end it")]
    Locked(#[source] LockError),
}

/// How long another run is waited for, and how often it is looked whether it is through.
const MOMENT: Duration = Duration::from_secs(2);
const BEAT: Duration = Duration::from_millis(50);
/// How long a stage that was asked to end may take to undo what it did.
const TO_UNDO: Duration = Duration::from_secs(30);
/// Commands that stage, and take it back where they are asked to end.
const STAGING: [&str; 3] = ["stage", "reboot", "rollback"];

/// The state's place.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self::at(Path::new(DIRECTORY))
    }
}

impl Store {
    /// The state in another directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Keeps other runs out until the lock is dropped. One that is at work for a moment, as the watcher when it ends, is
    /// waited for.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.lock_within(MOMENT)
    }

    /// The same, with a patience of its own.
    pub fn lock_within(&self, patience: Duration) -> Result<Lock, Error> {
        self.make().map_err(|e| self.failed("make", &self.directory, e))?;
        let begun = Instant::now();
        loop {
            match Lock::take(&self.lock_path()) {
                Err(_) if begun.elapsed() < patience => machine::pause(BEAT),
                taken => return taken.map_err(Error::Locked),
            }
        }
    }

    /// The same; a stage that is at work is asked to end, and undoes by itself what it did.
    pub fn take_over(&self) -> Result<Lock, Error> {
        let locked = self.lock();
        if !matches!(locked, Err(Error::Locked(LockError::Held(_)))) {
            return locked;
        }
        let holders = self.holders();
        let Some(holder) = holders.iter().find(|holder| sees_to_its_end(holder.arguments())) else {
            return if holders.is_empty() { self.lock() } else { locked };
        };
        // It may have ended meanwhile, ignoring.
        let _ = holder.ask_to_end();
        holder.wait(TO_UNDO).map_err(|error| Error::Locked(error.into()))?;
        self.lock()
    }

    /// Who keeps others out; neither PID 1 nor this process.
    #[must_use]
    pub fn holders(&self) -> Vec<LockHolder> {
        lock_holders::of(&self.lock_path())
    }

    /// What is remembered; the default where nothing is.
    pub fn load(&self) -> Result<State, Error> {
        let path = self.path();
        let text = match whole_at(&path, LONGEST_TEXT) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::default()),
            Err(error) => return Err(self.failed("read", &path, error)),
        };
        let damaged = |source| Error::Damaged { path: path.display().to_string(), source };
        let version: Version = serde_json::from_slice(&text).map_err(damaged)?;
        if version.version > VERSION {
            return Err(Error::Newer { path: path.display().to_string(), found: version.version });
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Writes it, whole or not at all. Everybody may read it and only root write it, whatever the umask is: PID 1
    /// has none.
    pub fn save(&self, state: &State) -> Result<(), Error> {
        let path = self.path();
        let unfinished = self.directory.join(".state.json.new");
        let write = |text: &[u8]| -> io::Result<()> {
            self.make()?;
            let mut file = fs::OpenOptions::new();
            let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.write_all(text)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            fs::rename(&unfinished, &path)
        };
        let mut text = serde_json::to_vec(state).map_err(|e| self.failed("write", &path, e.into()))?;
        text.push(b'\n');
        let written = write(&text).or_else(|error| {
            // What a full /run took of it is given back.
            let _ = fs::remove_file(&unfinished);
            let is_full = error.kind() == ErrorKind::StorageFull;
            if is_full { overwrite(&path, &mut text) } else { Err(error) }
        });
        written.map_err(|e| self.failed("write", &path, e))
    }

    fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.directory)
    }

    fn lock_path(&self) -> PathBuf {
        self.directory.join("lock")
    }

    fn path(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    fn failed(&self, what: &'static str, path: &Path, source: io::Error) -> Error {
        Error::File { what, path: path.display().to_string(), source }
    }
}

/// Writes into a file that is longer, which a full file system allows; with spaces at its end, so that it is
/// never seen half. Where there is none yet, the file system is full.
fn overwrite(path: &Path, text: &mut Vec<u8>) -> io::Result<()> {
    let opened = fs::OpenOptions::new().write(true).open(path);
    let is_missing = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let file = opened.map_err(|e| if is_missing(&e) { ErrorKind::StorageFull.into() } else { e })?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if length < text.len() {
        return Err(ErrorKind::StorageFull.into());
    }
    text.resize(length, b' ');
    file.write_all_at(text, 0)
}

#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

/// Whether a process is one of [`STAGING`], by its arguments.
fn sees_to_its_end(arguments: &[String]) -> bool {
    arguments.get(1).is_some_and(|command| STAGING.contains(&command.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let directory = std::env::temp_dir().join(format!("nextroot-state-{}", std::process::id()));
        let store = Store::at(&directory);
        assert_eq!(store.load().unwrap(), State::default());
        let state = State { generation: 7, ..State::default() };
        store.save(&state).unwrap();
        assert_eq!(store.load().unwrap(), state);
        let mode = |name: &str| directory.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("state.json"), 0o644);
        let held = store.lock().unwrap();
        assert_eq!(mode("lock"), 0o600, "whoever can read it can lock everybody out");
        let message = format!("process {} is at work here", std::process::id());
        let error = store.lock().unwrap_err();
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string), Some(message));
        drop(held);
        store.lock().unwrap();
        let shorter = serde_json::to_vec(&State::default()).unwrap();
        fs::write(directory.join("state.json"), [&shorter[..], b"          "].concat()).unwrap();
        overwrite(&directory.join("state.json"), &mut serde_json::to_vec(&state).unwrap()).unwrap();
        assert_eq!(store.load().unwrap(), state);
        // The first state on a full /run: "no such file" was told of it.
        for (name, text) in [("state.json", vec![b' '; 9999]), ("missing.json", Vec::new())] {
            let error = overwrite(&directory.join(name), &mut text.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{name}");
        }
        for (text, expected) in [
            ("{", "it is damaged"),
            (r#"{"version": 99, "new": {}}"#, "version 99"),
            (r#"{"version": 1}"#, "it is damaged"),
        ] {
            fs::write(directory.join("state.json"), text).unwrap();
            let message = store.load().unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_state_that_never_ends_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        fs::File::create(store.path()).unwrap().set_len(100 << 30).unwrap();
        let error = store.load().unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("it has more than the 16.0 MiB"), "{error}: {cause}");
    }
}
