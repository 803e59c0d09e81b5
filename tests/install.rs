//! `make install`: what it puts where, with which modes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

/// What is installed: the mode, and the path below DESTDIR with PREFIX=/usr.
const INSTALLED: &[(u32, &str)] = &[
    (0o755, "usr/bin/mkinitrd"),
    (0o755, "usr/bin/nextroot"),
    (0o755, "usr/lib/kernel/install.d/56-nextroot.install"),
    (0o755, "usr/lib/nextroot/nextroot-init"),
    (0o755, "usr/lib/nextroot/nextroot-init-signatures"),
    (0o644, "usr/lib/nextroot/nextroot.conf"),
    (0o644, "usr/lib/systemd/catalog/nextroot.catalog"),
    (0o644, "usr/lib/systemd/system/nextroot-soft-reboot.service"),
    (0o644, "usr/lib/systemd/system/nextroot-soft-reboot.service.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/nextroot-watcher.service.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/nextroot-probe.service.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/scope.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/service.d/10-nextroot.conf"),
    (0o644, "usr/lib/systemd/system/systemd-soft-reboot.service.d/10-nextroot.conf"),
    (0o644, "usr/share/bash-completion/completions/nextroot"),
    (0o644, "usr/share/doc/nextroot/boot-counting.md"),
    (0o644, "usr/share/doc/nextroot/building.md"),
    (0o644, "usr/share/doc/nextroot/cmdline.md"),
    (0o644, "usr/share/doc/nextroot/doctor.schema.json"),
    (0o644, "usr/share/doc/nextroot/fleet.md"),
    (0o644, "usr/share/doc/nextroot/operations.md"),
    (0o644, "usr/share/doc/nextroot/plan.schema.json"),
    (0o644, "usr/share/doc/nextroot/preflight.md"),
    (0o644, "usr/share/doc/nextroot/preflight.schema.json"),
    (0o644, "usr/share/doc/nextroot/report.schema.json"),
    (0o644, "usr/share/doc/nextroot/signatures.md"),
    (0o644, "usr/share/doc/nextroot/soft-reboot.md"),
    (0o644, "usr/share/doc/nextroot/stage.schema.json"),
    (0o644, "usr/share/doc/nextroot/status.schema.json"),
    (0o644, "usr/share/doc/nextroot/threat-model.md"),
    (0o644, "usr/share/fish/vendor_completions.d/nextroot.fish"),
    (0o644, "usr/share/man/man5/nextroot.conf.5"),
    (0o644, "usr/share/man/man8/mkinitrd.8"),
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
    for name in ["nextroot", "mkinitrd", "nextroot-init", "nextroot-init-signatures"] {
        let binary = built.path().join(name);
        fs::write(&binary, "a program").unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    }
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

/// What should be there below this prefix: that, and every decision that is written down.
fn expected(prefix: &str) -> Vec<(u32, String)> {
    let decisions = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions");
    let decisions = files(&decisions).into_iter();
    let decisions = decisions.map(|(_, name)| (0o644, format!("usr/share/doc/nextroot/decisions/{name}")));
    let all = INSTALLED.iter().map(|(mode, path)| (*mode, (*path).to_owned())).chain(decisions);
    let mut all: Vec<_> = all.map(|(mode, path)| (mode, path.replacen("usr", prefix, 1))).collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    all
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
    assert_eq!(files(destination.path()), expected("usr"));
    assert_eq!(
        commands(&destination.path().join("usr/lib/systemd/system")),
        ["ExecStop=/usr/bin/nextroot hook early", "ExecStart=/usr/bin/nextroot hook late"]
    );
}

#[test]
fn units_name_the_binary_below_another_prefix() {
    let (built, destination) = (build(), tempfile::tempdir().unwrap());
    assert!(install(built.path(), destination.path(), "/usr/local").status.success());
    assert_eq!(files(destination.path()), expected("usr/local"));
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

/// The plugin of kernel-install(8): `add VERSION ENTRY_DIR IMAGE [INITRD...]`, with what is in its environment.
#[test]
fn kernel_install_makes_an_initramfs_where_it_is_asked_to() {
    let work = tempfile::tempdir().unwrap();
    let (bin, staging) = (work.path().join("bin"), work.path().join("staging"));
    fs::create_dir(&bin).unwrap();
    let program = bin.join("mkinitrd");
    fs::write(&program, "#!/bin/sh\necho \"$*\" >\"$2\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = work.path().join("initramfs.conf");
    for (arguments, generator, there, is_config, expected) in [
        ("add 6.12 /e /k", Some("nextroot"), false, false, Some("--kernel 6.12")),
        ("add 6.12 /e /k", None, false, false, Some("--kernel 6.12")),
        ("add 6.12 /e /k", Some(""), false, true, Some("--kernel 6.12 --config ")),
        ("add 6.12 /e /k /initrd", Some("nextroot"), false, false, Some("--kernel 6.12")),
        // Somebody else's.
        ("add 6.12 /e /k /initrd", None, false, false, None),
        ("add 6.12 /e /k", None, true, false, None),
        // Debian's plugin takes it from /boot, whatever is asked for.
        ("add 6.12 /e /k beside", None, false, false, None),
        ("add 6.12 /e /k uki", Some("nextroot"), false, false, None),
        ("add 6.12 /e /k beside", Some("nextroot"), false, false, Some("--kernel 6.12")),
        ("add 6.12 /e /k", Some("dracut"), false, false, None),
        ("remove 6.12 /e", Some("nextroot"), false, false, None),
    ] {
        drop(fs::remove_dir_all(&staging));
        fs::create_dir(&staging).unwrap();
        let initrd = staging.join("initrd");
        if there {
            fs::write(&initrd, "another").unwrap();
        }
        drop(fs::remove_file(&config));
        if is_config {
            fs::write(&config, "").unwrap();
        }
        let mut command = Command::new("sh");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/kernel-install/56-nextroot.install"));
        let beside = staging.join("initrd.img-6.12");
        if arguments.ends_with(" beside") {
            fs::write(&beside, "another").unwrap();
        }
        let image_type = if arguments.ends_with(" uki") { "uki" } else { "pe" };
        command.env("KERNEL_INSTALL_IMAGE_TYPE", image_type);
        let words = arguments.split(' ').filter(|word| !["beside", "uki"].contains(word));
        command.args(words).env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command.env("KERNEL_INSTALL_STAGING_AREA", &staging).env("NEXTROOT_INITRAMFS_CONF", &config);
        command.env_remove("KERNEL_INSTALL_INITRD_GENERATOR").env_remove("KERNEL_INSTALL_VERBOSE");
        command.envs(generator.map(|generator| ("KERNEL_INSTALL_INITRD_GENERATOR", generator)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(beside.exists(), arguments.ends_with(" beside") && generator.is_none(), "{arguments}");
        let made = fs::read_to_string(&initrd).ok().filter(|text| text != "another");
        match (made, expected) {
            (Some(made), Some(expected)) => assert!(made.contains(expected), "{arguments}: {made}"),
            (made, expected) => assert_eq!(made.as_deref(), expected, "{arguments} {generator:?}"),
        }
    }
}
