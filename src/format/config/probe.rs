//! `[Probe]` of nextroot.conf: what a client asks while a soft reboot goes on, to see for how long it gets no answer.

use std::{fmt, str::FromStr, time::Duration};

use crate::format::config::{
    ini::{self, Assignment},
    time_span,
};

/// The section, with what holds where nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `Address=`: what is asked; without any, nobody asks.
    pub addresses: Vec<Address>,
    /// `Interval=`: from the beginning of one request to that of the next, unless the first takes longer.
    pub interval: Duration,
    /// `TimeoutSec=`: how long an answer is waited for, in seconds.
    pub timeout_sec: u64,
    /// `Slow=`: an answer that takes this long or longer is slow.
    pub slow: Duration,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `tcp://HOST:PORT`: a connection is made, and closed again. Holds `HOST:PORT`.
    Tcp(String),
    /// `http://HOST[:PORT][/PATH]`: GET. Holds all of it.
    Http(String),
}

/// No address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoAddress);
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return match has_host(rest) && has_port(rest) {
                true => Ok(Self::Tcp(rest.to_owned())),
                false => Err(NoAddress),
            };
        }
        let rest = text.strip_prefix("http://").ok_or(NoAddress)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // The client for HTTP takes the first colon for that of the port.
        let is_one = has_host(authority) && !authority.contains(['@', '[']);
        if is_one && (!authority.contains(':') || has_port(authority)) {
            Ok(Self::Http(text.to_owned()))
        } else {
            Err(NoAddress)
        }
    }
}

/// Whether it begins with a host: a name, or an IPv6 address in brackets.
fn has_host(authority: &str) -> bool {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(host, after)| {
            host.parse::<core::net::Ipv6Addr>().is_ok() && (after.is_empty() || after.starts_with(':'))
        }),
        None => {
            let host = authority.split(':').next().unwrap_or_default();
            !host.is_empty() && !host.contains(['/', '?', '#', '[', ']'])
        }
    }
}

/// Whether it ends with a port, and has no other colon but those of an address in brackets.
fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(host, port)| {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        is_number
            && port.parse().is_ok_and(|port: u16| port > 0)
            && (host.ends_with(']') || !host.contains(':'))
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Http(url) => f.write_str(url),
        }
    }
}

const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const TIMEOUTS: std::ops::RangeInclusive<u64> = 1..=300;
/// Each has a thread.
const MOST: usize = 16;

impl Default for Probe {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            interval: Duration::from_millis(100),
            timeout_sec: 10,
            slow: Duration::from_secs(1),
        }
    }
}

impl Probe {
    /// Takes in a line of the section; whether its key is known. An empty value takes back what was assigned before.
    pub fn assign(&mut self, assignment: &Assignment, file: &str) -> Result<bool, ini::Error> {
        let value = assignment.value.as_str();
        let default = Self::default();
        let within = || time_span::parse(value).filter(|span| INTERVALS.contains(span));
        match assignment.key.as_str() {
            "Address" if value.is_empty() => self.addresses.clear(),
            "Address" => {
                let allowed = "a list of tcp://HOST:PORT and http://HOST[:PORT][/PATH], 16 at most,";
                for word in value.split_ascii_whitespace() {
                    let address = word.parse().map_err(|NoAddress| assignment.impossible(file, allowed))?;
                    if !self.addresses.contains(&address) {
                        self.addresses.push(address);
                    }
                }
                if self.addresses.len() > MOST {
                    return Err(assignment.impossible(file, allowed));
                }
            }
            "Interval" if value.is_empty() => self.interval = default.interval,
            "Interval" => {
                self.interval =
                    within().ok_or_else(|| assignment.impossible(file, "a time from 10ms to 1min"))?;
            }
            "TimeoutSec" if value.is_empty() => self.timeout_sec = default.timeout_sec,
            "TimeoutSec" => {
                let span = time_span::parse(value).filter(|span| span.subsec_nanos() == 0);
                let seconds = span.map(|span| span.as_secs()).filter(|seconds| TIMEOUTS.contains(seconds));
                self.timeout_sec =
                    seconds.ok_or_else(|| assignment.impossible(file, "whole seconds from 1s to 5min"))?;
            }
            "Slow" if value.is_empty() => self.slow = default.slow,
            "Slow" => {
                self.slow =
                    within().ok_or_else(|| assignment.impossible(file, "a time from 10ms to 1min"))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, is_one) in [
            ("tcp://127.0.0.1:80", true),
            ("tcp://[::1]:80", true),
            ("tcp://db.example:5432", true),
            ("http://127.0.0.1", true),
            ("http://web:8080/health?x=1", true),
            ("http://[::1]", false),
            ("http://[::1]:8080/", false),
            ("tcp://127.0.0.1", false),
            ("tcp://127.0.0.1:0", false),
            ("tcp://127.0.0.1:65536", false),
            ("tcp://127.0.0.1:+1", false),
            ("tcp://::1:80", false),
            ("tcp://[::1]", false),
            ("tcp://:80", false),
            ("tcp://a:80/x", false),
            ("http://", false),
            ("http:///a", false),
            ("http://a:/", false),
            ("http://a:b@c/", false),
            ("https://a/", false),
            ("127.0.0.1:80", false),
            ("http://a/\u{e4}", false),
        ] {
            let address = text.parse::<Address>();
            assert_eq!(
                address.map(|address| address.to_string()).ok(),
                is_one.then(|| text.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn values() {
        let read = |key: &str, value: &str| {
            let mut probe = Probe::default();
            let assignment = ini::parse(&format!("[Probe]\n{key}={value}\n"), "f").unwrap().remove(0);
            probe.assign(&assignment, "f").map(|known| (probe, known)).map_err(|error| error.to_string())
        };
        let many: Vec<String> = (1..=17).map(|port| format!("tcp://a:{port}")).collect();
        for (key, value, expected) in [
            ("Interval", "10ms", Ok(Probe { interval: Duration::from_millis(10), ..Probe::default() })),
            ("Interval", "", Ok(Probe::default())),
            ("TimeoutSec", "5min", Ok(Probe { timeout_sec: 300, ..Probe::default() })),
            ("Slow", "1min", Ok(Probe { slow: Duration::from_secs(60), ..Probe::default() })),
            (
                "Address",
                "tcp://a:1  http://b tcp://a:1",
                Ok(Probe {
                    addresses: vec![Address::Tcp("a:1".to_owned()), Address::Http("http://b".to_owned())],
                    ..Probe::default()
                }),
            ),
            ("Interval", "9ms", Err("f:2: Interval=9ms: a time from 10ms to 1min is needed")),
            ("TimeoutSec", "1.5s", Err("f:2: TimeoutSec=1.5s: whole seconds from 1s to 5min is needed")),
            ("TimeoutSec", "0", Err("f:2: TimeoutSec=0: whole seconds from 1s to 5min is needed")),
            ("Slow", "2min", Err("f:2: Slow=2min: a time from 10ms to 1min is needed")),
            (
                "Address",
                "a:1",
                Err(
                    "f:2: Address=a:1: a list of tcp://HOST:PORT and http://HOST[:PORT][/PATH], 16 at most, is needed",
                ),
            ),
        ] {
            let expected = expected.map(|probe| (probe, true)).map_err(str::to_owned);
            assert_eq!(read(key, value), expected, "{key}={value}");
        }
        assert_eq!(read("Address", &many[..16].join(" ")).unwrap().0.addresses.len(), 16);
        assert!(read("Address", &many.join(" ")).is_err());
        assert!(!read("Adress", "a").unwrap().1);
    }
}
