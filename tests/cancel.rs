//! `nextroot cancel` where little is left to go by. Needs root and unshare(1); elsewhere the scenarios have it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::process::Command;

mod left_out;

/// What stage leaves, on a /run of its own. $2 happens before it is cancelled.
const WORLD: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs -o size=64k run /run
mkdir -p /run/nextroot /run/nextroot-state
mount -t tmpfs relay /run/nextroot
for name in sysroot previous carry; do mkdir "/run/nextroot/$name"; done
mount -t tmpfs new /run/nextroot/sysroot
mount -t tmpfs old /run/nextroot/previous
cat >/run/nextroot-state/state.json <<'END'
{"version": 1, "generation": 1, "staged": {"root": {"source": "x", "name": "x", "root_hash": "ab",
  "root_hash_from": "arguments", "system": null, "version": null}, "direct": false, "complete": false,
  "begun": {"steps": [{"do": "tmpfs", "at": "/run/nextroot", "options": ""}]}, "mounts": []},
  "current": null, "previous": null, "blessed": true, "relay": null}
END
eval "$2"
for time in 1 2; do "$1" cancel && echo "$time: done"; done
sed -n 's|^[^/]* / \(/run/nextroot[^ ]*\) .*|still \1|p' /proc/self/mountinfo
"#;

fn cancelled(before: &str) -> Option<String> {
    let unshare = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args([
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_nextroot"),
            before,
        ]);
        unshare
    };
    let can = "mount --make-rprivate / && mount -t tmpfs x /run";
    if !unshare(can).output().is_ok_and(|output| output.status.success()) {
        left_out::left_out("it needs root and unshare(1)");
        return None;
    }
    let output = unshare(WORLD).output().unwrap();
    Some(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn what_is_left_goes() {
    for (before, first) in [
        ("", "took back x"),
        ("rm /run/nextroot-state/state.json", "took back what was staged"),
        ("echo '{' >/run/nextroot-state/state.json", "took back what was staged"),
        ("umount -R /run/nextroot", "took back x"),
        ("rm -r /run/nextroot-state; umount -R /run/nextroot", "nothing was staged"),
        ("mount -t tmpfs over /run/nextroot", "took back x"),
    ] {
        let Some(said) = cancelled(before) else { return };
        assert!(said.starts_with(first), "{before}: {said}");
        assert!(said.contains("\nnothing was staged\n2: done"), "{before}: {said}");
        assert!(!said.contains("still "), "{before}: {said}");
    }
}

/// The lock could not be taken there, and so nothing be cancelled.
#[test]
fn a_full_run_is_no_obstacle() {
    let before = "cat /dev/zero >/run/zero 2>/dev/null || :";
    let Some(said) = cancelled(before) else { return };
    assert!(said.starts_with("took back x") && said.contains("2: done"), "{said}");
    assert!(!said.contains("still "), "{said}");
}

/// A mount that is none of ours stays.
#[test]
fn what_is_not_ours_stays() {
    let before = "rm -r /run/nextroot-state; umount -R /run/nextroot; mount -t tmpfs theirs /run/nextroot";
    let Some(said) = cancelled(before) else { return };
    assert!(said.contains("still /run/nextroot") && said.starts_with("nothing was staged"), "{said}");
    assert!(
        said.contains("theirs is mounted at /run/nextroot, and nothing tells that nextroot did it"),
        "{said}"
    );
}

/// A service with PrivateTmp= staged what systemd did not see, and cancelled what it could not unmount.
#[test]
fn mounts_that_pid_1_does_not_see() {
    let before = r#"printf '#!/bin/sh\nexec unshare --mount %s "$@"\n' "$1" >/run/aside
        chmod +x /run/aside
        set -- /run/aside"#;
    let Some(said) = cancelled(before) else { return };
    assert!(said.contains("in a mount namespace of its own") && !said.contains("done"), "{said}");
}
