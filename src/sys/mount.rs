//! Mounts, by the calls of Linux 5.2 (fsopen(2), move_mount(2), open_tree(2)): a file system is made,
//! and can fail, before anything is attached, and the kernel says why in words.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
        OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
        fsopen, mount_change, mount_remount, move_mount, open_tree, unmount as umount2,
    },
};

use crate::format::kernel::mount_options::{Flag, MountOptions};

use super::Error;

/// A file system that is mounted nowhere yet.
#[derive(Debug)]
pub struct Detached(OwnedFd);

/// A file system that could not be made, with the kernel's own words.
#[derive(Debug)]
pub struct CreateError {
    /// The call that failed.
    pub call: &'static str,
    /// The option that was refused, where it was one.
    pub option: Option<String>,
    /// What the file system wrote to its context, and to the kernel log where the caller adds it.
    pub messages: Vec<String>,
    /// The kernel's answer.
    pub source: io::Error,
}

/// `fsopen(fstype); fsconfig(SET_STRING, "source", ...); ...; fsconfig(CREATE); fsmount(attributes)`:
/// makes a file system, mounted nowhere.
///
/// Each option is a name with or without a value; `ro` is one of them (it makes the superblock read-only,
/// the attribute makes the mount so). fsopen(2), since Linux 5.2. Errors: ENODEV where the type is not
/// known, EINVAL for an option or a superblock that the type does not take, EBUSY, EIO.
pub fn create(fstype: &str, source: Option<&Path>, options: &MountOptions) -> Result<Detached, CreateError> {
    let failed = |call, option, context: Option<BorrowedFd<'_>>, errno: Errno| CreateError {
        call,
        option,
        messages: context.map(messages).unwrap_or_default(),
        source: errno.into(),
    };
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| failed("fsopen", None, None, e))?;
    let context = context.as_fd();
    if let Some(source) = source {
        fsconfig_set_string(context, "source", source).map_err(|e| {
            failed("fsconfig", Some(format!("source={}", source.display())), Some(context), e)
        })?;
    }
    for (name, value) in &options.filesystem {
        let set = match value {
            Some(value) => fsconfig_set_string(context, name.as_str(), value.as_str()),
            None => fsconfig_set_flag(context, name.as_str()),
        };
        set.map_err(|e| {
            let option = value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}"));
            failed("fsconfig", Some(option), Some(context), e)
        })?;
    }
    fsconfig_create(context).map_err(|e| failed("fsconfig", None, Some(context), e))?;
    let flags = options.flags.iter().fold(MountAttrFlags::empty(), |all, flag| all | attribute(*flag));
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .map(Detached)
        .map_err(|e| failed("fsmount", None, Some(context), e))
}

impl Detached {
    /// A path by which its files are reached, as long as this value is there.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string())
    }

    /// `move_mount(fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH)`: shows the file system at a path.
    ///
    /// move_mount(2), since Linux 5.2. Errors: ENOENT, ENOTDIR, EINVAL.
    pub fn attach(self, at: &Path) -> Result<(), Error> {
        move_mount(self.0.as_fd(), "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|e| Error::at("move_mount to", at, e))
    }

    /// `mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, {.propagation = MS_PRIVATE}, sizeof)`: what is mounted where it was copied
    /// from, and the other way round, is not seen in it from before it is shown anywhere.
    ///
    /// mount_setattr(2), since Linux 5.12. Errors: ENOSYS before that.
    pub fn isolate(&self) -> Result<(), Error> {
        let attributes =
            libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
        // SAFETY: the descriptor is open, the path is a string that ends with a zero, and the structure is as long as is
        // said; it is only read.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(Error::new("mount_setattr", "a copy of a mount", io::Error::last_os_error()))
        }
    }
}

/// `open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | AT_RECURSIVE)`: a copy of a directory's mounts, attached
/// nowhere yet.
///
/// open_tree(2), since Linux 5.2. Errors: ENOENT, EINVAL, EPERM.
pub fn clone_tree(from: &Path) -> Result<Detached, Error> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, from, flags).map(Detached).map_err(|e| Error::at("open_tree", from, e))
}

/// `open_tree(AT_FDCWD, from, OPEN_TREE_CLONE)`: a copy of one mount, without those below it, attached
/// nowhere yet.
///
/// open_tree(2), since Linux 5.2. Errors: ENOENT, EINVAL, EPERM.
pub fn clone_mount(from: &Path) -> Result<Detached, Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, from, flags).map(Detached).map_err(|e| Error::at("open_tree", from, e))
}

/// Where mounts and unmounts below a mount go to (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nowhere.
    Private,
    /// To the copies of it that come to be from now on.
    Shared,
}

/// `mount(NULL, at, NULL, MS_REC | MS_PRIVATE or MS_SHARED, NULL)`: for a mount and those below it.
///
/// mount(2). Errors: EINVAL where nothing is mounted there.
pub fn propagate(at: &Path, propagation: Propagation) -> Result<(), Error> {
    let kind = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Shared => MountPropagationFlags::SHARED,
    };
    mount_change(at, kind | MountPropagationFlags::REC).map_err(|e| Error::at("mount, propagation of", at, e))
}

/// `move_mount(AT_FDCWD, from, AT_FDCWD, to, 0)`: moves a mount, with those below it.
///
/// move_mount(2), since Linux 5.2. Errors: EINVAL where `from` is no mount or its parent is shared, ENOENT.
pub fn move_to(from: &Path, to: &Path) -> Result<(), Error> {
    move_mount(CWD, from, CWD, to, MoveMountFlags::empty()).map_err(|e| Error::at("move_mount", from, e))
}

/// `umount2(at, UMOUNT_NOFOLLOW)`: takes the topmost mount at a path away.
///
/// umount(2). Errors: EBUSY where it is in use, EINVAL where nothing is mounted.
pub fn unmount(at: &Path) -> Result<(), Error> {
    umount2(at, UnmountFlags::NOFOLLOW).map_err(|e| Error::at("umount", at, e))
}

/// `umount2(at, MNT_DETACH)`: takes the topmost mount at a path away from here, with those below it; it is
/// freed once nobody uses it.
///
/// umount(2). Errors: EINVAL where nothing is mounted.
pub fn detach(at: &Path) -> Result<(), Error> {
    umount2(at, UnmountFlags::DETACH).map_err(|e| Error::at("umount", at, e))
}

/// `mount(NULL, at, NULL, MS_REMOUNT | MS_RDONLY, NULL)`: takes write access from the file system that is mounted at a path.
///
/// mount(2). Errors: EBUSY where a file is open for writing.
pub fn make_read_only(at: &Path) -> Result<(), Error> {
    mount_remount(at, MountFlags::RDONLY, "").map_err(|e| Error::at("mount, read-only", at, e))
}

/// The kernel's bit for a flag (mount_setattr(2)).
fn attribute(flag: Flag) -> MountAttrFlags {
    match flag {
        Flag::ReadOnly => MountAttrFlags::MOUNT_ATTR_RDONLY,
        Flag::NoDev => MountAttrFlags::MOUNT_ATTR_NODEV,
        Flag::NoSuid => MountAttrFlags::MOUNT_ATTR_NOSUID,
        Flag::NoExec => MountAttrFlags::MOUNT_ATTR_NOEXEC,
        Flag::NoAtime => MountAttrFlags::MOUNT_ATTR_NOATIME,
        Flag::StrictAtime => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        Flag::NoDirAtime => MountAttrFlags::MOUNT_ATTR_NODIRATIME,
        Flag::NoSymFollow => MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW,
    }
}

/// What a file system wrote to its context: a message a read, `e TEXT` for errors (fs/fsopen.c).
fn messages(context: BorrowedFd<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let text = text.trim();
        let text = text.strip_prefix(['e', 'w', 'i']).map_or(text, str::trim_start);
        if length == 0 || found.len() >= 16 {
            break;
        }
        found.push(text.to_owned());
    }
    found
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.call)?;
        if let Some(option) = &self.option {
            write!(f, ", option {option}")?;
        }
        for message in &self.messages {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CreateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
