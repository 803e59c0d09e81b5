//! Loads a kernel that is executed when this one ends.

use std::{ffi::CString, fs::File, io, os::fd::AsRawFd};

use nix::libc::{SYS_kexec_file_load, c_ulong, syscall};

/// kexec_file_load(2).
pub(crate) fn load(kernel: &str, initrd: &str, command_line: &str) -> io::Result<()> {
    const NO_FLAGS: c_ulong = 0;
    let (kernel, initrd) = (File::open(kernel)?, File::open(initrd)?);
    let line = CString::new(command_line)?;
    let length = line.as_bytes_with_nul().len();
    // SAFETY: the descriptors are open, and the string ends where its length says, until the call is over.
    let done = unsafe {
        syscall(SYS_kexec_file_load, kernel.as_raw_fd(), initrd.as_raw_fd(), length, line.as_ptr(), NO_FLAGS)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
