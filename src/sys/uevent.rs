//! Announcements of devices, of the kernel and of udevd (netlink(7), NETLINK_KOBJECT_UEVENT).

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg, setsockopt,
        socket, sockopt::RcvBufForce,
    },
};

use super::Error;

/// Room for announcements that nobody read yet, as udevd asks for.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Who announces. Nobody but root can send to a group (net/netlink/af_netlink.c, `NL_CFG_F_NONROOT_SEND` is not set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The kernel: a device has come, changed or gone.
    Kernel = 1,
    /// udevd: it is done with what the kernel announced.
    Udev = 2,
}

/// A socket that hears what one of them announces.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    from: Sender,
}

/// What a look at the socket gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message(Vec<u8>),
    /// Some were lost: whoever keeps a picture of the devices has to look anew.
    Lost,
    /// Nothing more for now.
    Nothing,
}

impl Socket {
    /// `socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT); bind(group)`
    pub fn open(from: Sender) -> Result<Self, Error> {
        let failed = |call| move |errno: Errno| Error::new(call, "NETLINK_KOBJECT_UEVENT", errno);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd =
            socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)
                .map_err(failed("socket"))?;
        // Best effort: with less room messages may be lost, which is noticed.
        let _ = setsockopt(&fd, RcvBufForce, &RECEIVE_BUFFER);
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, from as u32)).map_err(failed("bind"))?;
        Ok(Self { fd, from })
    }

    /// `recvmsg(fd)`: the next message; the kernel's have the sender 0, and what somebody else sends in its group is dropped.
    pub fn receive(&self) -> Result<Received, Error> {
        let mut buffer = [0; 8192];
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let (length, sender) =
                match recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut parts, None, MsgFlags::empty()) {
                    Ok(message) => (message.bytes, message.address),
                    Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                    Err(Errno::EINTR) => continue,
                    Err(Errno::ENOBUFS) => return Ok(Received::Lost),
                    Err(errno) => return Err(Error::new("recvmsg", "NETLINK_KOBJECT_UEVENT", errno)),
                };
            if sender.is_some_and(|sender| (sender.pid() == 0) == (self.from == Sender::Kernel)) {
                return Ok(Received::Message(buffer.get(..length).unwrap_or_default().to_vec()));
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `poll(fds, POLLIN, timeout)`: waits until one of them can be read; `false` when the time is over.
/// Without a timeout it waits for ever. poll(2).
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    match poll(&mut fds, poll_timeout(timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// What poll(2) takes; rounded up, so that a remainder below a millisecond does not become a busy loop.
pub(super) fn poll_timeout(limit: Option<Duration>) -> PollTimeout {
    limit.map_or(PollTimeout::NONE, |limit| {
        PollTimeout::try_from(limit.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
    })
}
