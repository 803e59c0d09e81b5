//! Which modules are taken, and why.

use std::collections::{BTreeMap, BTreeSet};

use nextroot::format::modindex::{matches, normalise};

use crate::{host::Root, sysroot::Sysroot};

/// What was chosen.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Names, with all that they need.
    pub(crate) modules: BTreeSet<String>,
    /// What each is loaded with, besides what it needs.
    pub(crate) with: BTreeMap<String, Vec<String>>,
    /// What was left out, for whoever wants to know.
    pub(crate) notes: Vec<String>,
    /// Why a boot could fail.
    pub(crate) warnings: Vec<String>,
    groups: BTreeSet<Group>,
}

/// A driver that was named and is not there.
#[derive(Debug, thiserror::Error)]
#[error("module {name} is neither in kernel {release} nor built into it{}", similar(.near))]
pub(crate) struct Missing {
    name: String,
    release: String,
    near: Vec<String>,
}

fn similar(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; there are: {}", near.join(", ")) }
}

/// What a module is for: of some groups at least one member is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Disk,
    Verity,
    FileSystem,
    Digest,
    Helper,
}

use Group::{Digest, Disk, FileSystem, Helper, Verity};

/// What is taken unless `--host-only` says less: name, group, reason.
const TABLE: [(&str, Group, &str); 46] = [
    ("virtio_pci", Helper, "virtio devices on PCI"),
    ("virtio_mmio", Helper, "virtio devices of microVMs"),
    ("virtio_blk", Disk, "virtio disks"),
    ("virtio_scsi", Disk, "virtio SCSI"),
    ("nvme", Disk, "NVMe"),
    ("ahci", Disk, "SATA"),
    ("ata_piix", Disk, "older ATA, and QEMU's default"),
    ("sd_mod", Helper, "disks of SCSI, SATA and USB"),
    ("mpt3sas", Disk, "SAS adapters of Broadcom"),
    ("megaraid_sas", Disk, "RAID adapters of Broadcom"),
    ("hv_storvsc", Disk, "Hyper-V"),
    ("hv_vmbus", Helper, "Hyper-V"),
    ("vmw_pvscsi", Disk, "VMware"),
    ("xen_blkfront", Disk, "Xen"),
    ("xhci_pci", Helper, "USB 3"),
    ("ehci_pci", Helper, "USB 2"),
    ("uhci_hcd", Helper, "USB 1"),
    ("ohci_pci", Helper, "USB 1"),
    ("usb_storage", Disk, "USB sticks"),
    ("uas", Disk, "USB disks"),
    ("sdhci_pci", Helper, "SD and eMMC on PCI"),
    ("sdhci_acpi", Helper, "SD and eMMC by ACPI"),
    ("mmc_block", Disk, "SD and eMMC"),
    ("loop", Helper, "images in files"),
    ("dm_verity", Verity, "verified file systems"),
    ("sha256_ssse3", Digest, "hashing with the CPU's instructions"),
    ("sha256_generic", Digest, "hashing"),
    ("sha256", Digest, "hashing, in newer kernels"),
    ("sha512_ssse3", Digest, "hashing with the CPU's instructions"),
    ("sha512_generic", Digest, "hashing"),
    ("sha512", Digest, "hashing, in newer kernels"),
    ("sha1_ssse3", Digest, "old images"),
    ("sha1_generic", Digest, "old images"),
    ("sha1", Digest, "old images, in newer kernels"),
    ("erofs", FileSystem, "file system"),
    ("squashfs", FileSystem, "file system"),
    ("ext4", FileSystem, "file system"),
    ("btrfs", FileSystem, "file system"),
    ("xfs", FileSystem, "file system"),
    ("f2fs", FileSystem, "file system"),
    ("vfat", FileSystem, "file system"),
    ("nls_cp437", Helper, "names on vfat"),
    ("nls_iso8859_1", Helper, "names on vfat"),
    ("nls_ascii", Helper, "names on vfat"),
    ("overlay", Helper, "systemd.volatile=overlay"),
    ("efivarfs", Helper, "root=gpt-auto"),
];

/// Loaded along with another, so that it is there in time; no failure of its own matters.
const COMPANIONS: [(&str, &str); 1] = [("dm_verity", "sha256_ssse3")];

/// All that any supported machine needs.
pub(crate) fn generic(
    sysroot: &Sysroot,
    root: Option<&Root>,
    drivers: &[String],
) -> Result<Selection, Missing> {
    let mut selection = Selection::default();
    let mut absent = Vec::new();
    for (name, group, reason) in TABLE {
        match selection.take(sysroot, name) {
            true => drop(selection.groups.insert(group)),
            false if group == Digest => {} // kernels differ in where they keep it; one of them is there
            false => absent.push(format!("{name} ({reason})")),
        }
    }
    if !absent.is_empty() {
        let list = absent.join(", ");
        selection.notes.push(format!("not in kernel {}, left out: {list}", sysroot.release));
    }
    selection.finish(sysroot, root, drivers)
}

/// What the running machine's root needs: the drivers between the root and its disk, its file system, and
/// dm-verity.
pub(crate) fn host_only(sysroot: &Sysroot, root: &Root, drivers: &[String]) -> Result<Selection, Missing> {
    let mut selection = Selection::default();
    for name in needed_by(sysroot, root) {
        selection.take(sysroot, &name);
        selection.groups.insert(Disk);
    }
    if selection.take(sysroot, &root.fstype) {
        selection.groups.insert(FileSystem);
    }
    for (name, group, _) in
        TABLE.iter().filter(|(name, group, _)| matches!(group, Verity | Digest) || *name == "overlay")
    {
        if selection.take(sysroot, name) {
            selection.groups.insert(*group);
        }
    }
    selection.finish(sysroot, Some(root), drivers)
}

/// Modules that drive the devices on the way to the root's disk.
fn needed_by(sysroot: &Sysroot, root: &Root) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = root.drivers.iter().map(|name| normalise(name)).collect();
    for line in sysroot.aliases.lines() {
        let Some((pattern, name)) = line.strip_prefix("alias ").and_then(|rest| rest.rsplit_once(' ')) else {
            continue;
        };
        if root.modaliases.iter().any(|modalias| matches(pattern, modalias)) {
            names.insert(normalise(name));
        }
    }
    names
}

impl Selection {
    /// Takes a module with all that it needs; `false` where neither a module nor built in has its name.
    fn take(&mut self, sysroot: &Sysroot, name: &str) -> bool {
        let name = normalise(name);
        let Some(dependency) = sysroot.dependencies.0.get(&name) else {
            return sysroot.builtin.contains(&name);
        };
        if !self.modules.insert(name.clone()) {
            return true;
        }
        for need in &dependency.needs {
            self.take(sysroot, need);
        }
        if let Some(softdep) = sysroot.softdeps.get(&name) {
            for other in softdep.pre.iter().chain(&softdep.post) {
                self.take_softly(sysroot, &name, other);
            }
        }
        true
    }

    /// A softdep may name an alias, such as a cipher; what is not there is not missed.
    fn take_softly(&mut self, sysroot: &Sysroot, module: &str, wanted: &str) {
        let named = || {
            let by_alias = |line: &&str| {
                let alias = line.strip_prefix("alias ").and_then(|rest| rest.rsplit_once(' '));
                alias.is_some_and(|(alias, _)| normalise(alias) == wanted)
            };
            sysroot.aliases.lines().find(by_alias)?.rsplit(' ').next().map(normalise)
        };
        let name =
            if sysroot.dependencies.0.contains_key(wanted) { Some(wanted.to_owned()) } else { named() };
        if let Some(name) =
            name.filter(|name| self.take(sysroot, name) && sysroot.dependencies.0.contains_key(name))
        {
            self.with.entry(module.to_owned()).or_default().push(name);
        }
    }

    fn finish(mut self, sysroot: &Sysroot, root: Option<&Root>, drivers: &[String]) -> Result<Self, Missing> {
        for driver in drivers {
            if !self.take(sysroot, driver) {
                return Err(missing(sysroot, driver));
            }
        }
        for (module, companion) in COMPANIONS {
            if self.modules.contains(module) && self.modules.contains(companion) {
                self.with.entry(module.to_owned()).or_default().push(companion.to_owned());
            }
        }
        if let Some(root) = root {
            let left_out: Vec<String> = needed_by(sysroot, root)
                .into_iter()
                .filter(|name| sysroot.dependencies.0.contains_key(name) && !self.modules.contains(name))
                .filter(|name| root.drivers.iter().any(|driver| normalise(driver) == *name))
                .collect();
            if !left_out.is_empty() {
                self.warnings.push(format!(
                    "the running root's disk {} is driven by {}, which is left out: this machine could not boot from it; add it with --add-driver",
                    root.disk,
                    left_out.join(", ")
                ));
            }
        }
        Ok(self)
    }

    /// Why this could boot no machine at all.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let needed = [
            (Verity, "no dm-verity target (module dm_verity): no verified root can be opened"),
            (Disk, "no driver for any disk: no root can be found; add one with --add-driver"),
            (
                FileSystem,
                "no driver for any root file system: no root can be mounted; add one with --add-driver",
            ),
        ];
        needed.into_iter().find(|(group, _)| !self.groups.contains(group)).map(|(_, why)| why.to_owned())
    }
}

/// Says what is not there, with names that look alike.
fn missing(sysroot: &Sysroot, driver: &str) -> Missing {
    let name = normalise(driver);
    let stem = name.get(..name.len().min(4)).unwrap_or(&name);
    let near =
        sysroot.dependencies.0.keys().filter(|other| other.starts_with(stem)).take(8).cloned().collect();
    Missing { name: driver.to_owned(), release: sysroot.release.clone(), near }
}
