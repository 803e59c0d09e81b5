//! Less of glibc in an init. A static program takes the first that it finds of a name, so that this is called in the place of glibc's.

/// `pthread_getattr_np()`, of which std asks where a thread's stack ends, to tell an overflow from other faults. For the first thread glibc
/// reads /proc/self/maps, which is not there yet, by a scanf that knows all floating point: a hundred kilobytes. This one says that
/// nobody knows, and an overflow ends the program as any other fault.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(
    _thread: libc::pthread_t,
    _attributes: *mut libc::pthread_attr_t,
) -> libc::c_int {
    libc::ENOSYS
}
