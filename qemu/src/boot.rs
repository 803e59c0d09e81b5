//! One boot: its machine put together and started, what it says, and whether that is as it has to be.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use nextroot::format::cpio::{self, Entry};
use regex::Regex;

use crate::{
    Outcome,
    cache::hex,
    image::{self, Image},
    initrd,
    machine::{Clock, Console, Drive, Machine, Running},
    payload,
    progress::Progress,
    rig::Rig,
    sandbox,
    saved::Saved,
    scenario::{Access, BadSector, Boot},
    secure_boot,
    tree::{self, Tree},
};

/// A machine that was prepared, and what it needs to be judged.
pub(crate) struct Started {
    pub(crate) running: Running,
    /// Its working directory.
    pub(crate) work: PathBuf,
    pub(crate) nonce: String,
    /// The boot, with everything filled in.
    pub(crate) boot: Boot,
    /// What the console said of a machine that this one goes on from.
    pub(crate) before: String,
}

/// How a boot stands to the others of its scenario.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// What the boot before left, where this one goes on with it.
    pub(crate) before: Option<Left>,
    /// Whether what its disks are given is kept: another goes on with it.
    pub(crate) leaves: bool,
    /// Whether it waits for its script, to be saved.
    pub(crate) saves: bool,
    /// The machine that it goes on from.
    pub(crate) saved: Option<Arc<Saved>>,
}

/// What a boot left: its disks, in its working directory, and the number on the command line that a disk may hold.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) work: PathBuf,
    pub(crate) nonce: String,
}

/// Starts the machine of a boot.
pub(crate) fn start(rig: &Rig, boot: &Boot, console: Console, progress: &Progress) -> Outcome<Started> {
    start_in(rig.work("machine")?, Place::default(), rig, boot, console, progress)
}

pub(crate) fn start_in(
    work: PathBuf,
    place: Place,
    rig: &Rig,
    boot: &Boot,
    console: Console,
    progress: &Progress,
) -> Outcome<Started> {
    let tools = tree::get("tools", progress)?;
    let kernel = tree::get(&boot.kernel, progress)?;
    let saved = place.saved.as_deref();
    let mut images: Vec<Image> = Vec::new();
    let mut disks = Vec::new();
    for (number, disk) in boot.disks.iter().enumerate() {
        let image = image::get(&disk.image, &rig.dist, progress)?;
        let file = format!("disk{number}.raw");
        let to = work.join(&file);
        // Writes that QEMU keeps to itself never reach a bad sector.
        let written = disk.errors.iter().any(|error| error.access == Access::Write);
        let (late, kept) = (disk.late.is_some(), place.leaves || written);
        match (&place.before, saved) {
            (Some(before), _) => fs::rename(before.work.join(&file), &to)?,
            (None, Some(saved)) => saved.lend(&file, &work)?,
            // A hard link: QEMU keeps what a guest writes to itself.
            _ if disk.faults.is_empty() && !boot.uefi && !kept => fs::hard_link(image.disk(), &to)?,
            _ => image.damaged(&disk.faults, &to, &tools)?,
        }
        let errors = (!disk.errors.is_empty()).then(|| format!("disk{number}.blkdebug"));
        if let Some(errors) = &errors {
            fs::write(work.join(errors), bad_sectors(&disk.errors, &image)?)?;
        }
        disks.push(Drive { file, bus: disk.bus, late, kept, errors, rate: disk.rate });
        images.push(image);
    }
    let mut boot = boot.clone();
    for text in boot.files.values_mut().chain(&mut boot.script) {
        *text = fill(text, &images)?;
    }
    for text in boot.patterns() {
        *text = fill(text, &images)?;
    }
    let (nonce, goes_on) = match place.before {
        Some(before) => (before.nonce, true),
        None => (nonce()?, false),
    };
    match saved {
        Some(saved) => saved.lend_all(&work)?,
        None => {
            match boot.uefi || boot.secure_boot {
                true => drop(fs::copy(initrd::kernel_image(&kernel)?, work.join("kernel"))?),
                false => fs::hard_link(initrd::unpacked_kernel(&kernel), work.join("kernel"))?,
            }
            initrd::make(&rig.dist, &kernel, &boot, &work)?;
        }
    }
    if boot.ballast > 0 {
        add_ballast(&work.join("initrd"), boot.ballast)?;
    }
    // What systemd tells of each unit costs a tenth of a guest's time, and the kernel's tests of its ciphers a third of what it takes
    // to boot.
    let mut command_line = format!(
        "console=ttyS0 panic=-1 cryptomgr.notests rd.emergency=poweroff systemd.show_status=error {}",
        fill(&boot.cmdline, &images)?
    );
    match &boot.script {
        Some(_) if place.saves => payload::empty(&work)?,
        Some(script) => {
            if boot.package {
                payload::add_package(&rig.dist, &work)?;
            }
            payload::make(&rig.dist, script, &nonce, &work)?;
        }
        None => command_line = format!("{command_line} rig.nonce={nonce}"),
    }
    if boot.secure_boot {
        let tree = tree::get(secure_boot::TREE, progress)?;
        let image = images.first().ok_or("Secure Boot needs a disk")?;
        secure_boot::prepare(&tree, image, &work, boot.uefi.then_some(command_line.as_str()))?;
    }
    if boot.uefi && !goes_on {
        let image = images.first().ok_or("UEFI needs a disk")?;
        install(&work, &tools, image, (!boot.secure_boot).then_some(command_line.as_str()))?;
    }
    let machine = Machine {
        tools: &tools,
        work: &work,
        disks,
        memory: boot.memory,
        processors: rig.processors,
        watchdog: boot.watchdog,
        clock: if boot.icount { Clock::Instructions } else { Clock::Host },
        bare: false,
        payload: boot.script.is_some(),
        resets: false,
        ports: Vec::new(),
        direct: (!boot.uefi).then_some(command_line),
        secure_boot: boot.secure_boot,
        accel: rig.accel(&tools, &kernel),
        incoming: saved.is_some(),
    };
    let before = saved.map(|_| fs::read(work.join("console.log"))).transpose()?.unwrap_or_default();
    let before = String::from_utf8_lossy(&before).into_owned();
    Ok(Started { running: machine.start(console)?, work, nonce, boot, before })
}

impl Started {
    /// The file with all that the console says.
    pub(crate) fn log(&self) -> String {
        self.work.join("console.log").display().to_string()
    }

    /// Ends the machine, where it runs; its disks stay.
    pub(crate) fn left(self) -> Left {
        Left { work: self.work, nonce: self.nonce }
    }

    /// Waits for the machine's end, with its console where it is.
    pub(crate) fn wait(self) -> Outcome<()> {
        self.running.wait()
    }
}

/// The rules of blkdebug for bad sectors.
fn bad_sectors(sectors: &[BadSector], image: &Image) -> Outcome<String> {
    let mut rules = String::new();
    for BadSector { partition, at, marker, access, once, nth } in sectors {
        let event = match access {
            Access::Read => "read_aio",
            Access::Write => "write_aio",
        };
        // Each request before the one that is meant leads to the next state.
        for state in 1..nth.unwrap_or(1) {
            let next = state + 1;
            rules +=
                &format!("[set-state]\nevent = \"{event}\"\nstate = \"{state}\"\nnew_state = \"{next}\"\n");
        }
        let start = match (partition, marker) {
            (None, None) => 0,
            (None, Some(marker)) => return Err(format!("{marker} is looked for in no partition").into()),
            (Some(label), None) => image.partition(label)?.offset,
            (Some(label), Some(marker)) => image.find(label, marker)?,
        };
        let which = match nth {
            Some(nth) => format!("state = \"{nth}\""),
            None => format!("sector = \"{}\"", (start + at) / 512),
        };
        let once = if *once || nth.is_some() { "on" } else { "off" };
        rules += &format!("[inject-error]\nevent = \"{event}\"\nerrno = \"5\"\n{which}\nonce = \"{once}\"\n");
    }
    Ok(rules)
}

/// A number that nobody knows before.
pub(crate) fn nonce() -> Outcome<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

/// What is filled in: `{KIND:LABEL}`, or a value that was noted when the image was made.
pub(crate) const PLACE: &str = r"\{((?:second:|third:)?[a-z]+:[a-z0-9_-]+|roothash|offset|blocks)\}";

/// Fills `{partuuid:LABEL}` and its likes in from the images.
pub(crate) fn fill(text: &str, images: &[Image]) -> Outcome<String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (number, image) in images.iter().enumerate().rev() {
        for partition in &image.facts.partitions {
            let mut set = |kind: &str, value: &str| {
                values.insert(format!("{kind}:{}", partition.label), value.to_owned());
                if let Some(which) = ["first", "second", "third"].get(number) {
                    values.insert(format!("{which}:{kind}:{}", partition.label), value.to_owned());
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
