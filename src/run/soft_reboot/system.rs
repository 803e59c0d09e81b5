//! Gathers the facts of the running system for preflight.
//!
//! What cannot be read is noted in the facts, and the check that needs it says less; nothing here waits but for
//! systemd's answer, and that in bounded time.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    format::{
        kernel::{meminfo, modules, process},
        system::{
            inhibitor::Inhibitor,
            os_release::{self, OsRelease},
            systemd_version::SystemdVersion,
            unit_file,
        },
    },
    plan::{
        preflight::{
            new_root::{MachineId, SelinuxPolicy},
            system::{Extension, ExtensionKind, Link, Process, System},
        },
        watchdog::{self, Watchdog},
    },
};

use crate::run::{
    soft_reboot::{asking, inspect, manager_conf, units::Systemctl, watcher::program_in_root},
    tree::Tree,
};

/// The running system: its root directory, and whom to ask for units.
#[derive(Clone, Debug)]
pub struct Running {
    /// `/`, or the directory of a test.
    pub root: PathBuf,
    /// Who knows the units.
    pub systemctl: Systemctl,
}

impl Default for Running {
    fn default() -> Self {
        Self { root: "/".into(), systemctl: Systemctl::default() }
    }
}

/// What of the running system decides by what a switch is watched over; it costs a question or two.
#[derive(Clone, Debug, Default)]
pub struct Handover {
    /// Whether PID 1 tells anything of itself.
    pub answers: bool,
    /// systemd's version, as PID 1 tells it.
    pub systemd: Option<SystemdVersion>,
    /// `RestrictFileSystemAccess=`, where it is on.
    pub restrict_execution: Option<String>,
    /// Where this program lies in the running root, if it does.
    pub program: Option<String>,
    /// The hardware watchdog that PID 1 feeds.
    pub watchdog: Option<Watchdog>,
    /// The kernel command line.
    pub command_line: String,
    /// What could not be asked, with the reason.
    pub unread: Vec<String>,
}

/// An error, with what led to it.
fn noted(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn line(tree: &mut Tree, path: &str) -> Option<String> {
    tree.text(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

impl Running {
    /// Why PID 1 will not do what it is asked for: nobody is there to answer. One that is late may still do it.
    #[must_use]
    pub fn unanswered(&self) -> Option<asking::Error> {
        self.systemctl.version().err().filter(|error| matches!(error, asking::Error::Failed { .. }))
    }

    /// Reads what of it decides by what a switch is watched over.
    #[must_use]
    pub fn look_at_handover(&self) -> Handover {
        let mut tree = Tree::new(&self.root);
        let mut handover = Handover::default();
        match self.systemctl.version() {
            Ok(systemd) => {
                (handover.systemd, handover.answers) = (systemd, true);
                match self.systemctl.watchdog() {
                    Ok(watchdog) => handover.watchdog = watchdog,
                    Err(error) => handover.unread.push(noted(&error)),
                }
            }
            // Whoever does not tell a version tells nothing else.
            Err(error) => handover.unread.push(noted(&error)),
        }
        if let Some(watchdog) = &mut handover.watchdog {
            // /dev/watchdog is the first.
            let name = watchdog.device.rsplit('/').next().filter(|name| *name != "watchdog");
            let options = format!("/sys/class/watchdog/{}/options", name.unwrap_or("watchdog0"));
            watchdog.runs_on = tree.text(&options).is_some_and(|options| watchdog::runs_on(&options));
        }
        handover.command_line = line(&mut tree, "/proc/cmdline").unwrap_or_default();
        handover.restrict_execution = restrict_execution(&mut tree, &handover.command_line);
        handover.program = program_in_root();
        handover.unread.append(&mut tree.unread);
        handover
    }

    /// Reads all facts.
    #[must_use]
    pub fn look(&self) -> System {
        let mut tree = Tree::new(&self.root);
        let Handover { answers, systemd, restrict_execution, program, watchdog, command_line, mut unread } =
            self.look_at_handover();
        let units = if answers { self.systemctl.units() } else { Ok(Vec::new()) };
        let units = units.map_err(|error| unread.push(noted(&error))).unwrap_or_default();
        let kernel_release = line(&mut tree, "/proc/sys/kernel/osrelease").unwrap_or_default();
        let machine_id = |text: Option<String>| match MachineId::parse(&text.unwrap_or_default()) {
            MachineId::Id(id) => Some(id),
            _ => None,
        };
        let is_survivor = |group: &str| {
            units.iter().any(|unit| unit.survives_final_kill == Some(true) && unit.holds(group))
        };
        let mut system = System {
            processes: processes(&mut tree, &self.root, &is_survivor),
            machine_id: machine_id(tree.text("/etc/machine-id")),
            transient_machine_id: machine_id(tree.text("/run/machine-id")),
            os_release: tree
                .first(&["/etc/os-release", "/usr/lib/os-release"])
                .and_then(|(_, text)| OsRelease::parse(text.as_bytes()).ok()),
            loaded_modules: tree.text("/proc/modules").map(|text| modules::loaded(&text)).unwrap_or_default(),
            selinux: selinux(&mut tree),
            extensions: extensions(&mut tree),
            links: links(&mut tree),
            restrict_execution,
            program,
            watchdog,
            inhibitors: inhibitors(&mut tree),
            memory_available: tree.text("/proc/meminfo").and_then(|text| meminfo::available(&text)),
            has_modules: ["/usr/lib/modules", "/lib/modules"]
                .iter()
                .any(|place| tree.has(&format!("{place}/{kernel_release}"))),
            kernel_release,
            command_line,
            systemd,
            units,
            unread,
        };
        system.unread.append(&mut tree.unread);
        system
    }

    /// Who holds a shutdown back, as far as that can be read.
    #[must_use]
    pub fn inhibitors(&self) -> (Vec<Inhibitor>, Vec<String>) {
        let mut tree = Tree::new(&self.root);
        (inhibitors(&mut tree), tree.unread)
    }
}

/// Processes that are marked, and those of survivors. One that ends meanwhile is passed over.
fn processes(tree: &mut Tree, root: &Path, is_survivor: &dyn Fn(&str) -> bool) -> Vec<Process> {
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    let of_root = device(root);
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let of_init = namespace(&root.join("proc/1"));
    let has_own_mounts = |process: &Path| of_init.is_none() || namespace(process) != of_init;
    let pids: Vec<u32> = tree.names("/proc").iter().filter_map(|name| name.parse().ok()).collect();
    let mut found = Vec::new();
    let before = tree.unread.len();
    for pid in pids {
        let mut file = |name: &str| tree.text(&format!("/proc/{pid}/{name}"));
        let (Some(status), Some(group), Some(arguments)) = (file("status"), file("cgroup"), file("cmdline"))
        else {
            continue;
        };
        let Some(group) = process::control_group(&group) else { continue };
        let marked = process::is_marked(arguments.as_bytes()) && process::real_user(&status) == Some(0);
        if !marked && !is_survivor(group) {
            continue;
        }
        let directory = root.join("proc").join(pid.to_string());
        let on_root = |link| of_root.is_some() && device(&directory.join(link)) == of_root;
        found.push(Process {
            pid,
            name: process::name(&status).unwrap_or_default().to_owned(),
            control_group: group.to_owned(),
            marked,
            // In PID 1's own mount namespace, the root of a process moves with the switch (pivot_root(2)).
            uses_root: on_root("exe") || on_root("root") && has_own_mounts(&directory),
        });
    }
    tree.unread.truncate(before); // ESRCH of those that ended
    found.sort_by_key(|process| process.pid);
    found
}

/// The policy, where SELinux is on.
fn selinux(tree: &mut Tree) -> Option<SelinuxPolicy> {
    let enforcing = tree.text("/sys/fs/selinux/enforce")?;
    let mode = if enforcing.trim() == "1" { "enforcing" } else { "permissive" };
    let policy = inspect::selinux(tree).unwrap_or_default();
    Some(SelinuxPolicy { mode: mode.to_owned(), ..policy })
}

/// Extensions of a kind: the file that lists what is merged, where their releases stand, where they come from.
type ExtensionRow = (ExtensionKind, &'static str, &'static str, &'static str, &'static [&'static str]);

/// systemd-sysext(8); src/sysext/sysext.c writes the lists. First those of /usr: /opt has the same.
const EXTENSIONS: [ExtensionRow; 2] = [
    (
        ExtensionKind::System,
        "/usr/.systemd-sysext/extensions",
        "/usr/lib/extension-release.d",
        "SYSEXT_LEVEL",
        &["/etc/extensions", "/run/extensions", "/var/lib/extensions", "/usr/local/lib/extensions"],
    ),
    (
        ExtensionKind::Configuration,
        "/etc/.systemd-confext/confexts",
        "/etc/extension-release.d",
        "CONFEXT_LEVEL",
        &["/run/confexts", "/var/lib/confexts", "/usr/local/lib/confexts", "/usr/lib/confexts"],
    ),
];

fn extensions(tree: &mut Tree) -> Vec<Extension> {
    let mut found = Vec::new();
    for (kind, list, releases, level, places) in EXTENSIONS {
        let list = tree.text(list).unwrap_or_default();
        for name in list.lines().map(str::trim).filter(|name| !name.is_empty()) {
            let release = tree.text(&format!("{releases}/extension-release.{name}")).unwrap_or_default();
            let value = |variable| os_release::variable(release.as_bytes(), variable);
            let mut has =
                |place: &&&str| tree.names(place).iter().any(|file| inspect::extension_name(file) == name);
            found.push(Extension {
                name: name.to_owned(),
                kind,
                place: places.iter().find(&mut has).map(|place| (*place).to_owned()),
                id: value("ID"),
                version_id: value("VERSION_ID"),
                level: value(level),
            });
        }
    }
    found
}

/// Links as networkd left them in /run/systemd/netif/links, by interface index.
fn links(tree: &mut Tree) -> Vec<Link> {
    let mut names = BTreeMap::new();
    for name in tree.names("/sys/class/net") {
        if let Some(index) = tree.text(&format!("/sys/class/net/{name}/ifindex")) {
            names.insert(index.trim().to_owned(), name);
        }
    }
    let mut found = Vec::new();
    for index in tree.names("/run/systemd/netif/links") {
        let Some(state) = tree.text(&format!("/run/systemd/netif/links/{index}")) else { continue };
        let value = |key: &str| {
            let mut values = state.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next().map(|value| value.trim_matches('"').to_owned())
        };
        let Some(name) = names.get(&index).filter(|_| value("ADMIN_STATE").as_deref() != Some("unmanaged"))
        else {
            continue;
        };
        let file = value("NETWORK_FILE");
        let drop_ins = value("NETWORK_FILE_DROPINS").unwrap_or_default();
        let files =
            file.iter().map(String::as_str).chain(drop_ins.split([':', ' ']).filter(|path| !path.is_empty()));
        let keep = files.filter_map(|path| {
            let text = tree.text(path)?;
            unit_file::values(&text, "Network", "KeepConfiguration").pop()
        });
        let keep = keep.last();
        found.push(Link { name: name.clone(), file, keep });
    }
    found
}

/// Where RestrictFileSystemAccess= is on: by the kernel command line, else by system.conf and its drop-ins, of
/// which the last counts (systemd-system.conf(5)).
fn restrict_execution(tree: &mut Tree, command_line: &str) -> Option<String> {
    const PARAMETER: &str = "systemd.restrict_filesystem_access";
    const KEY: &str = "RestrictFileSystemAccess";
    let is_on = |value: &str| value == "exec" || unit_file::boolean(value) == Some(true);
    let words = command_line.split_whitespace().filter_map(|word| word.strip_prefix(PARAMETER));
    let mut given =
        words.filter_map(|rest| if rest.is_empty() { Some("yes") } else { rest.strip_prefix('=') });
    if let Some(value) = given.next_back() {
        return is_on(value).then(|| format!("{PARAMETER}={value} on the kernel command line"));
    }
    manager_conf::assigned(tree, &manager_conf::PLACES, KEY)
        .filter(|(value, _)| is_on(value))
        .map(|(value, path)| format!("{KEY}={value} in {path}"))
}

fn inhibitors(tree: &mut Tree) -> Vec<Inhibitor> {
    const DIRECTORY: &str = "/run/systemd/inhibit";
    // Beside each lies a FIFO, N.ref.
    let names = tree.names(DIRECTORY).into_iter().filter(|name| !name.ends_with(".ref"));
    let files: Vec<String> = names.map(|name| format!("{DIRECTORY}/{name}")).collect();
    files.iter().filter_map(|file| tree.text(file)).map(|text| Inhibitor::parse(&text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: &[(&str, &str)]) -> System {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Running { root: root.path().to_owned(), systemctl: Systemctl::at("/nowhere/systemctl") }.look()
    }

    #[test]
    fn a_system() {
        let id = "0123456789abcdef0123456789abcdef";
        let system = look(&[
            ("proc/sys/kernel/osrelease", "6.12.48\n"),
            ("proc/cmdline", "quiet root=x\n"),
            ("proc/modules", "ext4 1 0 - Live 0x0\n"),
            ("proc/meminfo", "MemAvailable: 1024 kB\n"),
            ("lib/modules/6.12.48/modules.dep", ""),
            ("etc/os-release", "ID=debian\n"),
            ("etc/machine-id", id),
            ("run/machine-id", "uninitialized\n"),
            ("proc/7/status", "Name:\tsplash\nUid:\t0\t0\t0\t0\n"),
            ("proc/7/cgroup", "0::/system.slice/splash.service\n"),
            ("proc/7/cmdline", "@splash\0"),
            ("proc/7/root", ""),
            ("proc/8/status", "Name:\tuser\nUid:\t1000\t0\t0\t0\n"),
            ("proc/8/cgroup", "0::/user.slice\n"),
            ("proc/8/cmdline", "@user\0"),
            ("proc/9/status", "Name:\tplain\nUid:\t0\t0\t0\t0\n"),
            ("proc/9/cgroup", "0::/system.slice/plain.service\n"),
            ("proc/9/cmdline", "plain\0"),
            ("run/systemd/inhibit/1", "WHAT=shutdown\nMODE=block\nWHO=apt\n"),
            ("run/systemd/inhibit/1.ref", ""),
        ]);
        assert_eq!(
            (system.kernel_release.as_str(), system.command_line.as_str()),
            ("6.12.48", "quiet root=x")
        );
        assert_eq!((system.loaded_modules.as_slice(), system.has_modules), (&["ext4".to_owned()][..], true));
        assert_eq!(system.memory_available.map(|bytes| bytes.0), Some(1 << 20));
        assert_eq!((system.machine_id.as_deref(), system.transient_machine_id), (Some(id), None));
        let [splash] = system.processes.as_slice() else { panic!("{:?}", system.processes) };
        assert_eq!(
            (splash.pid, splash.name.as_str(), splash.marked, splash.uses_root),
            (7, "splash", true, true)
        );
        assert_eq!(system.inhibitors.iter().map(|lock| lock.who.as_str()).collect::<Vec<_>>(), ["apt"]);
        let [unread] = system.unread.as_slice() else { panic!("{:?}", system.unread) };
        assert!(unread.starts_with("start /nowhere/systemctl"), "{unread}");
    }

    #[test]
    fn networks_and_extensions() {
        let system = look(&[
            ("sys/class/net/eth0/ifindex", "2\n"),
            ("sys/class/net/lo/ifindex", "1\n"),
            (
                "run/systemd/netif/links/2",
                "ADMIN_STATE=configured\nNETWORK_FILE=/etc/a.network\nNETWORK_FILE_DROPINS=\"/run/a.network.d/x.conf\"\n",
            ),
            ("run/systemd/netif/links/1", "ADMIN_STATE=unmanaged\n"),
            ("etc/a.network", "[Network]\nKeepConfiguration=no\n"),
            ("run/a.network.d/x.conf", "[Network]\nKeepConfiguration=yes\n"),
            ("usr/.systemd-sysext/extensions", "tool\n"),
            ("usr/lib/extension-release.d/extension-release.tool", "ID=debian\nSYSEXT_LEVEL=3\n"),
            ("var/lib/extensions/tool.raw", ""),
            ("etc/.systemd-confext/confexts", "site\n"),
        ]);
        let eth0 = Link {
            name: "eth0".to_owned(),
            file: Some("/etc/a.network".to_owned()),
            keep: Some("yes".to_owned()),
        };
        assert_eq!(system.links, [eth0]);
        let tool = Extension {
            name: "tool".to_owned(),
            kind: ExtensionKind::System,
            place: Some("/var/lib/extensions".to_owned()),
            id: Some("debian".to_owned()),
            version_id: None,
            level: Some("3".to_owned()),
        };
        let site =
            Extension { name: "site".to_owned(), kind: ExtensionKind::Configuration, ..Extension::default() };
        assert_eq!(system.extensions, [tool, site]);
    }

    #[test]
    fn restricted_execution() {
        let main = ("etc/systemd/system.conf", "[Manager]\nRestrictFileSystemAccess=exec\n");
        let line = |text| ("proc/cmdline", text);
        let by_main = Some("RestrictFileSystemAccess=exec in /etc/systemd/system.conf");
        for (files, expected) in [
            (&[][..], None),
            (&[main][..], by_main),
            (&[main, ("usr/lib/systemd/system.conf", "[Manager]\nRestrictFileSystemAccess=no\n")], by_main),
            (&[main, ("run/systemd/system.conf.d/x.conf", "[Manager]\nRestrictFileSystemAccess=no\n")], None),
            (&[main, line("systemd.restrict_filesystem_access=0")], None),
            (
                &[line("systemd.restrict_filesystem_access")],
                Some("systemd.restrict_filesystem_access=yes on the kernel command line"),
            ),
            (&[line("systemd.restrict_filesystem_accessible=1")], None),
        ] {
            assert_eq!(look(files).restrict_execution.as_deref(), expected, "{files:?}");
        }
    }

    #[test]
    fn selinux_is_off_without_its_file_system() {
        let config = ("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=x\n");
        assert_eq!(look(&[config]).selinux, None);
        let policy = look(&[config, ("sys/fs/selinux/enforce", "0")]).selinux.unwrap();
        assert_eq!((policy.kind.as_str(), policy.mode.as_str(), policy.sum), ("x", "permissive", None));
    }
}
