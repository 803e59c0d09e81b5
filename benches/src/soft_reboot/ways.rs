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
    /// Bytes a second that its disks read or write at most: none, where all of them is in the host's memory.
    pub(super) rate: Option<u64>,
    /// The second system.
    pub(super) next: &'static Next,
}

/// A second system.
pub(super) struct Next {
    /// The labels of its partition and of that with its hash tree.
    label: &'static str,
    tree: &'static str,
    root_hash: &'static str,
    /// What nextroot is given for it.
    source: &'static str,
    /// The image that it is in, where that is on a disk of its own.
    pub(super) image: Option<&'static str>,
}

/// The same system once more.
const SAME: Next = Next {
    label: "os_2",
    tree: "os_2_verity",
    root_hash: "{roothash:os_2}",
    source: "slot:other",
    image: None,
};
/// The same with other versions of the libraries.
const UPDATED: Next = Next {
    label: "root",
    tree: "root-verity",
    root_hash: "{second:roothash:root}",
    source: "roothash:{second:roothash:root}",
    image: Some("serving-updated"),
};

/// As much as a card or a disk that turns gives of small files here and there.
const SLOW: Option<u64> = Some(20_000_000);

const REBOOT: &str = "leave systemctl reboot";
const KEXEC: &str = "\
mkdir -p /run/boot
tar -xf /dev/vdb -C /run/boot
guest-init kexec /run/boot/kernel /run/boot/initrd \"$(sed s/{roothash:os_1}/{roothash:os_2}/ /proc/cmdline)\"
leave systemctl kexec";
const PLAIN: &str = "\
veritysetup open /dev/disk/by-partlabel/{next} next /dev/disk/by-partlabel/{tree} {root_hash}
mkdir -p /run/nextroot
mount -o ro /dev/mapper/next /run/nextroot
leave systemctl soft-reboot";
const COLD: &str = "does stage nextroot stage {source}\nleave nextroot reboot";
const AHEAD: &str = "reads_ahead\ndoes stage nextroot stage {source}\nleave nextroot reboot";

/// All of them. What others are held against is called `plain`, with what stands behind `@` where their disk or their second system
/// is another.
pub(super) const WAYS: &[Way] = &[
    Way::hard("reboot", "full reboot into the same system, an initramfs of dracut", dracut, REBOOT),
    Way::hard(
        "reboot-nextroot",
        "full reboot into the same system, nextroot's initramfs",
        nextroot_generic,
        REBOOT,
    ),
    Way { kexec: true, ..Way::hard("kexec", "kexec, an initramfs of dracut", dracut, KEXEC) },
    Way::soft("plain", "soft reboot of systemd, what it goes to opened and mounted by hand", PLAIN),
    Way::soft("nextroot", "nextroot, nothing read ahead", COLD),
    Way::soft("nextroot-prewarm", "nextroot, as it is", AHEAD),
    Way { rate: SLOW, ..Way::soft("plain@slow", "soft reboot of systemd, on a disk of 20 MB/s", PLAIN) },
    Way {
        rate: SLOW,
        ..Way::soft("nextroot@slow", "nextroot, nothing read ahead, on a disk of 20 MB/s", COLD)
    },
    Way {
        rate: SLOW,
        ..Way::soft("nextroot-prewarm@slow", "nextroot, as it is, on a disk of 20 MB/s", AHEAD)
    },
    Way {
        next: &UPDATED,
        ..Way::soft("plain@updated", "soft reboot of systemd, to other versions of the libraries", PLAIN)
    },
    Way {
        next: &UPDATED,
        ..Way::soft(
            "nextroot@updated",
            "nextroot, nothing read ahead, to other versions of the libraries",
            COLD,
        )
    },
    Way {
        next: &UPDATED,
        ..Way::soft(
            "nextroot-prewarm@updated",
            "nextroot, as it is, to other versions of the libraries",
            AHEAD,
        )
    },
];

impl Way {
    const fn hard(
        name: &'static str,
        what: &'static str,
        initramfs: fn(&Measured, &Path) -> Outcome<Made>,
        go: &'static str,
    ) -> Self {
        Self { name, what, initramfs, go, kexec: false, survives: false, rate: None, next: &SAME }
    }

    const fn soft(name: &'static str, what: &'static str, go: &'static str) -> Self {
        Self { survives: true, ..Self::hard(name, what, nextroot_generic, go) }
    }

    /// The script of both systems. The second knows itself by a file in /var: after a full reboot it counts its lives anew.
    pub(super) fn script(&self) -> String {
        let Next { label, tree, root_hash, source, .. } = self.next;
        let go = [("{next}", label), ("{tree}", tree), ("{root_hash}", root_hash), ("{source}", source)]
            .iter()
            .fold(self.go.replace('\n', "\n\t"), |go, (word, value)| go.replace(word, value));
        let survivors = if self.survives { "survivor survivor\n\tsurviving_socket" } else { ":" };
        format!(
            "\
say clock \"$(guest-init clock)\"
# Bytes that the next root's partition was read for since the machine's start
read_of_next() {{ awk '{{ print $3 * 512 }}' \"/sys/class/block/$(basename \"$(readlink -f /dev/disk/by-partlabel/{label})\")/stat\"; }}
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
"
        )
    }
}
