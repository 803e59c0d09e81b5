//! What a tree with a system becomes for the rig: a read-only root as image builders make it, with our witness in it, and what a mini
//! guest starts of it.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use crate::{Outcome, sandbox, tree::Tree};

const REPORT: &str = include_str!("../guest/report.sh");
/// For disks with two roots and a /var of their own.
const PAIR_FSTAB: &str = "PARTLABEL=var /var ext4 defaults 0 2\ntmpfs /tmp tmpfs mode=1777 0 0\n";
const REPORT_UNIT: &str = include_str!("../guest/rig-report.service");

/// What a mini guest starts of what its targets want: the others are about nothing in any scenario, and took most of a start under
/// emulation.
const WANTED: [(&str, &[&str]); 3] = [
    (
        "sysinit.target",
        &[
            "kmod-static-nodes.service",
            "systemd-journal-flush.service",
            "systemd-journald.service",
            "systemd-machine-id-commit.service",
            "systemd-tmpfiles-setup-dev.service",
            "systemd-tmpfiles-setup.service",
            "systemd-udev-trigger.service",
            "systemd-udevd.service",
        ],
    ),
    (
        "sockets.target",
        &[
            "dbus.socket",
            "systemd-journald-dev-log.socket",
            "systemd-journald.socket",
            "systemd-udevd-control.socket",
            "systemd-udevd-kernel.socket",
            "systemd-udevd-varlink.socket",
        ],
    ),
    (
        "multi-user.target",
        &["dbus.service", "rig-report.service", "systemd-logind.service", "systemd-user-sessions.service"],
    ),
];
/// What is started all the same, by others than these targets, and is about nothing either.
const MASKED: [&str; 8] = [
    "getty@.service",
    "modprobe@.service",
    "serial-getty@.service",
    "systemd-initctl.socket",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-udev-load-credentials.service",
    "systemd-update-utmp.service",
];
/// What udev and tmpfiles read in it: storage, and what systemd itself needs.
const READ: [(&str, &[&str]); 2] = [
    (
        "udev/rules.d",
        &[
            "50-udev-default.rules",
            "55-dm.rules",
            "60-block.rules",
            "60-persistent-storage-dm.rules",
            "60-persistent-storage.rules",
            "90-image-dissect.rules",
            "95-dm-notify.rules",
            "99-systemd.rules",
        ],
    ),
    (
        "tmpfiles.d",
        &[
            "dbus.conf",
            "debian.conf",
            "legacy.conf",
            "portables.conf",
            "static-nodes-permissions.conf",
            "systemd-nologin.conf",
            "systemd.conf",
            "tmp.conf",
            "var.conf",
        ],
    ),
];
/// Generators that find nothing in it, and run at each start and each time that units are read again.
const MASKED_GENERATORS: [&str; 13] = [
    "systemd-bless-boot-generator",
    "systemd-debug-generator",
    "systemd-factory-reset-generator",
    "systemd-getty-generator",
    "systemd-hibernate-resume-generator",
    "systemd-import-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-run-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
    "systemd-tpm2-generator",
];
/// What it goes without, too, unless the kernel command line says `rig.bus`: they are an eighth of each start.
const ON_THE_BUS: [&str; 4] =
    ["dbus.service", "dbus.socket", "systemd-logind.service", "systemd-user-sessions.service"];
const WITH_BUS: &str = "[Unit]\nConditionKernelCommandLine=rig.bus\n";
/// Its udev looks at block devices and the console only, not at each of the machine's parts.
const TRIGGER: &str = "[Service]\nExecStart=\n\
    ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=block\n\
    ExecStart=-udevadm trigger --type=devices --action=add --sysname-match=ttyS0\n";

/// All of it: a tree with another is another tree.
pub(crate) fn furniture() -> String {
    format!(
        "{REPORT} {REPORT_UNIT} {PAIR_FSTAB} {WANTED:?} {MASKED:?} {READ:?} {MASKED_GENERATORS:?} {ON_THE_BUS:?} {TRIGGER} later versions"
    )
}

/// What image builders do to a system with a read-only root, and our witness.
pub(crate) fn furnish(path: &Path, kernel: &Tree) -> Outcome<()> {
    let write = |name: &str, text: &str| -> Outcome<()> {
        let file = path.join(name);
        fs::create_dir_all(file.parent().ok_or("no parent")?)?;
        Ok(fs::write(file, text)?)
    };
    write("etc/fstab", "tmpfs /var tmpfs mode=0755 0 0\ntmpfs /tmp tmpfs mode=1777 0 0\n")?;
    write("etc/machine-id", "")?;
    write("etc/hostname", "guest\n")?;
    write("usr/lib/rig/fstab", PAIR_FSTAB)?;
    write("usr/lib/systemd/system/rig-report.service", REPORT_UNIT)?;
    write("usr/lib/rig/mini/systemd/system/systemd-udev-trigger.service.d/rig.conf", TRIGGER)?;
    for unit in ON_THE_BUS {
        write(&format!("usr/lib/rig/mini/systemd/system/{unit}.d/rig.conf"), WITH_BUS)?;
    }
    for (target, units) in WANTED {
        let wants = path.join(format!("usr/lib/rig/mini/systemd/system/{target}.wants"));
        fs::create_dir_all(&wants)?;
        for unit in units {
            let original = Path::new("/usr/lib/systemd/system").join(unit);
            // Not every version of systemd has each.
            if path.join(original.strip_prefix("/")?).exists() {
                symlink(original, wants.join(unit))?;
            }
        }
    }
    let mini = path.join("usr/lib/rig/mini");
    mask(&mini.join("systemd/system"), MASKED)?;
    mask(&mini.join("systemd/system-generators"), MASKED_GENERATORS)?;
    for (directory, read) in READ {
        let names = fs::read_dir(path.join("usr/lib").join(directory))?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Outcome<Vec<OsString>>>()?;
        let others = names.into_iter().filter(|name| !read.iter().any(|read| name == read));
        mask(&mini.join(directory), others)?;
    }
    let release = fs::read_to_string(path.join("usr/lib/os-release"))?;
    for version in 1..=3 {
        let text = format!("{release}IMAGE_ID=os\nIMAGE_VERSION={version}\n");
        write(&format!("usr/lib/rig/os-release-{version}"), &text)?;
    }
    // In blocks of its own, which nothing reads before a script does.
    write("usr/lib/rig/later", &format!("{:8192}READ-LATER-MARKER{:8192}", "", ""))?;
    write("usr/lib/rig/report", REPORT)?;
    let script = path.join("usr/lib/rig/report");
    fs::set_permissions(script, PermissionsExt::from_mode(0o755))?;
    let wants = path.join("usr/lib/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    symlink("../rig-report.service", wants.join("rig-report.service"))?;
    // What the running kernel has loaded has to be there after a soft reboot, too.
    let modules = Path::new("usr/lib/modules").join(kernel.kernel_release()?);
    let (from, to) = (kernel.0.join(&modules), path.join("usr/lib/modules"));
    fs::create_dir_all(&to)?;
    let copied = Command::new("cp").arg("-a").arg(&from).arg(&to).status()?;
    if !copied.success() {
        return Err(format!("copy {}: {copied}", from.display()).into());
    }
    let work = tempfile::tempdir()?;
    sandbox::run(path, work.path(), None, "systemctl", &["set-default", "multi-user.target"])?;
    Ok(())
}

/// Has nothing stand for each of these files of the vendor's.
fn mask<N: AsRef<Path>>(directory: &Path, names: impl IntoIterator<Item = N>) -> Outcome<()> {
    fs::create_dir_all(directory)?;
    Ok(names.into_iter().try_for_each(|name| symlink("/dev/null", directory.join(name)))?)
}
