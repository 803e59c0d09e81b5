//! Which mounts of the old system stay mounted, at the same place, in the new one.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::format::{disk::discoverable::Purpose, kernel::mountinfo::Mount, system::fstab};

use super::{
    facts::{BlockDevice, Facts},
    find::{Found, find},
    new_mounts::{NewMounts, Told},
    tag::{self, Name},
};

/// What becomes of a mount, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    Masked,
    Unclear,
    Unknown,
}

/// The first rule that fits decides.
const RULES: [Rule; 15] = [
    (|c| is_at(c.at, &["/", "/usr"]), Verdict::Never, "the new root takes its place"),
    (|c| is_below(c.at, &["/proc", "/sys", "/dev"]), Verdict::Never, "it is moved with /proc, /sys and /dev"),
    (|c| is_at(c.at, &["/run"]), Verdict::Never, "it is moved as a whole"),
    (|c| is_below(c.at, &["/run/nextroot"]), Verdict::Never, "it is the staged root itself"),
    (|c| is_below(c.at, &["/run/nextroot-state"]), Verdict::Never, "it is a root that is only looked at"),
    (|c| is_below(c.at, &["/run/credentials", "/run/host"]), Verdict::Never, "systemd carries it"),
    (|c| is_below(c.at, &["/run/systemd"]), Verdict::Never, "it is systemd's own, which makes it anew"),
    (
        |c| c.mount.propagation.unbindable,
        Verdict::Never,
        "it is unbindable: the kernel shows it nowhere else",
    ),
    (|c| is_below(c.at, &["/run/user"]), Verdict::Leave, "it belongs to a session, which ends"),
    (|c| c.mount.fstype == "autofs", Verdict::Leave, "systemd sets it up anew"),
    (|c| is_below(c.at, &["/run"]), Verdict::Carry, "it is below /run, and not systemd's own"),
    (|c| matches!(c.again, Again::Same), Verdict::Carry, "the new system would mount the same device there"),
    (|c| matches!(c.again, Again::Other), Verdict::Leave, "the new system mounts another device there"),
    (|c| matches!(c.again, Again::Masked), Verdict::Leave, "the new system has its mount unit masked"),
    (
        |c| matches!(c.again, Again::Unclear),
        Verdict::Leave,
        "the new system has a mount unit for it that cannot be made out",
    ),
];
const ELSE: &str = "it belongs to the old system: nothing says that the new one would mount the same there";

/// Decides for each mount; `new` is what the new system is told of its own.
pub fn decide(mounts: &[Mount], facts: &Facts, new: &NewMounts, wanted: &Wanted) -> Result<Vec<Row>, Error> {
    let names = |list: &[String], at: &str| list.iter().any(|name| name.trim_end_matches('/') == at);
    let mut rows: Vec<Row> = Vec::new();
    for mount in mounts.iter().filter(|mount| is_seen(mount, mounts)) {
        let Some(at) = mount.mount_point.to_str() else {
            rows.push(Row {
                at: mount.mount_point.to_string_lossy().into_owned(),
                what: mount.source.to_string_lossy().into_owned(),
                carried: false,
                reason: "its path is no UTF-8".to_owned(),
            });
            continue;
        };
        let candidate = Candidate { at, mount, again: again(mount, at, facts, new) };
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
    // A mount after the one that it lies in: the order in which the kernel lists them says nothing.
    rows.sort_by(|one, other| Path::new(&one.at).cmp(Path::new(&other.at)));
    let missing = wanted.carry.iter().find(|at| !rows.iter().any(|row| row.at == at.trim_end_matches('/')));
    match missing {
        Some(at) => Err(Error::NotMounted { at: at.clone() }),
        None => Ok(rows),
    }
}

/// Whether a path leads to a mount. It does not where another lies over it, or over a directory on the way.
fn is_seen(mount: &Mount, mounts: &[Mount]) -> bool {
    let has_parent = |of: &Mount| mounts.iter().any(|other| other.id == of.parent && other.id != of.id);
    let root = mounts.iter().find(|other| other.mount_point == Path::new("/") && !has_parent(other));
    // Nothing is known of the way to them.
    let Some(mut reached) = root else { return true };
    let mut way: Vec<&Path> = mount.mount_point.ancestors().collect();
    way.reverse();
    for place in way {
        let over = |on: u32| mounts.iter().find(|m| m.parent == on && m.id != on && m.mount_point == place);
        for _ in mounts {
            let Some(upper) = over(reached.id) else { break };
            reached = upper;
        }
    }
    reached.id == mount.id
}

/// Leaves carried mounts that would have no place: a mount needs one in the new root (`has` says whether it does),
/// unless it lies in another that is carried, or in /run. `rows` are as [`decide`] gives them.
pub fn place(rows: &mut [Row], wanted: &Wanted, has: impl Fn(&str) -> bool) -> Result<(), Error> {
    // The new root takes the place of the first, and whatever is in /run comes along.
    let is_taken_over = |at: &str| is_at(at, &["/", "/usr"]);
    let mut outer: Vec<(String, bool)> = Vec::new();
    for row in rows {
        outer.retain(|(at, _)| Path::new(&row.at).starts_with(at));
        let refusal = match outer.last() {
            _ if !row.carried => None,
            Some((_, true)) => None,
            Some((at, false)) if !is_taken_over(at) => Some("it lies in a mount that is not carried"),
            _ if has(&row.at) => None,
            _ => Some("the new root has no place for it: make it in the image, as it is here, without links"),
        };
        if let Some(reason) = refusal {
            if wanted.carry.iter().any(|at| at.trim_end_matches('/') == row.at) {
                return Err(Error::Never { at: row.at.clone(), reason });
            }
            (row.carried, row.reason) = (false, reason.to_owned());
        }
        outer.push((row.at.clone(), row.carried || row.at == "/run"));
    }
    Ok(())
}

fn is_at(at: &str, places: &[&str]) -> bool {
    places.contains(&at)
}

fn is_below(at: &str, places: &[&str]) -> bool {
    places.iter().any(|place| Path::new(at).starts_with(place))
}

/// By what the new system is told, or else by the partition's type (systemd-gpt-auto-generator(8)).
fn again(mount: &Mount, at: &str, facts: &Facts, new: &NewMounts) -> Again {
    let entry = match new.at(at) {
        Told::Mount(entry) => Some(entry),
        Told::Nothing => None,
        Told::Masked => return Again::Masked,
        Told::Unclear => return Again::Unclear,
    };
    let Some(device) = device_of(mount, facts) else { return Again::Unknown };
    match entry {
        Some(entry) => match named(&entry.what, facts) {
            Some(other) if other.devno == device.devno && is_subvolume(mount, &entry) => Again::Same,
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

/// Whether what is mounted is the part of the file system that is asked for by its name (btrfs(5), subvol=).
fn is_subvolume(mount: &Mount, entry: &fstab::Entry) -> bool {
    // A line of a unit that goes on in the next leaves a space.
    let asked = entry.options.split(',').find_map(|option| option.trim_start().strip_prefix("subvol="));
    let trimmed = |text: &str| text.trim_matches('/').to_owned();
    asked.is_none_or(|asked| mount.root.to_str().map(trimmed) == Some(trimmed(asked)))
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

impl Row {
    /// Whether it goes with /proc, /sys, /dev and /run whatever anybody wants, so that nobody has to read of it.
    #[must_use]
    pub fn is_plumbing(&self) -> bool {
        is_at(&self.at, &["/run"]) || is_below(&self.at, &["/proc", "/sys", "/dev"])
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
    use crate::plan::new_mounts::{Content, Origin, UnitFile};

    use super::*;

    fn mount(at: &str, fstype: &str, source: &str, devno: &str) -> Mount {
        let ids = if at == "/" { "35 1" } else { "36 35" };
        Mount::parse(format!("{ids} {devno} / {at} rw - {fstype} {source} rw").as_bytes()).unwrap()
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
        let fstab =
            fstab::parse("/dev/vda4 /data ext4\n/dev/vda3 /other ext4\n/dev/vda4 /sub btrfs subvol=@sub\n");
        let unit = |at: &str, content| UnitFile {
            origin: Origin::Root("/etc/systemd/system"),
            at: at.to_owned(),
            content,
        };
        let text = |text: &str| Content::Text(format!("[Mount]\n{text}\n"));
        let units = vec![
            unit("/unit", text("What=/dev/vda4\nWhere=/unit")),
            unit("/unit/other", text("What=/dev/vda3")),
            unit("/unit/sub", text("What=/dev/vda4\nOptions=rw, \\\n subvol=@sub")),
            unit("/unit/bind", text("What=/data/x\nOptions=bind")),
            unit("/unit/damaged", text("Where=/unit/damaged")),
            unit("/unit/masked", Content::Mask),
        ];
        let new = NewMounts { fstab, units, ..NewMounts::default() };
        let wanted = Wanted { carry: vec!["/tmp".to_owned()], leave: vec!["/run/left".to_owned()] };
        for (at, fstype, source, devno, carried) in [
            ("/", "erofs", "/dev/mapper/root", "253:0", false),
            ("/usr", "erofs", "/dev/mapper/usr", "253:1", false),
            ("/dev/shm", "tmpfs", "tmpfs", "0:25", false),
            ("/run", "tmpfs", "tmpfs", "0:26", false),
            ("/run/user/1000", "tmpfs", "tmpfs", "0:40", false),
            ("/run/credentials/x.service", "tmpfs", "tmpfs", "0:41", false),
            ("/run/nextroot/sysroot", "erofs", "/dev/dm-2", "253:2", false),
            ("/run/nextroot-state/look", "erofs", "/dev/dm-2", "253:2", false),
            ("/run/keep", "tmpfs", "tmpfs", "0:42", true),
            ("/run/left", "tmpfs", "tmpfs", "0:42", false),
            ("/runaway", "tmpfs", "tmpfs", "0:43", false),
            ("/var", "ext4", "/dev/vda3", "254:3", true),
            ("/data", "btrfs", "/dev/vda4", "0:44", true),
            ("/sub", "btrfs", "/dev/vda4", "0:44", false),
            ("/other", "ext4", "/dev/vda4", "254:4", false),
            ("/unit", "ext4", "/dev/vda4", "254:4", true),
            ("/unit/other", "ext4", "/dev/vda4", "254:4", false),
            ("/unit/sub", "btrfs", "/dev/vda4", "254:4", false),
            ("/unit/bind", "ext4", "/dev/vda4", "254:4", false),
            ("/unit/damaged", "ext4", "/dev/vda4", "254:4", false),
            ("/unit/masked", "ext4", "/dev/vda4", "254:4", false),
            ("/tmp", "tmpfs", "tmpfs", "0:45", true),
            ("/misc", "autofs", "systemd-1", "0:46", false),
        ] {
            let mut mounts = vec![mount(at, fstype, source, devno)];
            if at != "/tmp" {
                mounts.push(mount("/tmp", "tmpfs", "tmpfs", "0:45"));
            }
            let rows = decide(&mounts, &facts(), &new, &wanted).unwrap();
            let row = rows.iter().find(|row| row.at == at).unwrap();
            assert_eq!(row.carried, carried, "{at}: {}", row.reason);
        }
    }

    #[test]
    fn units_that_mount_nothing() {
        let mounts = [mount("/var", "ext4", "/dev/vda3", "254:3")];
        for (content, reason) in [
            (None, "the new system would mount the same device there"),
            (Some(Content::Mask), "the new system has its mount unit masked"),
            (
                Some(Content::Text("[Mount]\n".to_owned())),
                "the new system has a mount unit for it that cannot be made out",
            ),
        ] {
            let (origin, at) = (Origin::Root("/usr/lib/systemd/system"), "/var".to_owned());
            let units = content.into_iter().map(|content| UnitFile { origin, at: at.clone(), content });
            let new = NewMounts { units: units.collect(), ..NewMounts::default() };
            let rows = decide(&mounts, &facts(), &new, &Wanted::default()).unwrap();
            assert_eq!(rows[0].reason, reason);
        }
    }

    #[test]
    fn what_is_seen_is_what_counts() {
        let mounts = [mount("/var", "ext4", "/dev/vda3", "254:3"), mount("/var", "tmpfs", "tmpfs", "0:9")];
        let rows = decide(&mounts, &facts(), &NewMounts::default(), &Wanted::default()).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(!rows[0].carried);
    }

    /// A mount that nothing shows any more was carried, or made stage fail; and a mount was put over the one
    /// that it holds.
    #[test]
    fn what_lies_over_what() {
        let text = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 21 0:30 / /run/a/b rw - tmpfs inner rw\n\
            21 20 0:21 / /run rw - tmpfs run rw\n\
            40 21 0:40 / /run/c rw - tmpfs under rw\n\
            42 41 0:42 / /run/c rw - tmpfs top rw\n\
            41 40 0:41 / /run/c rw - tmpfs middle rw\n\
            50 21 0:50 / /run/d/e rw - tmpfs hidden rw\n\
            51 21 0:51 / /run/d rw - tmpfs over rw\n\
            60 21 0:60 / /run/f\\040g rw - tmpfs space rw\n\
            61 21 0:61 / /run/h rw unbindable - tmpfs unbindable rw\n\
            31 21 0:31 / /run/a rw - tmpfs outer rw\n";
        let mut text = text.replace("30 21", "30 31").into_bytes();
        text.extend(b"62 21 0:62 / /run/\xff rw - tmpfs bytes rw\n");
        let mounts = Mount::parse_all(&text).unwrap();
        let rows = decide(&mounts, &facts(), &NewMounts::default(), &Wanted::default()).unwrap();
        let carried: Vec<_> =
            rows.iter().filter(|row| row.carried).map(|row| (row.at.as_str(), row.what.as_str())).collect();
        let expected = [
            ("/run/a", "outer"),
            ("/run/a/b", "inner"),
            ("/run/c", "top"),
            ("/run/d", "over"),
            ("/run/f g", "space"),
        ];
        assert_eq!(carried, expected);
        assert!(rows.iter().any(|row| row.what == "bytes" && !row.carried));
    }

    /// A mount in one that had no place was carried all the same, and the relay found no place for it.
    #[test]
    fn places() {
        for (mounts, has, wanted, expected) in [
            (&["/ -", "/data +", "/data/in +"][..], &["/data"][..], "", Ok("/data /data/in")),
            (&["/ -", "/data +", "/data/in +"], &[], "", Ok("")),
            (&["/ -", "/data +", "/data/in +"], &["/data/in"], "", Ok("")),
            (&["/ -", "/var +", "/var/x -", "/var/x/y +"], &["/var"], "", Ok("/var")),
            (&["/ -", "/data -", "/data/in +"], &["/data/in"], "", Ok("")),
            (&["/ -", "/usr -", "/usr/local +"], &["/usr/local"], "", Ok("/usr/local")),
            (&["/ -", "/run -", "/run/a +", "/run/a/b +"], &[], "", Ok("/run/a /run/a/b")),
            (&["/ -", "/run -", "/run/user/1 -", "/run/user/1/x +"], &[], "", Ok("")),
            (&["/ -", "/run -", "/run/user/1 -", "/run/user/1/x +"], &[], "/run/user/1/x/", Err(())),
            (&["/ -", "/data +"], &[], "/data/", Err(())),
            (&["/ -", "/runs +"], &[], "", Ok("")),
        ] {
            let mut rows: Vec<Row> = mounts
                .iter()
                .map(|text| {
                    let (at, carried) = text.split_once(' ').unwrap();
                    let (what, reason) = (String::new(), String::new());
                    Row { at: at.to_owned(), what, carried: carried == "+", reason }
                })
                .collect();
            let carry = Some(wanted).filter(|at| !at.is_empty()).map(str::to_owned).into_iter().collect();
            let wanted = Wanted { carry, leave: Vec::new() };
            let done = place(&mut rows, &wanted, |at| has.contains(&at));
            let carried: Vec<&str> =
                rows.iter().filter(|row| row.carried).map(|row| row.at.as_str()).collect();
            assert_eq!(
                done.map(|()| carried.join(" ")).map_err(drop),
                expected.map(str::to_owned),
                "{mounts:?}"
            );
        }
    }

    #[test]
    fn wishes_that_cannot_be_met() {
        for (at, message) in [
            ("/nothing", "carry /nothing: nothing is mounted there; findmnt lists what is"),
            ("/usr/", "carry /usr: the new root takes its place"),
        ] {
            let mounts = [mount("/usr", "ext4", "/dev/vda3", "254:3")];
            let wanted = Wanted { carry: vec![at.to_owned()], leave: Vec::new() };
            assert_eq!(
                decide(&mounts, &facts(), &NewMounts::default(), &wanted).unwrap_err().to_string(),
                message
            );
        }
    }
}
