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
    /// What values of the configuration need.
    pub(crate) needs: Vec<Need>,
    /// File systems that the configuration names for the root and /usr.
    pub(crate) file_systems: Vec<String>,
}

/// A value of a parameter that needs a module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) parameter: &'static str,
    pub(crate) value: &'static str,
    pub(crate) module: &'static str,
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

/// All that any supported machine needs, or what is named and dm-verity's. `roots` are those of the machine which is to boot it, where
/// known.
pub(crate) fn generic(sysroot: &Sysroot, roots: &[Root], wishes: &Wishes) -> Result<Selection, Missing> {
    let mut selection = Selection::default();
    selection.take_rows(sysroot, |_, part| wishes.only.is_empty() || part == Verity);
    let mut selection = selection.finish(sysroot, roots, wishes)?;
    roots.iter().for_each(|root| selection.warn_of_the_file_system(sysroot, root));
    Ok(selection)
}

/// What one machine's root and /usr need: the drivers between them and their disks, their file systems, and
/// dm-verity.
pub(crate) fn host_only(sysroot: &Sysroot, roots: &[Root], wishes: &Wishes) -> Result<Selection, Missing> {
    let mut selection = Selection::default();
    for root in roots {
        needed_by(sysroot, root).iter().for_each(|name| {
            selection.take(sysroot, name);
        });
        if !selection.take_file_system(sysroot, &root.fstype) {
            selection.obstacles.push(format!(
                "kernel {} has no file system {}, which the running {} has: it cannot be mounted",
                sysroot.release, root.fstype, root.name
            ));
        }
    }
    let wanted = |name: &str, part| part == Verity || matches!(name, "overlay" | "efivarfs");
    selection.take_rows(sysroot, wanted);
    selection.finish(sysroot, roots, wishes)
}

/// Modules that drive the devices on the way to a root's disk.
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

    /// Whether what stands behind a name is there in the end.
    fn has(&self, sysroot: &Sysroot, name: &str) -> bool {
        match sysroot.find(name) {
            Found::Modules(names) => names.iter().any(|name| self.modules.contains(name)),
            Found::Builtin => true,
            Found::Absent => false,
        }
    }

    fn finish(mut self, sysroot: &Sysroot, roots: &[Root], wishes: &Wishes) -> Result<Self, Missing> {
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
        for Need { parameter, value, module } in &wishes.needs {
            if !self.take(sysroot, module) {
                self.obstacles.push(format!(
                    "kernel {} has no {module}, which {parameter}={value} in the configuration needs: no root can be booted with it",
                    sysroot.release
                ));
            }
        }
        for fstype in &wishes.file_systems {
            if !self.take_file_system(sysroot, fstype) {
                let release = &sysroot.release;
                self.obstacles.push(format!(
                    "kernel {release} has no file system {fstype}, which the configuration names: the root cannot be mounted"
                ));
            }
        }
        roots.iter().for_each(|root| self.warn_of_the_disk(sysroot, root));
        self.look_for_obstacles(sysroot, roots);
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
                "what drives the running {}'s disk {} cannot be told: if this machine does not boot from it, add that with --add-driver",
                root.name, root.disk
            ));
        }
        let left_out: Vec<&str> = drivers.iter().filter(not_taken).map(String::as_str).collect();
        if !left_out.is_empty() {
            self.warnings.push(format!(
                "the running {}'s disk {} is driven by {}, which is left out: this machine could not boot from it; add it with --add-driver",
                root.name,
                root.disk,
                left_out.join(", ")
            ));
        }
    }

    fn warn_of_the_file_system(&mut self, sysroot: &Sysroot, Root { name, fstype, .. }: &Root) {
        let by_alias = format!("fs-{fstype}");
        if self.has(sysroot, &by_alias) || self.has(sysroot, fstype) {
            return;
        }
        let what = format!("the running {name}'s file system {fstype}");
        let in_kernel = [by_alias.as_str(), fstype].iter().any(|name| sysroot.find(name) != Found::Absent);
        self.warnings.push(if in_kernel {
            format!("{what} is left out: this machine could not boot from it; add it with --add-driver")
        } else {
            format!("{what} is not in kernel {}: this machine could not boot from it", sysroot.release)
        });
    }

    fn look_for_obstacles(&mut self, sysroot: &Sysroot, roots: &[Root]) {
        let [disk, file_system] = [Disk, FileSystem].map(|part| {
            let mut rows = TABLE.iter().filter(|row| row.1 == part);
            rows.any(|(name, ..)| self.has(sysroot, name))
        });
        let drives_root = roots.iter().any(|root| !needed_by(sysroot, root).is_disjoint(&self.modules));
        if !disk && !drives_root {
            self.obstacles
                .push("no driver for any disk: no root can be found; add one with --add-driver".to_owned());
        }
        let root_type =
            roots.iter().any(|root| sysroot.find(&format!("fs-{}", root.fstype)) != Found::Absent);
        if !file_system && !root_type {
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
        let selection = generic(&sysroot, &[], &wishes).unwrap();
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
        let selection = generic(&sysroot, &[], &only("virtio_blk ext4")).unwrap();
        let expected = "crc32c_generic crc32c_intel dm_mod dm_verity ext4 jbd2 sha256_ssse3 virtio_blk";
        assert_eq!(selection.modules, names(expected).into_iter().collect());
        assert!(selection.obstacles.is_empty() && selection.warnings.is_empty(), "{selection:?}");
        let obstacles = generic(&sysroot, &[], &only("virtio_blk")).unwrap().obstacles;
        assert!(obstacles[0].contains("for any root file system"), "{obstacles:?}");
        let error = generic(&sysroot, &[], &only("ext5")).unwrap_err().to_string();
        assert!(error.starts_with("--only-driver ext5: "), "{error}");
    }

    fn root(name: &'static str, fstype: &str, drivers: &str, modaliases: &str) -> Root {
        Root {
            name,
            disk: if name == "root" { "sda1" } else { "sdb1" }.to_owned(),
            fstype: fstype.to_owned(),
            drivers: names(drivers),
            built_in: names("b pcieport"),
            modaliases: names(modaliases),
        }
    }

    #[test]
    fn one_machine() {
        let (_root, sysroot) = kernel(DEP, ALIASES, "");
        for (root, expected) in [
            (
                root("root", "ext3", "", "virtio:d00000002v1"),
                "virtio_blk a b ext4 jbd2 crc32c_generic crc32c_intel",
            ),
            (root("root", "ext4", "ufs", "pci:v2"), "ufs ufscore a b ext4 jbd2 crc32c_generic crc32c_intel"),
        ] {
            let selection = host_only(&sysroot, &[root], &Wishes::default()).unwrap();
            let always_there = names("dm_mod dm_verity sha256_ssse3");
            let expected: BTreeSet<String> = names(expected).into_iter().chain(always_there).collect();
            assert_eq!(selection.modules, expected);
            assert!(selection.obstacles.is_empty(), "{selection:?}");
        }
        let here = [root("root", "ext4", "ufs pata", "")];
        let selection = generic(&sysroot, &here, &Wishes::default()).unwrap();
        let expected = "disk sda1 is driven by b, pata, ufs, which is left out";
        assert!(selection.warnings.iter().any(|text| text.contains(expected)), "{selection:?}");
    }

    /// Nothing was said of a type that the kernel lacks where another was there.
    #[test]
    fn a_file_system_of_one_machine_that_the_kernel_lacks() {
        let (_root, sysroot) = kernel(&[DEP, "cramfs.ko:\n"].concat(), ALIASES, "x/erofs.ko\n");
        let lacks = |whose: &str, fstype: &str| {
            format!(
                "kernel 6 has no file system {fstype}, which the running {whose} has: it cannot be mounted"
            )
        };
        for (of_root, of_usr, expected, warnings) in [
            ("ext4", "erofs", vec![], &[] as &[&str]),
            (
                "ext4",
                "zonefs",
                vec![lacks("/usr", "zonefs")],
                &[
                    "the running /usr's file system zonefs is not in kernel 6: this machine could not boot from it",
                ],
            ),
            (
                "zonefs",
                "bcachefs",
                vec![lacks("root", "zonefs"), lacks("/usr", "bcachefs")],
                &[
                    "the running root's file system zonefs is not in kernel 6: this machine could not boot from it",
                    "the running /usr's file system bcachefs is not in kernel 6: this machine could not boot from it",
                ],
            ),
            (
                "ext3",
                "cramfs",
                vec![],
                &[
                    "the running /usr's file system cramfs is left out: this machine could not boot from it; add it with --add-driver",
                ],
            ),
        ] {
            let roots = [root("root", of_root, "virtio_blk", ""), root("/usr", of_usr, "virtio_blk", "")];
            let selection = host_only(&sysroot, &roots, &Wishes::default()).unwrap();
            assert_eq!(selection.obstacles, expected);
            // One for any machine may be for another than this.
            let selection = generic(&sysroot, &roots, &Wishes::default()).unwrap();
            assert!(selection.obstacles.is_empty(), "{selection:?}");
            let said = selection.warnings.iter().filter(|text| text.contains("'s file system "));
            assert_eq!(said.collect::<Vec<_>>(), warnings);
        }
    }

    /// What drives the disk of /usr was said to drive that of the root.
    #[test]
    fn each_disk_with_its_own_driver() {
        let (_root, sysroot) = kernel(DEP, ALIASES, "");
        let usr = Root { built_in: Vec::new(), ..root("/usr", "ext4", "ufs", "") };
        let untold = Root { drivers: Vec::new(), built_in: Vec::new(), ..root("/usr", "ext4", "", "") };
        for (usr, expected) in [
            (usr, "the running /usr's disk sdb1 is driven by ufs, which is left out"),
            (untold, "what drives the running /usr's disk sdb1 cannot be told"),
        ] {
            let root = Root { built_in: Vec::new(), ..root("root", "ext4", "virtio_blk", "") };
            let warnings = generic(&sysroot, &[root, usr], &Wishes::default()).unwrap().warnings;
            assert!(warnings.iter().any(|text| text.starts_with(expected)), "{warnings:?}");
            assert!(!warnings.iter().any(|text| text.contains("sda1")), "{warnings:?}");
        }
    }

    /// It was an error, and said to be named.
    #[test]
    fn a_need_is_an_obstacle_and_no_error() {
        let needs = || {
            let need = Need { parameter: "root", value: "gpt-auto", module: "efivarfs" };
            Wishes { needs: vec![need], only: names("virtio_blk ext4"), ..Wishes::default() }
        };
        let (_root, sysroot) = kernel(DEP, ALIASES, "");
        assert_eq!(
            generic(&sysroot, &[], &needs()).unwrap().obstacles,
            [
                "kernel 6 has no efivarfs, which root=gpt-auto in the configuration needs: no root can be booted with it"
            ]
        );
        let (_root, sysroot) = kernel(&[DEP, "efivarfs.ko:\n"].concat(), ALIASES, "");
        let selection = generic(&sysroot, &[], &needs()).unwrap();
        assert!(selection.obstacles.is_empty() && selection.modules.contains("efivarfs"), "{selection:?}");
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
            let obstacles = generic(&sysroot, &[], &wishes).unwrap().obstacles;
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
            let error = generic(&sysroot, &[], &wishes).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(wanted), "{error}");
        }
    }
}
