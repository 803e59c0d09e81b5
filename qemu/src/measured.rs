//! Boots that are measured: a kernel, anybody's initramfs and a disk, on one processor whose clock counts instructions, so that
//! what a guest tells of time does not depend on what else the host does.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use crate::machine::Port;
use crate::{
    Outcome, image, initrd,
    machine::{Accel, Clock, Console, Drive, Event, Machine},
    payload,
    progress::Progress,
    rig::Rig,
    sandbox,
    scenario::Bus,
    tree::{self, Tree},
};

/// The kernel that is booted.
const KERNEL: &str = "kernel-cloud";
/// How long a boot may take, on the host, and a guest with a script.
const LIMIT: Duration = Duration::from_secs(600);
const PLAYS: Duration = Duration::from_secs(3600);

/// Where measured machines run.
#[derive(Debug)]
pub struct Measured {
    rig: Rig,
    progress: Progress,
}

/// A boot that is measured.
#[derive(Clone, Debug)]
pub struct Boot<'a> {
    /// The initramfs.
    pub initramfs: &'a Path,
    /// Its disks.
    pub disks: &'a [Disk<'a>],
    /// The kernel command line, with `{roothash:LABEL}` and its likes filled in from the images.
    pub command_line: &'a str,
    /// Memory, in MiB.
    pub memory: u64,
    /// How many processors. With more than one nothing is counted: the guest's clock is the host's.
    pub processors: u8,
}

/// A guest that does something.
#[derive(Clone, Copy, Debug)]
pub struct Scripted<'a> {
    /// What it does in each of its lives, in the words of qemu/guest/main.sh.
    pub script: &'a str,
    /// Where it is reached. Where it is, its clock goes with the host's while it waits.
    pub ports: &'a [Port],
    /// Whether its last disk is a tar archive of its `kernel` and `initrd`.
    pub has_kernel: bool,
}

/// What a guest said.
#[derive(Debug)]
pub struct Told {
    /// The console's lines.
    pub console: Vec<String>,
    /// What came by the second serial port, where the rig's witness speaks.
    pub witness: String,
    /// The file with the first.
    pub log: PathBuf,
}

/// Disks that are equal.
#[derive(Clone, Copy, Debug)]
pub struct Disk<'a> {
    /// The image on each, a name of the rig's.
    pub image: &'a str,
    /// Whether they are attached by SCSI, where there is room for many, and not by virtio.
    pub scsi: bool,
    /// How many there are.
    pub times: usize,
    /// Bytes a second that it reads or writes at most.
    pub rate: Option<u64>,
}

impl Measured {
    /// Machines for the binaries in `dist`.
    pub fn new(dist: &Path) -> Outcome<Self> {
        Ok(Self { rig: Rig::new(fs::canonicalize(dist)?, 1)?, progress: Progress::new() })
    }

    /// Tells a person what is done now.
    pub fn say(&self, text: &str) {
        self.progress.say(text);
    }

    /// A new directory, which goes with the rig's logs.
    pub fn directory(&self, name: &str) -> Outcome<PathBuf> {
        self.rig.work(name)
    }

    /// The kernel's tree, and its release.
    pub fn kernel(&self) -> Outcome<(PathBuf, String)> {
        let kernel = tree::get(KERNEL, &self.progress)?;
        let release = kernel.kernel_release()?;
        Ok((kernel.0, release))
    }

    /// A text with `{roothash}` and its likes filled in from an image.
    pub fn filled(&self, image: &str, text: &str) -> Outcome<String> {
        crate::boot::fill(text, &[image::get(image, &self.rig.dist, &self.progress)?])
    }

    /// Runs a program of a tree in it, with `work` at /mnt and the kernel's tree at /srv: what it printed.
    pub fn run_in(&self, tree: &str, work: &Path, program: &str, arguments: &[&str]) -> Outcome<String> {
        let Tree(tree) = tree::get(tree, &self.progress)?;
        let (kernel, _) = self.kernel()?;
        sandbox::run(&tree, work, Some(&kernel), program, arguments)
    }

    /// Boots, until the machine ends. Where it waits, its clock does not.
    pub fn boot(&self, boot: &Boot<'_>) -> Outcome<Told> {
        self.run(boot, None)
    }

    /// Boots a guest with a script, until it switches itself off.
    pub fn play(&self, boot: &Boot<'_>, scripted: Scripted<'_>) -> Outcome<Told> {
        self.run(boot, Some(scripted))
    }

    fn run(&self, boot: &Boot<'_>, scripted: Option<Scripted<'_>>) -> Outcome<Told> {
        let tools = tree::get("tools", &self.progress)?;
        let kernel = tree::get(KERNEL, &self.progress)?;
        let work = self.rig.work("measured")?;
        let (mut images, mut drives) = (Vec::new(), Vec::new());
        for disk in boot.disks.iter().flat_map(|disk| std::iter::repeat_n(disk, disk.times)) {
            let image = image::get(disk.image, &self.rig.dist, &self.progress)?;
            let file = format!("disk{}.raw", drives.len());
            fs::hard_link(image.disk(), work.join(&file))?;
            let bus = if disk.scsi { Bus::Scsi } else { Bus::Virtio };
            drives.push(Drive { file, bus, rate: disk.rate, ..Drive::default() });
            images.push(image);
        }
        // Where a machine may start anew, it starts as others do.
        let image = match scripted {
            Some(_) => initrd::kernel_image(&kernel)?,
            None => initrd::unpacked_kernel(&kernel),
        };
        fs::hard_link(image, work.join("kernel"))?;
        fs::copy(boot.initramfs, work.join("initrd"))?;
        if scripted.is_some_and(|scripted| scripted.has_kernel) {
            let file = "kernel.tar".to_owned();
            payload::pack(&work.join(&file), &work, &["kernel", "initrd"])?;
            drives.push(Drive { file, ..Drive::default() });
        }
        let command_line = crate::boot::fill(boot.command_line, &images)?;
        if let Some(Scripted { script, .. }) = scripted {
            payload::make(
                &self.rig.dist,
                &crate::boot::fill(script, &images)?,
                &crate::boot::nonce()?,
                &work,
            )?;
        }
        let ports = scripted.map(|scripted| scripted.ports.to_vec()).unwrap_or_default();
        let machine = Machine {
            tools: &tools,
            work: &work,
            disks: drives,
            memory: boot.memory,
            processors: boot.processors,
            watchdog: false,
            clock: match boot.processors {
                1 if ports.is_empty() => Clock::Instructions,
                1 => Clock::Talking,
                _ => Clock::Host,
            },
            bare: true,
            payload: scripted.is_some(),
            resets: scripted.is_some(),
            ports,
            direct: Some(command_line),
            secure_boot: false,
            accel: if boot.processors > 1 { Accel::TcgThreads } else { Accel::Tcg },
            incoming: false,
        };
        let running = machine.start(Console::Log)?;
        let limit = if scripted.is_some() { PLAYS } else { LIMIT };
        let (end, log, mut console) = (Instant::now() + limit, work.join("console.log"), Vec::new());
        loop {
            match running.next(end) {
                Event::Line(line) => console.push(line),
                Event::End => {
                    return Ok(Told { console, witness: fs::read_to_string(work.join("witness.log"))?, log });
                }
                Event::Timeout => {
                    return Err(format!("the machine did not end in time: {}", log.display()).into());
                }
            }
        }
    }
}
