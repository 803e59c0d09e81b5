//! The root directory of the machine: looking into a new one, and switching to it.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat},
    sys::{
        stat::{FileStat, Mode, fstat, fstatat},
        statfs::{FsType, TMPFS_MAGIC, fstatfs},
    },
    unistd::{UnlinkatFlags, chdir, chroot, pivot_root, unlinkat},
};

use super::{Error, mount};

/// `openat2(root, path, O_RDONLY, RESOLVE_IN_ROOT)`: opens a file below a root that is not ours yet;
/// absolute symbolic links stay inside it.
///
/// openat2(2), since Linux 5.6. Errors: ENOENT, ELOOP, EACCES. EAGAIN, which the kernel gives where somebody
/// renamed or mounted anything meanwhile, is tried again.
pub fn open_below(root: &Path, path: &str) -> Result<File, Error> {
    open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, ResolveFlag::RESOLVE_IN_ROOT)
}

/// `openat2(root, path, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)`: the same, but no symbolic link is followed,
/// and whatever it is, it is not read.
///
/// openat2(2), since Linux 5.6. Errors: ENOENT, ELOOP where a link is on the way.
pub fn open_plainly_below(root: &Path, path: &str) -> Result<File, Error> {
    open(root, path, OFlag::O_PATH, ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

/// `openat2(root, path, O_PATH | O_NOFOLLOW, RESOLVE_IN_ROOT); readlinkat(fd, "")`: what a symbolic link below a root
/// that is not ours yet says, wherever that leads.
///
/// openat2(2), since Linux 5.6; readlinkat(2). Errors: ENOENT, also where it is no link.
pub fn link_below(root: &Path, path: &str) -> Result<PathBuf, Error> {
    let link = open(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW, ResolveFlag::RESOLVE_IN_ROOT)?;
    let at = |e: Errno| Error::new("readlink", format!("{path} in {}", root.display()), e);
    readlinkat(&link, "").map(PathBuf::from).map_err(at)
}

fn open(root: &Path, path: &str, flags: OFlag, resolve: ResolveFlag) -> Result<File, Error> {
    let at = |e: Errno| Error::new("open", format!("{path} in {}", root.display()), e);
    let root = nix::fcntl::open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(at)?;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    let mut opened = openat2(&root, path, how);
    for _ in 0..TRIES {
        if !matches!(opened, Err(Errno::EAGAIN)) {
            break;
        }
        opened = openat2(&root, path, how);
    }
    opened.map(File::from).map_err(at)
}

/// How often a path is walked anew; each time something else was renamed or mounted in a microsecond or two.
const TRIES: u32 = 10_000;

/// include/uapi/linux/magic.h
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// The initramfs, held open so that it can be freed after the switch.
#[derive(Debug)]
pub struct Initramfs(OwnedFd);

impl Initramfs {
    /// `open("/", O_RDONLY | O_DIRECTORY); fstatfs()`: the root directory, if it is an initramfs, that is
    /// ramfs or tmpfs. Anything else is refused: it would be deleted.
    pub fn open() -> Result<Self, Error> {
        let at = |e: Errno| Error::new("open", "/", e);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open("/", flags, Mode::empty()).map_err(at)?;
        let kind = fstatfs(&fd).map_err(at)?.filesystem_type();
        if ![RAMFS_MAGIC, TMPFS_MAGIC].contains(&kind) {
            return Err(Error::new("free", "/, which is no initramfs", Errno::EINVAL));
        }
        Ok(Self(fd))
    }

    /// `unlinkat()` over everything in it that is not another mount: its memory is free once nothing has
    /// it open. What cannot be removed is left.
    pub fn free(self) -> Result<(), Error> {
        let at = |e: Errno| Error::new("free", "the initramfs", e);
        let device = fstat(&self.0).map_err(at)?.st_dev;
        // The root is a directory of it (`root=bind:`): it goes on.
        if nix::sys::stat::stat("/").is_ok_and(|root| root.st_dev == device) {
            return Ok(());
        }
        empty(self.0, device, 0).map_err(at)
    }
}

/// Deepest directory that is looked into; an initramfs has ten levels or so.
const DEEPEST: u32 = 64;

fn empty(directory: OwnedFd, device: libc::dev_t, depth: u32) -> nix::Result<()> {
    let mut directory = Dir::from_fd(directory)?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    for (name, kind) in names {
        let name = name.as_c_str();
        if kind != Some(Type::Directory) {
            let _ = unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir);
            continue;
        }
        let same = |status: FileStat| status.st_dev == device;
        if !fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(same) || depth >= DEEPEST {
            continue;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if let Ok(inner) = nix::fcntl::openat(directory.as_fd(), name, flags, Mode::empty()) {
            let _ = empty(inner, device, depth + 1);
        }
        let _ = unlinkat(&directory, name, UnlinkatFlags::RemoveDir);
    }
    Ok(())
}

/// `chdir(root); pivot_root(".", "."); umount2(".", MNT_DETACH); chdir("/")`: makes a mount the root of
/// this mount namespace, and lets the root from before go with everything that is still mounted in it. All
/// whose root that was follow.
///
/// pivot_root(2). Errors: EINVAL where `root` is no mount, or it or its parent is shared; EBUSY where it is
/// the root already.
pub fn pivot(root: &Path) -> Result<(), Error> {
    chdir(root).map_err(|e| Error::at("chdir", root, e))?;
    pivot_root(".", ".").map_err(|e| Error::at("pivot_root", root, e))?;
    mount::detach(Path::new("."))?;
    chdir("/").map_err(|e| Error::new("chdir", "/", e))
}

/// `chdir(root); move_mount(".", "/"); chroot("."); chdir("/")`: makes a mount the root directory, of this
/// process and of the kernel's own threads, which share it with PID 1. pivot_root(2) cannot: an initramfs
/// is no mount that could be moved away.
pub fn switch(root: &Path) -> Result<(), Error> {
    chdir(root).map_err(|e| Error::at("chdir", root, e))?;
    mount::move_to(Path::new("."), Path::new("/"))?;
    chroot(".").map_err(|e| Error::at("chroot", root, e))?;
    chdir("/").map_err(|e| Error::new("chdir", "/", e))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// A link in the new root led the relay, and direct staging, to a place outside of it.
    #[test]
    fn links_on_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        std::os::unix::fs::symlink("/a", path("link")).unwrap();
        for (name, plain, at_all) in
            [("/a/b", true, true), ("/link/b", false, true), ("/link", false, true), ("/c", false, false)]
        {
            assert_eq!(open_plainly_below(directory.path(), name).is_ok(), plain, "{name}");
            assert_eq!(open_below(directory.path(), name).is_ok(), at_all, "{name}");
        }
        std::os::unix::fs::symlink("../dev/null", path("a/b/dangling")).unwrap();
        for (name, target) in [("/link/b/dangling", Some("../dev/null")), ("/link", Some("/a")), ("/a", None)]
        {
            assert_eq!(link_below(directory.path(), name).ok().as_deref(), target.map(Path::new), "{name}");
        }
    }

    /// A busy system made openat2(2) give EAGAIN for the interpreter of the new init.
    #[test]
    fn renames_elsewhere_do_no_harm() {
        let directory = std::env::temp_dir().join(format!("nextroot-open-{}", std::process::id()));
        fs::create_dir_all(directory.join("a/b")).unwrap();
        fs::write(directory.join("file"), "x").unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, other) = (directory.join("one"), directory.join("other"));
                fs::create_dir_all(&one).unwrap();
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&one, &other).unwrap();
                    fs::rename(&other, &one).unwrap();
                }
            });
            let open = |_| open_below(&directory, "a/b/../../a/b/../../file");
            let failed = (0..100_000).map(open).find_map(Result::err);
            done.store(true, Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
        fs::remove_dir_all(&directory).unwrap();
    }
}
