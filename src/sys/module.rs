//! Kernel modules.

use std::{ffi::CString, fs::File, io, path::Path};

use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
};

use super::{
    Error,
    file::{LONGEST_TEXT, text_at},
};

const MODPROBE: &str = "/proc/sys/kernel/modprobe";

/// What became of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It was loaded now.
    Now,
    /// It was there before.
    Before,
}

/// `finit_module(fd, parameters, 0)`: loads a module from a file; one that is there already is fine.
///
/// init_module(2), since Linux 3.8. Errors: ENOEXEC for a file that is no module of this kernel, ENOENT
/// for a symbol that no loaded module has, EKEYREJECTED for a missing or wrong signature, EPERM where it
/// is on `module_blacklist=`, ENODEV where it refuses for lack of its device.
pub fn load(path: &Path, parameters: &str) -> Result<Loaded, Error> {
    let failed = |error: io::Error| Error::at("finit_module", path, error);
    let file = File::open(path).map_err(|e| Error::at("open", path, e))?;
    let parameters = CString::new(parameters).map_err(|e| failed(e.into()))?;
    match finit_module(file, &parameters, ModuleInitFlags::empty()) {
        Ok(()) => Ok(Loaded::Now),
        Err(Errno::EEXIST) => Ok(Loaded::Before),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// `read("/proc/sys/kernel/modprobe")`: the program that the kernel starts when it needs a module.
pub fn helper() -> Result<String, Error> {
    let text = text_at(Path::new(MODPROBE), LONGEST_TEXT);
    Ok(text.map_err(|e| Error::new("read", MODPROBE, e))?.trim_end().to_owned())
}

/// `write("/proc/sys/kernel/modprobe", path)`
pub fn set_helper(path: &str) -> Result<(), Error> {
    std::fs::write(MODPROBE, path).map_err(|e| Error::new("write", MODPROBE, e))
}
