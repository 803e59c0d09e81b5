//! Machines that were booted once and saved: scenarios that begin alike go on from there, each with its own script. Their
//! guests' proof is of their own script, so a saved machine proves nothing by itself.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    boot::{self, Place},
    listen::Follower,
    machine::{Console, Event, STATE},
    progress::Progress,
    rig::Rig,
    scenario::{Boot, Bus, Disk},
};

/// What two machines have in common that may go on from the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Beginning {
    kernel: String,
    cmdline: String,
    images: Vec<String>,
    memory: u64,
}

/// A machine that waits for its script.
#[derive(Debug)]
pub(crate) struct Saved {
    work: PathBuf,
}

/// What is lent beside the disks: the state, what it was started with, and what it said until then.
const LENT: [&str; 3] = [STATE, "kernel", "initrd"];
const SAID: [&str; 2] = ["console.log", "witness.log"];
/// What the guest says when it is up and has no script yet.
const SETTLED: &str = "rig: settled";

impl Beginning {
    /// How a boot begins, where that is all there is to it.
    pub(crate) fn of(boot: &Boot) -> Option<Self> {
        let Boot { kernel, cmdline, script, disks, config, files, memory, .. } = boot;
        let Boot { uefi, secure_boot, icount, watchdog, ballast, goes_on, refused, .. } = *boot;
        let plain = |disk: &Disk| {
            let Disk { bus, faults, late, errors, rate, .. } = disk;
            *bus == Bus::Virtio && faults.is_empty() && late.is_none() && errors.is_empty() && rate.is_none()
        };
        let special = uefi || secure_boot || icount || watchdog || goes_on || refused || ballast > 0;
        let alike = !special && config.is_none() && files.is_empty() && disks.iter().all(plain);
        let (kernel, cmdline, memory) = (kernel.clone(), cmdline.clone(), *memory);
        let images = disks.iter().map(|disk| disk.image.clone()).collect();
        (alike && script.is_some()).then_some(Self { kernel, cmdline, images, memory })
    }
}

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.images.join(" and "))
    }
}

impl Saved {
    /// Boots a machine until it waits for its script, and saves it.
    pub(crate) fn make(rig: &Rig, boot: &Boot, progress: &Progress) -> Outcome<Self> {
        let work = rig.work("saved")?;
        let place = Place { leaves: true, saves: true, ..Place::default() };
        let started = boot::start_in(work.clone(), place, rig, boot, Console::Log, progress)?;
        let end = Instant::now() + Duration::from_secs(boot.limit);
        let mut witness = Follower::new(work.join("witness.log"));
        loop {
            let soon = Instant::now() + Duration::from_millis(100);
            let ended = started.running.next(soon) == Event::End;
            if witness.lines()?.iter().any(|line| line == SETTLED) {
                break;
            }
            if ended || Instant::now() > end {
                return Err(format!("{} did not come up: see {}", boot.cmdline, started.log()).into());
            }
        }
        started.running.save()?;
        Ok(Self { work })
    }

    /// Lends a file to a machine: QEMU keeps what the guest writes to itself.
    pub(crate) fn lend(&self, file: &str, work: &Path) -> Outcome<()> {
        Ok(fs::hard_link(self.work.join(file), work.join(file))?)
    }

    /// Lends all but the disks, with the logs, which are continued.
    pub(crate) fn lend_all(&self, work: &Path) -> Outcome<()> {
        for file in LENT {
            self.lend(file, work)?;
        }
        for log in SAID {
            fs::copy(self.work.join(log), work.join(log))?;
        }
        Ok(())
    }
}

impl Drop for Saved {
    /// Disks and memory are large and can be had again; what was said stays.
    fn drop(&mut self) {
        let files = fs::read_dir(&self.work).into_iter().flatten().filter_map(Result::ok);
        for file in files.filter(|file| file.path().extension().is_none_or(|kind| kind != "log")) {
            // They go with target/ at the latest.
            let _ = fs::remove_file(file.path());
        }
    }
}
