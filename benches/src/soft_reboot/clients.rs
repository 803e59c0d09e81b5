//! Clients of a guest's services, on this side of its network: each asks ten times a second of the guest, whether or not it was
//! answered before.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{backend::Message, frontend};

use crate::Outcome;

/// Between two questions, of the guest's time.
const BEAT: f64 = 0.1;
/// The same on this side, at least and at most.
const FASTEST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(2);
/// How long a client waits, of this side's time.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many answers tell how fast the guest's time goes.
const WINDOW: usize = 10;

/// A service that is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) port: u16,
    ask: fn(&mut TcpStream) -> io::Result<f64>,
}

pub(super) const SERVICES: [Service; 2] = [
    Service { name: "nginx", port: 80, ask: web },
    Service { name: "postgresql", port: 5432, ask: database },
];

/// A question, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// When it was asked, and how long it took, by this side's clock.
    pub(super) at: Duration,
    pub(super) took: Duration,
    pub(super) answer: Answer,
}

impl Question {
    /// When it was over.
    pub(super) fn answered(&self) -> Duration {
        self.at + self.took
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    /// The server's clock, in seconds since the epoch.
    Given(f64),
    /// QEMU takes each connection, and ends it where the guest refuses it.
    Refused,
    /// Nobody said anything.
    Lost,
}

/// A port that nobody listens at, for a guest's to be reached.
pub(super) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Asks each service at its port while `work` is done: its outcome, and all questions of each service, as they were over.
pub(super) fn asking<T>(ports: &[u16], work: impl FnOnce() -> T) -> (T, Vec<Vec<Question>>) {
    let (done, begun) = (AtomicBool::new(false), Instant::now());
    let all: Vec<Mutex<Vec<Question>>> = SERVICES.iter().map(|_| Mutex::default()).collect();
    let outcome = thread::scope(|scope| {
        for ((service, port), questions) in SERVICES.iter().zip(ports).zip(&all) {
            let done = &done;
            scope.spawn(move || {
                let known = || questions.lock().unwrap_or_else(PoisonError::into_inner);
                while !done.load(Ordering::Relaxed) {
                    scope.spawn(move || {
                        let at = begun.elapsed();
                        let answer = question(service, *port);
                        known().push(Question { at, took: begun.elapsed() - at, answer });
                    });
                    let beat = beat(&known());
                    thread::sleep(beat);
                }
            });
        }
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        outcome
    });
    let questions = |all: Mutex<Vec<Question>>| all.into_inner().unwrap_or_else(PoisonError::into_inner);
    (outcome, all.into_iter().map(questions).collect())
}

/// How long to wait until the next question.
fn beat(questions: &[Question]) -> Duration {
    let given = |question: &Question| match question.answer {
        Answer::Given(clock) => Some((question.answered().as_secs_f64(), clock)),
        Answer::Refused | Answer::Lost => None,
    };
    let mut last = questions.iter().rev().filter_map(given).take(WINDOW);
    let (Some((new, new_clock)), Some((old, old_clock))) = (last.next(), last.last()) else { return SLOWEST };
    let beat = BEAT * (new - old) / (new_clock - old_clock);
    Duration::try_from_secs_f64(beat).map_or(SLOWEST, |beat| beat.clamp(FASTEST, SLOWEST))
}

fn question(service: &Service, port: u16) -> Answer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let asked = TcpStream::connect_timeout(&address, PATIENCE).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        (service.ask)(&mut stream)
    });
    match asked {
        Ok(clock) => Answer::Given(clock),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Answer::Lost,
        Err(_) => Answer::Refused,
    }
}

fn web(stream: &mut TcpStream) -> io::Result<f64> {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head.to_owned()));
    }
    body.trim().parse().map_err(io::Error::other)
}

/// One query, in a session of its own.
fn database(stream: &mut TcpStream) -> io::Result<f64> {
    let mut buffer = Default::default();
    frontend::startup_message([("user", "postgres"), ("database", "postgres")], &mut buffer)?;
    stream.write_all(&buffer)?;
    let (mut asked, mut clock) = (false, None);
    let mut said = bytes::BytesMut::new();
    loop {
        match Message::parse(&mut said)? {
            Some(Message::ReadyForQuery(_)) if asked => return clock.ok_or(ErrorKind::InvalidData.into()),
            Some(Message::ReadyForQuery(_)) => {
                asked = true;
                buffer.clear();
                frontend::query("SELECT extract(epoch FROM clock_timestamp())", &mut buffer)?;
                stream.write_all(&buffer)?;
            }
            Some(Message::DataRow(row)) => {
                let field = row.ranges().next()?.flatten().and_then(|range| row.buffer().get(range));
                let text = field.and_then(|field| std::str::from_utf8(field).ok());
                clock = text.and_then(|text| text.parse().ok());
            }
            // It is not ready yet, or not any more.
            Some(Message::ErrorResponse(_)) => return Err(ErrorKind::ConnectionRefused.into()),
            Some(_) => {}
            None => {
                let mut more = [0; 4096];
                let count = stream.read(&mut more)?;
                let more = more.get(..count).filter(|more| !more.is_empty());
                said.extend_from_slice(more.ok_or(ErrorKind::UnexpectedEof)?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_by_the_time_of_the_guest() {
        let given = |at: u64, clock| Question {
            at: Duration::from_millis(at),
            took: Duration::ZERO,
            answer: Answer::Given(clock),
        };
        let silent = Question { answer: Answer::Lost, ..given(1500, 0.0) };
        for (questions, expected) in [
            (vec![], SLOWEST),
            (vec![given(0, 5.0)], SLOWEST),
            (vec![given(0, 5.0), given(1000, 5.2), silent], Duration::from_millis(500)),
            (vec![given(0, 5.0), given(1000, 6.0)], Duration::from_millis(100)),
            (vec![given(0, 5.0), given(100, 9.0)], FASTEST),
            (vec![given(0, 5.0), given(9000, 5.0)], SLOWEST),
            (vec![given(0, 5.0), given(1000, 4.0)], SLOWEST),
        ] {
            assert_eq!(beat(&questions), expected, "{questions:?}");
        }
    }
}
