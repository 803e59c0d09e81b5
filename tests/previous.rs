//! `previous` where a plain file system ran before: an ext4 in a file, as the root of a namespace of its own. Where this
//! machine does not let us have one, that is said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::process::Command;

mod left_out;

/// A root on a loop device, with this program as its init, that is the running and the previous one at once.
const WORLD: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs x /mnt
truncate -s 100M /mnt/image
mkfs.ext4 -q /mnt/image
mkdir /mnt/root
mount -o loop,noatime,commit=17 /mnt/image /mnt/root
cd /mnt/root
mkdir -p dev proc sys run tmp var etc usr/bin usr/lib/systemd
printf 'PRETTY_NAME="Plain"\nID=plain\n' >etc/os-release
cp "$1" usr/bin/nextroot
ln usr/bin/nextroot usr/lib/systemd/systemd
mount -t proc x proc
mount --bind /sys sys
mount --rbind /dev dev
mount -t tmpfs x run
mkdir -p run/nextroot-state run/nextroot-conf/nextroot.conf.d
# No systemd that could start a watcher.
printf '[Trial]\nAutomaticReturn=no\n' >run/nextroot-conf/nextroot.conf.d/alone.conf
"#;
const TRY: &str = r#"
set +e
nextroot() { chroot . nextroot "$@" 2>&1; echo "exit $?"; }
nextroot status
known=$(chroot . nextroot status --json | tr -d '\n' | sed 's/.*"current": \({.*}\),  *"blessed".*/\1/')
remember() {
	echo '{"version": 1, "generation": 2, "staged": null, "current": null, "previous": '"$1"', "blessed": true,
		"relay": null}' >run/nextroot-state/state.json
}
remember "$known"
"#;

fn seen(script: &str) -> Option<String> {
    let run = |script: String| {
        let arguments = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script, "sh"];
        Command::new("unshare").args(arguments).arg(env!("CARGO_BIN_EXE_nextroot")).output()
    };
    // Without privilege, a loop device or mkfs.ext4 there is no such world.
    let can = "mount --make-rprivate / && mount -t tmpfs x /mnt && truncate -s 9M /mnt/x && mkfs.ext4 -q /mnt/x \\
        && mkdir /mnt/y && mount -o loop /mnt/x /mnt/y";
    if !run(can.to_owned()).is_ok_and(|output| output.status.success()) {
        left_out::left_out("it needs root, loop devices and mkfs.ext4");
        return None;
    }
    let output = run([WORLD, TRY, script].concat()).unwrap();
    Some(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn has_in_order(text: &str, wanted: &[&str]) {
    let mut rest = text;
    for line in wanted {
        let at = rest.find(line).unwrap_or_else(|| panic!("no \"{line}\" where it should be in:\n{text}"));
        rest = &rest[at + line.len()..];
    }
}

#[test]
fn a_plain_root_is_staged_as_it_was_mounted() {
    let script = r#"
nextroot preflight previous | grep root-hash
nextroot stage --force previous
grep -c ' /mnt/root/run/nextroot/sysroot rw,noatime .* - ext4 .*commit=17' /proc/self/mountinfo
nextroot status
nextroot cancel
nextroot gc
echo "left: $(grep nextroot /proc/self/mountinfo)"
"#;
    let Some(text) = seen(script) else { return };
    has_in_order(
        &text,
        &[
            "current:    Plain, /dev/loop",
            " ext4, not verified\n            source: UUID=",
            "warn  root-hash      none: /dev/loop",
            " still has UUID=",
            "staged previous: ",
            "exit 0\n1\n",
            "staged:     Plain, /dev/loop",
            " ext4, not verified (previous)\n",
            "previous:   Plain, /dev/loop",
            "took back previous\nexit 0\nnothing is left to close\nexit 0\nleft: \n",
        ],
    );
}

#[test]
fn what_is_not_what_ran_is_refused() {
    let script = r#"
printf '[Policy]\nVerity=required\n' >run/nextroot-conf/nextroot.conf
nextroot stage --force previous
rm run/nextroot-conf/nextroot.conf
remember "$(echo "$known" | sed 's/"filesystem_uuid": "[0-9a-f]*/"filesystem_uuid": "00000000/')"
nextroot stage --force previous
remember "$(echo "$known" | sed 's/"devno": "[^"]*"/"devno": "4000:1"/')"
nextroot stage --force previous
nextroot cancel
nextroot stage --force previous --roothash $(printf %064d 0)
remember '{"source": "overlay", "unreachable": "it is overlay", "system": null, "version": null}'
nextroot stage --force previous
nextroot stage --force "$(findmnt -rno SOURCE /mnt/root)"
echo "left: $(grep nextroot /proc/self/mountinfo)"
"#;
    let Some(text) = seen(script) else { return };
    has_in_order(
        &text,
        &[
            "is a plain file system, which nothing verifies, and nextroot.conf says [Policy] Verity=required",
            "exit 2\n",
            "cannot be mounted again: its UUID was 00000000-",
            "exit 1\n",
            // Known by its UUID, with the number that it has now
            "staged previous",
            "took back previous",
            "its root hash is none: nothing verifies it, and 000000",
            "exit 1\n",
            "cannot be mounted again: it is overlay; name an image",
            "exit 1\n",
            "nothing is verified without a root hash",
            "exit 1\nleft: \n",
        ],
    );
}

/// It ended with the error of the step that failed, and told of nothing else.
#[test]
fn what_preflight_tells_of_a_root_that_is_refused() {
    let script = r#"
printf '[Policy]\nVerity=required\n' >run/nextroot-conf/nextroot.conf
nextroot preflight previous
nextroot preflight --json previous | tr -d ' \n'
rm run/nextroot-conf/nextroot.conf
mv usr/lib/systemd/systemd usr/lib/systemd/was
echo text >usr/lib/systemd/systemd
chmod +x usr/lib/systemd/systemd
nextroot preflight previous
nextroot preflight --json previous | tr -d ' \n'
nextroot stage --force previous
mv usr/lib/systemd/was usr/lib/systemd/systemd
echo "left: $(grep nextroot /proc/self/mountinfo)"
"#;
    let Some(text) = seen(script) else { return };
    has_in_order(
        &text,
        &[
            "warn  os-release     not looked at: ",
            "fail  root-hash      none: /dev/loop",
            " is not verified; nextroot.conf says [Policy] Verity=required",
            "\nwarn  var            not looked at: ",
            "\nmounts: not looked at: ",
            "exit 2\n{",
            r#"{"name":"root-hash","result":"fail""#,
            r#""opened":false"#,
            "exit2",
            "fail  init           /usr/lib/systemd/systemd in /run/nextroot-state/look cannot be executed: it is neither an ELF program nor a script",
            "\nmounts that are not:",
            "exit 2\n{",
            r#"{"name":"init","result":"fail""#,
            r#""opened":true"#,
            "exit2",
            "cannot be executed: it is neither an ELF program nor a script\nexit 2\nleft: \n",
        ],
    );
}

#[test]
fn what_takes_its_place_at_the_end_of_the_run_is_put_back() {
    let script = r#"
printf '[Stage]\nExitrd=yes\nPrewarm=no\n' >run/nextroot-conf/nextroot.conf
tries() {
	nextroot plan previous | grep -o 'keep the .* aside\|leave this .*/shutdown'
	nextroot stage --force previous | grep '/run/initramfs'
	cmp run/initramfs/shutdown usr/bin/nextroot && echo ours
	nextroot cancel
}
mkdir run/initramfs
echo another >run/initramfs/shutdown
tries
echo "there: $(ls run/initramfs) $(cat run/initramfs/shutdown)"
cp usr/bin/nextroot run/initramfs/shutdown
tries
echo "there: $(ls run/initramfs)"
rm -r run/initramfs
tries
echo "there: $(ls run | grep initramfs)"
"#;
    let Some(text) = seen(script) else { return };
    let kept = "keep the /run/initramfs/shutdown that is there aside\n";
    let left = "leave this program as /run/initramfs/shutdown\n";
    let ended = "ours\ntook back previous\nexit 0\nthere: ";
    let [other, same, none] = [
        [kept, left, kept, left, ended, "shutdown another\n"].concat(),
        [ended, "shutdown\n"].concat(),
        [left, left, ended, "\n"].concat(),
    ];
    has_in_order(&text, &[&other, &same, &none]);
    assert_eq!(text.matches(left).count(), 4, "{text}");
}
