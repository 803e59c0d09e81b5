//! Runs a scenario and judges it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use regex::Regex;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    Outcome, cache,
    image::{self, Image},
    initrd,
    machine::{Accel, Console, Event, Machine, Running},
    parallel,
    progress::Progress,
    sandbox,
    scenario::{Boot, Scenario},
    tree::{self, Tree},
};

/// What all machines of a run share.
#[derive(Debug)]
pub(crate) struct Rig {
    dist: PathBuf,
    logs: PathBuf,
    counter: AtomicU64,
    accel: OnceLock<Accel>,
}

/// How a scenario went.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    result: &'static str,
    pub(crate) reason: String,
    guest_s: f64,
    wall_s: f64,
    log: String,
}

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
}

/// A machine that was prepared, and what it needs to be judged.
pub(crate) struct Started {
    pub(crate) running: Running,
    work: PathBuf,
    nonce: String,
    /// The boot, with everything filled in.
    boot: Boot,
}

impl Rig {
    /// A rig for the binaries in `dist`.
    pub(crate) fn new(dist: PathBuf) -> Outcome<Self> {
        let logs = cache::directory().join("logs");
        fs::create_dir_all(&logs)?;
        let logs = fs::canonicalize(logs)?.join(format!("run-{}", std::process::id()));
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs)?;
        Ok(Self { dist, logs, counter: AtomicU64::new(0), accel: OnceLock::new() })
    }

    /// Makes what the scenarios need.
    pub(crate) fn prepare(&self, scenarios: &[Scenario], progress: &Progress) -> Outcome<()> {
        let boots = || scenarios.iter().flat_map(|scenario| &scenario.boot);
        let kernels: BTreeSet<&str> = boots().map(|boot| boot.kernel.as_str()).collect();
        let images: BTreeSet<&str> =
            boots().flat_map(|boot| &boot.disks).map(|disk| disk.image.as_str()).collect();
        // The others are made with it.
        tree::get("tools", progress)?;
        let make = |(is_tree, name): &(bool, &str)| match is_tree {
            true => tree::get(name, progress).map(drop),
            false => image::get(name, &self.dist, progress).map(drop),
        };
        let kernels = kernels.into_iter().map(|name| (true, name));
        let all: Vec<(bool, &str)> = kernels.chain(images.into_iter().map(|name| (false, name))).collect();
        parallel::map(&all, 2, make).into_iter().collect()
    }

    /// KVM, where it was seen to run a guest. A /dev/kvm may be there and not: on nested hosts it is.
    fn accel(&self, tools: &Tree, kernel: &Tree) -> Accel {
        *self.accel.get_or_init(|| {
            let there = Path::new("/dev/kvm").exists();
            match there && self.kvm_boots(tools, kernel).unwrap_or(false) {
                true => Accel::Kvm,
                false => Accel::Tcg,
            }
        })
    }

    /// Boots a kernel without anything else, which has to get as far as missing its root.
    fn kvm_boots(&self, tools: &Tree, kernel: &Tree) -> Outcome<bool> {
        const LIMIT: Duration = Duration::from_secs(20);
        let work = self.work("kvm")?;
        fs::copy(initrd::kernel_image(kernel)?, work.join("kernel"))?;
        let direct = Some("console=ttyS0 panic=-1".to_owned());
        let machine = Machine { tools, work: &work, disks: Vec::new(), direct, accel: Accel::Kvm };
        let running = machine.start(Console::Log)?;
        let end = Instant::now() + LIMIT;
        loop {
            match running.next(end) {
                Event::Line(line) if line.contains("Unable to mount root fs") => return Ok(true),
                Event::Line(_) => {}
                Event::End | Event::Timeout => return Ok(false),
            }
        }
    }

    fn work(&self, name: &str) -> Outcome<PathBuf> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let work = self.logs.join(format!("{number:03}-{name}"));
        fs::create_dir_all(&work)?;
        Ok(work)
    }
}

/// Starts the machine of a boot.
pub(crate) fn start(rig: &Rig, boot: &Boot, console: Console, progress: &Progress) -> Outcome<Started> {
    start_in(rig.work("machine")?, rig, boot, console, progress)
}

fn start_in(
    work: PathBuf,
    rig: &Rig,
    boot: &Boot,
    console: Console,
    progress: &Progress,
) -> Outcome<Started> {
    let tools = tree::get("tools", progress)?;
    let kernel = tree::get(&boot.kernel, progress)?;
    initrd::make(&rig.dist, &kernel, boot.config.as_deref(), &work.join("initrd"))?;
    if boot.ballast > 0 {
        add_ballast(&work.join("initrd"), boot.ballast)?;
    }
    fs::copy(initrd::kernel_image(&kernel)?, work.join("kernel"))?;
    let mut images: Vec<Image> = Vec::new();
    let mut disks = Vec::new();
    for (number, disk) in boot.disks.iter().enumerate() {
        let image = image::get(&disk.image, &rig.dist, progress)?;
        let file = format!("disk{number}.raw");
        let to = work.join(&file);
        if disk.faults.is_empty() && !boot.uefi {
            // A hard link: QEMU keeps what a guest writes to itself.
            fs::hard_link(image.disk(), &to)?;
        } else {
            image.damaged(&disk.faults, &to, &tools)?;
        }
        disks.push((file, disk.bus, disk.late.is_some()));
        images.push(image);
    }
    let mut boot = boot.clone();
    for text in [&mut boot.console, &mut boot.guest, &mut boot.never].into_iter().flatten() {
        *text = fill(text, &images)?;
    }
    let nonce = nonce()?;
    let command_line = format!(
        "console=ttyS0 panic=-1 rd.emergency=poweroff rig.nonce={nonce} {}",
        fill(&boot.cmdline, &images)?
    );
    if boot.uefi {
        install(&work, &tools, images.first().ok_or("UEFI needs a disk")?, &command_line)?;
    }
    let direct = (!boot.uefi).then_some(command_line);
    let machine = Machine { tools: &tools, work: &work, disks, direct, accel: rig.accel(&tools, &kernel) };
    Ok(Started { running: machine.start(console)?, work, nonce, boot })
}

impl Started {
    /// The file with all that the console says.
    pub(crate) fn log(&self) -> String {
        self.work.join("console.log").display().to_string()
    }

    /// Waits for the machine's end, with its console where it is.
    pub(crate) fn wait(self) -> Outcome<()> {
        self.running.wait()
    }

    /// Listens to its end, or to the end of its time. `each` sees every line of the console.
    pub(crate) fn listen(&self, mut each: impl FnMut(&str)) -> Outcome<Heard> {
        let boot = &self.boot;
        let clock = Regex::new(r"^\[ *(\d+\.\d+)\]")?;
        let mut heard = Heard::default();
        let end = Instant::now() + Duration::from_secs(boot.limit);
        let mut late: Vec<(usize, u64)> =
            boot.disks.iter().enumerate().filter_map(|(number, disk)| Some((number, disk.late?))).collect();
        let mut attach: Vec<(usize, Instant)> = Vec::new();
        loop {
            let next = attach.iter().map(|(_, at)| *at).min();
            match self.running.next(next.map_or(end, |next| next.min(end))) {
                Event::Line(line) => {
                    if line.contains("nextroot: [") {
                        let now = Instant::now();
                        attach.extend(
                            late.drain(..).map(|(number, after)| (number, now + Duration::from_secs(after))),
                        );
                    }
                    let stamp = clock.captures(&line).and_then(|found| found.get(1)?.as_str().parse().ok());
                    heard.guest_s = stamp.unwrap_or(heard.guest_s);
                    each(&line);
                    heard.console.push(line);
                }
                Event::Timeout if next.is_some_and(|next| next < end) => {
                    let now = Instant::now();
                    for (number, _) in attach.extract_if(.., |(_, at)| *at <= now) {
                        self.running.attach(number)?;
                    }
                }
                Event::Timeout => break,
                Event::End => {
                    heard.ended = true;
                    break;
                }
            }
        }
        let witness = fs::read(self.work.join("witness.log")).unwrap_or_default();
        heard.witness =
            String::from_utf8_lossy(&witness).lines().map(|line| line.trim_end().to_owned()).collect();
        Ok(heard)
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
        let refusal = heard.console.iter().any(|line| line.contains("FAILED: "));
        Ok(match (boot.refused, boot.dies, proven, refusal) {
            _ if !heard.ended => Some(format!("it did not end within {} s", boot.limit)),
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

/// Whether a line has the proof: only who knows this run's number and this boot's can write it.
fn proves(line: &str, nonce: &str) -> bool {
    let read = || {
        let (boot_id, proof) = line.strip_prefix("rig: boot_id=")?.split_once(" proof=")?;
        let expected: String =
            Sha256::digest(format!("{nonce}:{boot_id}")).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(proof == expected)
    };
    read() == Some(true)
}

/// Runs a scenario to its end.
pub(crate) fn run(rig: &Rig, scenario: &Scenario, progress: &Progress) -> Verdict {
    let begun = Instant::now();
    let mut verdict = Verdict {
        name: scenario.name.clone(),
        result: "pass",
        reason: String::new(),
        guest_s: 0.0,
        wall_s: 0.0,
        log: String::new(),
    };
    for (number, boot) in scenario.boot.iter().enumerate() {
        match run_boot(rig, &format!("{}-{number}", scenario.name), boot, &mut verdict, progress) {
            Ok(None) => {}
            Ok(Some(reason)) => verdict.fail(format!("boot {}: {reason}", number + 1)),
            Err(error) => verdict.fail(format!("boot {}: {error}", number + 1)),
        }
        if !verdict.passed() {
            break;
        }
    }
    verdict.wall_s = begun.elapsed().as_secs_f64();
    verdict
}

fn run_boot(
    rig: &Rig,
    name: &str,
    boot: &Boot,
    verdict: &mut Verdict,
    progress: &Progress,
) -> Outcome<Option<String>> {
    let work = rig.work(name)?;
    verdict.log = work.join("console.log").display().to_string();
    let started = start_in(work, rig, boot, Console::Log, progress)?;
    let heard = started.listen(|_| ())?;
    verdict.guest_s += heard.guest_s;
    let reason = started.judge(&heard)?;
    if reason.is_some() {
        for lines in [&heard.console, &heard.witness] {
            lines.iter().skip(lines.len().saturating_sub(30)).for_each(|line| progress.line(line));
        }
    }
    // The disks and kernels are large and can be had again; what was said stays.
    for entry in fs::read_dir(&started.work)?.filter_map(Result::ok) {
        if entry.path().extension().is_none_or(|kind| kind != "log") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(reason)
}

impl Verdict {
    /// Whether it went as it has to.
    pub(crate) fn passed(&self) -> bool {
        self.result == "pass"
    }

    fn fail(&mut self, reason: String) {
        self.result = "fail";
        self.reason = reason;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason, guest_s, wall_s, log, .. } = self;
        match self.passed() {
            true => write!(f, "PASS {name} guest={guest_s:.1} wall={wall_s:.1}"),
            false => write!(f, "FAIL {name} {reason} log={log}"),
        }
    }
}

/// A number that nobody knows before.
fn nonce() -> Outcome<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is filled in: `{KIND:LABEL}`, or a value that was noted when the image was made.
pub(crate) const PLACE: &str = r"\{([a-z]+:[a-z0-9-]+|roothash|offset|blocks)\}";

/// Fills `{partuuid:LABEL}` and its likes in from the images.
fn fill(text: &str, images: &[Image]) -> Outcome<String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for image in images.iter().rev() {
        for partition in &image.facts.partitions {
            let mut set = |kind: &str, value: &str| {
                values.insert(format!("{kind}:{}", partition.label), value.to_owned())
            };
            set("partuuid", &partition.uuid);
            set("uuid", &partition.content_uuid);
            set("label", &partition.content_label);
            set("roothash", partition.roothash.as_deref().unwrap_or_default());
        }
        values.extend(image.facts.values.clone());
    }
    let place = Regex::new(PLACE)?;
    let mut missing = None;
    let filled = place.replace_all(text, |found: &regex::Captures<'_>| {
        let name = &found[1];
        values.get(name).filter(|value| !value.is_empty()).cloned().unwrap_or_else(|| {
            missing = Some(format!("the images have no {name}"));
            String::new()
        })
    });
    match missing {
        None => Ok(filled.into_owned()),
        Some(missing) => Err(missing.into()),
    }
}

/// Puts a boot loader, the kernel and the initramfs on a disk's ESP.
fn install(work: &Path, tools: &Tree, image: &Image, command_line: &str) -> Outcome<()> {
    let esp = image
        .facts
        .partitions
        .iter()
        .find(|partition| partition.label == "esp")
        .ok_or("the image has no ESP")?;
    let disk = format!("/mnt/disk0.raw@@{}", esp.offset);
    fs::write(
        work.join("entry.conf"),
        format!("title nextroot\nlinux /kernel\ninitrd /initrd\noptions {command_line}\n"),
    )?;
    fs::write(work.join("loader.conf"), "timeout 0\n")?;
    let run = |program: &str, arguments: &[&str]| sandbox::run(&tools.0, work, None, program, arguments);
    run("mmd", &["-i", &disk, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"])?;
    for (from, to) in [
        ("/usr/lib/systemd/boot/efi/systemd-bootx64.efi", "::/EFI/BOOT/BOOTX64.EFI"),
        ("/mnt/loader.conf", "::/loader/loader.conf"),
        ("/mnt/entry.conf", "::/loader/entries/nextroot.conf"),
        ("/mnt/kernel", "::/kernel"),
        ("/mnt/initrd", "::/initrd"),
    ] {
        run("mcopy", &["-i", &disk, from, to])?;
    }
    Ok(())
}

/// A second archive behind the initramfs: one file of noise, so that what is not freed is seen.
fn add_ballast(initrd: &Path, mebibytes: usize) -> Outcome<()> {
    use std::io::Write;
    let mut noise = vec![0; mebibytes << 20];
    fs::File::open("/dev/urandom")?.read_exact(&mut noise)?;
    let entry = nextroot::format::cpio::Entry {
        path: "ballast".to_owned(),
        mode: nextroot::format::cpio::FILE | 0o644,
        device: (0, 0),
        data: noise.into(),
    };
    let archive = nextroot::format::cpio::write(&[entry], 0)?;
    let mut file = fs::File::options().append(true).open(initrd)?;
    // The kernel skips zeros up to the next multiple of four.
    let pad = vec![0; (4 - file.metadata()?.len() as usize % 4) % 4];
    file.write_all(&pad)?;
    Ok(file.write_all(&archive)?)
}
