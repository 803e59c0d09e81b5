//! What changes: the mounts of this mount namespace (proc_pid_mountinfo(5)) and the files of a directory (inotify(7)).

use std::{fs::File, io, os::fd::AsFd, path::Path, time::Duration};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};

use super::{Error, uevent::poll_timeout};

/// Mounts, and files that are moved into a directory or removed from it.
#[derive(Debug)]
pub struct Changes {
    mounts: File,
    files: Inotify,
}

const MOUNTS: &str = "/proc/self/mountinfo";

impl Changes {
    /// `open("/proc/self/mountinfo"); inotify_init1(IN_CLOEXEC | IN_NONBLOCK); inotify_add_watch(directory)`
    ///
    /// inotify_add_watch(2). Errors: ENOENT, ENOSPC at the user's limit.
    pub fn of(directory: &Path) -> Result<Self, Error> {
        let mounts = File::open(MOUNTS).map_err(|e| Error::new("open", MOUNTS, e))?;
        let files = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|e| Error::new("inotify_init1", "", e))?;
        let what = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MODIFY;
        files.add_watch(directory, what).map_err(|e| Error::at("inotify_add_watch", directory, e))?;
        Ok(Self { mounts, files })
    }

    /// `poll()`: waits until something has changed since the last call, or the time is over; poll(2).
    pub fn wait(&self, timeout: Option<Duration>) -> Result<(), Error> {
        // A file of /proc can always be read: that it has changed is an exceptional condition.
        let mut fds = [
            PollFd::new(self.mounts.as_fd(), PollFlags::POLLPRI),
            PollFd::new(self.files.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, poll_timeout(timeout)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::new("poll", MOUNTS, errno)),
        }
        loop {
            match self.files.read_events() {
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(Error::new("read", "inotify", io::Error::from(errno))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;

    #[test]
    fn a_file_that_is_written_anew_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let changes = Changes::of(directory.path()).unwrap();
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        let waits = |limit| {
            let start = Instant::now();
            changes.wait(Some(limit)).unwrap();
            start.elapsed()
        };
        // The first look at the mounts need not be the only one: others mount, too.
        while waits(short) < short {}
        fs::write(directory.path().join(".new"), "1").unwrap();
        fs::rename(directory.path().join(".new"), directory.path().join("state.json")).unwrap();
        assert!(waits(long) < long);
        assert!(Changes::of(Path::new("/nowhere")).is_err());
    }
}
