//! Loop devices: a stretch of a file as a block device (loop(4), include/uapi/linux/loop.h).

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::PathBuf,
};

use crate::{
    format::{bytes, kernel::devno::Devno},
    units::Bytes,
};

use super::{
    Error,
    block::diskseq,
    file::{Inode, RegularFile},
};

/// A loop device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopDevice {
    /// The kernel's name: `loop3`.
    pub name: String,
    /// Its number.
    pub devno: Devno,
    /// What tells it from any other file that had, or will have, this device; kernels before 5.15 have none.
    pub diskseq: Option<u64>,
}

/// A loop device that was just attached. While this is open the device cannot go away, also with
/// [`Lifetime::WhileOpen`].
#[derive(Debug)]
pub struct Attached {
    /// The device.
    pub device: LoopDevice,
    node: File,
}

/// A stretch of a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins: a multiple of 512.
    pub offset: Bytes,
    /// Its length: a multiple of 512, not zero.
    pub size: Bytes,
}

/// How long a loop device stays attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is detached.
    UntilDetached,
    /// Until nobody has it open any more (`LO_FLAGS_AUTOCLEAR`).
    WhileOpen,
}

/// What is attached to a loop device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The file.
    pub inode: Inode,
    /// The stretch of it; a size of 0 is all that follows.
    pub extent: Extent,
    /// Whether the kernel refuses to write to it.
    pub read_only: bool,
    /// Whether it goes away when nobody has it open.
    pub autoclear: bool,
    /// The first 63 bytes of the path that it was attached by, for messages.
    pub file_name: String,
}

const CONTROL: &str = "/dev/loop-control";
/// The driver's number (Documentation/admin-guide/devices.txt).
const MAJOR: u32 = 7;
/// How often another free device is asked for when somebody else was faster.
const ATTEMPTS: u32 = 64;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `ioctl(LOOP_CTL_GET_FREE); open; ioctl(LOOP_CONFIGURE, LO_FLAGS_READ_ONLY); ioctl(LOOP_GET_STATUS64)`: a stretch of
/// a file as a read-only device. Linux 5.8.
///
/// What the kernel made is read back: a device of any other file, place or length is detached again, and an error.
/// EBUSY is not given before 64 devices were taken by others in between.
pub fn attach(file: &RegularFile, extent: Extent, lifetime: Lifetime) -> Result<Attached, Error> {
    let object = file.path().to_string_lossy().into_owned();
    if !extent.is_valid(file.size()) {
        let why = format!(
            "bytes {} and the {} after it are no whole sectors of a file with {} bytes",
            extent.offset.0,
            extent.size.0,
            file.size().0
        );
        return Err(Error::new("LOOP_CONFIGURE", object, io::Error::new(ErrorKind::InvalidInput, why)));
    }
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open(CONTROL)
        .map_err(|e| Error::new("open", CONTROL, e))?;
    let config = Config::new(file, extent, lifetime);
    for _ in 0..ATTEMPTS {
        // SAFETY: the file is the loop control device; the call takes no argument and writes to no memory.
        let number = unsafe { request::get_free(control.as_raw_fd()) }
            .map_err(|e| Error::new("LOOP_CTL_GET_FREE", CONTROL, e))?;
        let name = format!("loop{number}");
        let node = match open(&name) {
            // Removed by somebody in between (LOOP_CTL_REMOVE).
            Err(error) if error.source.raw_os_error() == Some(libc::ENXIO) => continue,
            other => other?,
        };
        // SAFETY: the file is a loop device, and the argument is a whole `struct loop_config`, which is only read.
        match unsafe { request::configure(node.as_raw_fd(), &raw const config) } {
            Err(nix::Error::EBUSY) => {}
            Err(error) => return Err(Error::new("LOOP_CONFIGURE", format!("{name} ({object})"), error)),
            Ok(_) => return checked(name, node, file, extent),
        }
    }
    Err(Error::new("LOOP_CONFIGURE", object, nix::Error::EBUSY))
}

/// `ioctl(LOOP_CLR_FD)`: detaches; where others have the device open, as soon as the last of them closes it. Whether
/// there was something to detach: a device that has another diskseq by now is left alone.
pub fn detach(device: &LoopDevice) -> Result<bool, Error> {
    let node = match open(&device.name) {
        Ok(node) => node,
        Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::ENXIO)) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    if device.diskseq.is_some() && diskseq(&node) != device.diskseq {
        return Ok(false);
    }
    match clear(&node) {
        Ok(()) => Ok(true),
        Err(nix::Error::ENXIO) => Ok(false),
        Err(error) => Err(Error::new("LOOP_CLR_FD", &device.name, error)),
    }
}

/// `ioctl(LOOP_GET_STATUS64)`: what is attached to the device `name`; `None` where nothing is.
pub fn status(name: &str) -> Result<Option<Status>, Error> {
    get_status(&open(name)?, name)
}

impl Extent {
    fn is_valid(self, file: Bytes) -> bool {
        let end = self.offset.0.checked_add(self.size.0);
        let aligned = |bytes: Bytes| bytes.0.is_multiple_of(crate::units::SECTOR_SIZE);
        aligned(self.offset) && aligned(self.size) && self.size.0 > 0 && end.is_some_and(|end| end <= file.0)
    }
}

impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.node.as_fd()
    }
}

/// Opens the node of a loop device, without write access.
fn open(name: &str) -> Result<File, Error> {
    let path = PathBuf::from("/dev").join(name);
    let node = File::open(&path).map_err(|e| Error::at("open", &path, e))?;
    devno(&node).filter(|devno| devno.major == MAJOR).ok_or_else(|| {
        Error::at("open", &path, io::Error::new(ErrorKind::InvalidInput, "it is no loop device"))
    })?;
    Ok(node)
}

fn devno(node: &File) -> Option<Devno> {
    use std::os::unix::fs::FileTypeExt;
    let metadata = node.metadata().ok().filter(|metadata| metadata.file_type().is_block_device())?;
    Some(Devno { major: libc::major(metadata.rdev()), minor: libc::minor(metadata.rdev()) })
}

/// The device that was just configured, if it is what was asked for; else it is detached.
fn checked(name: String, node: File, file: &RegularFile, extent: Extent) -> Result<Attached, Error> {
    let check = || -> Result<LoopDevice, Error> {
        let wrong = |why: String| Error::new("LOOP_CONFIGURE", &name, io::Error::other(why));
        let status = get_status(&node, &name)?.ok_or_else(|| wrong("it was detached at once".to_owned()))?;
        let is = (status.inode, status.extent, status.read_only);
        if is != (file.inode(), extent, true) {
            return Err(wrong(format!("the kernel attached {status:?}")));
        }
        let mut size = 0;
        // SAFETY: the file is a block device, and the kernel writes one u64 to `size`.
        unsafe { request::size(node.as_raw_fd(), &raw mut size) }
            .map_err(|e| Error::new("BLKGETSIZE64", &name, e))?;
        if size != extent.size.0 {
            return Err(wrong(format!("it has {size} bytes, not {}: the file was cut off", extent.size.0)));
        }
        let devno = devno(&node).ok_or_else(|| wrong("it is gone".to_owned()))?;
        Ok(LoopDevice { diskseq: diskseq(&node), devno, name: name.clone() })
    };
    match check() {
        Ok(device) => Ok(Attached { device, node }),
        Err(error) => {
            // The first error is the one to tell; a device that cannot be detached either is left as it is.
            clear(&node).ok();
            Err(error)
        }
    }
}

fn clear(node: &File) -> nix::Result<()> {
    // SAFETY: the file is a loop device; the call takes no argument and writes to no memory.
    unsafe { request::clear(node.as_raw_fd()) }.map(drop)
}

fn get_status(node: &File, name: &str) -> Result<Option<Status>, Error> {
    let mut info = Info::default();
    // SAFETY: the file is a loop device, and `info` is a whole `struct loop_info64`, any bytes of which are a value.
    match unsafe { request::get_status(node.as_raw_fd(), &raw mut info) } {
        Err(nix::Error::ENXIO) => return Ok(None),
        other => other.map_err(|e| Error::new("LOOP_GET_STATUS64", name, e))?,
    };
    let device = Devno { major: libc::major(info.device), minor: libc::minor(info.device) };
    Ok(Some(Status {
        inode: Inode { device, number: info.inode },
        extent: Extent { offset: Bytes(info.offset), size: Bytes(info.size_limit) },
        read_only: info.flags & LO_FLAGS_READ_ONLY != 0,
        autoclear: info.flags & LO_FLAGS_AUTOCLEAR != 0,
        file_name: bytes::text(&info.file_name, 0, info.file_name.len()).unwrap_or_default(),
    }))
}

/// `struct loop_info64`
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const _: () = assert!(size_of::<Info>() == 232);

/// `struct loop_config`
#[repr(C)]
pub(crate) struct Config {
    fd: u32,
    /// 0: 512 bytes, or what a file on a device without buffering needs.
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Config>() == 304);

impl Default for Info {
    fn default() -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: 0,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

impl Config {
    fn new(file: &RegularFile, extent: Extent, lifetime: Lifetime) -> Self {
        let autoclear = if lifetime == Lifetime::WhileOpen { LO_FLAGS_AUTOCLEAR } else { 0 };
        let mut info = Info {
            offset: extent.offset.0,
            size_limit: extent.size.0,
            flags: LO_FLAGS_READ_ONLY | autoclear,
            ..Info::default()
        };
        // The last byte stays zero.
        let path = file.path().as_os_str().as_encoded_bytes();
        info.file_name.iter_mut().take(63).zip(path).for_each(|(to, from)| *to = *from);
        let fd = file.as_fd().as_raw_fd().unsigned_abs();
        Self { fd, block_size: 0, info, reserved: [0; 8] }
    }
}

mod request {
    //! The calls themselves. Those of the loop driver are numbers without direction and size.
    use super::{Config, Info};
    nix::ioctl_none_bad!(get_free, 0x4c82);
    nix::ioctl_none_bad!(clear, 0x4c01);
    nix::ioctl_write_ptr_bad!(configure, 0x4c0a, Config);
    nix::ioctl_read_bad!(get_status, 0x4c05, Info);
    // Defined by the size of a pointer, and gives 64 bits everywhere.
    nix::ioctl_read_bad!(size, nix::request_code_read!(0x12, 114, size_of::<usize>()), u64);
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt, path::Path};

    use super::*;
    use crate::sys::{
        block::{Device, Entry},
        file::LastLink,
    };

    fn extent(offset: u64, size: u64) -> Extent {
        Extent { offset: Bytes(offset), size: Bytes(size) }
    }

    #[test]
    fn extents() {
        for (offset, size, good) in [
            (0, 4096, true),
            (512, 3584, true),
            (512, 4096, false),
            (0, 0, false),
            (4096, 512, false),
            (256, 512, false),
            (0, 500, false),
            (u64::MAX - 511, 512, false),
        ] {
            assert_eq!(extent(offset, size).is_valid(Bytes(4096)), good, "{offset} {size}");
        }
    }

    nix::ioctl_write_int_bad!(change_fd, 0x4c06);

    fn pause() -> bool {
        std::thread::sleep(std::time::Duration::from_millis(10));
        false
    }

    /// Whether this machine lets us.
    #[track_caller]
    fn has_loop_devices() -> bool {
        let has = OpenOptions::new().read(true).write(true).open(CONTROL).is_ok();
        if !has {
            crate::left_out::left_out("it needs root and the loop driver");
        }
        has
    }

    /// The same device with another file: whoever looked at it before is told.
    #[test]
    fn a_device_that_shows_another_file() {
        if !has_loop_devices() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            fs::write(&path, name.repeat(4096)).unwrap();
            RegularFile::open(&path, LastLink::Refuse).unwrap()
        };
        let (before, after) = (file("a"), file("b"));
        let LoopDevice { name, devno, diskseq } =
            attach(&before, extent(0, 4096), Lifetime::UntilDetached).unwrap().device;
        let (node, entry) = (Path::new("/dev").join(&name), Entry { name: name.clone() });
        assert_eq!((entry.diskseq(), entry.devno()), (diskseq, Some(devno)));
        assert_eq!(Device::open(&node, devno, diskseq).unwrap().read(0, 2).unwrap(), b"aa");
        // Detached and attached anew it could be another's in between.
        let descriptor = after.as_fd().as_raw_fd();
        // SAFETY: the file is a loop device; the argument is a descriptor, and no memory is written to.
        unsafe { change_fd(open(&name).unwrap().as_raw_fd(), descriptor) }.unwrap();
        assert_eq!(Device::open(&node, devno, None).unwrap().read(0, 2).unwrap(), b"bb");
        let seen = Device::open(&node, devno, diskseq).map(|_| ()).map_err(|error| error.in_one_line());
        let now = LoopDevice { name, devno, diskseq: entry.diskseq() };
        assert!(detach(&now).unwrap());
        if diskseq.is_some() {
            let why = "it is another disk than the one that was looked at";
            assert!(seen.is_err_and(|seen| seen.contains(why)));
            assert_ne!(now.diskseq, diskseq);
        }
    }

    /// Needs root and the loop driver; elsewhere the scenarios have it.
    #[test]
    fn attached_and_detached() {
        if !has_loop_devices() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let mut content = vec![b'a'; 4096];
        content.extend([b'b'; 4096]);
        fs::write(&path, &content).unwrap();
        let file = RegularFile::open(&path, LastLink::Refuse).unwrap();
        let attached = attach(&file, extent(4096, 1024), Lifetime::UntilDetached).unwrap();
        let LoopDevice { name, devno, diskseq } = attached.device.clone();
        assert_eq!(devno.major, MAJOR);
        let node = Path::new("/dev").join(&name);
        assert_eq!(Device::open(&node, devno, diskseq).unwrap().read(0, 9999).unwrap(), vec![b'b'; 1024]);
        let written = OpenOptions::new().write(true).open(&node).and_then(|file| file.write_at(b"x", 0));
        assert!(written.is_err(), "it can be written to");

        let found = status(&name).unwrap().unwrap();
        let expected = (file.inode(), extent(4096, 1024), true, false);
        assert_eq!((found.inode, found.extent, found.read_only, found.autoclear), expected);
        assert!(path.to_string_lossy().starts_with(&found.file_name) && !found.file_name.is_empty());

        // A device that was attached anew since is not ours.
        let other = LoopDevice { diskseq: diskseq.map(|sequence| sequence + 1), ..attached.device.clone() };
        assert!(diskseq.is_none() || !detach(&other).unwrap());
        let device = attached.device.clone();
        drop(attached);
        assert!(detach(&device).unwrap());
        // Whoever looks at all devices just now has it open, and it goes when they close it.
        let gone = (0..500).any(|_| !detach(&device).unwrap() || pause());
        assert!(gone, "{name} stays attached");

        let attached = attach(&file, extent(0, 8192), Lifetime::WhileOpen).unwrap();
        assert!(status(&attached.device.name).unwrap().unwrap().autoclear);
        let device = attached.device.clone();
        drop(attached);
        // Gone already, unless somebody looks at it still.
        detach(&device).unwrap();
        // Nor can more be attached than there is.
        assert!(attach(&file, extent(4096, 8192), Lifetime::WhileOpen).is_err());
    }
}
