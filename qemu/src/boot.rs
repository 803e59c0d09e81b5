//! One boot: its machine put together and started, what it says, and whether that is as it has to be.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nextroot::format::cpio::{self, Entry};
use regex::Regex;
use sha2::{Digest, Sha256};

use crate::{
    Outcome,
    cache::hex,
    image::{self, Image},
    initrd,
    machine::{Console, Event, Machine, Running},
    payload,
    progress::Progress,
    rig::Rig,
    sandbox,
    scenario::Boot,
    secure_boot,
    tree::{self, Tree},
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
}

/// A machine that was prepared, and what it needs to be judged.
pub(crate) struct Started {
    pub(crate) running: Running,
    /// Its working directory.
    pub(crate) work: PathBuf,
    nonce: String,
    /// The boot, with everything filled in.
    boot: Boot,
}

/// Starts the machine of a boot.
pub(crate) fn start(rig: &Rig, boot: &Boot, console: Console, progress: &Progress) -> Outcome<Started> {
    start_in(rig.work("machine")?, rig, boot, console, progress)
}

pub(crate) fn start_in(
    work: PathBuf,
    rig: &Rig,
    boot: &Boot,
    console: Console,
    progress: &Progress,
) -> Outcome<Started> {
    let tools = tree::get("tools", progress)?;
    let kernel = tree::get(&boot.kernel, progress)?;
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
    for text in boot.files.values_mut() {
        *text = fill(text, &images)?;
    }
    initrd::make(&rig.dist, &kernel, &boot, &work)?;
    if boot.ballast > 0 {
        add_ballast(&work.join("initrd"), boot.ballast)?;
    }
    if let Some(script) = &boot.script {
        payload::make(&rig.dist, &fill(script, &images)?, &work)?;
    }
    for text in [&mut boot.console, &mut boot.guest, &mut boot.never].into_iter().flatten() {
        *text = fill(text, &images)?;
    }
    let nonce = nonce()?;
    // What systemd tells of each unit costs a tenth of a guest's time.
    let command_line = format!(
        "console=ttyS0 panic=-1 rd.emergency=poweroff systemd.show_status=error rig.nonce={nonce} {}",
        fill(&boot.cmdline, &images)?
    );
    if boot.secure_boot {
        let tree = tree::get(secure_boot::TREE, progress)?;
        let image = images.first().ok_or("Secure Boot needs a disk")?;
        secure_boot::prepare(&tree, image, &work, boot.uefi.then_some(command_line.as_str()))?;
    }
    if boot.uefi {
        let image = images.first().ok_or("UEFI needs a disk")?;
        install(&work, &tools, image, (!boot.secure_boot).then_some(command_line.as_str()))?;
    }
    let direct = (!boot.uefi).then_some(command_line);
    let payload = boot.script.is_some();
    let (icount, accel) = (boot.icount, rig.accel(&tools, &kernel));
    let secure_boot = boot.secure_boot;
    let machine = Machine { tools: &tools, work: &work, disks, icount, payload, direct, secure_boot, accel };
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
        let refusal = heard.console.iter().any(|line| line.contains("] FAILED: "));
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

/// What a guest said of a name, in each of its lives.
fn values<'a>(witness: &'a [String], name: &str) -> Vec<&'a str> {
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

/// A number that nobody knows before.
fn nonce() -> Outcome<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

/// What is filled in: `{KIND:LABEL}`, or a value that was noted when the image was made.
pub(crate) const PLACE: &str = r"\{((?:second:)?[a-z]+:[a-z0-9_-]+|roothash|offset|blocks)\}";

/// Fills `{partuuid:LABEL}` and its likes in from the images.
fn fill(text: &str, images: &[Image]) -> Outcome<String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (number, image) in images.iter().enumerate().rev() {
        for partition in &image.facts.partitions {
            let mut set = |kind: &str, value: &str| {
                values.insert(format!("{kind}:{}", partition.label), value.to_owned());
                if number == 1 {
                    values.insert(format!("second:{kind}:{}", partition.label), value.to_owned());
                }
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

/// Puts a boot loader, the kernel and the initramfs on a disk's ESP; without a command line, the UKI that has one.
fn install(work: &Path, tools: &Tree, image: &Image, command_line: Option<&str>) -> Outcome<()> {
    let esp = image
        .facts
        .partitions
        .iter()
        .find(|partition| partition.label == "esp")
        .ok_or("the image has no ESP")?;
    let disk = format!("/mnt/disk0.raw@@{}", esp.offset);
    let run = |program: &str, arguments: &[&str]| sandbox::run(&tools.0, work, None, program, arguments);
    run("mmd", &["-i", &disk, "::/EFI", "::/EFI/BOOT"])?;
    let Some(command_line) = command_line else {
        let uki = format!("/mnt/{}", secure_boot::SIGNED);
        return run("mcopy", &["-i", &disk, &uki, "::/EFI/BOOT/BOOTX64.EFI"]).map(drop);
    };
    fs::write(
        work.join("entry.conf"),
        format!("title nextroot\nlinux /kernel\ninitrd /initrd\noptions {command_line}\n"),
    )?;
    fs::write(work.join("loader.conf"), "timeout 0\n")?;
    run("mmd", &["-i", &disk, "::/loader", "::/loader/entries"])?;
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

/// A second archive behind the initramfs, of noise: what is not freed is seen.
fn add_ballast(initrd: &Path, mebibytes: usize) -> Outcome<()> {
    let mut noise = vec![0; mebibytes << 20];
    fs::File::open("/dev/urandom")?.read_exact(&mut noise)?;
    let entry =
        Entry { path: "ballast".to_owned(), mode: cpio::FILE | 0o644, device: (0, 0), data: noise.into() };
    let archive = cpio::write(&[entry], 0)?;
    let mut file = fs::File::options().append(true).open(initrd)?;
    // The kernel skips zeros up to the next multiple of four.
    let pad = vec![0; (4 - file.metadata()?.len() as usize % 4) % 4];
    file.write_all(&pad)?;
    Ok(file.write_all(&archive)?)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn places_are_filled_in_or_named() {
        let values = [("roothash".to_owned(), "ab".to_owned())].into();
        let images = [Image::of(image::Facts { partitions: Vec::new(), values })];
        assert_eq!(fill("roothash={roothash} [0-9]{32}", &images).unwrap(), "roothash=ab [0-9]{32}");
        assert_eq!(
            fill("{partuuid:root}", &images).unwrap_err().to_string(),
            "the images have no partuuid:root"
        );
    }
}
