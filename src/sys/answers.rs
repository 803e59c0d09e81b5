//! Which disks answer. Each is asked by a process of its own: what waits for a disk may do so in the kernel, where no signal ends it
//! (`disk->open_mutex` while partitions are looked for, block/bdev.c), and a thread there would keep its whole process.

use std::{
    ffi::{CStr, CString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Where a process leaves the control group of whoever asks: systemd waits for all that is in that of a unit (cgroups(7)).
const NO_GROUP: &CStr = c"/sys/fs/cgroup/cgroup.procs";
unsafe extern "C" {
    /// The first argument, in the memory that /proc/PID/cmdline shows: program_invocation_name(3).
    static program_invocation_name: *mut libc::c_char;
}

/// How much is read, in bytes.
const FIRST: usize = 4096;
/// From one look at the processes to the next.
const BEAT: Duration = Duration::from_millis(2);

/// `fork()`, and in the child `open(node)`, `posix_fadvise(FADV_DONTNEED)`, `pread()` of the first block: whether each node answers
/// within `patience`, be it with an error. One that cannot be asked, as there is no memory, counts as answering.
#[must_use]
pub fn answers(nodes: &[PathBuf], patience: Duration) -> Vec<bool> {
    let end = Instant::now() + patience;
    let ask = |node: &PathBuf| CString::new(node.as_os_str().as_bytes()).ok().and_then(|node| ask(&node));
    let mut asked: Vec<Option<libc::pid_t>> = nodes.iter().map(ask).collect();
    loop {
        for process in &mut asked {
            *process = process.filter(|process| !has_ended(*process));
        }
        if asked.iter().all(Option::is_none) || Instant::now() >= end {
            break;
        }
        thread::sleep(BEAT);
    }
    for process in asked.iter().flatten() {
        // SAFETY: the call takes two numbers; the process is a child that was not waited for, so that its number is nobody else's.
        unsafe { libc::kill(*process, libc::SIGKILL) };
    }
    asked.iter().map(Option::is_none).collect()
}

/// A child that ends when the node has answered; `None` where there can be none.
fn ask(node: &CStr) -> Option<libc::pid_t> {
    // SAFETY: the child makes system calls only, of memory that was made before, and ends by one.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: this is the child.
        unsafe { read_first(node) }
    }
    (child > 0).then_some(child)
}

/// # Safety
///
/// To be called in a child of fork(2), which it ends.
unsafe fn read_first(node: &CStr) -> ! {
    let mut block = [0_u8; FIRST];
    // SAFETY: all names end with a zero byte, and the block is as long as is said; nothing is allocated, and no lock taken.
    unsafe {
        // Nobody waits for the end of what is open here, nor for a process of this name (systemd's ROOT_STORAGE_DAEMONS).
        libc::close_range(0, libc::c_uint::MAX, 0);
        *program_invocation_name = b'@' as libc::c_char;
        let group = libc::open(NO_GROUP.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(group, c"0".as_ptr().cast(), 1);
        libc::close(group);
        let file = libc::open(node.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        libc::posix_fadvise(file, 0, FIRST as libc::off_t, libc::POSIX_FADV_DONTNEED);
        libc::pread(file, block.as_mut_ptr().cast(), FIRST, 0);
        libc::_exit(0)
    }
}

fn has_ended(process: libc::pid_t) -> bool {
    // SAFETY: the call takes numbers, and no status is asked for.
    unsafe { libc::waitpid(process, std::ptr::null_mut(), libc::WNOHANG) != 0 }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A named pipe that nobody writes to is silent; so is its process not: it goes.
    #[test]
    fn who_does_not_answer_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "x").unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let nodes = [path("file"), path("pipe"), path("missing")];
        let begun = Instant::now();
        assert_eq!(answers(&nodes, Duration::from_millis(300)), [true, false, true]);
        assert!(begun.elapsed() >= Duration::from_millis(300));
        let begun = Instant::now();
        assert_eq!(answers(&nodes[..1], Duration::from_secs(60)), [true]);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(answers(&[], Duration::from_secs(60)).is_empty());
    }
}
