//! A look at a running system: nobody waits for devices there, and what does not answer is passed over.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    format::{disk::discoverable::Purpose, kernel::devno::Devno, verity::signature::partition},
    plan::facts::{BlockDevice, Content, OpenVerity, SignedBy},
    run::log::Log,
    sys::{self, answers::answers, block::Entry, dm::Control},
};

use super::{Error, Prober, describe, open};

/// Why a disk is not read that did not give its first block.
pub(super) const SILENT: &str = "its disk does not answer: see to it, or detach it";
/// How long it has for that: it takes milliseconds, under heavy load seconds.
const TO_ANSWER: Duration = Duration::from_secs(10);

impl Prober {
    /// Looks at a running system; nothing is loaded for it. A disk that does not answer keeps nobody from what is on others.
    pub fn of_running_system() -> Result<Self, Error> {
        let log = Arc::new(Log::quiet(Instant::now()));
        let mut prober = Self::listen(Arc::clone(&log))?;
        let entries = sys::block::list()?;
        let silent = silent(&entries);
        for entry in &entries {
            let disk = entry.disk().map_or_else(|| entry.clone(), |name| Entry { name });
            if !silent.contains(&disk.name) {
                prober.note(entry);
            } else if let Some(mut device) = describe(entry, &disk) {
                device.content = Content::Unreadable(SILENT.to_owned());
                prober.facts.devices.push(device);
            }
        }
        prober.facts.verity = open_verity();
        Ok(prober)
    }

    /// Looks into signature partitions for what they are of. What is none there is told when it is to be used.
    pub fn read_signatures(&mut self) {
        let of = |device: &BlockDevice| {
            let purpose = device.partition.as_ref()?.purpose()?;
            let length = usize::try_from(device.size.0).ok()?;
            let is_signature = purpose == Purpose::RootVeritySig && device.size <= partition::LARGEST;
            let bytes = is_signature.then(|| open(device).ok()?.read(0, length).ok()).flatten()?;
            let root_hash = partition::Signed::parse(&bytes).ok()?.root_hash;
            Some(SignedBy { devno: device.devno, root_hash })
        };
        self.facts.signatures = self.facts.devices.iter().filter_map(of).collect();
    }
}

/// dm-verity devices that are open, in a running system; none where device-mapper is not there, or we may not ask it.
fn open_verity() -> Vec<OpenVerity> {
    let Ok(control) = Control::open() else { return Vec::new() };
    let devices = control.list().unwrap_or_default();
    let verity = |(name, devno): (String, Devno)| {
        let target = control.table(&name).ok().filter(|target| target.kind == "verity")?;
        let leaving = control.info(&name).ok()?.leaving;
        Some(OpenVerity { table: target.text.parse().ok()?, name, devno, leaving })
    };
    devices.into_iter().filter_map(verity).collect()
}

/// Disks that do not answer, as their last path or their server is gone: whoever reads them may wait for ever. What is suspended is
/// not asked: that is told when it is to be read.
fn silent(entries: &[Entry]) -> Vec<String> {
    let can_be_asked =
        |disk: &&Entry| disk.disk().is_none() && describe(disk, disk).is_some() && !disk.is_suspended();
    let disks: Vec<&Entry> = entries.iter().filter(can_be_asked).collect();
    let nodes: Vec<PathBuf> = disks.iter().map(|disk| disk.node()).collect();
    let silent = disks.iter().zip(answers(&nodes, TO_ANSWER)).filter(|(_, answers)| !answers);
    silent.map(|(disk, _)| disk.name.clone()).collect()
}

/// Whether it is on such a disk.
pub(super) fn is_silent(device: &BlockDevice) -> bool {
    matches!(&device.content, Content::Unreadable(why) if why == SILENT)
}
