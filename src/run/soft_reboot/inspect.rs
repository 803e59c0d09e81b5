//! Looks into a new root that is mounted somewhere: facts for preflight, nothing executed.

use std::{collections::BTreeSet, path::Path};

use crate::{
    format::{
        bytes::CRC32,
        kernel::{
            modindex::normalise,
            modules::{self, Dependencies},
        },
        system::{
            fstab,
            os_release::{self, OsRelease},
            systemd_version::SystemdVersion,
            unit_file,
        },
    },
    plan::preflight::new_root::{MachineId, NewRoot, SelinuxPolicy},
};

use crate::run::{boot::new_root, tree::Tree};

/// Where systemd executes the new PID 1 from, in its order; 254 has the second path.
const INITS: [&str; 3] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/init"];
/// systemd's own program is smaller, also where it is linked statically.
const PROGRAM: u64 = 32 << 20;
/// Unit files outside of /run (systemd.unit(5)).
pub(super) const UNITS: [&str; 6] = [
    "/etc/systemd/system.control",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const NETWORKS: [&str; 3] =
    ["/etc/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"];
/// Extensions outside of /run and /var (systemd-sysext(8)).
const EXTENSIONS: [&str; 4] =
    ["/etc/extensions", "/usr/local/lib/extensions", "/usr/lib/confexts", "/usr/local/lib/confexts"];
const MODULES_LOAD: [&str; 3] =
    ["/etc/modules-load.d", "/usr/local/lib/modules-load.d", "/usr/lib/modules-load.d"];

/// Reads the facts of a root mounted at `root`, for a kernel of this release.
#[must_use]
pub fn look(root: &Path, release: &str) -> NewRoot {
    let mut tree = Tree::new(root);
    let os_release = tree.first(&["/etc/os-release", "/usr/lib/os-release"]).map(|(_, text)| text);
    let level = |name| os_release::variable(os_release.as_deref().unwrap_or_default().as_bytes(), name);
    let (init, systemd) = init(&mut tree, root);
    let (units, enabled) = units(&mut tree);
    let modules = kernel_modules(&mut tree, release);
    let mut new = NewRoot {
        sysext_level: level("SYSEXT_LEVEL"),
        arms_watchdog: None,
        unit_orders: Vec::new(),
        confext_level: level("CONFEXT_LEVEL"),
        os_release: os_release
            .as_ref()
            .map(|text| OsRelease::parse(text.as_bytes()).map_err(|error| error.to_string())),
        initrd_release: tree.has("/etc/initrd-release"),
        init: Some(init),
        systemd,
        kernels: kernels(&mut tree),
        wanted_modules: wanted_modules(&mut tree, release),
        modules,
        top: tree.names("/").into_iter().collect(),
        read_only: tree.is_read_only(),
        var_in_fstab: var_in_fstab(&mut tree),
        machine_id: tree.text("/etc/machine-id").map_or(MachineId::Missing, |text| MachineId::parse(&text)),
        selinux: selinux(&mut tree),
        units,
        enabled,
        networks: tree.drop_ins(&NETWORKS, ".network").into_iter().collect(),
        extensions: EXTENSIONS
            .iter()
            .flat_map(|path| tree.names(path))
            .map(|name| extension_name(&name))
            .collect(),
        unread: Vec::new(),
    };
    // A name in /etc hides that in /usr, but the running system may have used either.
    for directory in NETWORKS {
        let names = tree.names(directory).into_iter().filter(|name| name.ends_with(".network"));
        new.networks.extend(names.map(|name| format!("{directory}/{name}")));
    }
    new.unread = tree.unread;
    new
}

/// The name of an extension, from that of its file or directory.
pub(super) fn extension_name(file: &str) -> String {
    let name = file.strip_suffix(".v").unwrap_or(file);
    name.strip_suffix(".raw").unwrap_or(name).to_owned()
}

fn init(tree: &mut Tree, root: &Path) -> (Result<String, String>, Option<SystemdVersion>) {
    let candidates = INITS.map(str::to_owned);
    match new_root::find_init(&root.to_string_lossy(), &candidates) {
        Ok(path) => {
            let program = tree.bytes(&path, PROGRAM);
            (Ok(path), program.as_deref().and_then(SystemdVersion::in_program))
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            (Err(format!("{error}{}", cause.unwrap_or_default())), None)
        }
    }
}

/// The directory of a kernel's modules, where there is one.
fn of_kernel(tree: &Tree, release: &str) -> Option<String> {
    let places = ["/usr/lib/modules", "/lib/modules"];
    places.iter().map(|place| format!("{place}/{release}")).find(|path| tree.has(path))
}

fn kernels(tree: &mut Tree) -> Vec<String> {
    let mut all: BTreeSet<String> = tree.names("/usr/lib/modules").into_iter().collect();
    all.extend(tree.names("/lib/modules"));
    // What an uninstalled kernel leaves behind has neither.
    let real = |release: &String| {
        of_kernel(tree, release).is_some_and(|path| {
            ["modules.dep", "modules.builtin", "vmlinuz"]
                .iter()
                .any(|file| tree.has_file(&format!("{path}/{file}")))
        })
    };
    all.into_iter().filter(real).collect()
}

/// Modules of a root for a kernel of this release, built in or not; `None` where it has none at all.
#[must_use]
pub fn modules(root: &Path, release: &str) -> Option<Result<BTreeSet<String>, String>> {
    kernel_modules(&mut Tree::new(root), release)
}

fn kernel_modules(tree: &mut Tree, release: &str) -> Option<Result<BTreeSet<String>, String>> {
    let directory = of_kernel(tree, release)?;
    let builtin = tree.text(&format!("{directory}/modules.builtin"));
    let dependencies = tree.text(&format!("{directory}/modules.dep"));
    if builtin.is_none() && dependencies.is_none() {
        return None;
    }
    let mut names: BTreeSet<String> = modules::builtin(&builtin.unwrap_or_default()).into_iter().collect();
    Some(match Dependencies::parse(&dependencies.unwrap_or_default()) {
        Ok(Dependencies(all)) => {
            names.extend(all.into_keys());
            Ok(names)
        }
        Err(error) => Err(format!("{directory}/modules.dep: {error}")),
    })
}

/// Modules that modules-load.d names, but for names that are aliases of modules for this kernel.
fn wanted_modules(tree: &mut Tree, release: &str) -> BTreeSet<String> {
    let files = tree.drop_ins(&MODULES_LOAD, ".conf");
    let mut wanted = BTreeSet::new();
    for file in files {
        wanted.extend(tree.text(&file).map(|text| modules::wanted(&text)).unwrap_or_default());
    }
    if !wanted.is_empty()
        && let Some(directory) = of_kernel(tree, release)
        && let Some(text) = tree.text(&format!("{directory}/modules.alias"))
    {
        for (alias, _) in modules::aliases(&text) {
            wanted.remove(&normalise(alias));
        }
    }
    wanted
}

fn var_in_fstab(tree: &mut Tree) -> Option<String> {
    let entries = fstab::parse(&tree.text("/etc/fstab")?);
    let mut var = entries.into_iter().filter(|entry| entry.at == "/var" && !entry.has("noauto"));
    var.next().map(|entry| entry.what)
}

/// The unit that a directory beside units is of, with links to what that pulls in.
pub(super) fn pulling(name: &str) -> Option<&str> {
    [".wants", ".requires", ".upholds"].iter().find_map(|ending| name.strip_suffix(ending))
}

/// The programs that enabled units of a root start (`ExecStart=` of systemd.service(5)), each once.
pub(super) fn programs(root: &Path) -> BTreeSet<String> {
    let mut tree = Tree::new(root);
    let mut programs = BTreeSet::new();
    for directory in UNITS {
        for pulling in tree.names(directory).into_iter().filter(|name| pulling(name).is_some()) {
            let links = format!("{directory}/{pulling}");
            for unit in tree.names(&links) {
                let text = tree.text(&format!("{links}/{unit}")).unwrap_or_default();
                let lines = unit_file::values(&text, "Service", "ExecStart");
                programs.extend(lines.iter().filter_map(|line| unit_file::program(line)).map(str::to_owned));
            }
        }
    }
    programs
}

/// Unit files, and what links in .wants and the like pull in.
fn units(tree: &mut Tree) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut units, mut enabled) = (BTreeSet::new(), BTreeSet::new());
    for directory in UNITS {
        for name in tree.names(directory) {
            let path = format!("{directory}/{name}");
            if pulling(&name).is_some() {
                enabled.extend(tree.names(&path));
            } else if tree.has_file(&path) {
                units.insert(name); // a link to /dev/null masks it, and is no file
            }
        }
    }
    (units, enabled)
}

/// The policy that a root would have loaded; `None` where it has none.
pub(super) fn selinux(tree: &mut Tree) -> Option<SelinuxPolicy> {
    let config = tree.text("/etc/selinux/config")?;
    // The file has assignments only, no sections.
    let config = format!("[]\n{config}");
    let value = |key| unit_file::values(&config, "", key).pop();
    let kind = value("SELINUXTYPE")?;
    let directory = format!("/etc/selinux/{kind}/policy");
    let number = |name: &String| name.strip_prefix("policy.")?.parse::<u32>().ok();
    let newest = tree.names(&directory).into_iter().filter_map(|name| Some((number(&name)?, name))).max();
    let policy = newest.and_then(|(_, name)| tree.bytes(&format!("{directory}/{name}"), PROGRAM));
    let sum = policy.map(|bytes| (CRC32.checksum(&bytes), bytes.len() as u64));
    Some(SelinuxPolicy { kind, mode: value("SELINUX").unwrap_or_default(), sum })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const RELEASE: &str = "6.12.48+deb13-amd64";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_root() {
        let modules = format!("usr/lib/modules/{RELEASE}");
        let root = root(&[
            ("usr/lib/os-release", "ID=debian\nIMAGE_VERSION=2\nSYSEXT_LEVEL=1\n"),
            ("etc/machine-id", "uninitialized\n"),
            ("etc/fstab", "LABEL=opt /var ext4 noauto\nLABEL=var /var ext4 defaults\n"),
            (&format!("{modules}/modules.dep"), "kernel/a-b.ko.xz:\nkernel/c.ko: kernel/a-b.ko.xz\n"),
            (&format!("{modules}/modules.builtin"), "kernel/loop.ko\n"),
            (&format!("{modules}/modules.alias"), "alias fs-c c\n"),
            ("usr/lib/modules/6.99/kernel/left", ""),
            ("etc/modules-load.d/x.conf", "# c\na_b\n"),
            ("usr/lib/modules-load.d/x.conf", "hidden\n"),
            ("usr/lib/modules-load.d/y.conf", "fs-c\nmissing\n"),
            ("usr/lib/systemd/system/a.service", ""),
            ("etc/systemd/system/multi-user.target.wants/a.service", ""),
            ("usr/lib/systemd/network/80-x.network", ""),
            ("etc/extensions/tool.raw", ""),
            ("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n"),
            ("etc/selinux/targeted/policy/policy.9", "old"),
            ("etc/selinux/targeted/policy/policy.33", "new"),
        ]);
        symlink("/etc/nothing", root.path().join("usr/lib/systemd/system/masked.service")).unwrap();
        symlink("a.service", root.path().join("usr/lib/systemd/system/alias.service")).unwrap();
        let new = look(root.path(), RELEASE);
        assert_eq!(new.os_release.unwrap().unwrap().image_version.as_deref(), Some("2"));
        assert_eq!((new.sysext_level.as_deref(), new.confext_level), (Some("1"), None));
        assert_eq!(new.machine_id, MachineId::Uninitialized);
        assert_eq!(new.var_in_fstab.as_deref(), Some("LABEL=var"));
        assert_eq!(new.modules, Some(Ok(set(&["a_b", "c", "loop"]))));
        assert_eq!(new.kernels, [RELEASE]);
        assert_eq!(new.wanted_modules, set(&["a_b", "missing"]));
        assert_eq!(new.units, set(&["a.service", "alias.service"]));
        assert_eq!(new.enabled, set(&["a.service"]));
        assert_eq!(new.networks, set(&["/usr/lib/systemd/network/80-x.network"]));
        assert_eq!(new.extensions, set(&["tool"]));
        assert_eq!(new.top, set(&["etc", "usr"]));
        let selinux = new.selinux.unwrap();
        assert_eq!((selinux.mode.as_str(), selinux.kind.as_str()), ("enforcing", "targeted"));
        assert_eq!(selinux.sum, Some((CRC32.checksum(b"new"), 3)));
        assert_eq!((new.unread.as_slice(), new.initrd_release), (&[][..], false));
        let why = new.init.unwrap().unwrap_err();
        assert!(
            why.starts_with("none of /usr/lib/systemd/systemd, /lib/systemd/systemd, /sbin/init"),
            "{why}"
        );
    }

    #[test]
    fn links_stay_inside() {
        let root = root(&[("usr/x", "")]);
        fs::create_dir(root.path().join("etc")).unwrap();
        symlink("/../../../etc/passwd", root.path().join("etc/machine-id")).unwrap();
        symlink("/etc/os-release", root.path().join("usr/os-release")).unwrap();
        let new = look(root.path(), RELEASE);
        assert_eq!((new.machine_id, new.os_release, new.modules), (MachineId::Missing, None, None));
    }

    #[test]
    fn a_damaged_modules_dep() {
        let root = root(&[(&format!("lib/modules/{RELEASE}/modules.dep"), "nonsense\n")]);
        let why = look(root.path(), RELEASE).modules.unwrap().unwrap_err();
        assert!(why.contains("modules.dep: line 1"), "{why}");
    }
}
