//! `make install`: what it puts where, with which modes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

/// What is installed: the mode, and the path below DESTDIR with PREFIX=/usr.
const INSTALLED: [(u32, &str); 15] = [
    (0o755, "usr/bin/nextroot"),
    (0o644, "usr/lib/nextroot/nextroot.conf"),
    (0o644, "usr/lib/systemd/catalog/nextroot.catalog"),
    (0o644, "usr/lib/systemd/system/nextroot-soft-reboot.service"),
    (0o644, "usr/lib/systemd/system/nextroot-soft-reboot.service.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/nextroot-watcher.service.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/scope.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/service.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/systemd-soft-reboot.service.d/10-nextroot.conf"),
    (0o644, "usr/share/bash-completion/completions/nextroot"),
    (0o644, "usr/share/fish/vendor_completions.d/nextroot.fish"),
    (0o644, "usr/share/man/man5/nextroot.conf.5"),
    (0o644, "usr/share/man/man8/nextroot-verity.8"),
    (0o644, "usr/share/man/man8/nextroot.8"),
    (0o644, "usr/share/zsh/site-functions/_nextroot"),
];

/// `make install` of the build at `built`.
fn install(built: &Path, destination: &Path, prefix: &str) -> Output {
    Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("install")
        .arg(format!("DIST={}", built.display()))
        .arg(format!("DESTDIR={}", destination.display()))
        .arg(format!("PREFIX={prefix}"))
        .output()
        .unwrap()
}

/// A build, as far as installing is concerned.
fn build() -> tempfile::TempDir {
    let built = tempfile::tempdir().unwrap();
    let binary = built.path().join("nextroot");
    fs::write(&binary, "a program").unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    built
}

/// All files below `directory`, with their modes, by path.
fn files(directory: &Path) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            if path.is_dir() {
                assert_eq!(mode & 0o7777, 0o755, "{}", path.display());
                directories.push(path);
            } else {
                found.push((
                    mode & 0o7777,
                    path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned(),
                ));
            }
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found
}

/// The lines of the installed units that execute something.
fn commands(units: &Path) -> Vec<String> {
    ["nextroot-soft-reboot.service", "systemd-soft-reboot.service.d/10-nextroot.conf"]
        .iter()
        .flat_map(|unit| {
            let text = fs::read_to_string(units.join(unit)).unwrap();
            text.lines().filter(|line| line.starts_with("Exec")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn everything_is_in_its_place() {
    let (built, destination) = (build(), tempfile::tempdir().unwrap());
    let output = install(built.path(), destination.path(), "/usr");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<_> = INSTALLED.iter().map(|(mode, path)| (*mode, (*path).to_owned())).collect();
    assert_eq!(files(destination.path()), expected);
    assert_eq!(
        commands(&destination.path().join("usr/lib/systemd/system")),
        ["ExecStop=/usr/bin/nextroot hook early", "ExecStart=/usr/bin/nextroot hook late"]
    );
}

#[test]
fn units_name_the_binary_below_another_prefix() {
    let (built, destination) = (build(), tempfile::tempdir().unwrap());
    assert!(install(built.path(), destination.path(), "/usr/local").status.success());
    let expected: Vec<_> =
        INSTALLED.iter().map(|(mode, path)| (*mode, path.replacen("usr/", "usr/local/", 1))).collect();
    assert_eq!(files(destination.path()), expected);
    assert_eq!(
        commands(&destination.path().join("usr/local/lib/systemd/system")),
        ["ExecStop=/usr/local/bin/nextroot hook early", "ExecStart=/usr/local/bin/nextroot hook late"]
    );
}

#[test]
fn nothing_is_installed_without_a_build() {
    let (built, destination) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = install(built.path(), destination.path(), "/usr");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("run make build first"));
    assert_eq!(files(destination.path()), []);
}
