//! The relay as PID 1 of namespaces of its own, between two roots that are a tmpfs each. Whatever the relay does, it
//! can reach no init but the one of this test, and nothing of this machine that can be written to: of its root only
//! /usr is there, read-only and without its systemd. Needs root, unshare(1) and pivot_root(8); elsewhere the
//! scenarios have it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

mod left_out;

/// Makes the relay's tmpfs as stage and systemd leave it, and becomes the relay. $1 is a directory of the test's.
const WORLD: &str = r#"
set -e
exec 9</dev/null
mount --make-rprivate /
mkdir "$1/relay"
mount -t tmpfs relay "$1/relay"
cd "$1/relay"
mkdir -p dev proc sys run tmp etc sysroot previous carry/0 carry/1 usr/lib/systemd
cp "$2" usr/lib/systemd/systemd
cp "$1/relay.json" relay.json
root() {
	mount -t tmpfs "$2" "$1"
	for name in dev proc sys run tmp etc usr var out; do mkdir "$1/$name"; done
	for name in bin sbin lib lib64; do ln -s "usr/$name" "$1/$name"; done
	mount --bind /usr "$1/usr"
	mount -o remount,bind,ro "$1/usr"
	mount -t tmpfs systemd "$1/usr/lib/systemd"
	cp "$3/init" "$1/usr/lib/systemd/systemd"
	mount --bind "$3" "$1/out"
}
root sysroot new "$1"
root previous old "$1"
for number in 0 1; do mount -t tmpfs "held$number" "carry/$number"; done
mount -t tmpfs dev dev
for name in null kmsg; do : >"dev/$name"; mount --bind /dev/null "dev/$name"; done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs sys sys
mount -t tmpfs run run
mkdir -m 755 run/nextroot-state
cp "$1/state.json" run/nextroot-state/
for name in sysroot previous; do cmp "$1/init" "$name/usr/lib/systemd/systemd"; done
ln -s previous/usr/lib previous/usr/lib64 .
eval "$3"
while read -r line; do case $line in Sig[BI]*) echo "$line" ;; esac; done <proc/1/status >"$1/before"
for descriptor in proc/1/fd/?; do echo "descriptor ${descriptor##*/}"; done >>"$1/before"
pivot_root . tmp
cd /
/previous/usr/bin/umount -l /tmp
[ ! -e /tmp/usr ]
umask 0
exec /previous/usr/bin/env -i PATH=/usr/bin:/bin SYSTEMD_LOG_LEVEL=debug EMPTY= \
	/usr/lib/systemd/systemd --switched-root --system --deserialize 9 --log-target kmsg
"#;

/// What stands in for systemd: says what it sees.
const INIT: &str = r#"#!/bin/sh
{
	sed -E 's/^([^ ]+ ){4}([^ ]+) .* - [^ ]+ ([^ ]+) .*/mount \2 \3/' /proc/self/mountinfo
	echo "process $$ $*"
	tr '\0' '\n' </proc/$$/environ | sed 's/^/env /'
	echo "umask $(umask)"
	echo "cwd $(pwd)"
	stat -c 'mode %a %u %n' /run/nextroot-state /run/nextroot-state/*
	nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@" 2>/dev/null; }
	nobody cat /run/nextroot-state/state.json >/dev/null && echo "others read"
	for file in state.json lock new; do
		nobody sh -c "exec 3>>/run/nextroot-state/$file" && echo "others write $file"
	done
	nobody rm -f /run/nextroot-state/state.json && echo "others remove"
	while read -r line; do case $line in Sig[BI]*) echo "$line" ;; esac; done </proc/$$/status
	for descriptor in /proc/$$/fd/?; do echo "descriptor ${descriptor##*/}"; done
	cat /run/nextroot-state/state.json
} >/out/seen
"#;

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        world.write("init", INIT);
        fs::set_permissions(world.path().join("init"), fs::Permissions::from_mode(0o755)).unwrap();
        world.write("state.json", &state().to_string());
        world
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// A pass with these mounts to carry; `meanwhile` happens after staging. What the init saw.
    fn pass(&self, carried: &[&str], meanwhile: &str) -> String {
        let output = self.try_pass(carried, meanwhile);
        let seen = fs::read_to_string(self.path().join("seen"));
        seen.unwrap_or_else(|_| panic!("no init ran: {}", text(&output)))
    }

    /// The same, where perhaps no init is reached: how the machine ended.
    fn try_pass(&self, carried: &[&str], meanwhile: &str) -> Output {
        let plan = |root: &str| {
            let held = carried.iter().enumerate().map(|(number, at)| (format!("/carry/{number}"), *at));
            let api = ["/proc", "/sys", "/dev", "/run"].map(|at| (at.to_owned(), at));
            let moves = api.into_iter().chain(held);
            let moves =
                moves.map(|(from, at)| json!({"do": "move", "from": from, "to": format!("{root}{at}")}));
            let end = [json!({"do": "pivot", "root": root}), json!({"do": "exec"})];
            json!({ "steps": moves.chain(end).collect::<Vec<Value>>() })
        };
        let init = "/usr/lib/systemd/systemd";
        let relay = json!({"init": init, "forward": plan("/sysroot"), "back": plan("/previous")});
        self.write("relay.json", &relay.to_string());
        let mut unshare = unshare(&["sh", "-c", WORLD, "sh"]);
        unshare.arg(self.path()).arg(env!("CARGO_BIN_EXE_nextroot")).arg(meanwhile).output().unwrap()
    }
}

fn unshare(command: &[&str]) -> Command {
    // Whatever hangs in there ends with it.
    let mut unshare = Command::new("timeout");
    unshare.args(["--signal=KILL", "60", "unshare"]);
    unshare.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]).args(command);
    unshare
}

fn text(output: &Output) -> String {
    format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr))
}

/// Whether this machine lets us.
#[track_caller]
fn can() -> bool {
    let script = "mount --make-rprivate / && mount -t tmpfs x /mnt && command -v pivot_root && test -d /usr/lib/systemd";
    let can = unshare(&["sh", "-c", script]).output().is_ok_and(|output| output.status.success());
    if !can {
        left_out::left_out("it needs root, unshare(1), pivot_root(8) and a /usr/lib/systemd");
    }
    can
}

fn state() -> Value {
    let root = json!({"source": "x", "name": "x", "root_hash": "ab", "root_hash_from": "arguments",
        "system": null, "version": null});
    let staged =
        json!({"root": root, "direct": false, "complete": true, "begun": {"steps": []}, "mounts": []});
    json!({"version": 1, "generation": 1, "staged": staged, "current": null, "previous": null,
        "blessed": true, "relay": null})
}

fn has(seen: &str, line: &str) -> bool {
    seen.lines().any(|other| other == line)
}

#[test]
fn the_new_init_gets_what_systemd_gave() {
    if !can() {
        return;
    }
    let world = World::new();
    let seen = world.pass(&["/run/kept"], "mkdir run/kept");
    for line in [
        "mount / new",
        "mount /run/kept held0",
        "mount /run run",
        "process 1 --switched-root --system --deserialize 9 --log-target kmsg",
        "umask 0000",
        "cwd /",
    ] {
        assert!(has(&seen, line), "{line} is missing in: {seen}");
    }
    assert!(seen.contains(r#""switched":true"#) && seen.contains(r#""generation":2"#), "{seen}");
    // Signals and descriptors: none is missing, and none is new. The shell's own are 10 and above.
    let before = fs::read_to_string(world.path().join("before")).unwrap();
    assert!(before.contains("descriptor 9"), "{before}");
    let same = |line: &&str| line.starts_with("Sig") || line.starts_with("descriptor");
    assert!(before.lines().eq(seen.lines().filter(same)), "{before} {seen}");
    let environment: Vec<&str> = seen.lines().filter(|line| line.starts_with("env ")).collect();
    assert_eq!(environment, ["env PATH=/usr/bin:/bin", "env SYSTEMD_LOG_LEVEL=debug", "env EMPTY="]);
}

/// PID 1 has no umask: the state was writable for everybody after a switch.
#[test]
fn nobody_else_writes_the_state() {
    if !can() {
        return;
    }
    let seen = World::new().pass(&[], "");
    let kept: Vec<&str> = seen.lines().filter(|line| line.starts_with("mode ")).collect();
    // Nothing else is there that somebody could have, such as a state that is half written.
    let wanted = ["mode 755 0 /run/nextroot-state", "mode 644 0 /run/nextroot-state/state.json"];
    assert_eq!(kept, wanted, "{seen}");
    // All may read it, and that is all that they may: neither write it, nor put a lock or another state there.
    let others: Vec<&str> = seen.lines().filter(|line| line.starts_with("others ")).collect();
    assert_eq!(others, ["others read"], "{seen}");
}

/// A container that was stopped took its directory in /run along: the switch came back for that.
#[test]
fn a_mount_point_in_run_that_is_gone() {
    if !can() {
        return;
    }
    let seen = World::new().pass(&["/run/gone", "/run/kept"], "mkdir run/kept");
    assert!(has(&seen, "mount / new") && has(&seen, "mount /run/kept held1"), "{seen}");
    assert!(!seen.contains("held0"), "{seen}");
}

/// The way back must not depend on a mount that the old system can do without.
#[test]
fn back_without_a_place_for_a_carried_mount() {
    if !can() {
        return;
    }
    let world = World::new();
    let seen = world.pass(&["/nextroot-no-such-place", "/run/kept"], "mkdir run/kept");
    for line in ["mount / old", "mount /run/kept held1", "mount /run run"] {
        assert!(has(&seen, line), "{line} is missing in: {seen}");
    }
    assert!(seen.contains(r#""switched":false"#), "{seen}");
}

/// The new root's init is not there: back from inside the new root.
#[test]
fn back_from_a_root_whose_init_cannot_be_executed() {
    if !can() {
        return;
    }
    let meanwhile = "mkdir run/kept; chmod -x sysroot/usr/lib/systemd/systemd";
    let seen = World::new().pass(&["/run/kept"], meanwhile);
    for line in ["mount / old", "mount /run/kept held0", "mount /run run", "cwd /"] {
        assert!(has(&seen, line), "{line} is missing in: {seen}");
    }
    assert!(seen.contains(r#""switched":false"#), "{seen}");
}

/// Nothing is known then but where the old root is.
#[test]
fn back_from_a_plan_that_cannot_be_read() {
    if !can() {
        return;
    }
    let seen = World::new().pass(&[], "echo '{' >relay.json");
    assert!(has(&seen, "mount / old") && has(&seen, "mount /run run"), "{seen}");
    assert!(seen.contains(r#""switched":false"#), "{seen}");
}

/// Neither root can be had: the machine starts anew. In a namespace that ends its init by a signal (pid_namespaces(7)).
#[test]
fn neither_root_restarts_the_machine() {
    if !can() {
        return;
    }
    let world = World::new();
    let meanwhile = "chmod -x sysroot/usr/lib/systemd/systemd previous/usr/lib/systemd/systemd";
    let begun = Instant::now();
    let output = world.try_pass(&[], meanwhile);
    assert!(!world.path().join("seen").exists(), "an init ran: {}", text(&output));
    assert!(begun.elapsed() < Duration::from_secs(50), "it did not end by itself: {}", text(&output));
    const SIGHUP: i32 = 1;
    assert_eq!(output.status.signal(), Some(SIGHUP), "{}", text(&output));
}
