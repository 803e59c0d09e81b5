//! What is running: the root under /, by the kernel's own word, and PID 1.

use std::{fs, path::Path, time::Duration};

use crate::{
    format::{
        kernel::{cmdline::CommandLine, devno::Devno, mountinfo::Mount},
        system::{os_release::OsRelease, systemd_version::SystemdVersion},
        verity::table::VerityTable,
    },
    plan::{
        facts::Content,
        plain::{self, Plain},
        state::{On, Root, State, Verity},
        step::HashOrigin,
    },
    sys::{
        block::Entry,
        dm::Control,
        file::{LONGEST_TEXT, whole_at},
        process,
    },
};

use crate::run::{
    boot::record,
    execute,
    machine::{self, in_time},
    probe,
    soft_reboot::{
        staging,
        state::{self, Store},
    },
};

/// How long a disk may take to tell what it is known by: it takes milliseconds, under heavy load seconds. Whoever watches over a
/// root looks at it again and again.
const TO_READ: Duration = Duration::from_secs(10);

/// The root that is running: the verified one under /, else the plain file system there. `None` where that cannot be told, as without
/// privilege.
#[must_use]
pub fn root() -> Option<Root> {
    let mounts = staging::mounts().ok()?;
    let (source, on) = match verified(&mounts, "/") {
        Some((name, table)) => {
            let source = format!("/dev/mapper/{name}");
            (source, On::Verity(opened(name, &table)))
        }
        None => plain(&mounts)?,
    };
    let release = in_time(TO_READ, || staging::os_release(Path::new("/")).ok()).ok().flatten().flatten();
    let release = release.and_then(|text| OsRelease::parse(text.as_bytes()).ok());
    Some(Root {
        source,
        on,
        system: release.as_ref().map(|release| release.name().to_owned()),
        version: release.and_then(|release| release.image_version),
    })
}

fn verified(mounts: &[Mount], place: &str) -> Option<(String, VerityTable)> {
    verity(mounts.iter().rfind(|mount| mount.mount_point == Path::new(place))?.devno)
}

/// The root that is not verified: its source, and whether it can be mounted again.
fn plain(mounts: &[Mount]) -> Option<(String, On)> {
    let mount = plain::root_of(mounts)?;
    // btrfs has a number of its own, and is told by what was mounted.
    let node = Path::new(&mount.source);
    let named = || if node.is_absolute() { Entry::of_node(node) } else { None };
    let entry = Entry::of(mount.devno).or_else(named);
    if entry.as_ref().is_some_and(Entry::is_verity) {
        return None; // its table could not be asked for
    }
    let device = match entry {
        Some(entry) => in_time(TO_READ, move || probe::look_at(&entry)).ok()??,
        None => None,
    };
    if device.as_ref().is_some_and(|device| matches!(device.content, Content::Unreadable(_))) {
        return None; // what it is known by cannot be read
    }
    Some(match Plain::of(mounts, device.as_ref()) {
        Ok(plain) => (plain.name(), On::Plain { plain }),
        Err(why) => {
            let usr = verified(mounts, "/usr").map(|(name, table)| {
                format!("; its /usr is dm-verity {name}, root hash {}", table.root_hash)
            });
            let unreachable = format!("{why}{}", usr.unwrap_or_default());
            (mount.source.display().to_string(), On::Else { unreachable })
        }
    })
}

/// What is remembered, with what is seen now taken in.
pub fn settled<E: From<state::Error> + From<execute::Error>>(store: &Store) -> Result<State, E> {
    let mut state = store.load()?;
    settle(&mut state)?;
    Ok(state)
}

/// Takes in what is seen now.
pub fn settle(state: &mut State) -> Result<(), execute::Error> {
    state.settle(root(), staging::waits()?, machine::monotonic_us());
    Ok(())
}

/// A device, with what its root hash proves: by the kernel's word, else by what the boot wrote down.
fn opened(name: String, table: &VerityTable) -> Verity {
    let root_hash = table.root_hash.to_string();
    let recorded = record::opened(Path::new(record::DIRECTORY));
    let recorded = recorded.into_iter().find(|boot| boot.name == name && boot.root_hash == root_hash);
    let known = recorded.map(|boot| (boot.root_hash_from, boot.signed_by));
    let (root_hash_from, signed_by) = known.unwrap_or_else(|| (origin(&root_hash), None));
    Verity::of(name, table, root_hash_from, signed_by)
}

/// Where the root hash of a root came from that the machine was started with by another init, as far as that can be seen now.
fn origin(root_hash: &str) -> HashOrigin {
    let line = CommandLine::parse(&machine::command_line().unwrap_or_default());
    let names = |value: &String| value.eq_ignore_ascii_case(root_hash);
    match line.parameters.iter().any(|parameter| parameter.value.as_ref().is_some_and(names)) {
        true => HashOrigin::CommandLine,
        false => HashOrigin::Unknown,
    }
}

/// The dm-verity device of this number: its name, and its table as the kernel has it.
fn verity(devno: Devno) -> Option<(String, VerityTable)> {
    let name = Entry::of(devno)?.attribute("dm/name")?;
    let target = Control::open().ok()?.table(&name).ok()?;
    (target.kind == "verity").then(|| target.text.parse().ok().map(|table| (name, table)))?
}

/// The version of the systemd that is PID 1, by the library that it has mapped; `None` where PID 1 is none.
#[must_use]
pub fn systemd() -> Option<u32> {
    let maps = whole_at(Path::new("/proc/1/maps"), LONGEST_TEXT).ok()?;
    SystemdVersion::in_maps(&String::from_utf8_lossy(&maps)).map(|version| version.number)
}

/// Mounts of our own: where / need not be what the system runs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "nextroot runs in a mount namespace of its own, so systemd would not see what it mounts: run it without PrivateTmp=, RootDirectory= and the like, or by nsenter --mount --target 1"
)]
pub struct OwnMounts;

/// Whether PID 1 sees the mounts that we see, and we its own. So it is taken to be where that cannot be told, as without
/// privilege.
pub fn shares_mounts() -> Result<(), OwnMounts> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt"));
    match (namespace("self"), namespace("1")) {
        (Ok(ours), Ok(its)) if ours != its => Err(OwnMounts),
        _ => Ok(()),
    }
}

/// Asks PID 1 for a soft reboot, without a bus (systemd(1), "Signals": SIGRTMIN+7).
pub fn soft_reboot() -> Result<(), crate::sys::Error> {
    process::signal_init(7)
}
