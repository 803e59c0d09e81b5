//! Who is measured, and how each makes its initramfs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use nextroot_qemu::measured::{Disk, Measured};

use super::{DISK, floor};
use crate::Outcome;

/// One that makes an initramfs.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Whether its root is verified; without that there is less to be done.
    pub(crate) verity: bool,
    /// Whether it is a program that makes them.
    pub(crate) makes: bool,
    pub(crate) disk: Disk<'static>,
    pub(crate) command_line: &'static str,
    pub(crate) make: fn(&Measured, &Path) -> Outcome<Made>,
}

/// An initramfs that was made.
pub(crate) struct Made {
    pub(crate) file: PathBuf,
    /// How, for a person.
    pub(crate) command: String,
}

pub(crate) const VERITY: &str = "roothash={roothash:root}";
const PLAIN: &str = "root=/dev/vda1 rootfstype=erofs ro";

/// All of them.
pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: "nextroot",
        what: "nextroot, for this machine",
        verity: true,
        makes: true,
        disk: DISK,
        command_line: VERITY,
        make: nextroot,
    },
    Peer {
        name: "nextroot-generic",
        what: "nextroot, for any machine",
        verity: true,
        makes: true,
        disk: DISK,
        command_line: VERITY,
        make: nextroot_generic,
    },
    Peer {
        name: "floor",
        what: "the same modules and kernel calls in C, all hard-coded",
        verity: true,
        makes: false,
        disk: DISK,
        command_line: "",
        make: floor::floor,
    },
    Peer {
        name: "dracut-small",
        what: "dracut with systemd, as small as its options allow",
        verity: true,
        makes: true,
        disk: DISK,
        command_line: VERITY,
        make: dracut_small,
    },
    Peer {
        name: "dracut",
        what: "dracut with systemd, generic",
        verity: true,
        makes: true,
        disk: DISK,
        command_line: VERITY,
        make: dracut,
    },
    Peer {
        name: "rsinit",
        what: "rsinit, with its modules loaded before",
        verity: true,
        makes: false,
        disk: Disk { image: floor::BARE, ..DISK },
        command_line: "rsinit.verity_root=/dev/vda1 rootfstype=erofs ro",
        make: floor::rsinit,
    },
    Peer {
        name: "initramfs-tools",
        what: "initramfs-tools, a plain root",
        verity: false,
        makes: true,
        disk: DISK,
        command_line: PLAIN,
        make: initramfs_tools,
    },
    Peer {
        name: "tiny-initramfs",
        what: "tiny-initramfs, a plain root",
        verity: false,
        makes: true,
        disk: DISK,
        command_line: PLAIN,
        make: tiny_initramfs,
    },
    Peer {
        name: "mkosi-initrd",
        what: "mkosi's initrd, with systemd and veritysetup",
        verity: true,
        // Most of what it does is to fetch and unpack packages.
        makes: false,
        disk: DISK,
        command_line: VERITY,
        make: mkosi_initrd,
    },
];

/// For the machine that is measured.
const SMALL: &[&str] =
    &["--only-driver", "virtio_blk", "--only-driver", "virtio_pci", "--only-driver", "erofs"];

pub(crate) fn nextroot(measured: &Measured, dist: &Path) -> Outcome<Made> {
    mkinitrd(measured, dist, SMALL)
}

/// For any machine.
pub(crate) fn nextroot_generic(measured: &Measured, dist: &Path) -> Outcome<Made> {
    mkinitrd(measured, dist, &[])
}

fn mkinitrd(measured: &Measured, dist: &Path, options: &[&str]) -> Outcome<Made> {
    let (kernel, release) = measured.kernel()?;
    let file = measured.directory("nextroot")?.join("initrd");
    let mut command = Command::new(dist.join("mkinitrd"));
    command.arg("-o").arg(&file).args(["--kernel", &release]).arg("--sysroot").arg(&kernel).args(options);
    floor::finished(&mut command)?;
    Ok(Made { file, command: format!("mkinitrd -o initrd --kernel {release} {}", options.join(" ")) })
}

/// Makes it in a tree of packages, with the kernel's modules where they are looked for.
fn in_tree(measured: &Measured, tree: &str, script: &str) -> Outcome<Made> {
    let (_, release) = measured.kernel()?;
    let work = measured.directory(tree)?;
    let script = script.replace("{release}", &release);
    let begin = format!(
        "set -e; mkdir -p /usr/lib/modules; ln -sfn /srv/usr/lib/modules/{release} /usr/lib/modules/{release}; cp /srv/boot/config-{release} /boot/"
    );
    measured.run_in(tree, &work, "sh", &["-c", &format!("{begin}; {script}")])?;
    Ok(Made { file: work.join("initrd"), command: script })
}

pub(crate) fn dracut(measured: &Measured, _: &Path) -> Outcome<Made> {
    in_tree(
        measured,
        "dracut",
        "dracut --quiet --force --no-hostonly --add systemd-veritysetup --add-drivers 'erofs dm_verity virtio_blk virtio_pci' --kver {release} /mnt/initrd",
    )
}

fn dracut_small(measured: &Measured, _: &Path) -> Outcome<Made> {
    in_tree(
        measured,
        "dracut",
        "dracut --quiet --force --no-hostonly --modules 'systemd systemd-initrd systemd-veritysetup dracut-systemd udev-rules base fs-lib rootfs-block dm' --drivers 'erofs dm_verity virtio_blk virtio_pci' --kver {release} /mnt/initrd",
    )
}

fn initramfs_tools(measured: &Measured, _: &Path) -> Outcome<Made> {
    in_tree(
        measured,
        "initramfs-tools",
        "printf 'erofs\\nvirtio_blk\\nvirtio_pci\\n' >/etc/initramfs-tools/modules; mkinitramfs -o /mnt/initrd {release}",
    )
}

fn tiny_initramfs(measured: &Measured, _: &Path) -> Outcome<Made> {
    in_tree(
        measured,
        "tiny-initramfs",
        "mktirfs -o /mnt/initrd --auto-modules=no --include-modules=virtio_pci,virtio_blk,erofs --microcode=no {release}",
    )
}

/// What mkosi-initrd(1) calls, which would take the modules that this host has loaded, and packages of more archives than this host may
/// have.
fn mkosi_initrd(measured: &Measured, _: &Path) -> Outcome<Made> {
    std::fs::copy("/etc/resolv.conf", measured.directory("mkosi")?.join("resolv.conf"))?;
    in_tree(
        measured,
        "mkosi",
        "cp resolv.conf /etc/; mkdir -p sandbox/etc/apt/sources.list.d; set -- $(grep '^deb ' /etc/apt/sources.list); \
         printf 'Types: deb\\nURIs: %s\\nSuites: %s\\nComponents: main\\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\\n' $2 $3 \
         >sandbox/etc/apt/sources.list.d/mkosi.sources; \
         mkosi --force --directory '' --distribution debian --release trixie --sandbox-tree /mnt/sandbox --include mkosi-initrd \
         --package systemd-cryptsetup --extra-tree /srv/usr/lib/modules/{release}:/usr/lib/modules/{release} --kernel-modules-exclude '.*' \
         --build-sources '' --workspace-dir /var/tmp --format cpio --output initrd --output-directory /mnt build",
    )
}
