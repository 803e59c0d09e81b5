//! What /proc tells of a process (proc_pid_status(5), proc_pid_fdinfo(5), cgroups(7)).

/// The real user ID, from /proc/PID/status.
#[must_use]
pub fn real_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The name, from /proc/PID/status.
#[must_use]
pub fn name(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("Name:")).map(str::trim)
}

/// The control group of the unified hierarchy, or else of systemd's own, from /proc/PID/cgroup.
#[must_use]
pub fn control_group(text: &str) -> Option<&str> {
    ["0::", "1:name=systemd:"].iter().find_map(|start| text.lines().find_map(|line| line.strip_prefix(start)))
}

/// Whether the first argument begins with `@`, from /proc/PID/cmdline.
#[must_use]
pub fn is_marked(command_line: &[u8]) -> bool {
    command_line.first() == Some(&b'@')
}

/// Whether a descriptor has its file locked by flock(2), from /proc/PID/fdinfo/N. A lock that is only waited for is not there.
#[must_use]
pub fn holds_flock(descriptor: &str) -> bool {
    let mut locks = descriptor.lines().filter_map(|line| line.strip_prefix("lock:"));
    locks.any(|lock| lock.split_whitespace().nth(1) == Some("FLOCK"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        for (status, uid, called) in [
            ("Name:\tsplash d\nUid:\t0\t5\t0\t0\n", Some(0), Some("splash d")),
            ("Uid:\tx\n", None, None),
            ("", None, None),
        ] {
            assert_eq!((real_user(status), name(status)), (uid, called), "{status}");
        }
        for (text, group) in [
            ("0::/a.service\n", Some("/a.service")),
            ("5:cpu:/x\n1:name=systemd:/b\n", Some("/b")),
            ("1:name=systemd:/b\n0::/\n", Some("/")),
            ("5:cpu:/x\n", None),
        ] {
            assert_eq!(control_group(text), group, "{text}");
        }
        let position = "pos:\t0\nflags:\t0100002\nmnt_id:\t24\nino:\t4711\n";
        for (lock, held) in [
            ("", false),
            ("lock:\t1: FLOCK  ADVISORY  WRITE 812 00:19:4711 0 EOF\n", true),
            ("lock:\t1: POSIX  ADVISORY  WRITE 812 00:19:4711 0 EOF\n", false),
            (
                "lock:\t1: LEASE  ACTIVE    READ 812 00:19:4711 0 EOF\nlock:\t2: FLOCK  ADVISORY  READ 9 1:2:3 0 EOF\n",
                true,
            ),
            ("lock:\n", false),
        ] {
            assert_eq!(holds_flock(&format!("{position}{lock}")), held, "{lock}");
        }
        for (bytes, marked) in [(&b"@splash\0-x\0"[..], true), (b"splash\0@\0", false), (b"", false)] {
            assert_eq!(is_marked(bytes), marked);
        }
    }
}
