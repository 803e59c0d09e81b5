//! The machine's own clock, which no kernel sets and no reset stops.

use std::arch::x86_64::_rdtsc;

/// Its time stamp counter. Where QEMU counts instructions it counts the machine's nanoseconds from its start, across resets.
pub(crate) fn machine() -> u64 {
    // SAFETY: nothing is read but the counter, which every x86_64 has.
    unsafe { _rdtsc() }
}
