//! Other processes.

use std::{fs, io, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::Error;

/// Another process, which stays the one that is meant also where its number is given to the next.
#[derive(Debug)]
pub struct Other {
    process: OwnedFd,
    id: u32,
}

impl Other {
    /// `pidfd_open(id, 0)`
    ///
    /// pidfd_open(2), since Linux 5.3. Errors: ESRCH where there is none.
    pub fn open(id: u32) -> Result<Self, Error> {
        let at = |e: io::Error| Error::new("pidfd_open", id.to_string(), e);
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| at(io::ErrorKind::InvalidInput.into()))?;
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| at(e.into()))?;
        Ok(Self { process, id })
    }

    /// What it was started with; none where it has ended. proc_pid_cmdline(5).
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let text = fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
        text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    /// `pidfd_send_signal(fd, SIGTERM); pidfd_send_signal(fd, SIGCONT)`: asks it to end, also where it was stopped.
    ///
    /// pidfd_send_signal(2), since Linux 5.1. Errors: ESRCH where it has ended; EPERM.
    pub fn ask_to_end(&self) -> Result<(), Error> {
        self.send(Signal::TERM)?;
        self.send(Signal::CONT)
    }

    /// `pidfd_send_signal(fd, SIGKILL)`: ends it, once the kernel lets it go.
    ///
    /// pidfd_send_signal(2), since Linux 5.1. Errors: ESRCH where it has ended; EPERM.
    pub fn kill(&self) -> Result<(), Error> {
        self.send(Signal::KILL)
    }

    fn send(&self, signal: Signal) -> Result<(), Error> {
        pidfd_send_signal(&self.process, signal)
            .map_err(|e| Error::new("pidfd_send_signal", self.id.to_string(), e))
    }

    /// `poll(fd, POLLIN, patience)`: waits for its end, so long at most.
    pub fn wait(&self, patience: Duration) -> Result<(), Error> {
        let at = |e: Errno| Error::new("poll", format!("process {}", self.id), e);
        let patience = Timespec::try_from(patience).map_err(|_| at(Errno::INVAL))?;
        let mut fds = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut fds, Some(&patience)).map(drop).map_err(at)
    }
}
