//! Keys of the kernel (keyrings(7)): a payload that another call is to find by its description.
//!
//! By libc's two calls: linux-keyutils has an enum of its own in place of errno.

use std::{ffi::CString, io, marker::PhantomData};

use super::Error;

/// A key in the thread's keyring: it is there for this thread only, and until this is dropped.
#[derive(Debug)]
pub struct ThreadKey {
    serial: libc::c_long,
    /// Another thread has another keyring.
    thread: PhantomData<*const ()>,
}

impl ThreadKey {
    /// `add_key("user", description, payload, KEY_SPEC_THREAD_KEYRING)`: the keyring is made where there is none.
    ///
    /// add_key(2), since Linux 2.6.10. EINVAL: the payload is empty or has more than 32,767 bytes; EDQUOT; ENOSYS: a
    /// kernel without keys.
    pub fn user(description: &str, payload: &[u8]) -> Result<Self, Error> {
        let failed = |e: io::Error| Error::new("add_key", description, e);
        let name = CString::new(description).map_err(|e| failed(e.into()))?;
        // SAFETY: both texts end with a zero, and the kernel reads just `payload.len()` bytes of the payload; it keeps
        // copies.
        let serial = unsafe {
            libc::syscall(
                libc::SYS_add_key,
                c"user".as_ptr(),
                name.as_ptr(),
                payload.as_ptr(),
                payload.len(),
                libc::KEY_SPEC_THREAD_KEYRING,
            )
        };
        if serial < 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        Ok(Self { serial, thread: PhantomData })
    }
}

impl Drop for ThreadKey {
    /// `keyctl(KEYCTL_UNLINK, serial, KEY_SPEC_THREAD_KEYRING)`: with its last link the key goes. That it is there no
    /// more is not an error: it goes with the thread anyway.
    fn drop(&mut self) {
        // SAFETY: only numbers are given.
        unsafe {
            libc::syscall(libc::SYS_keyctl, libc::KEYCTL_UNLINK, self.serial, libc::KEY_SPEC_THREAD_KEYRING)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_while_it_is_held() {
        let description = format!("cryptsetup:test-{}", std::process::id());
        match ThreadKey::user(&description, b"payload") {
            Ok(key) => {
                // One of the same description takes the place of one that is there: it keeps the number.
                let again = ThreadKey::user(&description, b"other").unwrap();
                assert_eq!(again.serial, key.serial);
                drop(again);
                assert_ne!(ThreadKey::user(&description, b"payload").unwrap().serial, key.serial);
                assert!(ThreadKey::user(&description, b"").is_err());
                assert!(ThreadKey::user(&description, &[0; 32768]).is_err());
            }
            // A container may forbid it; then the error has to say so.
            Err(error) => {
                let code = error.source.raw_os_error();
                assert!(matches!(code, Some(libc::ENOSYS | libc::EPERM)), "{error}: {}", error.source);
            }
        }
    }

    #[test]
    fn a_description_with_a_zero() {
        assert!(ThreadKey::user("a\0b", b"payload").is_err());
    }
}
