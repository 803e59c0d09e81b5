//! Mounts as the kernel lists them in /proc/PID/mountinfo (proc_pid_mountinfo(5); fs/proc_namespace.c,
//! `show_mountinfo`).
//!
//! `36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - ext3 /dev/root rw,errors=continue`. Space, tab, newline and
//! backslash inside of a field are written in octal, `\040`, and in a source `#` is too. Names are bytes, not
//! text: whatever is no UTF-8 is written the same way here, which reads back as the same bytes.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::format::kernel::devno::Devno;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mount {
    /// Its number, used again after an unmount.
    pub id: u32,
    /// The mount it is in; its own number for the root of a mount tree.
    pub parent: u32,
    /// The device that stat(2) tells of its files.
    pub devno: Devno,
    /// Which directory of the file system is mounted.
    pub root: PathBuf,
    /// Where, seen from the process's root.
    pub mount_point: PathBuf,
    /// The mount's own options, separated by commas, as written: `rw,nosuid`.
    pub options: String,
    /// What it has to do with other mounts.
    pub propagation: Propagation,
    /// The type of the file system, with its subtype: `fuse.sshfs`.
    pub fstype: String,
    /// What is mounted, as whoever mounted it called it.
    pub source: OsString,
    /// The file system's options, separated by commas, as written.
    pub super_options: String,
}

/// Where mounts and unmounts below a mount go to and come from (mount_namespaces(7)). Nothing of it: private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// The peer group it shares them with.
    pub shared: Option<u32>,
    /// The peer group it receives them from.
    pub master: Option<u32>,
    /// The nearest group under the process's root that they come from, where that is not the master.
    pub propagate_from: Option<u32>,
    /// It cannot be bound elsewhere.
    pub unbindable: bool,
}

/// A line that is none of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is missing or malformed in the mountinfo line \"{line}\"")]
pub struct Error {
    field: &'static str,
    line: String,
}

impl Mount {
    /// Reads a line, without the newline at its end. Optional fields that are not known are passed over, as
    /// proc_pid_mountinfo(5) asks for.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        let wrong = |field| Error { field, line: String::from_utf8_lossy(line).into_owned() };
        let mut fields = line.split(|byte| *byte == b' ');
        let mut next = |field| fields.next().ok_or_else(|| wrong(field));
        let mut mount = Self {
            id: number(next("the mount ID")?).ok_or_else(|| wrong("the mount ID"))?,
            parent: number(next("the parent's ID")?).ok_or_else(|| wrong("the parent's ID"))?,
            devno: number(next("the device")?).ok_or_else(|| wrong("the device"))?,
            root: unescape(next("the root")?).into(),
            mount_point: unescape(next("the mount point")?).into(),
            options: verbatim(next("the options")?),
            propagation: Propagation::default(),
            fstype: String::new(),
            source: OsString::new(),
            super_options: String::new(),
        };
        loop {
            match next("the separator")? {
                b"-" => break,
                field => mount.propagation.take(field).ok_or_else(|| wrong("an optional field"))?,
            }
        }
        mount.fstype = verbatim(next("the type")?);
        mount.source = unescape(next("the source")?);
        mount.super_options = verbatim(next("the file system's options")?);
        if fields.next().is_some() {
            return Err(wrong("the end"));
        }
        Ok(mount)
    }

    /// Reads a whole file.
    pub fn parse_all(file: &[u8]) -> Result<Vec<Self>, Error> {
        file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(Self::parse).collect()
    }
}

impl Propagation {
    fn take(&mut self, field: &[u8]) -> Option<()> {
        let colon = field.iter().position(|byte| *byte == b':');
        let (tag, value) = colon.and_then(|at| field.split_at_checked(at)).unwrap_or((field, b""));
        let place = match tag {
            b"shared" => &mut self.shared,
            b"master" => &mut self.master,
            b"propagate_from" => &mut self.propagate_from,
            b"unbindable" => {
                self.unbindable = true;
                return Some(());
            }
            _ => return Some(()),
        };
        *place = Some(number(value.strip_prefix(b":")?)?);
        Some(())
    }
}

impl FromStr for Mount {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        Self::parse(line.as_bytes())
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, parent, devno, options, propagation, fstype, super_options, .. } = self;
        let path = |path: &PathBuf| escape(path.as_os_str(), " \t\n\\");
        let (root, point) = (path(&self.root), path(&self.mount_point));
        write!(f, "{id} {parent} {devno} {root} {point} {options}{propagation} - ")?;
        write!(f, "{fstype} {} {super_options}", escape(&self.source, " \t\n\\#"))
    }
}

impl TryFrom<String> for Mount {
    type Error = Error;
    fn try_from(line: String) -> Result<Self, Error> {
        line.parse()
    }
}

impl From<Mount> for String {
    fn from(mount: Mount) -> String {
        mount.to_string()
    }
}

impl fmt::Display for Propagation {
    /// Each field with a space before it, in the kernel's order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups =
            [("shared", self.shared), ("master", self.master), ("propagate_from", self.propagate_from)];
        for (tag, group) in groups {
            if let Some(group) = group {
                write!(f, " {tag}:{group}")?;
            }
        }
        f.write_str(if self.unbindable { " unbindable" } else { "" })
    }
}

fn number<T: FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

/// Octal escapes undone; what only looks like one stays.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.first_chunk::<3>().filter(|_| *first == b'\\').and_then(octal);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    OsString::from_vec(bytes)
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

fn escape(field: &OsStr, special: &str) -> String {
    rewrite(field.as_bytes(), special)
}

/// Text as it stands, its escapes too.
fn verbatim(field: &[u8]) -> String {
    rewrite(field, "")
}

/// Text in which `special` characters and bytes that are no UTF-8 are in octal.
fn rewrite(bytes: &[u8], special: &str) -> String {
    let mut text = String::with_capacity(bytes.len());
    let octal = |byte: u8| format!("\\{byte:03o}");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match u8::try_from(c) {
                Ok(byte) if special.contains(c) => text.push_str(&octal(byte)),
                _ => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| octal(*byte)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip() {
        for line in [
            "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - ext3 /dev/root rw,errors=continue",
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534",
            "23 27 0:22 / /sys rw shared:7 master:3 propagate_from:2 - sysfs sysfs rw",
            "29 26 0:26 / /dev/pts rw unbindable - devpts devpts rw,mode=600,ptmxmode=000",
            r"30 27 0:27 /a\040b /mnt/t\011n\012b\134 rw - tmpfs a\040b rw,size=4k",
            "31 27 0:28 / /gr\u{f6}\u{df}e rw - tmpfs none rw",
            "32 27 0:29 / /mnt rw - tmpfs  rw",
            r"33 27 0:30 / /o ro - overlay overlay ro,lowerdir=/a\134:b,upperdir=/c",
            "34 27 0:4 mnt:[4026532456] /run/ns/x rw - nsfs nsfs rw",
            r"63 43 0:39 / /mnt/h# rw - tmpfs so\043urce\040x\134 rw",
            "35 27 8:1 //deleted /mnt rw - ext4 /dev/sda1 rw",
        ] {
            assert_eq!(line.parse::<Mount>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn fields() {
        let line = r"30 27 0:27 /a\040b /mnt\011x ro,nosuid shared:5 new:9 odd - fuse.x s\134040 rw,x=a\040b";
        let expected = Mount {
            id: 30,
            parent: 27,
            devno: Devno { major: 0, minor: 27 },
            root: "/a b".into(),
            mount_point: "/mnt\tx".into(),
            options: "ro,nosuid".to_owned(),
            propagation: Propagation { shared: Some(5), ..Propagation::default() },
            fstype: "fuse.x".to_owned(),
            source: r"s\040".into(),
            super_options: r"rw,x=a\040b".to_owned(),
        };
        assert_eq!(line.parse(), Ok(expected));
    }

    #[test]
    fn names_that_are_no_text() {
        let mount = Mount::parse(b"1 1 0:1 / /a\xffb\\377 rw - x \xe9 rw,y=\xfe").unwrap();
        assert_eq!(mount.mount_point.as_os_str().as_bytes(), b"/a\xffb\xff");
        assert_eq!(mount.to_string(), r"1 1 0:1 / /a\377b\377 rw - x \351 rw,y=\376");
        assert_eq!(mount.to_string().parse(), Ok(mount));
    }

    #[test]
    fn escapes() {
        for (field, expected) in [
            (&br"\040"[..], &b" "[..]),
            (br"a\134040", br"a\040"),
            (br"\377", b"\xff"),
            (br"\400", br"\400"),
            (br"\777", br"\777"),
            (br"\04", br"\04"),
            (br"\048", br"\048"),
            (br"\/09", br"\/09"),
            (br"\", br"\"),
            (br"\\040", br"\ "),
            (b"", b""),
        ] {
            assert_eq!(unescape(field).as_bytes(), expected);
        }
    }

    #[test]
    fn malformed() {
        for (line, field) in [
            ("", "the mount ID"),
            ("+1 1 0:1 / / rw - x x rw", "the mount ID"),
            ("4294967296 1 0:1 / / rw - x x rw", "the mount ID"),
            ("1 -1 0:1 / / rw - x x rw", "the parent's ID"),
            ("1 1", "the device"),
            ("1 1 0 / / rw - x x rw", "the device"),
            ("1 1 0:1", "the root"),
            ("1 1 0:1 /", "the mount point"),
            ("1 1 0:1 / /", "the options"),
            ("1 1 0:1 / / rw", "the separator"),
            ("1 1 0:1 / / rw shared:1", "the separator"),
            ("1 1 0:1 / / rw shared - x x rw", "an optional field"),
            ("1 1 0:1 / / rw shared:x - x x rw", "an optional field"),
            ("1 1 0:1 / / rw master: - x x rw", "an optional field"),
            ("1 1 0:1 / / rw -", "the type"),
            ("1 1 0:1 / / rw - x", "the source"),
            ("1 1 0:1 / / rw - x x", "the file system's options"),
            ("1 1 0:1 / / rw - x x rw more", "the end"),
        ] {
            assert_eq!(line.parse::<Mount>(), Err(Error { field, line: line.to_owned() }));
        }
    }

    #[test]
    fn a_file() {
        let file = b"1 1 0:1 / / rw - rootfs none rw\n2 1 0:2 / /proc rw - proc proc rw\n";
        let points: Vec<_> = Mount::parse_all(file).unwrap().into_iter().map(|m| m.mount_point).collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/proc")]);
        assert_eq!(Mount::parse_all(b""), Ok(Vec::new()));
        assert!(Mount::parse_all(b"1 1 0:1 / / rw - rootfs none rw\n2 1\n").is_err());
    }
}
