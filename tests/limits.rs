//! Files that claim to be huge, deep or endless: what the program makes of them costs bounded memory and time. Both are
//! measured, on the program itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    error::Error,
    fs::{self, File},
    io::{Read, Seek},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    stat::Mode,
};

use nextroot::run::soft_reboot::state::Store;

/// Most that a run may have in memory at once: 16 MiB are read, and values take some times the room of their text.
const MEMORY: i64 = 256 << 10;
/// Most that it may take. It takes some seconds without optimisation; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);
/// As in sys/file.rs.
const LONGEST: usize = 16 << 20;

/// Runs nextroot; gives its standard error.
fn told(arguments: &[&str]) -> String {
    // Into a file: nobody waits for whoever reads a pipe.
    let written = tempfile::tempfile().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nextroot"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(written.try_clone().unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{arguments:?} takes longer than {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut error = Vec::new();
    (&written).rewind().unwrap();
    (&written).read_to_end(&mut error).unwrap();
    assert!(error.len() < 16 << 10, "{arguments:?} said {} bytes", error.len());
    // The most that any of our processes had, in KiB: also of those before.
    let most = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(most <= MEMORY, "{arguments:?} took {most} KiB");
    String::from_utf8_lossy(&error).into_owned()
}

/// A file of so many bytes: a beginning, a part again and again, an end.
fn filled(path: &Path, length: usize, head: &str, part: &str, tail: &str) {
    let count = (length - head.len() - tail.len()) / part.len();
    fs::write(path, [head, &part.repeat(count), tail].concat()).unwrap();
}

#[test]
fn facts_and_configuration() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    File::create(path("sparse")).unwrap().set_len(100 << 30).unwrap();
    File::create(path("more")).unwrap().set_len(LONGEST as u64 + 1).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
    filled(&path("deep"), 1 << 20, "", "[", "");
    filled(&path("numbers"), LONGEST, r#"{"devices":["#, "0,", "0]}");
    filled(&path("string"), 1 << 20, "\"", "x", "\"");
    let facts = r#"{"machine":{"kernel_release":"6.12","devices":[]},"mounts":[],"fstab":["#;
    filled(&path("fstab"), LONGEST, facts, "\"\",", "\"\"]}");
    filled(&path("ini"), 1 << 20, "", "[Boot]\nCommandLine=a\n", "");
    filled(&path("joined"), 1 << 20, "[Boot]\nCommandLine=a", " \\\nb", "\n");
    filled(&path("quoted"), 1 << 20, "[Boot]\nCommandLine=", "a=\"b c\" ", "\n");
    let (long, directory) = ("it has more than the 16.0 MiB", "Is a directory");
    let (facts, no_ini, read) =
        ("read facts from", "is neither [Section] nor Key=value", "read facts from /dev/null");
    for (name, of_boot, of_system, of_config) in [
        ("sparse", long, long, long),
        ("more", long, long, long),
        ("zero", long, long, long),
        (".", directory, directory, directory),
        ("deep", facts, facts, no_ini),
        ("numbers", facts, "it has the facts of a boot", no_ini),
        ("string", facts, facts, no_ini),
        ("fstab", "which are for a soft reboot", "", no_ini),
        ("ini", facts, facts, read),
        ("joined", facts, facts, read),
        ("quoted", facts, facts, read),
    ] {
        let path = path(name);
        let path = path.to_str().unwrap();
        let boot = ["plan", "--cmdline", "root=/dev/vda2", "--facts"];
        let error = told(&[&boot[..], &[path]].concat());
        assert!(error.contains(of_boot), "facts {name}: {error}");
        let error = told(&["plan", "previous", "--facts", path]);
        assert!(error.contains(of_system), "facts {name}: {error}");
        // The configuration is read first; /dev/null is no file with facts.
        let error = told(&[&boot[..], &["/dev/null", "--config", path]].concat());
        assert!(error.contains(of_config), "configuration {name}: {error}");
    }
}

/// Files at fixed places, and those beside images, have to be regular: nobody asked for a FIFO to be waited for.
#[test]
fn a_fifo_that_nobody_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["state.json", "os.roothash"] {
        nix::unistd::mkfifo(&path(name), Mode::S_IRWXU).unwrap();
    }
    let (sender, receiver) = mpsc::channel();
    let store = Store::at(directory.path());
    thread::spawn(move || {
        let error = store.load().unwrap_err();
        sender.send(error.source().map(ToString::to_string)).unwrap();
    });
    let why = receiver.recv_timeout(PATIENCE).expect("the state was waited for");
    assert_eq!(why.as_deref(), Some("it is no regular file"));
    fs::write(path("os.raw"), [0; 4096]).unwrap();
    let error = told(&["plan", path("os.raw").to_str().unwrap()]);
    assert!(error.contains("os.roothash: it is no regular file"), "{error}");
}

/// `nextroot plan --facts <(...)` was refused: only regular files were read, whoever named them.
#[test]
fn what_a_person_names_may_be_a_pipe() {
    let nextroot = env!("CARGO_BIN_EXE_nextroot");
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("os"), [1; 8192]).unwrap();
    told(&["verity", "format", &path("os"), &path("tree"), "--root-hash-file", &path("hash")]);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let (os, tree, hash) = (path("os"), path("tree"), path("hash"));
    for (script, succeeds) in [
        (
            format!("cat {golden}/facts.json | {nextroot} plan --cmdline root=/dev/vda2 --facts /dev/stdin"),
            true,
        ),
        (format!("cat {golden}/stage/system.json | {nextroot} plan previous --facts /dev/stdin"), true),
        (
            format!(
                "printf '[Boot]\nCommandLine=root=/dev/vda2\n' \
                 | {nextroot} plan --cmdline '' --facts {golden}/facts.json --config /dev/stdin"
            ),
            true,
        ),
        (format!("cat {hash} | {nextroot} verity verify {os} {tree} --root-hash-file /dev/stdin"), true),
        (
            format!(
                "tr 0-9a-f 1-9a-f0 <{hash} | {nextroot} verity verify {os} {tree} --root-hash-file /dev/stdin"
            ),
            false,
        ),
        // One that never ends is refused, when as much is read as such a file has.
        (format!("yes | {nextroot} plan --cmdline root=/dev/vda2 --facts /dev/stdin"), false),
        (format!("yes | {nextroot} verity verify {os} {tree} --root-hash-file /dev/stdin"), false),
    ] {
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), succeeds, "{script}: {error}");
        assert!(!script.starts_with("yes") || error.contains("it has more than the 16.0 MiB"), "{error}");
    }
}
