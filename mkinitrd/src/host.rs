//! The root of the running machine, and what drives its disk.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nextroot::format::devno::Devno;

/// A root on a block device.
#[derive(Debug)]
pub(crate) struct Root {
    /// The disk's name.
    pub(crate) disk: String,
    /// Its file system's type.
    pub(crate) fstype: String,
    /// Modules of the drivers on the way from the disk to the CPU.
    pub(crate) drivers: Vec<String>,
    /// What the devices on that way answer to.
    pub(crate) modaliases: Vec<String>,
}

impl Root {
    /// The root mounted at `root`; `None` where it is not on a block device that sysfs knows.
    pub(crate) fn of(root: &Path) -> Option<Self> {
        let number = fs::metadata(root).ok()?.dev();
        let devno = Devno { major: nix::libc::major(number), minor: nix::libc::minor(number) };
        let device = fs::canonicalize(format!("/sys/dev/block/{devno}")).ok()?;
        let mut found = Self {
            disk: device.file_name()?.to_string_lossy().into_owned(),
            fstype: fstype(devno)?,
            drivers: Vec::new(),
            modaliases: Vec::new(),
        };
        found.climb(&device, 0);
        Some(found)
    }

    /// Notes a device and all above it; for a device made of others (dm, md), those too.
    fn climb(&mut self, device: &Path, depth: u32) {
        const DEEPEST: u32 = 8;
        if let (true, Ok(below)) = (depth < DEEPEST, fs::read_dir(device.join("slaves"))) {
            let below: Vec<PathBuf> =
                below.filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok()).collect();
            below.iter().for_each(|device| self.climb(device, depth + 1));
        }
        let above = device.ancestors().take_while(|path| path.starts_with("/sys/devices"));
        for place in above {
            if let Ok(modalias) = fs::read_to_string(place.join("modalias")) {
                self.modaliases.push(modalias.trim().to_owned());
            }
            if let Ok(module) = fs::canonicalize(place.join("driver/module")) {
                self.drivers.extend(module.file_name().map(|name| name.to_string_lossy().into_owned()));
            }
        }
    }
}

/// The type by /proc/self/mountinfo (proc(5)): the third field is the device, the type follows the `-`.
fn fstype(devno: Devno) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let number = devno.to_string();
    mounts.lines().find_map(|line| {
        (line.split(' ').nth(2)? == number).then_some(())?;
        line.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
    })
}
