//! The steps of staging that are about files and mounts of the running system, and how steps are undone.

use std::{
    fs::{self, File, FileTimes},
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::Path,
    time::SystemTime,
};

use crate::{
    format::{
        kernel::{devno::Devno, mountinfo::Mount},
        system::os_release,
        verity::table::VerityTable,
    },
    plan::{Step, stage::NEXT, state::Staged, step::Relay, undo::Undo},
    sys::{
        self,
        block::{Device, Entry},
        dm::Control,
        file::{whole, whole_at},
        mount::{self, Propagation},
        root::{open_below, open_plainly_below},
    },
    units::Bytes,
};

use super::{boot_entries, exitrd, orders, watcher};
use crate::run::{
    boot::new_root, closing, execute::bad_status, failure::Error, own_copy::copy_of_self, whole,
};

/// Where the relay finds what it is to do; also the mark by which this program knows that it is the relay.
pub const RELAY: &str = "/relay.json";
/// Units of the administrator of this run of the machine (systemd.unit(5)).
pub(super) const UNITS: &str = "/run/systemd/system";
/// Text files of a new root are shorter.
const LONGEST: Bytes = Bytes(1 << 20);
/// A list of mounts is shorter: a mount namespace has 100,000 at most (fs.mount-max, proc_sys_fs(5)), in lines of some
/// hundred bytes.
pub(super) const MOUNTS: Bytes = Bytes(64 << 20);

pub(super) fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.display().to_string(), source }
}

/// This program, where systemd looks for the next init, with the directories that both need. 254 looks in
/// /lib.
pub(in crate::run) fn furnish(at: &Path) -> Result<(), Error> {
    let make = |name: &str| {
        let path = at.join(name);
        fs::create_dir_all(&path).map_err(|e| write_error(&path, e))
    };
    for name in ["dev", "proc", "sys", "run", "tmp", "etc", "sysroot", "previous", "carry", "usr/lib/systemd"]
    {
        make(name)?;
    }
    copy_of_self(&at.join("usr/lib/systemd/systemd"), 0o755)?;
    let link = at.join("lib");
    symlink("usr/lib", &link).map_err(|e| write_error(&link, e))
}

/// Shows one mount at a second place: as one of its own, which mounts and unmounts elsewhere do not reach.
pub(in crate::run) fn carry(from: &Path, at: &Path) -> Result<(), Error> {
    let is_file = fs::metadata(from).is_ok_and(|metadata| !metadata.is_dir());
    if at.symlink_metadata().is_err() {
        let made = match at.parent() {
            Some(parent) if is_file => fs::create_dir_all(parent).and_then(|()| fs::write(at, "")),
            _ => fs::create_dir_all(at),
        };
        made.map_err(|source| Error::MountPoint { at: at.display().to_string(), source })?;
    }
    let copy = mount::clone_mount(from)?;
    match copy.isolate() {
        // A kernel before 5.12 takes it later, when what was mounted meanwhile may be in it.
        Err(error) if error.source.kind() == ErrorKind::Unsupported => {
            copy.attach(at)?;
            Ok(mount::propagate(at, Propagation::Private)?)
        }
        isolated => Ok(isolated.and_then(|()| copy.attach(at))?),
    }
}

/// Those of these units that are not in /run yet.
#[must_use]
pub fn missing_units<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let is_missing = |name: &&&str| Path::new(UNITS).join(name).symlink_metadata().is_err();
    names.iter().filter(is_missing).copied().collect()
}

/// Units that do nothing.
pub(in crate::run) fn leave_units(names: &[String]) -> Result<(), Error> {
    for name in names {
        if Path::new(UNITS).join(name).symlink_metadata().is_err() {
            write_unit(name, UNIT)?;
        }
    }
    Ok(())
}

/// Writes a unit whole or not at all: half of one would not be known as ours, and stay.
pub(super) fn write_unit(name: &str, text: &str) -> Result<(), Error> {
    write_unit_in(Path::new(UNITS), name, text)
}

/// PID 1 looks for a unit that it does not know where a directory has another time than when it last looked (lookup_paths_timestamp_hash,
/// src/basic/unit-file.c). The kernel's own time of a change is that of the last tick, in which PID 1 may have looked, too: it said
/// that there is no such unit.
fn write_unit_in(directory: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = directory.join(name);
    let changed = || File::open(directory)?.set_times(FileTimes::new().set_modified(SystemTime::now()));
    whole::write(&path, text.as_bytes()).and_then(|()| changed()).map_err(|e| write_error(&path, e))
}

/// What stands in them, by which they are known as ours.
const UNIT: &str = "\
# Left by nextroot: the kernel command line still names the root that the machine was started with.
[Unit]
Description=Root by nextroot (nothing to set up)
DefaultDependencies=no

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=:/usr/bin/true
";

/// What the relay is to do, and last the os-release of the new root, which makes it one for systemd.
pub(in crate::run) fn publish(at: &Path, relay: &Relay) -> Result<(), Error> {
    let path = at.join(RELAY.trim_start_matches('/'));
    let text = serde_json::to_vec(relay).map_err(|e| write_error(&path, e.into()))?;
    fs::write(&path, text).map_err(|e| write_error(&path, e))?;
    let text = os_release(&at.join("sysroot"))?;
    let path = at.join("etc/os-release");
    whole::write(&path, text.as_bytes()).map_err(|e| write_error(&path, e))
}

/// The os-release of a root.
pub fn os_release(root: &Path) -> Result<String, Error> {
    for name in os_release::PLACES {
        if let Some(text) = read_below(root, name)? {
            return Ok(text);
        }
    }
    Err(Error::NoOsRelease { root: root.display().to_string() })
}

/// The text of a regular file of a root that is not ours yet, of [`LONGEST`] at most; `None` where there is no such file.
/// What is no UTF-8, as in a comment, does not make the rest of it unreadable.
pub fn read_below(root: &Path, name: &str) -> Result<Option<String>, Error> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match open_below(root, name) {
        Ok(file) => whole(&file, LONGEST).map(text).map(Some).map_err(|source| {
            Error::Call(sys::Error::new("read", root.join(name).display().to_string(), source))
        }),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a mount of the running system would have its place in a root that is not ours yet: a directory, or a file
/// for a file, and no link on the way, which would lead elsewhere when it is moved.
#[must_use]
pub fn has_place(root: &Path, at: &str) -> bool {
    let is_file = fs::metadata(at).is_ok_and(|metadata| !metadata.is_dir());
    open_plainly_below(root, at)
        .and_then(|file| file.metadata().map_err(|e| sys::Error::new("stat", at, e)))
        .is_ok_and(|metadata| metadata.is_dir() != is_file)
}

/// Whether something is mounted where systemd looks for the root of a soft reboot.
pub fn waits() -> Result<bool, Error> {
    Ok(at_next()?.is_some())
}

/// What is mounted there, as the kernel names it.
pub fn at_next() -> Result<Option<String>, Error> {
    let found = mounts()?.into_iter().rfind(|mount| mount.mount_point == Path::new(NEXT));
    Ok(found.map(|mount| mount.source.to_string_lossy().into_owned()))
}

/// Whether systemd would take what is there for a root: a mount with an os-release.
pub fn is_published() -> Result<bool, Error> {
    Ok(waits()? && os_release(Path::new(NEXT)).is_ok())
}

/// Whether what was staged is there as it was: mounted where systemd looks, its device good, its init in place.
pub fn still_holds(staged: &Staged) -> Result<(), Error> {
    if !is_published()? {
        return Err(Error::NotThere { what: format!("root with an os-release at {NEXT}") });
    }
    is_sound(staged)
}

/// Whether the device of what is staged is good, and its init in place.
pub fn is_sound(staged: &Staged) -> Result<(), Error> {
    for step in &staged.begun.steps {
        match step {
            Step::CheckVerity { name, corruption_ignored, repaired } => {
                verified(name, *corruption_ignored || *repaired)?;
            }
            Step::FindInit { root, candidates } => drop(new_root::find_init(root, candidates)?),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a dm-verity device is good still: what it lies on is there, no block that did not match was read so far, unless that
/// says nothing of it, and its first block can be read. A disk that has gone shows by nothing else while its pages are in memory.
fn verified(name: &str, excused: bool) -> Result<(), Error> {
    let control = Control::open()?;
    let corrupt = |why| Error::Corrupt { name: name.to_owned(), why, kernel: Vec::new() };
    if let Some(why) = bad_status(&control, name, excused)? {
        return Err(corrupt(why));
    }
    let loaded = control.table(name)?.text;
    let table: VerityTable = loaded.parse().map_err(|_| corrupt(format!("its table is \"{loaded}\"")))?;
    if let Some(gone) = [table.data, table.hash].into_iter().find(|devno| Entry::of(*devno).is_none()) {
        return Err(Error::NotThere { what: format!("device {gone}, which dm-verity {name} lies on") });
    }
    let devno = control.info(name)?.devno;
    let device = Device::open(&Entry { name: format!("dm-{}", devno.minor) }.node(), devno, None)?;
    device.forget();
    match device.read(0, 4096) {
        Ok(_) => Ok(()),
        Err(error) => Err(corrupt(format!("its first block: {}", error.in_one_line()))),
    }
}

/// Takes back what a stage left whose state was lost: the tmpfs of a relay, known by what is in it, and the device of
/// the root in it, unless that is mounted elsewhere. `false` where there is none.
pub fn sweep() -> Result<bool, Error> {
    let (mounts, next) = (mounts()?, Path::new(NEXT));
    let at = |place: &Path| mounts.iter().rfind(|mount| mount.mount_point == place);
    let is_relay = ["sysroot", "previous", "carry"].iter().all(|name| next.join(name).is_dir());
    if !is_relay || at(next).is_none_or(|mount| mount.fstype != "tmpfs") {
        return Ok(false);
    }
    let root = at(&next.join("sysroot")).map(|mount| mount.devno);
    let is_alone = |devno: &Devno| {
        !mounts.iter().any(|mount| mount.devno == *devno && !mount.mount_point.starts_with(next))
    };
    unmount(next)?;
    let device = root.filter(is_alone).map(|devno| Entry { name: format!("dm-{}", devno.minor) });
    let is_it = |device: &Entry| device.devno() == root;
    // A plain root's dm device, as of LVM or LUKS, was never ours.
    let name = device.filter(|device| is_it(device) && device.is_verity());
    match name.and_then(|device| device.attribute("dm/name")) {
        Some(name) => closing::close_if_there(&name).map(|()| true),
        None => Ok(true),
    }
}

/// Undoes a step, if it was done; what is gone already is no error.
pub fn undo(step: &Step) -> Result<(), Error> {
    match step.undo() {
        Undo::NotNeeded | Undo::Stays(_) | Undo::Impossible => Ok(()),
        Undo::Close(name) => closing::close_if_there(&name),
        Undo::Unmount(at) => unmount(Path::new(&at)),
        Undo::RemoveUnits(names) => remove_units(&names),
        Undo::RemoveOrders(units) => orders::remove(&units),
        Undo::RemoveExitrd => exitrd::remove(),
        Undo::PutExitrdBack => exitrd::put_back(),
        Undo::EndWatcher => watcher::take_away(),
        Undo::Rename(renaming) => Ok(boot_entries::give_back(&renaming)?),
        Undo::MoveBack { from, to } => Ok(mount::move_to(Path::new(&from), Path::new(&to))?),
    }
}

/// Every mount at this place, and below it: nothing of ours may stay under what is mounted over it.
fn unmount(at: &Path) -> Result<(), Error> {
    let mut below: Vec<Mount> =
        mounts()?.into_iter().filter(|mount| mount.mount_point.starts_with(at)).collect();
    // The last that was mounted is the first to go.
    while let Some(mount) = below.pop() {
        let busy = |error: &sys::Error| error.source.kind() == ErrorKind::ResourceBusy;
        match mount::unmount(&mount.mount_point) {
            Err(error) if busy(&error) => mount::detach(&mount.mount_point)?,
            // It went with one that was detached, or by somebody else's hand.
            Err(error) if error.is_no_mount() => {}
            done => done?,
        }
    }
    Ok(())
}

/// The mounts of this mount namespace.
pub fn mounts() -> Result<Vec<Mount>, Error> {
    let path = "/proc/self/mountinfo";
    let failed = |source| Error::Call(sys::Error::new("read", path, source));
    let bytes = whole_at(Path::new(path), MOUNTS).map_err(failed)?;
    Mount::parse_all(&bytes).map_err(|e| failed(io::Error::other(e)))
}

fn remove_units(names: &[String]) -> Result<(), Error> {
    let is_ours =
        |path: &Path| whole_at(path, Bytes(UNIT.len() as u64)).is_ok_and(|text| text == UNIT.as_bytes());
    for path in names.iter().map(|name| Path::new(UNITS).join(name)) {
        whole::take_away(&path, is_ours).map_err(|e| write_error(&path, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PID 1 had looked for units in the same tick, and did not look again: "Unit nextroot-watcher.service not found."
    #[test]
    fn each_unit_gives_its_directory_a_time_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let microseconds = |number: u8| {
            write_unit_in(directory.path(), &format!("{number}.service"), UNIT).unwrap();
            let time = fs::metadata(directory.path()).unwrap().modified().unwrap();
            time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros()
        };
        let times: Vec<u128> = (0..20).map(microseconds).collect();
        assert!(times.windows(2).all(|two| two[0] < two[1]), "{times:?}");
    }

    /// The os-release and the fstab of an image were read to their ends, wherever those were.
    #[test]
    fn files_of_an_image_that_never_end_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join("etc").join(name);
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::File::create(path("os-release")).unwrap().set_len(100 << 30).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(path("directory")).unwrap();
        fs::write(path("fstab"), "a /b c\n").unwrap();
        for (name, expected) in [
            ("os-release", "it has more than the 1.0 MiB"),
            ("fifo", "it is no regular file"),
            ("directory", "it is no regular file"),
            ("missing", ""),
            ("fstab", "a /b c\n"),
        ] {
            let told = match read_below(root.path(), &format!("etc/{name}")) {
                Ok(text) => text.unwrap_or_default(),
                Err(Error::Call(error)) => error.source.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(told.starts_with(expected) && told.is_empty() == expected.is_empty(), "{name}: {told}");
        }
        assert!(
            os_release(root.path()).is_err(),
            "the second place does not stand in for a hostile first one"
        );
    }
}
