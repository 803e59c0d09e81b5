//! device-mapper (Documentation/admin-guide/device-mapper, include/uapi/linux/dm-ioctl.h).
//!
//! Names, tables and status by the devicemapper crate. Resume and remove are made here: the crate waits
//! for udev after them, without bound, wherever /run/udev/control exists.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::AsRawFd,
};

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions, DmUuid};

use crate::format::kernel::devno::Devno;

use super::Error;

/// The control device; devtmpfs has it once dm_mod is there.
#[allow(missing_debug_implementations)] // the crate's context has none
pub struct Control {
    dm: DM,
    file: File,
}

/// A target: a stretch of a device, and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its type: `verity`.
    pub kind: String,
    /// Its length in sectors; the stretch begins at 0.
    pub sectors: u64,
    /// Its parameters or its status, as the kernel writes them.
    pub text: String,
}

/// What the kernel tells of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number.
    pub devno: Devno,
    /// How often it is open.
    pub open_count: i32,
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// Whether it goes when nobody has it open any more.
    pub leaving: bool,
}

/// The call that makes a device.
pub const CREATE: &str = "DM_DEV_CREATE";
const PATH: &str = "/dev/mapper/control";
/// `DM_DEFERRED_REMOVE` of include/uapi/linux/dm-ioctl.h, since Linux 3.13.
const DEFERRED_REMOVE: u32 = 1 << 17;

impl Control {
    /// `open("/dev/mapper/control", O_RDONLY | O_CLOEXEC)`
    ///
    /// ENOENT: neither built in nor loaded.
    pub fn open() -> Result<Self, Error> {
        let file = File::open(PATH).map_err(|e| Error::new("open", PATH, e))?;
        let dm = DM::new().map_err(|e| Error::new("open", PATH, plain(&e)))?;
        Ok(Self { dm, file })
    }

    /// `ioctl(DM_DEV_CREATE)`: a device without a table; its number.
    ///
    /// EBUSY: the name or the UUID is taken.
    pub fn create(&self, name: &str, uuid: &str) -> Result<Devno, Error> {
        let failed = |e: &_| Error::new(CREATE, name, plain(e));
        let uuid = DmUuid::new(uuid).map_err(|e| failed(&e))?;
        let info =
            DmName::new(name).and_then(|name| self.dm.device_create(name, Some(uuid), DmOptions::default()));
        Ok(number(info.map_err(|e| failed(&e))?.device()))
    }

    /// `ioctl(DM_TABLE_LOAD, DM_READONLY_FLAG)`: one target over the whole device.
    ///
    /// EINVAL: the target refuses its parameters; the kernel log says which.
    pub fn load_read_only(&self, name: &str, target: &Target) -> Result<(), Error> {
        let table = [(0, target.sectors, target.kind.clone(), target.text.clone())];
        let options = DmOptions::default().set_flags(DmFlags::DM_READONLY);
        DmName::new(name)
            .and_then(|name| self.dm.table_load(&DevId::Name(name), &table, options))
            .map(drop)
            .map_err(|e| Error::new("DM_TABLE_LOAD", name, plain(&e)))
    }

    /// `ioctl(DM_TABLE_STATUS)`: the status of the device's only target.
    pub fn status(&self, name: &str) -> Result<Target, Error> {
        self.target(name, DmFlags::empty())
    }

    /// `ioctl(DM_TABLE_STATUS, DM_STATUS_TABLE_FLAG)`: the device's only target, as it was loaded.
    pub fn table(&self, name: &str) -> Result<Target, Error> {
        self.target(name, DmFlags::DM_STATUS_TABLE)
    }

    /// `ioctl(DM_DEV_STATUS)`: what is told of a device.
    pub fn info(&self, name: &str) -> Result<Info, Error> {
        let failed = |e: &_| Error::new("DM_DEV_STATUS", name, plain(e));
        let info = DmName::new(name).and_then(|name| self.dm.device_info(&DevId::Name(name)));
        let info = info.map_err(|e| failed(&e))?;
        Ok(Info {
            devno: number(info.device()),
            open_count: info.open_count(),
            read_only: info.flags().contains(DmFlags::DM_READONLY),
            leaving: info.flags().contains(DmFlags::DM_DEFERRED_REMOVE),
        })
    }

    /// `ioctl(DM_TARGET_MSG, "@cancel_deferred_remove")`: it stays, also when nobody has it open any more.
    ///
    /// EINVAL: nothing was deferred.
    pub fn cancel_deferred_remove(&self, name: &str) -> Result<(), Error> {
        let failed = |e: &_| Error::new("DM_TARGET_MSG @cancel_deferred_remove", name, plain(e));
        let sent = DmName::new(name)
            .and_then(|name| self.dm.target_msg(&DevId::Name(name), None, "@cancel_deferred_remove"));
        sent.map(drop).map_err(|e| failed(&e))
    }

    /// `ioctl(DM_LIST_DEVICES)`: names and numbers of all devices.
    pub fn list(&self) -> Result<Vec<(String, Devno)>, Error> {
        let devices = self.dm.list_devices().map_err(|e| Error::new("DM_LIST_DEVICES", PATH, plain(&e)))?;
        Ok(devices.into_iter().map(|(name, device, _)| (name.to_string(), number(device))).collect())
    }

    fn target(&self, name: &str, flags: DmFlags) -> Result<Target, Error> {
        let failed = |e: io::Error| Error::new("DM_TABLE_STATUS", name, e);
        let options = DmOptions::default().set_flags(flags);
        let (_, targets) = DmName::new(name)
            .and_then(|name| self.dm.table_status(&DevId::Name(name), options))
            .map_err(|e| failed(plain(&e)))?;
        match targets.as_slice() {
            [(0, sectors, kind, text)] => {
                Ok(Target { kind: kind.clone(), sectors: *sectors, text: text.clone() })
            }
            other => Err(failed(io::Error::other(format!("it has {} targets, not one", other.len())))),
        }
    }

    /// `ioctl(DM_DEV_SUSPEND)` without its suspend flag: makes the loaded table the live one.
    pub fn resume(&self, name: &str) -> Result<(), Error> {
        self.bare("DM_DEV_SUSPEND (resume)", request::resume, name, 0)
    }

    /// `ioctl(DM_DEV_REMOVE)`
    ///
    /// EBUSY: it is open.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.bare("DM_DEV_REMOVE", request::remove, name, 0)
    }

    /// `ioctl(DM_DEV_REMOVE, DM_DEFERRED_REMOVE)`: now, or when nobody has it open any more.
    pub fn remove_when_unused(&self, name: &str) -> Result<(), Error> {
        self.bare("DM_DEV_REMOVE", request::remove, name, DEFERRED_REMOVE)
    }

    fn bare(
        &self,
        call: &'static str,
        request: unsafe fn(libc::c_int, *mut Header) -> nix::Result<libc::c_int>,
        name: &str,
        flags: u32,
    ) -> Result<(), Error> {
        let mut header = Header::for_device(name).map_err(|e| Error::new(call, name, e))?;
        header.flags = flags;
        // SAFETY: the file is the dm control device, and the header is a whole `struct dm_ioctl` whose
        // `data_size` says that nothing follows it, so the kernel reads and writes just that.
        unsafe { request(self.file.as_raw_fd(), &raw mut header) }
            .map(drop)
            .map_err(|e| Error::new(call, name, e))
    }
}

fn number(device: devicemapper::Device) -> Devno {
    Devno { major: device.major, minor: device.minor }
}

/// The kernel's answer inside the crate's error, or its words where there is none.
fn plain(error: &devicemapper::DmError) -> io::Error {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    if let devicemapper::DmError::Core(devicemapper::errors::Error::Ioctl(_, _, _, errno)) = error {
        return (**errno).into();
    }
    while let Some(error) = cause {
        if let Some(errno) = error.downcast_ref::<nix::Error>() {
            return (*errno).into();
        }
        cause = error.source();
    }
    io::Error::other(error.to_string())
}

/// `struct dm_ioctl` of include/uapi/linux/dm-ioctl.h.
#[repr(C)]
pub(crate) struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const _: () = assert!(size_of::<Header>() == 312);

impl Header {
    fn for_device(name: &str) -> io::Result<Self> {
        let mut field = [0; 128];
        match field.get_mut(..name.len()) {
            Some(start) if name.len() < 128 => start.copy_from_slice(name.as_bytes()),
            _ => return Err(io::Error::new(ErrorKind::InvalidInput, "the name has more than 127 bytes")),
        }
        Ok(Self {
            version: [4, 0, 0],
            data_size: size_of::<Self>() as u32,
            data_start: 0,
            target_count: 0,
            open_count: 0,
            flags: 0,
            event_nr: 0,
            padding: 0,
            dev: 0,
            name: field,
            uuid: [0; 129],
            data: [0; 7],
        })
    }
}

mod request {
    //! The calls themselves: `_IOWR(0xfd, NR, struct dm_ioctl)`.
    use super::Header;
    nix::ioctl_readwrite!(remove, 0xfd, 4, Header);
    nix::ioctl_readwrite!(resume, 0xfd, 6, Header);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_too_long_for_the_kernel() {
        for (length, good) in [(1, true), (127, true), (128, false), (4096, false)] {
            assert_eq!(Header::for_device(&"n".repeat(length)).is_ok(), good, "{length}");
        }
    }
}
