//! Looks and waits: the kernel's announcements and /sys/class/block become [`Facts`].
//!
//! Nothing polls. The socket for announcements is open before the first driver is loaded, so nothing is
//! missed; what was there before is read once from sysfs.

use std::{
    fs,
    os::fd::AsFd,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    format::{
        disk::superblock::{self, Superblock},
        kernel::uevent::Uevent,
        verity::superblock::VeritySuperblock,
    },
    plan::{
        boot::Read,
        facts::{BlockDevice, Content, Facts, VerityRead},
    },
    sys::{
        self,
        block::{Device, Entry},
        file::attribute,
        kmsg::Follower,
        uevent::{self, Received, Sender, Socket},
    },
    units::Bytes,
};

use super::{log::Log, table::Tables};
use crate::run::boot::modules::Loader;

#[cfg(feature = "cli")]
mod running;

/// The machine could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("look for block devices")]
pub struct Error(#[from] sys::Error);

/// Keeps the picture of the machine up to date.
#[derive(Debug)]
pub struct Prober {
    socket: Socket,
    facts: Facts,
    tables: Tables,
    log: Arc<Log>,
}

impl Prober {
    /// Begins to listen. To be called before the first module is loaded.
    pub fn listen(log: Arc<Log>) -> Result<Self, Error> {
        let facts = Facts { kernel_release: sys::kernel::release(), ..Facts::default() };
        Ok(Self { socket: Socket::open(Sender::Kernel)?, facts, tables: Tables::default(), log })
    }

    /// What is known now.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same, to add what others found.
    pub fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Looks at all that is there already: asks for the drivers of devices and notes block devices.
    pub fn scan(&mut self, loader: &Loader) -> Result<(), Error> {
        for modalias in modaliases() {
            loader.request_alias(&modalias);
        }
        self.tables = Tables::default();
        for entry in sys::block::list()? {
            self.note(&entry);
        }
        Ok(())
    }

    /// Waits for an announcement or for the last module on its way, and takes in all that is announced.
    /// `false` when the time is over.
    pub fn wait(&mut self, loader: &Loader, timeout: Option<Duration>) -> Result<bool, Error> {
        let fds = [self.socket.as_fd(), loader.idle()];
        let woken = uevent::wait(&fds, timeout).map_err(|e| sys::Error::new("poll", "uevents", e))?;
        self.take_in(loader)?;
        Ok(woken)
    }

    /// Listens for a while (`rootdelay=`), whatever comes.
    pub fn idle_for(&mut self, loader: &Loader, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.wait(loader, Some(left))?;
            // Taken, so that it wakes nobody again; ignoring what it says.
            let _ = loader.is_idle();
        }
        Ok(())
    }

    /// Takes in all that was announced, without waiting.
    pub fn take_in(&mut self, loader: &Loader) -> Result<(), Error> {
        // Announcements that came together are of one reading of a disk by the kernel.
        self.tables = Tables::default();
        loop {
            match self.socket.receive()? {
                Received::Message(bytes) => match Uevent::parse(&bytes) {
                    Ok(event) => self.hear(&event, loader),
                    Err(error) => self.log.debug(|| format!("uevent: {error}, ignoring")),
                },
                Received::Lost => {
                    self.log.warning("uevents were lost, looking at all devices anew");
                    self.facts.devices.clear();
                    self.scan(loader)?;
                }
                Received::Nothing => return Ok(()),
            }
        }
    }

    /// Looks into devices, as a decision asked for.
    pub fn read(&mut self, wanted: &[Read]) {
        for want in wanted {
            let devno = match want {
                Read::Superblock(devno) | Read::Verity { devno, .. } => *devno,
            };
            let Some(device) = self.facts.devices.iter_mut().find(|device| device.devno == devno) else {
                continue;
            };
            match want {
                Read::Superblock(_) => device.content = content(device),
                Read::Verity { offset, .. } => {
                    let outcome = verity_superblock(device, *offset);
                    device.verity.push(VerityRead { offset: *offset, outcome });
                }
            }
        }
    }

    fn hear(&mut self, event: &Uevent, loader: &Loader) {
        let added = matches!(event.action.as_str(), "add" | "change");
        if let (Some(modalias), "add") = (&event.modalias, event.action.as_str()) {
            loader.request_alias(modalias);
        }
        let (Some("block"), Some(name)) = (event.subsystem.as_deref(), event.devname.as_deref()) else {
            return;
        };
        let name = name.replace('/', "!");
        self.facts.devices.retain(|device| device.name != name);
        if added {
            self.note(&Entry { name });
        } else {
            self.tables = Tables::default();
            self.log.debug(|| format!("{name} is gone"));
        }
    }

    fn note(&mut self, entry: &Entry) {
        let Some(device) = describe_partition(entry, &mut self.tables) else { return };
        self.log.debug(|| format!("found {device}, {}", device.size));
        self.facts.devices.retain(|other| other.name != device.name);
        self.facts.devices.push(device);
    }
}

/// Devices that exist, by what their drivers answer to. Every bus has them (Documentation/ABI/testing/sysfs-bus-*).
fn modaliases() -> Vec<String> {
    let names = |path: &Path| -> Vec<std::path::PathBuf> {
        fs::read_dir(path)
            .map(|entries| entries.filter_map(Result::ok).map(|e| e.path()).collect())
            .unwrap_or_default()
    };
    let mut found: Vec<String> = names(Path::new("/sys/bus"))
        .iter()
        .flat_map(|bus| names(&bus.join("devices")))
        .filter_map(|device| attribute(&device.join("modalias")))
        .filter(|text| !text.is_empty())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// One block device, with what it holds; `None` where it has no medium or is going away.
#[must_use]
pub fn look_at(entry: &Entry) -> Option<BlockDevice> {
    let mut device = describe_partition(entry, &mut Tables::default())?;
    device.content = content(&device);
    Some(device)
}

/// What disks did not give to the kernel, in its words (block/blk-core.c, fs/buffer.c, block/partitions/core.c): a partition
/// table that cannot be read leaves nothing else to be seen.
#[must_use]
pub fn read_errors() -> Vec<String> {
    let is_error = |text: &str| text.contains("I/O error") || text.contains("unable to read partition table");
    Follower::from_the_first().kernel_records_of(8, is_error)
}

/// What sysfs says of a block device, and the table that it is a partition of.
fn describe_partition(entry: &Entry, tables: &mut Tables) -> Option<BlockDevice> {
    let disk = entry.disk().map(|name| Entry { name });
    let mut device = describe(entry, disk.as_ref().unwrap_or(entry))?;
    if let Some((partition, error)) = disk.and_then(|disk| tables.partition(&disk, entry)) {
        device.partition = Some(partition);
        device.table_error = error;
    }
    Some(device)
}

/// What sysfs says of a block device; `None` where it has no medium or is going away.
fn describe(entry: &Entry, disk: &Entry) -> Option<BlockDevice> {
    let (devno, size) = (entry.devno()?, entry.size()?);
    if size == Bytes(0) {
        return None;
    }
    Some(BlockDevice {
        name: entry.name.clone(),
        devno,
        diskseq: disk.diskseq(),
        size,
        logical_block_size: disk.logical_block_size(),
        read_only: entry.attribute("ro").as_deref() == Some("1"),
        dm_name: entry.attribute("dm/name"),
        table_error: None,
        partition: None,
        content: Content::Unread,
        verity: Vec::new(),
    })
}

fn open(device: &BlockDevice) -> Result<Device, sys::Error> {
    let entry = Entry { name: device.name.clone() };
    #[cfg(feature = "cli")]
    if running::is_silent(device) {
        return Err(sys::Error::new("open", device.name.as_str(), std::io::Error::other(running::SILENT)));
    }
    if entry.is_suspended() {
        let why = std::io::Error::other("it is suspended, and a read would wait until it is resumed");
        return Err(sys::Error::new("open", device.name.as_str(), why));
    }
    Device::open(&entry.node(), device.devno, device.diskseq)
}

fn content(device: &BlockDevice) -> Content {
    let read = open(device).and_then(|open| open.read(0, superblock::PREFIX));
    match read {
        Ok(bytes) => Superblock::recognise(&bytes).map_or(Content::Unknown, Content::Found),
        Err(error) => Content::Unreadable(error.in_one_line()),
    }
}

fn verity_superblock(device: &BlockDevice, offset: Bytes) -> Result<VeritySuperblock, String> {
    let bytes = open(device)
        .and_then(|open| open.read(offset.0, crate::format::verity::superblock::SIZE))
        .map_err(|error| error.in_one_line())?;
    VeritySuperblock::parse(&bytes).map_err(|error| error.to_string())
}
