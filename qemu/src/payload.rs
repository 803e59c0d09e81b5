//! What a scenario's guest gets on a disk of its own: the program under test, and what to do with it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::Outcome;

/// The disk's file.
pub(crate) const DISK: &str = "payload.tar";
/// How long it is, in bytes, whatever is in it: a machine that is saved knows its disks by their sizes.
const SIZE: u64 = 16 << 20;

const MAIN: &str = include_str!("../guest/main.sh");

/// One with nothing but zeros, in whose place there will be another.
pub(crate) fn empty(work: &Path) -> Outcome<()> {
    Ok(fs::File::create(work.join(DISK))?.set_len(SIZE)?)
}

/// Makes the Debian package (`make deb`), for the disk that is made next.
pub(crate) fn add_package(dist: &Path, work: &Path) -> Outcome<()> {
    let (build, directory) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/deb/build"), work.join("package"));
    let version = env!("CARGO_PKG_VERSION");
    let output = Command::new(&build).args([dist, &directory]).arg(version).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", build.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    let made = fs::read_dir(&directory)?.next().ok_or("dist/deb/build made nothing")??;
    fs::create_dir_all(work.join("payload"))?;
    fs::rename(made.path(), work.join("payload/nextroot.deb"))?;
    Ok(fs::remove_dir(&directory)?)
}

/// Makes it: a tar archive, which needs no file system to be read. `nonce` is what the guest proves with that it ran.
pub(crate) fn make(dist: &Path, script: &str, nonce: &str, work: &Path) -> Outcome<()> {
    let directory = work.join("payload");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("script"), script)?;
    fs::write(directory.join("main"), MAIN)?;
    fs::write(directory.join("nonce"), nonce)?;
    for program in ["nextroot", "guest-init"] {
        fs::copy(dist.join(program), directory.join(program))?;
    }
    for program in ["main", "nextroot", "guest-init"] {
        fs::set_permissions(directory.join(program), fs::Permissions::from_mode(0o755))?;
    }
    for (from, to) in [("../dist/systemd", "units"), ("../dist/fleet", "fleet")] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
        let copied = Command::new("cp").arg("-r").arg(&from).arg(directory.join(to)).status()?;
        if !copied.success() {
            return Err(format!("copy {}: {copied}", from.display()).into());
        }
    }
    let packed = pack(&work.join(DISK), &directory, &["."]);
    fs::remove_dir_all(&directory)?;
    packed?;
    let disk = fs::File::options().write(true).open(work.join(DISK))?;
    let length = disk.metadata()?.len();
    if length > SIZE {
        return Err(format!("what a script gets has {length} bytes, and its disk {SIZE}").into());
    }
    Ok(disk.set_len(SIZE)?)
}

/// Packs files of a directory into a tar archive, which is a disk.
pub(crate) fn pack(to: &Path, directory: &Path, files: &[&str]) -> Outcome<()> {
    let output = Command::new("tar").arg("-cf").arg(to).arg("-C").arg(directory).args(files).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("pack {} into {}: tar: {said}", files.join(" "), to.display()).into())
}
