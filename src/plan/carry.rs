//! Which mounts of the old system stay mounted, at the same place, in the new one.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::format::{discoverable::Purpose, fstab, mountinfo::Mount};

use super::{
    facts::{BlockDevice, Facts},
    find::{Found, find},
    tag::{self, Name},
};

/// What becomes of a mount, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Where it is mounted.
    pub at: String,
    /// What is mounted, as mountinfo names it.
    pub what: String,
    /// Whether it is carried.
    pub carried: bool,
    /// Why, or why not.
    pub reason: String,
}

/// What was asked for beside the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Mount points to carry, whatever the rules say.
    pub carry: Vec<String>,
    /// Mount points to leave.
    pub leave: Vec<String>,
}

/// A wish that cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is mounted there.
    #[error("carry {at}: nothing is mounted there; findmnt lists what is")]
    NotMounted {
        /// The path.
        at: String,
    },
    /// It cannot be carried.
    #[error("carry {at}: {reason}")]
    Never {
        /// The path.
        at: String,
        /// Why.
        reason: &'static str,
    },
}

enum Verdict {
    /// Whatever is asked for.
    Never,
    /// Unless asked for.
    Leave,
    /// Unless asked not to.
    Carry,
}

/// A rule: whom it is for, what becomes of them, and why.
type Rule = (fn(&Candidate<'_>) -> bool, Verdict, &'static str);

struct Candidate<'a> {
    at: &'a str,
    mount: &'a Mount,
    again: Again,
}

/// Whether the new system would mount the same device at the same place.
enum Again {
    Same,
    Other,
    Unknown,
}

/// The first rule that fits decides.
const RULES: [Rule; 11] = [
    (|c| is_at(c.at, &["/", "/usr"]), Verdict::Never, "the new root takes its place"),
    (|c| is_below(c.at, &["/proc", "/sys", "/dev"]), Verdict::Never, "it is moved with /proc, /sys and /dev"),
    (|c| is_at(c.at, &["/run"]), Verdict::Never, "it is moved as a whole"),
    (|c| is_below(c.at, &["/run/nextroot"]), Verdict::Never, "it is the staged root itself"),
    (|c| is_below(c.at, &["/run/credentials", "/run/host"]), Verdict::Never, "systemd carries it"),
    (|c| is_below(c.at, &["/run/systemd"]), Verdict::Never, "it is systemd's own, which makes it anew"),
    (|c| is_below(c.at, &["/run/user"]), Verdict::Leave, "it belongs to a session, which ends"),
    (|c| c.mount.fstype == "autofs", Verdict::Leave, "systemd sets it up anew"),
    (|c| is_below(c.at, &["/run"]), Verdict::Carry, "it is below /run, and not systemd's own"),
    (|c| matches!(c.again, Again::Same), Verdict::Carry, "the new system would mount the same device there"),
    (|c| matches!(c.again, Again::Other), Verdict::Leave, "the new system mounts another device there"),
];
const ELSE: &str = "it belongs to the old system: nothing says that the new one would mount the same there";

/// Decides for each mount; `fstab` is the new system's.
pub fn decide(
    mounts: &[Mount],
    facts: &Facts,
    fstab: &[fstab::Entry],
    wanted: &Wanted,
) -> Result<Vec<Row>, Error> {
    let names = |list: &[String], at: &str| list.iter().any(|name| name.trim_end_matches('/') == at);
    let mut rows: Vec<Row> = Vec::new();
    for mount in mounts {
        let Some(at) = mount.mount_point.to_str() else { continue };
        let candidate = Candidate { at, mount, again: again(mount, at, facts, fstab) };
        let rule = RULES.iter().find(|(fits, ..)| fits(&candidate));
        let (verdict, reason) =
            rule.map_or((&Verdict::Leave, ELSE), |(_, verdict, reason)| (verdict, *reason));
        let (carried, reason) = match verdict {
            Verdict::Never if names(&wanted.carry, at) => {
                return Err(Error::Never { at: at.to_owned(), reason });
            }
            Verdict::Never => (false, reason),
            _ if names(&wanted.leave, at) => (false, "it was asked to be left"),
            _ if names(&wanted.carry, at) => (true, "it was asked for"),
            Verdict::Carry => (true, reason),
            Verdict::Leave => (false, reason),
        };
        // What is mounted last at a place is what is seen there.
        rows.retain(|row| row.at != at);
        rows.push(Row {
            at: at.to_owned(),
            what: mount.source.to_string_lossy().into_owned(),
            carried,
            reason: reason.to_owned(),
        });
    }
    let missing = wanted.carry.iter().find(|at| !rows.iter().any(|row| row.at == at.trim_end_matches('/')));
    match missing {
        Some(at) => Err(Error::NotMounted { at: at.clone() }),
        None => Ok(rows),
    }
}

fn is_at(at: &str, places: &[&str]) -> bool {
    places.contains(&at)
}

fn is_below(at: &str, places: &[&str]) -> bool {
    places.iter().any(|place| Path::new(at).starts_with(place))
}

/// By the new system's fstab, or else by the partition's type (systemd-gpt-auto-generator(8)).
fn again(mount: &Mount, at: &str, facts: &Facts, fstab: &[fstab::Entry]) -> Again {
    let Some(device) = device_of(mount, facts) else { return Again::Unknown };
    match fstab.iter().rfind(|entry| entry.at == at) {
        Some(entry) => match named(&entry.what, facts) {
            Some(other) if other.devno == device.devno => Again::Same,
            _ => Again::Other,
        },
        None => {
            let purpose = device.partition.as_ref().and_then(super::facts::Partition::purpose);
            let fits = match at {
                "/var" => purpose == Some(Purpose::Var),
                "/var/tmp" => purpose == Some(Purpose::Tmp),
                "/home" => purpose == Some(Purpose::Home),
                "/srv" => purpose == Some(Purpose::Srv),
                "/efi" => purpose == Some(Purpose::Esp),
                "/boot" => matches!(purpose, Some(Purpose::Esp | Purpose::Xbootldr)),
                _ => false,
            };
            if fits { Again::Same } else { Again::Unknown }
        }
    }
}

/// The block device under a mount; file systems over several, as btrfs, are known by their source.
fn device_of<'a>(mount: &Mount, facts: &'a Facts) -> Option<&'a BlockDevice> {
    let by_number = facts.devices.iter().find(|device| device.devno == mount.devno);
    by_number.or_else(|| named(mount.source.to_str()?, facts))
}

fn named<'a>(what: &str, facts: &'a Facts) -> Option<&'a BlockDevice> {
    match tag::parse(what).ok()? {
        Name::Tag(tag) => match find(&tag, facts) {
            Found::One(device) => Some(device),
            _ => None,
        },
        Name::Mapper(name) => facts.devices.iter().find(|device| device.dm_name.as_ref() == Some(&name)),
    }
}

impl fmt::Display for Row {
    /// `/var (/dev/vda3): the new system would mount the same device there`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.at, self.what, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(at: &str, fstype: &str, source: &str, devno: &str) -> Mount {
        Mount::parse(format!("36 35 {devno} / {at} rw - {fstype} {source} rw").as_bytes()).unwrap()
    }

    fn facts() -> Facts {
        let partition = |number: u32, type_uuid: &str| {
            serde_json::json!({
                "name": format!("vda{number}"), "devno": format!("254:{number}"), "size": 1_048_576,
                "logical_block_size": 512, "dm_name": null, "table_error": null,
                "partition": {"disk": "vda", "number": number, "uuid": null, "type_uuid": type_uuid,
                    "label": null},
            })
        };
        let json = serde_json::json!({
            "kernel_release": "6.12", "loader_partition": null,
            "devices": [
                partition(3, "4d21b016-b534-45c2-a9fb-5c16e091fd2d"),
                partition(4, "0fc63daf-8483-4772-8e79-3d69d8477de4"),
            ],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn rules() {
        let fstab = fstab::parse("/dev/vda4 /data ext4\n/dev/vda3 /other ext4\n");
        let wanted = Wanted { carry: vec!["/tmp".to_owned()], leave: vec!["/run/left".to_owned()] };
        for (at, fstype, source, devno, carried) in [
            ("/", "erofs", "/dev/mapper/root", "253:0", false),
            ("/usr", "erofs", "/dev/mapper/usr", "253:1", false),
            ("/dev/shm", "tmpfs", "tmpfs", "0:25", false),
            ("/run", "tmpfs", "tmpfs", "0:26", false),
            ("/run/user/1000", "tmpfs", "tmpfs", "0:40", false),
            ("/run/credentials/x.service", "tmpfs", "tmpfs", "0:41", false),
            ("/run/nextroot/sysroot", "erofs", "/dev/dm-2", "253:2", false),
            ("/run/keep", "tmpfs", "tmpfs", "0:42", true),
            ("/run/left", "tmpfs", "tmpfs", "0:42", false),
            ("/runaway", "tmpfs", "tmpfs", "0:43", false),
            ("/var", "ext4", "/dev/vda3", "254:3", true),
            ("/data", "btrfs", "/dev/vda4", "0:44", true),
            ("/other", "ext4", "/dev/vda4", "254:4", false),
            ("/tmp", "tmpfs", "tmpfs", "0:45", true),
            ("/misc", "autofs", "systemd-1", "0:46", false),
        ] {
            let mut mounts = vec![mount(at, fstype, source, devno)];
            if at != "/tmp" {
                mounts.push(mount("/tmp", "tmpfs", "tmpfs", "0:45"));
            }
            let rows = decide(&mounts, &facts(), &fstab, &wanted).unwrap();
            let row = rows.iter().find(|row| row.at == at).unwrap();
            assert_eq!(row.carried, carried, "{at}: {}", row.reason);
        }
    }

    #[test]
    fn what_is_seen_is_what_counts() {
        let mounts = [mount("/var", "ext4", "/dev/vda3", "254:3"), mount("/var", "tmpfs", "tmpfs", "0:9")];
        let rows = decide(&mounts, &facts(), &[], &Wanted::default()).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(!rows[0].carried);
    }

    #[test]
    fn wishes_that_cannot_be_met() {
        for (at, message) in [
            ("/nothing", "carry /nothing: nothing is mounted there; findmnt lists what is"),
            ("/usr/", "carry /usr: the new root takes its place"),
        ] {
            let mounts = [mount("/usr", "ext4", "/dev/vda3", "254:3")];
            let wanted = Wanted { carry: vec![at.to_owned()], leave: Vec::new() };
            assert_eq!(decide(&mounts, &facts(), &[], &wanted).unwrap_err().to_string(), message);
        }
    }
}
