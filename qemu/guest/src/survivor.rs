//! Programs that a scenario starts in its guest: they are static and live in /run, so they can outlive a
//! soft reboot.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::{
            fs::{FileExt, MetadataExt},
            net::UnixDatagram,
        },
    },
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    time::{ClockId, clock_gettime},
};

const BEAT: Duration = Duration::from_millis(100);

/// Runs the program that the first argument names: `beat FILE [HELD]`, `serve`, `listen ADDRESS`, `ask ADDRESS FILE [MS]`,
/// `unguarded FILE`, `fill FILE [FLAG]`, `clock` or `kexec KERNEL INITRD COMMAND-LINE`.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["beat", file] => beat(file, None),
        ["beat", file, held] => beat(file, Some(held)),
        ["serve"] => serve(&TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?)),
        ["listen", address] => listen(address),
        ["ask", address, file] => ask(address, file, BEAT),
        ["ask", address, file, beat] => {
            ask(address, file, Duration::from_millis(beat.parse().map_err(io::Error::other)?))
        }
        ["unguarded", file] => unguarded(file),
        ["fill", file] => fill(file, None),
        ["fill", file, flag] => fill(file, Some(Path::new(flag))),
        ["clock"] => {
            let system = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?).as_nanos();
            println!("machine={} system={system}", crate::clock::machine());
            Ok(())
        }
        ["kexec", kernel, initrd, line] => crate::kexec::load(kernel, initrd, line),
        _ => Err(io::Error::other(
            "beat FILE [HELD], serve, listen ADDRESS, ask ADDRESS FILE [MS], unguarded FILE, fill FILE [FLAG], clock or kexec KERNEL INITRD COMMAND-LINE",
        )),
    }
}

/// Counts ten times a second, for ever; the file has the count. One that is started again counts on. Every count is written to
/// `held`, too, which stays open.
fn beat(file: &str, held: Option<&str>) -> io::Result<()> {
    let mut beats = Beats::of(file)?;
    let before = std::fs::read_to_string(file).unwrap_or_default();
    let mut count: u64 =
        before.trim().strip_prefix("count=").and_then(|count| count.parse().ok()).unwrap_or(0);
    let file = File::options().create(true).truncate(false).write(true).open(file)?;
    let held = held.map(File::create).transpose()?;
    loop {
        count += 1;
        let text = format!("count={count:08}\n");
        file.write_all_at(text.as_bytes(), 0)?;
        if let Some(held) = &held {
            held.write_all_at(text.as_bytes(), 0)?;
        }
        beats.note(count)?;
        sleep(BEAT);
    }
}

/// What a service did when: FILE.beats has a line for each time, with its number, the milliseconds since the machine was started,
/// and the process. `heart` and `silences` of main.sh read it.
struct Beats(File);

impl Beats {
    fn of(file: &str) -> io::Result<Self> {
        Ok(Self(File::options().create(true).append(true).open(format!("{file}.beats"))?))
    }

    fn note(&mut self, number: u64) -> io::Result<()> {
        let line = format!("{number} {} {}\n", now()?, std::process::id());
        // Where there is no space left, its number is missing.
        match self.0.write_all(line.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            other => other,
        }
    }
}

/// Sees, for ever, whether the hardware watchdog is armed; the file has a line for each time that it was not, with the
/// milliseconds, once it was armed the first time.
fn unguarded(file: &str) -> io::Result<()> {
    const STATE: &str = "/sys/class/watchdog/watchdog0/state";
    let file = File::create(file)?;
    // Opened once: on its way from one root to the next, /sys is at neither for a moment.
    let state = File::open(STATE)?;
    let is_armed = || {
        let mut text = [0; 16];
        let length = state.read_at(&mut text, 0)?;
        Ok::<_, io::Error>(text.get(..length).is_some_and(|text| text.trim_ascii() == b"active"))
    };
    while !is_armed()? {
        sleep(BEAT);
    }
    let mut text = String::new();
    loop {
        if !is_armed()? {
            let begun = Instant::now();
            while !is_armed()? {
                sleep(Duration::from_millis(1));
            }
            text.push_str(&format!("{}\n", begun.elapsed().as_millis()));
            file.write_all_at(text.as_bytes(), 0)?;
        }
        sleep(Duration::from_millis(1));
    }
}

/// Keeps the file system of a file full: as long as `flag` is there, or until another root is mounted and some moments more.
fn fill(file: &str, flag: Option<&Path>) -> io::Result<()> {
    const MOMENTS: Duration = Duration::from_millis(300);
    let root = || Ok::<_, io::Error>(std::fs::metadata("/")?.dev());
    let first = root()?;
    let mut filler = File::options().create(true).append(true).open(file)?;
    let (block, small) = ([0; 65536], [0; 1]);
    loop {
        for part in [&block[..], &small[..]] {
            // Until there is no space left.
            while filler.write(part).is_ok() {}
        }
        let last = match flag {
            Some(flag) => !flag.exists(),
            // That of the relay is a tmpfs, which has no device.
            None => root()? != first && nix::sys::stat::major(root()?) != 0,
        };
        if last {
            sleep(if flag.is_some() { Duration::ZERO } else { MOMENTS });
            return std::fs::remove_file(file);
        }
        sleep(Duration::from_millis(5));
    }
}

/// Milliseconds since the machine was started.
fn now() -> io::Result<u128> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_millis())
}

/// Serves at an address of its own, and tells systemd as soon as it does (`Type=notify`).
fn listen(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let socket =
        std::env::var_os("NOTIFY_SOCKET").ok_or_else(|| io::Error::other("nobody is to be notified"))?;
    UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
    serve(&listener)
}

/// Answers each request (HTTP/1.0) on a listening socket with the number of this process. Asked to
/// end, it ends between two answers; asked to drain (SIGUSR1), it answers nobody any more, and stays.
fn serve(listener: &TcpListener) -> io::Result<()> {
    let mut asked = SigSet::empty();
    asked.add(Signal::SIGTERM);
    asked.add(Signal::SIGUSR1);
    asked.thread_block()?;
    let asked = SignalFd::with_flags(&asked, SfdFlags::SFD_CLOEXEC)?;
    let mut drained = false;
    loop {
        let listens = if drained { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut fds = [PollFd::new(listener.as_fd(), listens), PollFd::new(asked.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        if fds.get(1).and_then(PollFd::any) == Some(true) {
            let signal = asked.read_signal()?.map(|signal| signal.ssi_signo);
            if signal != Some(Signal::SIGUSR1 as u32) {
                return Ok(());
            }
            drained = true;
            continue;
        }
        let (stream, _) = listener.accept()?;
        // The request and its headers, to the empty line. A client that went away has no use for an answer.
        let asked = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let status = if asked.collect::<Vec<_>>().first().is_some_and(|line| line.starts_with("GET / ")) {
            "200 OK"
        } else {
            "400 Bad Request"
        };
        let _ =
            write!(&stream, "HTTP/1.0 {status}\r\nContent-Type: text/plain\r\n\r\n{}\n", std::process::id());
    }
}

/// Asks, with a pause after each answer, for ever; the file has how many were answered and how many were not, the slowest
/// answer in milliseconds, how many processes answered, which was the last, and why the last failure was one.
fn ask(address: &str, file: &str, pause: Duration) -> io::Result<()> {
    let mut beats = Beats::of(file)?;
    let file = File::create(file)?;
    let (mut answered, mut failed, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    let (mut servers, mut last, mut error_text) = (BTreeSet::new(), String::new(), String::new());
    loop {
        let begun = Instant::now();
        let answer = TcpStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
            if head.starts_with("HTTP/1.0 200 ") {
                Ok(body.to_owned())
            } else {
                Err(io::Error::other(head.to_owned()))
            }
        });
        match answer {
            Ok(text) => {
                answered += 1;
                slowest = slowest.max(begun.elapsed());
                text.trim_end().clone_into(&mut last);
                servers.insert(text);
                beats.note(answered)?;
            }
            Err(error) => {
                failed += 1;
                error_text = error.to_string();
            }
        }
        let (slowest, servers) = (slowest.as_millis(), servers.len());
        let text = format!(
            "answered={answered:06} failed={failed:06} slowest={slowest:06} servers={servers} last={last:<10} error={error_text:<40}\n"
        );
        file.write_all_at(text.as_bytes(), 0)?;
        sleep(pause);
    }
}
