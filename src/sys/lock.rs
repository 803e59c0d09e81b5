//! A lock that ends with the process (flock(2)).

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

use super::Error;

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, not used")] Flock<File>);

/// Somebody else has it.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Who: the number of the process, as it wrote it there.
    #[error("process {0} is at work here")]
    Held(String),
    /// The file.
    #[error(transparent)]
    Call(#[from] Error),
}

/// Bytes of the longest number of a process, with its newline.
const LONGEST_NUMBER: u64 = 20;

impl Lock {
    /// `open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); flock(LOCK_EX | LOCK_NB)`: takes the lock, or says which
    /// process has it. Whoever may read the file could take it, too.
    ///
    /// flock(2). Errors: EWOULDBLOCK where it is held.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |e: io::Error| LockError::Call(Error::at("open", path, e));
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                let note = |file: &mut File| {
                    file.set_len(0)?;
                    file.seek(SeekFrom::Start(0))?;
                    writeln!(file, "{}", std::process::id())
                };
                // Not fatal: on a full file system nobody is told who has the lock, and cancel still works.
                let _ = note(&mut lock);
                Ok(Self(lock))
            }
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut holder = Vec::new();
                file.take(LONGEST_NUMBER).read_to_end(&mut holder).map_err(failed)?;
                Err(LockError::Held(String::from_utf8_lossy(&holder).trim().to_owned()))
            }
            Err((_, errno)) => Err(LockError::Call(Error::at("flock", path, errno))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_is_huge() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let _held = Lock::take(&path).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        match Lock::take(&path) {
            Err(LockError::Held(holder)) => {
                assert!(holder.len() as u64 <= LONGEST_NUMBER, "{}", holder.len())
            }
            other => panic!("{other:?}"),
        }
    }
}
