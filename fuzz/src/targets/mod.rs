//! The targets, a file each. A new one is its file, its name twice below, and a folder `fuzz/corpus/NAME`.

use std::borrow::Cow;

use super::Target;

mod boot_entry;
mod certificate;
mod cmdline;
mod cpio;
mod devno;
mod drop_ins;
mod elf;
mod filesystem;
mod fstab;
mod gpt;
mod guid;
mod host_config;
mod image_filter;
mod image_policy;
mod inhibitor;
mod ini;
mod initramfs_config;
mod intent;
mod job_list;
mod journal_entry;
mod kernel_release;
mod mbr;
mod meminfo;
mod modindex;
mod modules;
mod mount_options;
mod mount_unit;
mod mountinfo;
mod os_release;
mod plan_boot;
mod plan_soft_reboot;
#[cfg(feature = "planted-bug")]
mod planted;
mod probe_log;
mod process;
mod reed_solomon;
mod relay;
mod root_hash;
mod signature;
mod signature_check;
mod signature_partition;
mod source;
mod state;
mod systemd_version;
mod sysupdate;
mod time_span;
mod tries;
mod uevent;
mod uki;
mod unit_list;
mod unit_properties;
mod verity_digest;
mod verity_fec;
mod verity_options;
mod verity_setup;
mod verity_superblock;
mod verity_table;
mod version;
mod versioned_directory;

macro_rules! targets {
    ($($(#[$condition:meta])? $name:ident,)*) => {
        &[$($(#[$condition])? Target { name: stringify!($name), run: $name::run }),*]
    };
}

/// All of them.
pub const ALL: &[Target] = targets![
    boot_entry,
    certificate,
    cmdline,
    cpio,
    devno,
    drop_ins,
    elf,
    filesystem,
    fstab,
    gpt,
    guid,
    host_config,
    image_filter,
    image_policy,
    inhibitor,
    ini,
    initramfs_config,
    intent,
    job_list,
    journal_entry,
    kernel_release,
    mbr,
    meminfo,
    modindex,
    modules,
    mount_options,
    mount_unit,
    mountinfo,
    os_release,
    plan_boot,
    plan_soft_reboot,
    #[cfg(feature = "planted-bug")]
    planted,
    probe_log,
    process,
    reed_solomon,
    relay,
    root_hash,
    signature,
    signature_check,
    signature_partition,
    source,
    state,
    systemd_version,
    sysupdate,
    time_span,
    tries,
    uevent,
    uki,
    unit_list,
    unit_properties,
    verity_digest,
    verity_fec,
    verity_options,
    verity_setup,
    verity_superblock,
    verity_table,
    version,
    versioned_directory,
];

/// Text as it is read from files: what is not UTF-8 is replaced.
fn text(data: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(data)
}
