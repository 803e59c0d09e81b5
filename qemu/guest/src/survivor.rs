//! Programs that a scenario starts in its guest: they are static and live in /run, so they can outlive a
//! soft reboot.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
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

/// Runs the program that the first argument names: `beat FILE [HELD]`, `serve`, `ask ADDRESS FILE`, `unguarded FILE`,
/// `fill FILE [FLAG]`, `clock` or `kexec KERNEL INITRD COMMAND-LINE`.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["beat", file] => beat(file, None),
        ["beat", file, held] => beat(file, Some(held)),
        ["serve"] => serve(),
        ["ask", address, file] => ask(address, file),
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
            "beat FILE [HELD], serve, ask ADDRESS FILE, unguarded FILE, fill FILE [FLAG], clock or kexec KERNEL INITRD COMMAND-LINE",
        )),
    }
}

/// Counts ten times a second, for ever; the file has the count, the largest gap between two counts in
/// milliseconds, the process, and the time. One that is started again counts on, and the time in between is a
/// gap. Every count is written to `held`, too, which stays open.
fn beat(file: &str, held: Option<&str>) -> io::Result<()> {
    let before = std::fs::read_to_string(file).unwrap_or_default();
    let value = |name: &str| -> Option<u128> {
        before.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok())
    };
    let file = File::options().create(true).truncate(false).write(true).open(file)?;
    let held = held.map(File::create).transpose()?;
    let (mut count, mut largest) = (value("count=").unwrap_or(0), value("gap=").unwrap_or(0));
    let mut last = value("time=").map_or_else(now, Ok)?;
    loop {
        let time = now()?;
        count += 1;
        largest = largest.max(time.saturating_sub(last));
        last = time;
        let text =
            format!("count={count:08} gap={largest:06} pid={:06} time={time:010}\n", std::process::id());
        file.write_all_at(text.as_bytes(), 0)?;
        if let Some(held) = &held {
            held.write_all_at(text.as_bytes(), 0)?;
        }
        sleep(BEAT);
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

/// Answers each line on the listening socket that is standard input with the number of this process. Asked to
/// end, it ends between two answers; asked to drain (SIGUSR1), it answers nobody any more, and stays.
fn serve() -> io::Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
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
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_ok() {
            // A client that went away has no use for an answer.
            let _ = writeln!(&stream, "{}", std::process::id());
        }
    }
}

/// Asks ten times a second, for ever; the file has how many were answered and how many were not, the slowest
/// answer in milliseconds, how many processes answered, which was the last, and why the last failure was one.
fn ask(address: &str, file: &str) -> io::Result<()> {
    let file = File::create(file)?;
    let (mut answered, mut failed, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    let (mut servers, mut last, mut error_text) = (BTreeSet::new(), String::new(), String::new());
    loop {
        let begun = Instant::now();
        let answer = TcpStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.write_all(b"?\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            if text.is_empty() { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) } else { Ok(text) }
        });
        match answer {
            Ok(text) => {
                answered += 1;
                slowest = slowest.max(begun.elapsed());
                text.trim_end().clone_into(&mut last);
                servers.insert(text);
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
        sleep(BEAT);
    }
}
