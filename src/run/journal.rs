//! Tells systemd's journal what happened, so that programs find it by its ID.

use std::os::unix::net::UnixDatagram;

use crate::{format::system::journal, plan::event::Event};

/// Where journald listens (src/journal/journald-native.c).
const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends it. Whoever watches over a root must not wait for a journald that hangs, nor fail for want of one, ignoring: what
/// matters goes to the kernel log as well.
pub fn tell(event: &Event) {
    let (message, priority) = (event.to_string(), (event.priority() as u8).to_string());
    let fields = event.fields();
    let first = [
        ("MESSAGE", message.as_str()),
        ("MESSAGE_ID", event.id()),
        ("PRIORITY", priority.as_str()),
        ("SYSLOG_IDENTIFIER", "nextroot"),
    ];
    let all: Vec<(&str, &str)> =
        first.into_iter().chain(fields.iter().map(|(name, value)| (*name, value.as_str()))).collect();
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(&journal::entry(&all), SOCKET)
    });
    drop(sent);
}
