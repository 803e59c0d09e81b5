//! dm devices closed, each with its name in /dev/mapper.
//!
//! udev takes that name away when it comes to hear that the device is gone. Whoever opened another of the same name
//! meanwhile would lose it, so that is waited for: not by a cookie, for which nobody may answer
//! (docs/decisions/0002-device-mapper.md), and not for long.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    format::kernel::{devno::Devno, uevent::Uevent},
    run::failure::Error,
    sys::{
        self,
        dm::Control,
        uevent::{self, Received, Sender, Socket},
    },
};

/// For how long udev is waited for: it may have been stopped, and the name is taken away all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Closes a dm device by `remove`, and takes its name away if it is gone then: it is not where removal was deferred.
pub fn close(
    control: &Control,
    name: &str,
    remove: impl FnOnce(&Control, &str) -> Result<(), sys::Error>,
) -> Result<(), Error> {
    let devno = control.info(name)?.devno;
    let udev = Udev::listen();
    remove(control, name)?;
    if control.info(name).is_ok() {
        return Ok(());
    }
    if let Some(udev) = udev {
        udev.wait(devno, PATIENCE);
    }
    unlink(name)
}

/// Closes a dm device now, or when nobody uses it any more. One that is gone is no error, nor is a kernel without
/// device-mapper, which has none.
pub fn close_if_there(name: &str) -> Result<(), Error> {
    let closed = Control::open()
        .map_err(Error::from)
        .and_then(|control| close(&control, name, Control::remove_when_unused));
    match closed {
        Err(Error::Call(error)) if error.is_absent() => unlink(name),
        done => done,
    }
}

/// What the kernel tells of removals, and udev when it is done with them. dm tells of each twice (`dm_kobject_uevent` and
/// `del_gendisk`).
struct Udev {
    announced: Socket,
    done: Socket,
}

impl Udev {
    /// `None` where there is no udev, or no socket: nobody can be waited for then.
    fn listen() -> Option<Self> {
        if !Path::new("/run/udev/control").exists() {
            return None;
        }
        let (done, announced) = (Socket::open(Sender::Udev).ok()?, Socket::open(Sender::Kernel).ok()?);
        Some(Self { announced, done })
    }

    /// Waits until udev is done with each removal of the device that was announced. The device is gone whatever comes of
    /// it: where nothing more can be heard, nothing more is waited for.
    fn wait(&self, devno: Devno, patience: Duration) {
        let removal =
            |event: Uevent| event.seqnum.filter(|_| event.action == "remove" && event.devno == Some(devno));
        let mut left = BTreeSet::new();
        while let Ok(Received::Message(message)) = self.announced.receive() {
            left.extend(Uevent::parse(&message).ok().and_then(removal));
        }
        let end = Instant::now() + patience;
        while !left.is_empty()
            && let Some(time) = end.checked_duration_since(Instant::now())
            && uevent::wait(&[self.done.as_fd()], Some(time)).is_ok()
        {
            while let Ok(Received::Message(message)) = self.done.receive() {
                if let Some(number) = Uevent::parse_udev(&message).ok().and_then(removal) {
                    left.remove(&number);
                }
            }
        }
    }
}

/// Removes the link of a device that is gone: udev removes its own, ours goes with the device.
fn unlink(name: &str) -> Result<(), Error> {
    let link = Path::new("/dev/mapper").join(name);
    let dangles = fs::read_link(&link).is_ok() && fs::metadata(&link).is_err();
    let failed = |source| Error::Write { path: link.display().to_string(), source };
    if dangles { remove_link(&link).map_err(failed) } else { Ok(()) }
}

/// Removes a link, or lets udev be faster.
fn remove_link(link: &Path) -> io::Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// udev took the link away between a look at it and its removal, and cancel failed.
    #[test]
    fn udev_may_be_faster() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("nowhere", &link).unwrap();
        remove_link(&link).unwrap();
        remove_link(&link).unwrap();
        assert!(remove_link(directory.path()).is_err());
    }

    /// A stage that failed for want of device-mapper could never be cancelled.
    #[test]
    fn nothing_to_close_without_device_mapper() {
        if !Path::new("/dev/mapper/control").exists() {
            close_if_there("nextroot-no-such-device").unwrap();
        }
    }

    /// Where nothing was announced nobody is waited for.
    #[test]
    fn only_what_was_announced_is_waited_for() {
        let open = |sender| Socket::open(sender).unwrap();
        let udev = Udev { announced: open(Sender::Kernel), done: open(Sender::Udev) };
        let begun = Instant::now();
        udev.wait(Devno { major: 4095, minor: 1 }, Duration::from_secs(100));
        assert!(begun.elapsed() < Duration::from_secs(50));
    }
}
