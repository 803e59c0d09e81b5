//! The init of the small guests: says on the second serial port what it sees, then switches off. In the
//! guests that a scenario's script drives, its arguments make it a survivor instead.
//!
//! It shares no code with what it is a witness of, and never ends in a panic: what cannot be seen is said.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::sys::{
    reboot::{RebootMode, reboot},
    resource::{UsageWho, getrusage},
};
use sha2::{Digest, Sha256};

mod clock;
mod kexec;
mod survivor;

/// What is the first that it does.
const BEGUN: &str = "rig: the init of the root begins\n";

fn main() {
    if std::process::id() != 1 {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if let Err(error) = survivor::run(&arguments) {
            eprintln!("guest-init: {error}");
            std::process::exit(1);
        }
        return;
    }
    // Before anything else, for whoever measures how long it took to get here.
    let _ = fs::write("/dev/kmsg", BEGUN);
    let mut witness = Witness::open();
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let value = |name: &str| {
        let word = command_line.split_whitespace().find_map(|word| word.strip_prefix(name));
        word.unwrap_or_default().to_owned()
    };
    let what = value("rig.do=");
    if what == "tell-times" {
        tell_times(&mut witness);
    } else {
        look(&mut witness);
    }
    match what.as_str() {
        "read-all" => read_all(&mut witness, Path::new("/usr")),
        "write" => {
            let outcome = fs::write("/written", "x").map_or_else(|e| e.to_string(), |()| "ok".to_owned());
            witness.say("write", &outcome);
        }
        _ => {}
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot_id = boot_id.trim();
    let digest = Sha256::digest(format!("{}:{boot_id}", value("rig.nonce=")));
    let proof: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    witness.line(&format!("boot_id={boot_id} proof={proof}"));
    nix::unistd::sync();
    let error = reboot(RebootMode::RB_POWER_OFF);
    witness.say("poweroff", &format!("{error:?}"));
}

/// What can be seen of how this system was started.
fn look(witness: &mut Witness) {
    let arguments: Vec<String> = std::env::args().collect();
    witness.say("pid", &std::process::id().to_string());
    witness.say("argv", &arguments.join(" "));
    witness.say("cwd", &std::env::current_dir().map_or_else(|e| e.to_string(), |p| p.display().to_string()));
    for line in read("/proc/self/mountinfo").lines() {
        witness.say("mount", line);
    }
    for line in
        read("/proc/meminfo").lines().filter(|line| line.starts_with("MemFree") || line.starts_with("Shmem:"))
    {
        witness.say("memory", line);
    }
    let descriptors = fs::read_dir("/proc/self/fd").map(|entries| {
        let mut names: Vec<String> =
            entries.filter_map(Result::ok).map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.join(" ")
    });
    witness.say("fds", &descriptors.unwrap_or_default());
    witness.say(
        "signals",
        read("/proc/self/status").lines().find(|line| line.starts_with("SigIgn")).unwrap_or("none"),
    );
    witness.say("queue_depth", read("/sys/module/virtio_blk/parameters/queue_depth").trim());
    witness.say("modprobe", read("/proc/sys/kernel/modprobe").trim());
    witness.say("initrd-release", &Path::new("/etc/initrd-release").exists().to_string());
    for entry in fs::read_dir("/sys/block").into_iter().flatten().filter_map(Result::ok) {
        let dm = entry.path().join("dm");
        if dm.exists() {
            let (name, uuid) = (fs::read_to_string(dm.join("name")), fs::read_to_string(dm.join("uuid")));
            let number = fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
            let text = [name, uuid].map(|text| text.unwrap_or_default().trim().to_owned()).join(" ");
            witness.say(
                "dm",
                &format!("{text} {} ro={}", number.trim(), read_at(&entry.path().join("ro")).trim()),
            );
        }
    }
    let link = fs::read_link("/run/systemd/volatile-root");
    witness.say("volatile-root", &link.map_or_else(|_| "none".to_owned(), |path| path.display().to_string()));
    let mapper = fs::read_link("/dev/mapper/root");
    witness.say("mapper", &mapper.map_or_else(|_| "none".to_owned(), |path| path.display().to_string()));
    witness.say("boot", read("/run/nextroot-state/boot.json").trim());
    witness.say("os-release", &read("/usr/lib/os-release").replace('\n', ";"));
}

/// The most memory that PID 1 has had; the modules that are loaded, the last first; what nextroot logged, when the kernel started
/// its first program, and when this one began, in microseconds of the kernel's clock.
fn tell_times(witness: &mut Witness) {
    // What the program before has had of it counts, too (fs/exec.c, exec_mmap).
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        witness.say("memory", &usage.max_rss().to_string());
    }
    for line in read("/proc/modules").lines() {
        witness.say("module", line);
    }
    let log = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut log) = log else { return };
    let mut record = [0; 8192];
    while let Ok(length @ 1..) = log.read(&mut record) {
        let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
        let Some((prefix, text)) = text.split_once(';') else { continue };
        let time = prefix.split(',').nth(2).unwrap_or_default();
        if text.starts_with("nextroot: ") {
            witness.say("log", &format!("{time} {}", text.lines().next().unwrap_or_default()));
        }
        for (name, start) in [("first", "Run "), ("begun", BEGUN)] {
            if text.starts_with(start.trim_end()) {
                witness.say(name, time);
            }
        }
    }
}

fn read_all(witness: &mut Witness, directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            read_all(witness, &path);
        } else {
            let outcome =
                fs::read(&path).map_or_else(|e| e.to_string(), |bytes| format!("{} bytes", bytes.len()));
            witness.say("read", &format!("{} {outcome}", path.display()));
        }
    }
}

fn read(path: &str) -> String {
    read_at(Path::new(path))
}

fn read_at(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{error}"))
}

/// The second serial port; the first belongs to the kernel.
struct Witness(Option<File>);

impl Witness {
    fn open() -> Self {
        Self(OpenOptions::new().write(true).open("/dev/ttyS1").ok())
    }

    fn say(&mut self, key: &str, value: &str) {
        self.line(&format!("{key}={value}"));
    }

    fn line(&mut self, text: &str) {
        let text = format!("rig: {text}\n");
        let written = self.0.as_mut().map(|port| port.write_all(text.as_bytes()));
        if !matches!(written, Some(Ok(()))) {
            print!("{text}");
        }
    }
}
