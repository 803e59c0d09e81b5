//! What /proc tells of a process (proc_pid_status(5), cgroups(7)).

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
        for (bytes, marked) in [(&b"@splash\0-x\0"[..], true), (b"splash\0@\0", false), (b"", false)] {
            assert_eq!(is_marked(bytes), marked);
        }
    }
}
