//! Ways from one system to the next.

use std::path::Path;

use nextroot_qemu::measured::Measured;

use crate::{
    Outcome,
    initramfs::peers::{Made, dracut, nextroot_generic},
};

/// A way.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) initramfs: fn(&Measured, &Path) -> Outcome<Made>,
    /// What the first system does to get to the second.
    go: &'static str,
    /// Whether it needs the kernel, to execute it.
    pub(super) kexec: bool,
    /// Whether what survives a soft reboot is there to be looked at.
    pub(super) survives: bool,
    /// Bytes a second that its disk reads or writes at most: none, where all of it is in the host's memory.
    pub(super) rate: Option<u64>,
}

/// As much as a card or a disk that turns gives of small files here and there.
const SLOW: Option<u64> = Some(20_000_000);

const PLAIN: &str = "\
veritysetup open /dev/disk/by-partlabel/os_2 next /dev/disk/by-partlabel/os_2_verity {roothash:os_2}
mkdir -p /run/nextroot
mount -o ro /dev/mapper/next /run/nextroot
leave systemctl soft-reboot";
const COLD: &str = "does stage nextroot stage slot:other\nleave nextroot reboot";
const AHEAD: &str = "reads_ahead\ndoes stage nextroot stage slot:other\nleave nextroot reboot";

/// All of them. What others are held against is called `plain`, with what stands behind `@` where their disk is another.
pub(super) const WAYS: &[Way] = &[
    Way {
        name: "reboot",
        what: "full reboot into the same system, an initramfs of dracut",
        initramfs: dracut,
        go: "leave systemctl reboot",
        kexec: false,
        survives: false,
        rate: None,
    },
    Way {
        name: "reboot-nextroot",
        what: "full reboot into the same system, nextroot's initramfs",
        initramfs: nextroot_generic,
        go: "leave systemctl reboot",
        kexec: false,
        survives: false,
        rate: None,
    },
    Way {
        name: "kexec",
        what: "kexec, an initramfs of dracut",
        initramfs: dracut,
        go: "\
mkdir -p /run/boot
tar -xf /dev/vdb -C /run/boot
guest-init kexec /run/boot/kernel /run/boot/initrd \"$(sed s/{roothash:os_1}/{roothash:os_2}/ /proc/cmdline)\"
leave systemctl kexec",
        kexec: true,
        survives: false,
        rate: None,
    },
    Way {
        name: "plain",
        what: "soft reboot of systemd, what it goes to opened and mounted by hand",
        initramfs: nextroot_generic,
        go: PLAIN,
        kexec: false,
        survives: true,
        rate: None,
    },
    Way {
        name: "nextroot",
        what: "nextroot, nothing read ahead",
        initramfs: nextroot_generic,
        go: COLD,
        kexec: false,
        survives: true,
        rate: None,
    },
    Way {
        name: "nextroot-prewarm",
        what: "nextroot, as it is",
        initramfs: nextroot_generic,
        go: AHEAD,
        kexec: false,
        survives: true,
        rate: None,
    },
    Way {
        name: "plain@slow",
        what: "soft reboot of systemd, on a disk of 20 MB/s",
        initramfs: nextroot_generic,
        go: PLAIN,
        kexec: false,
        survives: true,
        rate: SLOW,
    },
    Way {
        name: "nextroot@slow",
        what: "nextroot, nothing read ahead, on a disk of 20 MB/s",
        initramfs: nextroot_generic,
        go: COLD,
        kexec: false,
        survives: true,
        rate: SLOW,
    },
    Way {
        name: "nextroot-prewarm@slow",
        what: "nextroot, as it is, on a disk of 20 MB/s",
        initramfs: nextroot_generic,
        go: AHEAD,
        kexec: false,
        survives: true,
        rate: SLOW,
    },
];

impl Way {
    /// The script of both systems. The second knows itself by a file in /var: after a full reboot it counts its lives anew.
    pub(super) fn script(&self) -> String {
        let survivors = if self.survives { "survivor survivor\n\tsurviving_socket" } else { ":" };
        format!(
            "\
say clock \"$(guest-init clock)\"
# Bytes that the next root's partition was read for since the machine's start
read_of_next() {{ awk '{{ print $3 * 512 }}' \"/sys/class/block/$(basename \"$(readlink -f /dev/disk/by-partlabel/os_2)\")/stat\"; }}
leave() {{ say read \"$(read_of_next)\"; say go \"$(guest-init clock)\"; soft_reboot \"$@\"; }}
settled | say state
if [ -e /var/lib/second ]; then
	sleep 3
	say read \"$(read_of_next)\"
	for service in survivor asked; do [ ! -e $service ] || say $service \"$(cat $service)\"; done
	say status \"$(nextroot status | head -n 1)\"
	# Where the time went, as far as systemd knows
	nextroot report 2>&1 | say report
	finish
else
	{survivors}
	sleep 3
	touch /var/lib/second
	sync
	say ready \"$(guest-init clock)\"
	{go}
fi
",
            go = self.go.replace('\n', "\n\t")
        )
    }
}
