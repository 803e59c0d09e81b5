//! Listens to a boot, does to its machine what its scenario injects, and judges what was heard.

use std::{
    fs::{self, File},
    io::Read,
    path::PathBuf,
    time::{Duration, Instant},
};

use regex::Regex;
use sha2::{Digest, Sha256};

use crate::{
    Outcome,
    boot::Started,
    cache::hex,
    counted, machine,
    scenario::{Event, Injection},
};

/// How a boot went.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The console, line by line.
    pub(crate) console: Vec<String>,
    /// What the guest said.
    pub(crate) witness: Vec<String>,
    /// The guest's clock, when it last said something.
    pub(crate) guest_s: f64,
    /// Whether it ended by itself.
    ended: bool,
    /// What was waited for to inject something, and never came.
    waiting: Vec<String>,
}

/// How often what the guest says is looked at while something is to be injected.
const BEAT: Duration = Duration::from_millis(10);

/// What is still to be injected.
struct Waiting(Vec<(Regex, Event)>);

impl Waiting {
    fn new(injections: &[Injection]) -> Outcome<Self> {
        let one = |injection: &Injection| Ok((Regex::new(&injection.when)?, injection.what));
        Ok(Self(injections.iter().map(one).collect::<Outcome<_>>()?))
    }

    /// What a line gives the sign for: it is waited for no longer.
    fn due(&mut self, line: &str) -> Vec<Event> {
        self.0.extract_if(.., |(when, _)| when.is_match(line)).map(|(_, what)| what).collect()
    }
}

/// A file that grows, line by line.
pub(crate) struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// A line whose end is not there yet.
    begun: Vec<u8>,
}

impl Follower {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, begun: Vec::new() }
    }

    /// The lines that are whole since the last time.
    pub(crate) fn lines(&mut self) -> Outcome<Vec<String>> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        file.read_to_end(&mut self.begun)?;
        let Some(last) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = self.begun.split_off(last + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        Ok(String::from_utf8_lossy(&whole).lines().map(|line| line.trim_end().to_owned()).collect())
    }
}

impl Started {
    /// Listens to its end, or to the end of its time, and injects what is to be. `each` sees every line of the console.
    pub(crate) fn listen(&mut self, mut each: impl FnMut(&str)) -> Outcome<Heard> {
        let clock = Regex::new(r"^\[ *(\d+\.\d+)\]")?;
        // What a machine said that this one goes on from.
        let console = self.before.lines().map(str::to_owned).collect();
        let mut heard = Heard { console, ..Heard::default() };
        let end = Instant::now() + Duration::from_secs(self.boot.limit);
        let disks = self.boot.disks.iter().enumerate();
        let mut late: Vec<(usize, u64)> =
            disks.filter_map(|(number, disk)| Some((number, disk.late?))).collect();
        let mut attach: Vec<(usize, Instant)> = Vec::new();
        let mut waiting = Waiting::new(&self.boot.inject)?;
        let mut witness = Follower::new(self.work.join("witness.log"));
        loop {
            let soon = if waiting.0.is_empty() { end } else { end.min(Instant::now() + BEAT) };
            let next = attach.iter().map(|(_, at)| *at).fold(soon, Instant::min);
            match self.running.next(next) {
                machine::Event::Line(line) => {
                    if line.contains("nextroot: [") {
                        let now = Instant::now();
                        attach.extend(
                            late.drain(..).map(|(number, after)| (number, now + Duration::from_secs(after))),
                        );
                    }
                    let stamp = clock.captures(&line).and_then(|found| found.get(1)?.as_str().parse().ok());
                    heard.guest_s = stamp.unwrap_or(heard.guest_s);
                    each(&line);
                    self.inject(waiting.due(&line))?;
                    heard.console.push(line);
                }
                machine::Event::Timeout if next >= end => break,
                machine::Event::Timeout => {
                    let now = Instant::now();
                    for (number, _) in attach.extract_if(.., |(_, at)| *at <= now) {
                        self.running.attach(number)?;
                    }
                }
                machine::Event::End => {
                    heard.ended = true;
                    break;
                }
            }
            if !waiting.0.is_empty() {
                for line in witness.lines()? {
                    self.inject(waiting.due(&line))?;
                }
            }
        }
        heard.waiting = waiting.0.iter().map(|(when, _)| when.to_string()).collect();
        let witness = fs::read(self.work.join("witness.log")).unwrap_or_default();
        heard.witness =
            String::from_utf8_lossy(&witness).lines().map(|line| line.trim_end().to_owned()).collect();
        Ok(heard)
    }

    fn inject(&mut self, events: Vec<Event>) -> Outcome<()> {
        for event in events {
            match event {
                Event::PowerCut => self.running.cut_power()?,
                Event::Pull(number) => self.running.pull(number)?,
            }
        }
        Ok(())
    }

    /// Why a boot did not go as it has to; `None` where it did.
    pub(crate) fn judge(&self, heard: &Heard) -> Outcome<Option<String>> {
        let boot = &self.boot;
        let proven = heard.witness.iter().any(|line| proves(line, &self.nonce));
        let all = || heard.console.iter().chain(&heard.witness);
        for pattern in &boot.never {
            let pattern = Regex::new(pattern)?;
            if let Some(line) = all().find(|line| pattern.is_match(line)) {
                return Ok(Some(format!("it said what it must not: {line}")));
            }
        }
        if !heard.console.iter().any(|line| line.contains("Linux version")) {
            return Ok(Some("the kernel did not start".to_owned()));
        }
        let mut rest = heard.console.iter();
        for pattern in &boot.console {
            let expected = Regex::new(pattern)?;
            if !rest.any(|line| expected.is_match(line)) {
                return Ok(Some(format!("the console does not show, or not in this order: {pattern}")));
            }
        }
        for pattern in &boot.guest {
            let expected = Regex::new(pattern)?;
            if !heard.witness.iter().any(|line| expected.is_match(line)) {
                return Ok(Some(format!("the guest does not say: {pattern}")));
            }
        }
        for name in &boot.same {
            let said = values(&heard.witness, name);
            match said.as_slice() {
                [] | [_] => return Ok(Some(format!("the guest does not say {name} twice"))),
                [first, rest @ ..] if rest.iter().any(|value| value != first) => {
                    return Ok(Some(format!("{name} changed: {}", said.join(", then "))));
                }
                _ => {}
            }
        }
        for took in &boot.took {
            if let Some(why) = counted::too_long(took, &heard.console, &heard.witness)? {
                return Ok(Some(why));
            }
        }
        let refusal = heard.console.iter().any(|line| line.contains("] FAILED: "));
        Ok(match (boot.refused, boot.dies, proven, refusal) {
            _ if !heard.ended => Some(format!("it did not end within {} s", boot.limit)),
            _ if !heard.waiting.is_empty() => {
                Some(format!("nothing was injected, as it never said: {}", heard.waiting.join(", ")))
            }
            (true, _, true, _) | (_, true, true, _) => {
                Some("the guest ran to its end, and must not".to_owned())
            }
            (true, _, false, false) => Some("nextroot did not say why it refuses".to_owned()),
            (false, false, false, _) => Some("the guest gave no proof that it ran".to_owned()),
            (false, _, _, true) => Some("nextroot refused to boot".to_owned()),
            _ => None,
        })
    }
}

/// What a guest said of a name, in each of its lives.
pub(crate) fn values<'a>(witness: &'a [String], name: &str) -> Vec<&'a str> {
    let value = |line: &'a String| {
        let (_, rest) = line.strip_prefix("rig: ")?.split_once(' ')?;
        rest.strip_prefix(name)?.strip_prefix('=')
    };
    witness.iter().filter_map(value).collect()
}

/// Whether a line has the proof: only who knows this run's number and this boot's can write it.
fn proves(line: &str, nonce: &str) -> bool {
    let read = || {
        let (boot_id, proof) = line.strip_prefix("rig: boot_id=")?.split_once(" proof=")?;
        let expected = hex(&Sha256::digest(format!("{nonce}:{boot_id}")));
        Some(proof == expected)
    };
    read() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_injection_happens_once() {
        let injection = |when: &str, what| Injection { when: when.to_owned(), what };
        let all = [injection("^b$", Event::Pull(1)), injection("c", Event::PowerCut)];
        let mut waiting = Waiting::new(&all).unwrap();
        let due = ["ab", "b", "b", "abc", "c"].map(|line| waiting.due(line));
        assert_eq!(due, [vec![], vec![Event::Pull(1)], vec![], vec![Event::PowerCut], vec![]]);
        assert!(waiting.0.is_empty());
    }

    #[test]
    fn a_line_is_heard_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("witness.log");
        let mut follower = Follower::new(path.clone());
        assert!(follower.lines().unwrap().is_empty());
        for (more, expected) in
            [("one\ntw", vec!["one"]), ("", vec![]), ("o\r\nthree\n", vec!["two", "three"])]
        {
            let mut file = File::options().create(true).append(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, more.as_bytes()).unwrap();
            assert_eq!(follower.lines().unwrap(), expected);
        }
    }

    #[test]
    fn only_this_run_and_this_boot_prove_anything() {
        let proof = |text: &str| hex(&Sha256::digest(text));
        for (line, expected) in [
            (format!("rig: boot_id=b proof={}", proof("n:b")), true),
            (format!("rig: boot_id=b proof={}", proof("m:b")), false),
            (format!("rig: boot_id=c proof={}", proof("n:b")), false),
            (format!("rig: boot_id=b proof={}0", proof("n:b")), false),
            ("rig: boot_id=b proof=".to_owned(), false),
            ("Kernel command line: rig.nonce=n".to_owned(), false),
        ] {
            assert_eq!(proves(&line, "n"), expected, "{line}");
        }
    }
}
