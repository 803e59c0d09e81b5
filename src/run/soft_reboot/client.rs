//! A client that asks servers, and writes down what came of it.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    format::{
        config::probe::Address,
        system::probe_log::{self, Answer, Request},
    },
    run::{failure, machine},
    sys::file::whole_at,
    units::Bytes,
};

use super::{staging::write_error, state::DIRECTORY};

/// What is written down is no longer: eight hours of ten requests a second.
const LONGEST: Bytes = Bytes(16 << 20);

/// A log that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] failure::Error),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] machine::Error),
    /// There is none.
    #[error(
        "no client has asked anybody: write [Probe] Address= in nextroot.conf, and nextroot reboot, or the hook, starts one"
    )]
    None,
    /// It is none of ours.
    #[error("read {path}: remove it")]
    Foreign {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: probe_log::Error,
    },
}

fn path() -> PathBuf {
    Path::new(DIRECTORY).join("probe.log")
}

/// What the last client saw.
pub fn log() -> Result<Vec<Request>, Error> {
    let name = || path().display().to_string();
    let bytes = match whole_at(&path(), LONGEST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::None),
        read => read.map_err(|source| machine::Error::Read { path: name(), source })?,
    };
    probe_log::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|source| Error::Foreign { path: name(), source })
}

/// The log of a client that begins.
#[derive(Debug)]
pub struct Log {
    file: File,
    left: u64,
}

impl Log {
    /// An empty one, in place of another.
    pub fn begin() -> Result<Self, Error> {
        let file = File::create(path()).map_err(|e| write_error(&path(), e))?;
        Ok(Self { file, left: LONGEST.0 })
    }

    /// Writes a request down; whether there was room for it.
    pub fn add(&mut self, request: &Request) -> Result<bool, Error> {
        let line = format!("{request}\n");
        let Some(left) = self.left.checked_sub(line.len() as u64) else { return Ok(false) };
        self.left = left;
        // In one call: who reads meanwhile sees whole lines.
        self.file.write_all(line.as_bytes()).map_err(|e| write_error(&path(), e))?;
        Ok(true)
    }
}

/// Asks once, and waits for an answer as long as the limit says, in seconds.
#[must_use]
pub fn ask(address: &Address, timeout_sec: u64) -> Request {
    let begun = machine::monotonic();
    let answer = match address {
        Address::Tcp(address) => connects(address, Duration::from_secs(timeout_sec)),
        Address::Http(url) => gets(url, timeout_sec),
    };
    let took = machine::monotonic().saturating_sub(begun);
    Request { begun, took, answer, address: address.to_string() }
}

/// To any of the addresses that a name stands for.
fn connects(address: &str, timeout: Duration) -> Answer {
    let found = match address.to_socket_addrs() {
        Ok(found) => found,
        Err(error) => return answer_of(&error),
    };
    let mut answer = Answer::Lost;
    for at in found {
        match TcpStream::connect_timeout(&at, timeout) {
            Ok(_) => return Answer::Answered,
            Err(error) => answer = answer_of(&error),
        }
    }
    answer
}

const NO_STATUS: &str = "Server did not provide a status line";

/// The head of the answer is enough: its end may be far, or never come.
fn gets(url: &str, timeout_sec: u64) -> Answer {
    match minreq::get(url).with_timeout(timeout_sec).with_follow_redirects(false).send_lazy() {
        Ok(answer) if answer.status_code < 400 => Answer::Answered,
        // What minreq makes of an answer without one.
        Ok(answer) if answer.reason_phrase == NO_STATUS => Answer::Lost,
        Ok(_) => Answer::Refused,
        Err(minreq::Error::IoError(error)) => answer_of(&error),
        Err(_) => Answer::Lost,
    }
}

fn answer_of(error: &io::Error) -> Answer {
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => Answer::Refused,
        _ => Answer::Lost,
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener, thread};

    use super::*;

    #[test]
    fn servers_of_all_kinds() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (says, answer) in [
            (Some("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"), Answer::Answered),
            (Some("HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), Answer::Answered),
            (Some("HTTP/1.1 503 Service Unavailable\r\n\r\n"), Answer::Refused),
            (Some(""), Answer::Lost),
            (None, Answer::Lost),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/health", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 4096];
                let length = stream.read(&mut asked).unwrap();
                assert!(asked[..length].starts_with(b"GET /health HTTP/1"), "{asked:?}");
                match says {
                    Some(text) => stream.write_all(text.as_bytes()).unwrap(),
                    None => thread::sleep(Duration::from_millis(1500)),
                }
            });
            let request = ask(&Address::Http(url.clone()), 1);
            assert_eq!((request.answer, &request.address), (answer, &url), "{says:?}");
            assert_eq!(request.took >= Duration::from_secs(1), says.is_none(), "{request:?}");
            server.join().unwrap();
        }
        let asked = |text: String| ask(&text.parse().unwrap(), 1).answer;
        assert_eq!(asked(format!("http://{closed}/")), Answer::Refused);
        assert_eq!(asked(format!("tcp://{closed}")), Answer::Refused);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(asked(format!("tcp://{}", listener.local_addr().unwrap())), Answer::Answered);
    }

    /// minreq reads 8 KiB of a status line, and as much of all headers.
    #[test]
    fn an_answer_without_an_end() {
        for head in ["", "HTTP/1.1 200 OK\r\nA: "] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(head.as_bytes()).unwrap();
                let mut sent = 0_usize;
                // Until the other side has gone.
                while stream.write_all(&[b'a'; 65536]).is_ok() && sent < 1 << 30 {
                    sent += 65536;
                }
                sent
            });
            assert_eq!(ask(&Address::Http(url), 5).answer, Answer::Lost, "{head:?}");
            // What the kernel keeps of a connection, and no more.
            assert!(server.join().unwrap() < 32 << 20, "{head:?}");
        }
    }
}
