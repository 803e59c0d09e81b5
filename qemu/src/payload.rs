//! What a scenario's guest gets on a disk of its own: the program under test, and what to do with it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::Outcome;

/// The disk's file.
pub(crate) const DISK: &str = "payload.tar";

const MAIN: &str = include_str!("../guest/main.sh");

/// Makes it: a tar archive, which needs no file system to be read.
pub(crate) fn make(dist: &Path, script: &str, work: &Path) -> Outcome<()> {
    let directory = work.join("payload");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("script"), script)?;
    fs::write(directory.join("main"), MAIN)?;
    for program in ["nextroot", "guest-init"] {
        fs::copy(dist.join(program), directory.join(program))?;
    }
    for program in ["main", "nextroot", "guest-init"] {
        fs::set_permissions(directory.join(program), fs::Permissions::from_mode(0o755))?;
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/systemd");
    let copied = Command::new("cp").arg("-r").arg(&units).arg(directory.join("units")).status()?;
    if !copied.success() {
        return Err(format!("copy {}: {copied}", units.display()).into());
    }
    let output =
        Command::new("tar").arg("-cf").arg(work.join(DISK)).arg("-C").arg(&directory).arg(".").output()?;
    fs::remove_dir_all(&directory)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("tar: {}", String::from_utf8_lossy(&output.stderr)).into())
}
