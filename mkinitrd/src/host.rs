//! The root of the running machine and its /usr, and what drives their disks.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nextroot::{
    format::kernel::{devno::Devno, mountinfo::Mount},
    sys::file::attribute,
};

/// The root, or a /usr that is mounted apart, on a block device.
#[derive(Debug)]
pub(crate) struct Root {
    /// Which of them: `root` or `/usr`.
    pub(crate) name: &'static str,
    /// The device's name.
    pub(crate) disk: String,
    /// Its file system's type.
    pub(crate) fstype: String,
    /// Modules of the drivers on the way from the disk to the CPU.
    pub(crate) drivers: Vec<String>,
    /// Drivers on that way that the running kernel has built in; another may have a module of that name.
    pub(crate) built_in: Vec<String>,
    /// What the devices on that way answer to.
    pub(crate) modaliases: Vec<String>,
}

impl Root {
    /// The running machine's root, and its /usr where that is mounted apart; none where neither is on a block device that sysfs
    /// knows, as in a container.
    pub(crate) fn of_this_machine() -> Vec<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo");
        mounts.map_or_else(|_| Vec::new(), |mounts| Self::mounted(&mounts, Path::new("/sys")))
    }

    fn mounted(mountinfo: &str, sys: &Path) -> Vec<Self> {
        let of = |(name, place)| {
            let mount = mounted(mountinfo, place)?;
            // btrfs gives its mounts numbers of no device; what was mounted tells.
            let devno = match mount.devno.major {
                0 => device_at(Path::new(&mount.source))?,
                _ => mount.devno,
            };
            Self::find(sys, devno, name, mount.fstype)
        };
        [("root", "/"), ("/usr", "/usr")].into_iter().filter_map(of).collect()
    }

    fn find(sys: &Path, devno: Devno, name: &'static str, fstype: String) -> Option<Self> {
        let sys = fs::canonicalize(sys).ok()?;
        let device = fs::canonicalize(sys.join("dev/block").join(devno.to_string())).ok()?;
        let disk = device.file_name()?.to_string_lossy().into_owned();
        let (drivers, built_in, modaliases) = (Vec::new(), Vec::new(), Vec::new());
        let mut found = Self { name, disk, fstype, drivers, built_in, modaliases };
        found.climb(&sys.join("devices"), &device, 0);
        Some(found)
    }

    /// Notes a device and all above it; for a device made of others (dm, md), those too.
    fn climb(&mut self, top: &Path, device: &Path, depth: u32) {
        const DEEPEST: u32 = 8;
        if let (true, Ok(below)) = (depth < DEEPEST, fs::read_dir(device.join("slaves"))) {
            let below: Vec<PathBuf> =
                below.filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok()).collect();
            below.iter().for_each(|device| self.climb(top, device, depth + 1));
        }
        // With several ways to it, it stands below none of them (drivers/nvme/host/multipath.c).
        if device.components().any(|part| part.as_os_str() == "nvme-subsystem") {
            self.drivers.push("nvme".to_owned());
        }
        for place in device.ancestors().take_while(|path| path.starts_with(top)) {
            if let Some(modalias) = attribute(&place.join("modalias")) {
                self.modaliases.push(modalias);
            }
            let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
            let driver = place.join("driver");
            match fs::canonicalize(driver.join("module")) {
                Ok(module) => self.drivers.extend(name(module)),
                Err(_) => self.built_in.extend(fs::canonicalize(driver).ok().and_then(name)),
            }
        }
    }
}

/// What is mounted there: of several, the last lies on top.
fn mounted(mountinfo: &str, place: &str) -> Option<Mount> {
    let mut mounts = mountinfo.lines().filter_map(|line| line.parse::<Mount>().ok());
    mounts.rfind(|mount| mount.mount_point == Path::new(place))
}

fn device_at(path: &Path) -> Option<Devno> {
    let number = fs::metadata(path).ok()?.rdev();
    let devno = Devno { major: nix::libc::major(number), minor: nix::libc::minor(number) };
    (devno.major != 0).then_some(devno)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_mount_on_top() {
        let text = "1 1 0:2 / / rw - rootfs rootfs rw\n22 1 254:1 / / ro shared:1 - erofs /dev/vda1 ro\n23 22 0:5 / /proc rw - proc proc rw\n";
        let mount = mounted(text, "/").unwrap();
        assert_eq!((mount.devno, mount.fstype.as_str()), (Devno { major: 254, minor: 1 }, "erofs"));
        assert_eq!(mounted("23 22 0:5 / /proc rw - proc proc rw\n", "/"), None);
        let usr = "24 22 254:3 / /usr ro - squashfs /dev/dm-0 ro\n";
        assert_eq!(mounted(&[text, usr].concat(), "/usr").unwrap().fstype, "squashfs");
    }

    /// dm-0 on a partition of vda, which virtio_blk drives on a PCI device that virtio_pci drives.
    #[test]
    fn drivers_on_the_way_to_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let sys = directory.path();
        let pci = sys.join("devices/pci0000:00/0000:00:02.0");
        let partition = pci.join("virtio1/block/vda/vda1");
        let dm = sys.join("devices/virtual/block/dm-0");
        for made in [&partition, &dm.join("slaves"), &sys.join("dev/block"), &sys.join("module/virtio_blk")] {
            fs::create_dir_all(made).unwrap();
        }
        for (place, modalias, driver) in [
            (&pci, "pci:v00001AF4\n", "virtio-pci"),
            (&pci.join("virtio1"), "virtio:d00000002\n", "virtio_blk"),
        ] {
            fs::write(place.join("modalias"), modalias).unwrap();
            let driver = sys.join("bus").join(driver);
            fs::create_dir_all(&driver).unwrap();
            symlink(&driver, place.join("driver")).unwrap();
        }
        symlink(sys.join("module/virtio_blk"), sys.join("bus/virtio_blk/module")).unwrap();
        symlink(&partition, dm.join("slaves/vda1")).unwrap();
        symlink(&dm, sys.join("dev/block/253:0")).unwrap();
        symlink(&partition, sys.join("dev/block/254:1")).unwrap();
        for (minor, major, disk) in [(0, 253, "dm-0"), (1, 254, "vda1")] {
            let root = Root::find(sys, Devno { major, minor }, "root", "ext4".to_owned()).unwrap();
            assert_eq!(root.disk, disk);
            assert_eq!(root.drivers, ["virtio_blk"]);
            assert_eq!(root.built_in, ["virtio-pci"]);
            assert_eq!(root.modaliases, ["virtio:d00000002", "pci:v00001AF4"]);
        }
        assert!(Root::find(sys, Devno { major: 8, minor: 0 }, "root", "ext4".to_owned()).is_none());

        let (root, usr) =
            ("22 1 254:1 / / ro - ext4 /dev/vda1 ro\n", "24 22 253:0 / /usr ro - erofs usr ro\n");
        let elsewhere = "22 1 0:5 / / rw - tmpfs tmpfs rw\n";
        for (mountinfo, expected) in [
            ([root, usr].concat(), &[("root", "vda1", "ext4"), ("/usr", "dm-0", "erofs")] as &[_]),
            ([elsewhere, usr].concat(), &[("/usr", "dm-0", "erofs")]),
            (elsewhere.to_owned(), &[]),
        ] {
            let found = Root::mounted(&mountinfo, sys);
            let found: Vec<_> =
                found.iter().map(|one| (one.name, one.disk.as_str(), one.fstype.as_str())).collect();
            assert_eq!(found, expected, "{mountinfo}");
        }
    }
}
