//! Runs the rig's tools in a tree of their own: a chroot in a mount namespace, so that nothing of the host
//! but a kernel is needed, and nothing of it is touched.
//!
//! The program starts itself once more, inside; what it starts dies with it.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
    unistd::{chdir, chroot},
};

use crate::Outcome;

/// The hidden first argument of a start inside.
pub(crate) const ENTER: &str = "enter-tree";

/// A command that will run inside `tree`, with `work` shown at /mnt and `source`, if there is one, at /srv.
pub(crate) fn command(tree: &Path, work: &Path, source: Option<&Path>, program: &str) -> Outcome<Command> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(ENTER).arg(tree).arg(work).arg(source.unwrap_or(work)).arg(program);
    // Times of files come from the recipe, not from the clock; tools speak English.
    command.env_clear().envs([
        ("PATH", "/usr/sbin:/usr/bin"),
        ("LC_ALL", "C.UTF-8"),
        ("SOURCE_DATE_EPOCH", "0"),
        ("TMPDIR", "/var/tmp"),
    ]);
    Ok(command)
}

/// Runs such a command to its end; what it said is in the error where it failed.
pub(crate) fn run(
    tree: &Path,
    work: &Path,
    source: Option<&Path>,
    program: &str,
    arguments: &[&str],
) -> Outcome<String> {
    let output = command(tree, work, source, program)?.args(arguments).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    Err(format!("{program} {} failed ({}):\n{said}", arguments.join(" "), output.status).into())
}

/// The start inside: `TREE WORK SOURCE PROGRAM ARGUMENT...`. Returns only where it failed.
pub(crate) fn enter(arguments: &[String]) -> Outcome<()> {
    let [tree, work, source, program, rest @ ..] = arguments else { return Err("too few arguments".into()) };
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let tree = PathBuf::from(tree);
    // Tools that make sandboxes of their own want / to be a mount.
    mount(Some(&tree), &tree, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    chdir(&tree)?;
    for name in ["dev", "proc", "sys"] {
        let from = Path::new("/").join(name);
        mount(Some(&from), &tree.join(name), none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    }
    // Image tools copy whole systems there first, which takes twice as long on a disk.
    let mode = Some("mode=1777");
    mount(Some("tmpfs"), &tree.join("var/tmp"), Some("tmpfs"), MsFlags::empty(), mode)?;
    for (from, to) in [(work, "mnt"), (source, "srv")] {
        mount(Some(from.as_str()), &tree.join(to), none, MsFlags::MS_BIND, none)?;
    }
    chroot(".")?;
    chdir("/mnt")?;
    Err(Command::new(program).args(rest).exec().into())
}
