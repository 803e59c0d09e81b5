//! The API file systems of an initramfs.

use std::{fs, io, path::Path};

use crate::{
    format::kernel::mount_options::{Flag, MountOptions},
    sys::mount,
};

/// One of them.
struct Api {
    at: &'static str,
    fstype: &'static str,
    flags: &'static [Flag],
    options: &'static [(&'static str, &'static str)],
}

use Flag::{NoDev, NoExec, NoSuid, StrictAtime};

/// What is mounted, in order. /run as systemd's INITRD_INTERFACE asks for, with the limits that systemd
/// itself gives it (src/shared/mount-setup.c).
const TABLE: [Api; 4] = [
    Api { at: "/proc", fstype: "proc", flags: &[NoSuid, NoDev, NoExec], options: &[] },
    Api { at: "/sys", fstype: "sysfs", flags: &[NoSuid, NoDev, NoExec], options: &[] },
    Api { at: "/dev", fstype: "devtmpfs", flags: &[NoSuid, StrictAtime], options: &[("mode", "0755")] },
    Api {
        at: "/run",
        fstype: "tmpfs",
        flags: &[NoSuid, NoDev, StrictAtime],
        options: &[("mode", "0755"), ("size", "20%"), ("nr_inodes", "800k")],
    },
];

/// An API file system that could not be mounted.
#[derive(Debug, thiserror::Error)]
#[error("mount {fstype} at {at}: a kernel with it built in is needed")]
pub struct Error {
    fstype: &'static str,
    at: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Paths of the mounts, to be moved into the new root.
pub fn paths() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|api| api.at)
}

/// Mounts them all, making the directories that are missing.
pub fn mount_all() -> Result<(), Error> {
    TABLE.iter().try_for_each(|api| {
        let failed = |source| Error { fstype: api.fstype, at: api.at, source };
        make_directory(Path::new(api.at)).map_err(|e| failed(e.into()))?;
        let options = MountOptions {
            flags: api.flags.to_vec(),
            filesystem: api
                .options
                .iter()
                .map(|(name, value)| ((*name).into(), Some((*value).into())))
                .collect(),
        };
        mount::create(api.fstype, None, &options)
            .map_err(|e| failed(e.into()))?
            .attach(Path::new(api.at))
            .map_err(|e| failed(e.into()))
    })
}

/// Makes a directory where there is none.
fn make_directory(at: &Path) -> io::Result<()> {
    if at.is_dir() { Ok(()) } else { fs::create_dir(at) }
}
