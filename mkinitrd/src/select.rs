//! Which modules are taken, and why.

use std::collections::{BTreeMap, BTreeSet};

use nextroot::format::kernel::{
    modindex::{matches, normalise},
    modules,
};

use crate::{
    host::Root,
    sysroot::{Found, Sysroot},
};

/// What was chosen.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Names, with all that they need.
    pub(crate) modules: BTreeSet<String>,
    /// What is better loaded before each, and may fail.
    pub(crate) pre: BTreeMap<String, Vec<String>>,
    /// What is better loaded after each, and may fail.
    pub(crate) post: BTreeMap<String, Vec<String>>,
    /// Loaded whatever the devices.
    pub(crate) always: BTreeSet<String>,
    /// What was left out, for whoever wants to know.
    pub(crate) notes: Vec<String>,
    /// Why a boot could fail.
    pub(crate) warnings: Vec<String>,
    /// Why no boot can succeed.
    pub(crate) obstacles: Vec<String>,
}

/// What is asked for beyond the table.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Modules that have to be there (`--add-driver`).
    pub(crate) drivers: Vec<String>,
    /// The same, and no others of the table (`--only-driver`).
    pub(crate) only: Vec<String>,
    /// Modules that the configuration has loaded by name.
    pub(crate) configured: Vec<String>,
    /// File systems that the configuration names for the root and /usr.
    pub(crate) file_systems: Vec<String>,
}

/// A driver that was named and is not there.
#[derive(Debug, thiserror::Error)]
#[error("{whose} {name}: module {name} is neither in kernel {release} nor built into it{}", similar(.near))]
pub(crate) struct Missing {
    whose: &'static str,
    name: String,
    release: String,
    near: Vec<String>,
}

/// What a row of the table is for. Of disks and file systems, one at least has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Disk,
    FileSystem,
    Verity,
    Other,
}

/// What follows where a kernel lacks a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// Other rows do: it is named among what was left out.
    Fine,
    /// Some roots cannot be booted.
    Warning,
    /// No verified root can be booted.
    Obstacle,
}

use Absence::{Fine, Obstacle, Warning};
use Part::{Disk, FileSystem, Other, Verity};

/// What is taken unless `--host-only` says less: a module's name, or an alias that stands for several.
const TABLE: [(&str, Part, Absence, &str); 47] = [
    ("virtio_pci", Other, Fine, "virtio devices on PCI"),
    ("virtio_mmio", Other, Fine, "virtio devices of microVMs"),
    ("virtio_blk", Disk, Fine, "virtio disks"),
    ("virtio_scsi", Disk, Fine, "virtio SCSI"),
    ("nvme", Disk, Fine, "NVMe"),
    ("vmd", Other, Fine, "NVMe behind Intel's volume management"),
    ("ahci", Disk, Fine, "SATA"),
    ("ata_piix", Disk, Fine, "older ATA, and QEMU's default"),
    ("sd_mod", Other, Fine, "disks of SCSI, SATA and USB"),
    ("mpt3sas", Disk, Fine, "SAS adapters of Broadcom"),
    ("megaraid_sas", Disk, Fine, "RAID adapters of Broadcom"),
    ("hv_vmbus", Other, Fine, "Hyper-V"),
    ("hv_storvsc", Disk, Fine, "Hyper-V"),
    ("pci_hyperv", Other, Fine, "NVMe of Hyper-V and Azure"),
    ("vmw_pvscsi", Disk, Fine, "VMware"),
    ("mptspi", Disk, Fine, "VMware's LSI controllers"),
    ("mptsas", Disk, Fine, "VMware's LSI controllers"),
    ("smartpqi", Disk, Fine, "RAID adapters of HPE and Microchip"),
    ("hpsa", Disk, Fine, "RAID adapters of HPE"),
    ("xen_blkfront", Disk, Fine, "Xen"),
    ("xhci_pci", Other, Fine, "USB 3"),
    ("ehci_pci", Other, Fine, "USB 2"),
    ("uhci_hcd", Other, Fine, "USB 1"),
    ("ohci_pci", Other, Fine, "USB 1"),
    ("usb_storage", Disk, Fine, "USB sticks"),
    ("uas", Disk, Fine, "USB disks"),
    ("sdhci_pci", Other, Fine, "SD and eMMC on PCI"),
    ("sdhci_acpi", Other, Fine, "SD and eMMC by ACPI"),
    ("mmc_block", Disk, Fine, "SD and eMMC"),
    ("loop", Other, Fine, "images in files"),
    ("dm_verity", Verity, Obstacle, "verified file systems"),
    ("crypto-sha256", Verity, Warning, "verity hashed with sha256, the default"),
    ("crypto-sha512", Verity, Fine, "verity hashed with sha512"),
    ("crypto-sha1", Verity, Fine, "verity of old images"),
    ("erofs", FileSystem, Fine, "file system"),
    ("squashfs", FileSystem, Fine, "file system"),
    ("ext4", FileSystem, Fine, "file system"),
    ("btrfs", FileSystem, Fine, "file system"),
    ("xfs", FileSystem, Fine, "file system"),
    ("f2fs", FileSystem, Fine, "file system"),
    ("vfat", FileSystem, Fine, "file system"),
    ("nls_cp437", Other, Fine, "names on vfat"),
    ("nls_ascii", Other, Fine, "names on vfat"),
    ("nls_iso8859-1", Other, Fine, "names on vfat"),
    ("nls_utf8", Other, Fine, "names on vfat"),
    ("overlay", Other, Warning, "systemd.volatile=overlay"),
    ("efivarfs", Other, Fine, "root=gpt-auto"),
];

/// Tried before another, so that it is there in time. The kernel takes the best implementation of a cipher
/// that it has when a verity device is made, and does not ask for a better one while it has any.
const COMPANIONS: [(&str, &str); 1] = [("dm_verity", "crypto-sha256")];

/// All that any supported machine needs, or what is named and dm-verity's. `root` is that of the machine which is to boot it, where known.
pub(crate) fn generic(sysroot: &Sysroot, root: Option<&Root>, wishes: &Wishes) -> Result<Selection, Missing> {
    let mut selection = Selection::default();
    selection.take_rows(sysroot, |_, part| wishes.only.is_empty() || part == Verity);
    selection.finish(sysroot, root, wishes)
}

/// What one machine's root needs: the drivers between the root and its disk, its file system, and
/// dm-verity.
pub(crate) fn host_only(sysroot: &Sysroot, root: &Root, wishes: &Wishes) -> Result<Selection, Missing> {
    let mut selection = Selection::default();
    let drivers = needed_by(sysroot, root);
    drivers.iter().for_each(|name| {
        selection.take(sysroot, name);
    });
    root.fstypes.iter().for_each(|fstype| {
        selection.take_file_system(sysroot, fstype);
    });
    let wanted = |name: &str, part| part == Verity || matches!(name, "overlay" | "efivarfs");
    selection.take_rows(sysroot, wanted);
    selection.finish(sysroot, Some(root), wishes)
}

/// Modules that drive the devices on the way to the root's disk.
fn needed_by(sysroot: &Sysroot, root: &Root) -> BTreeSet<String> {
    let by_device = modules::aliases(&sysroot.aliases)
        .filter(|(pattern, _)| root.modaliases.iter().any(|modalias| matches(pattern, modalias)))
        .map(|(_, name)| normalise(name));
    let drivers = root.drivers.iter().chain(&root.built_in).map(|name| normalise(name));
    drivers.chain(by_device).collect()
}

impl Selection {
    /// Takes those rows of the table that are wanted, and says which are not there.
    fn take_rows(&mut self, sysroot: &Sysroot, wanted: impl Fn(&str, Part) -> bool) {
        let mut left_out = Vec::new();
        for (name, _, absence, reason) in TABLE.into_iter().filter(|(name, part, ..)| wanted(name, *part)) {
            if self.take(sysroot, name) {
                continue;
            }
            let lacks = format!("kernel {} has no {name} ({reason})", sysroot.release);
            match absence {
                Fine => left_out.push(format!("{name} ({reason})")),
                Warning => self.warnings.push(format!("{lacks}: a root that needs it will not boot")),
                Obstacle => self.obstacles.push(format!("{lacks}: no verified root can be opened")),
            }
        }
        if !left_out.is_empty() {
            let list = left_out.join(", ");
            self.notes.push(format!("not in kernel {}, left out: {list}", sysroot.release));
        }
    }

    /// Takes what stands behind a name, with all that it needs and would like to have; `false` where that
    /// is nothing.
    fn take(&mut self, sysroot: &Sysroot, name: &str) -> bool {
        let mut todo = match sysroot.find(name) {
            Found::Absent => return false,
            Found::Builtin => return true,
            Found::Modules(names) => names,
        };
        while let Some(name) = todo.pop() {
            let needs = sysroot.dependencies.0.get(&name).map(|dependency| &dependency.needs);
            if !self.modules.insert(name.clone()) {
                continue;
            }
            todo.extend(needs.into_iter().flatten().cloned());
            let softdep = sysroot.softdeps.get(&name).cloned().unwrap_or_default();
            let companions = COMPANIONS.iter().filter(|(module, _)| *module == name);
            let pre = softdep.pre.into_iter().chain(companions.map(|(_, other)| (*other).to_owned()));
            for (list, others) in [(&mut self.pre, pre.collect::<Vec<_>>()), (&mut self.post, softdep.post)] {
                let mut tried = Vec::new();
                for other in others {
                    // What is not there is not missed.
                    let Found::Modules(mut names) = sysroot.find(&other) else { continue };
                    names.retain(|other| *other != name);
                    todo.extend(names.iter().cloned());
                    tried.extend(sysroot.preferred(names));
                }
                list.insert(name.clone(), tried);
            }
        }
        true
    }

    /// By alias, since one module may serve several types; else by name.
    fn take_file_system(&mut self, sysroot: &Sysroot, fstype: &str) -> bool {
        self.take(sysroot, &format!("fs-{fstype}")) || self.take(sysroot, fstype)
    }

    fn finish(mut self, sysroot: &Sysroot, root: Option<&Root>, wishes: &Wishes) -> Result<Self, Missing> {
        for (names, whose) in [
            (&wishes.only, "--only-driver"),
            (&wishes.drivers, "--add-driver"),
            (&wishes.configured, "the configuration names"),
        ] {
            for name in names {
                if !self.take(sysroot, name) {
                    return Err(missing(sysroot, whose, name));
                }
            }
        }
        let named = wishes.only.iter().chain(&wishes.drivers);
        self.always.extend(named.flat_map(|name| nameless(sysroot, name)));
        for fstype in &wishes.file_systems {
            if !self.take_file_system(sysroot, fstype) {
                let release = &sysroot.release;
                self.obstacles.push(format!(
                    "kernel {release} has no file system {fstype}, which the configuration names: the root cannot be mounted"
                ));
            }
        }
        if let Some(root) = root {
            self.warn_of_the_disk(sysroot, root);
        }
        self.look_for_obstacles(sysroot, root);
        Ok(self)
    }

    fn warn_of_the_disk(&mut self, sysroot: &Sysroot, root: &Root) {
        let here_a_module = |name: &&String| matches!(sysroot.find(name), Found::Modules(_));
        let drivers = root.drivers.iter().chain(root.built_in.iter().filter(here_a_module));
        let drivers: BTreeSet<String> = drivers.map(|name| normalise(name)).collect();
        let not_taken = |name: &&String| match sysroot.find(name) {
            Found::Modules(names) => !names.iter().all(|name| self.modules.contains(name)),
            Found::Builtin => false,
            Found::Absent => true,
        };
        if drivers.is_empty() && root.built_in.is_empty() {
            self.warnings.push(format!(
                "what drives the running root's disk {} cannot be told: if this machine does not boot from it, add that with --add-driver",
                root.disk
            ));
        }
        let left_out: Vec<&str> = drivers.iter().filter(not_taken).map(String::as_str).collect();
        if !left_out.is_empty() {
            self.warnings.push(format!(
                "the running root's disk {} is driven by {}, which is left out: this machine could not boot from it; add it with --add-driver",
                root.disk,
                left_out.join(", ")
            ));
        }
    }

    fn look_for_obstacles(&mut self, sysroot: &Sysroot, root: Option<&Root>) {
        let has = |part: Part| {
            let mut rows = TABLE.iter().filter(|row| row.1 == part);
            rows.any(|(name, ..)| match sysroot.find(name) {
                Found::Modules(names) => names.iter().any(|name| self.modules.contains(name)),
                Found::Builtin => true,
                Found::Absent => false,
            })
        };
        let drives_root = root.is_some_and(|root| !needed_by(sysroot, root).is_disjoint(&self.modules));
        if !has(Disk) && !drives_root {
            self.obstacles
                .push("no driver for any disk: no root can be found; add one with --add-driver".to_owned());
        }
        let root_type = root.is_some_and(|root| {
            root.fstypes.iter().all(|fstype| sysroot.find(&format!("fs-{fstype}")) != Found::Absent)
        });
        if !has(FileSystem) && !root_type {
            self.obstacles.push(
                "no driver for any root file system: no root can be mounted; add one with --add-driver"
                    .to_owned(),
            );
        }
    }
}

/// Of what stands behind a name, modules without any alias: nothing would ever ask for them.
fn nameless(sysroot: &Sysroot, name: &str) -> Vec<String> {
    let Found::Modules(mut names) = sysroot.find(name) else { return Vec::new() };
    let has_alias: BTreeSet<String> =
        modules::aliases(&sysroot.aliases).map(|(_, module)| normalise(module)).collect();
    names.retain(|name| !has_alias.contains(name));
    names
}

/// Says what is not there, with names that look alike.
fn missing(sysroot: &Sysroot, whose: &'static str, driver: &str) -> Missing {
    const ALIKE: f64 = 0.7;
    let wanted = normalise(driver);
    let all = sysroot.dependencies.0.keys().chain(&sysroot.builtin);
    let mut near: Vec<(f64, &String)> = all
        .map(|name| (strsim::normalized_damerau_levenshtein(name, &wanted), name))
        .filter(|(likeness, name)| *likeness >= ALIKE || name.contains(&wanted))
        .collect();
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    Missing {
        whose,
        name: driver.to_owned(),
        release: sysroot.release.clone(),
        near: near.into_iter().take(5).map(|(_, name)| name.clone()).collect(),
    }
}

fn similar(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A kernel whose modules are given as lines of modules.dep, with aliases and built-ins.
    fn kernel(dep: &str, aliases: &str, builtin: &str) -> (tempfile::TempDir, Sysroot) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("lib/modules/6");
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in [
            ("modules.dep", dep),
            ("modules.alias", aliases),
            ("modules.builtin", builtin),
            (
                "modules.softdep",
                "softdep ext4 pre: crypto-crc32c gone\nsoftdep a post: b\nsoftdep b post: a\n",
            ),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        let sysroot = Sysroot::open(root.path(), None, "5").unwrap();
        (root, sysroot)
    }

    const DEP: &str = "virtio_blk.ko:\ndm-verity.ko: dm-mod.ko\ndm-mod.ko:\next4.ko: jbd2.ko\njbd2.ko:\n\
        crc32c-intel.ko:\ncrc32c_generic.ko:\nsha256-ssse3.ko:\na.ko:\nb.ko:\nufs.ko: ufscore.ko\nufscore.ko:\n";
    const ALIASES: &str = "alias virtio:d00000002v* virtio_blk\nalias pci:v1* ufs\nalias fs-ext4 ext4\n\
        alias fs-ext3 ext4\nalias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\n\
        alias cpu:type:x86* crc32c_intel\nalias crypto-sha256 sha256_ssse3\n";

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn generic_takes_the_table_with_what_it_needs() {
        let (_root, sysroot) = kernel(DEP, ALIASES, "");
        let wishes = Wishes { drivers: names("a"), ..Wishes::default() };
        let selection = generic(&sysroot, None, &wishes).unwrap();
        let expected = "a b crc32c_generic crc32c_intel dm_mod dm_verity ext4 jbd2 sha256_ssse3 virtio_blk";
        assert_eq!(selection.modules, names(expected).into_iter().collect());
        assert_eq!(selection.pre["ext4"], ["crc32c_intel"]);
        assert_eq!(selection.pre["dm_verity"], ["sha256_ssse3"]);
        assert_eq!(selection.post["a"], ["b"]);
        assert_eq!(selection.always, names("a").into_iter().collect());
        assert!(selection.obstacles.is_empty(), "{selection:?}");
        assert!(selection.notes.iter().any(|note| note.contains("nvme (NVMe)")), "{selection:?}");
        assert!(selection.warnings.iter().any(|text| text.contains("no overlay")), "{selection:?}");
    }

    #[test]
    fn only_what_is_named_and_what_verity_needs() {
        let (_root, sysroot) = kernel(DEP, ALIASES, "");
        let only = |text| Wishes { only: names(text), ..Wishes::default() };
        let selection = generic(&sysroot, None, &only("virtio_blk ext4")).unwrap();
        let expected = "crc32c_generic crc32c_intel dm_mod dm_verity ext4 jbd2 sha256_ssse3 virtio_blk";
        assert_eq!(selection.modules, names(expected).into_iter().collect());
        assert!(selection.obstacles.is_empty() && selection.warnings.is_empty(), "{selection:?}");
        let obstacles = generic(&sysroot, None, &only("virtio_blk")).unwrap().obstacles;
        assert!(obstacles[0].contains("for any root file system"), "{obstacles:?}");
        let error = generic(&sysroot, None, &only("ext5")).unwrap_err().to_string();
        assert!(error.starts_with("--only-driver ext5: "), "{error}");
    }

    #[test]
    fn one_machine() {
        let root = |fstype: &str, drivers: &str, modaliases: &str| Root {
            disk: "sda1".to_owned(),
            fstypes: vec![fstype.to_owned()],
            drivers: names(drivers),
            built_in: names("b pcieport"),
            modaliases: names(modaliases),
        };
        let (_root, sysroot) = kernel(DEP, ALIASES, "");
        for (root, expected) in [
            (root("ext3", "", "virtio:d00000002v1"), "virtio_blk a b ext4 jbd2 crc32c_generic crc32c_intel"),
            (root("ext4", "ufs", "pci:v2"), "ufs ufscore a b ext4 jbd2 crc32c_generic crc32c_intel"),
        ] {
            let selection = host_only(&sysroot, &root, &Wishes::default()).unwrap();
            let always_there = names("dm_mod dm_verity sha256_ssse3");
            let expected: BTreeSet<String> = names(expected).into_iter().chain(always_there).collect();
            assert_eq!(selection.modules, expected);
            assert!(selection.obstacles.is_empty(), "{selection:?}");
        }
        let selection = generic(&sysroot, Some(&root("ext4", "ufs pata", "")), &Wishes::default()).unwrap();
        let expected = "disk sda1 is driven by b, pata, ufs, which is left out";
        assert!(selection.warnings.iter().any(|text| text.contains(expected)), "{selection:?}");
    }

    #[test]
    fn what_no_boot_survives() {
        let types = |text: &str| Wishes { file_systems: names(text), ..Wishes::default() };
        let builtin = "x/dm-verity.ko\nx/virtio_blk.ko\nx/ext4.ko\nx/crypto-sha256.ko\nx/overlay.ko\n";
        for (dep, builtin, wishes, expected) in [
            ("", builtin, Wishes::default(), &[] as &[&str]),
            ("", builtin, types("ext4"), &[]),
            ("", "", Wishes::default(), &["no dm_verity", "for any disk", "for any root file system"]),
            ("virtio_blk.ko:\next4.ko:\n", "", Wishes::default(), &["no dm_verity"]),
            ("dm-verity.ko:\next4.ko:\n", "", Wishes::default(), &["for any disk"]),
            (DEP, "", types("ext3 zonefs"), &["no file system zonefs"]),
        ] {
            let (_root, sysroot) = kernel(dep, ALIASES, builtin);
            let obstacles = generic(&sysroot, None, &wishes).unwrap().obstacles;
            assert_eq!(obstacles.len(), expected.len(), "{obstacles:?}");
            for (obstacle, expected) in obstacles.iter().zip(expected) {
                assert!(obstacle.contains(expected), "{obstacle}");
            }
        }
    }

    #[test]
    fn names_that_look_alike() {
        let (_root, sysroot) = kernel("virtio_blk.ko:\nvirtio_net.ko:\nnvme.ko:\n", "", "x/loop.ko\n");
        for (wanted, expected) in [
            ("virtio-bulk", "did you mean virtio_blk?"),
            ("vritio_net", "did you mean virtio_net"),
            ("lop", "did you mean loop?"),
            ("zram", "nor built into it"),
        ] {
            let wishes = Wishes { drivers: names(wanted), ..Wishes::default() };
            let error = generic(&sysroot, None, &wishes).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(wanted), "{error}");
        }
    }
}
