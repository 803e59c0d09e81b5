#!/bin/sh
# Runs a scenario's script, once in each life of userspace: `life` counts them from 1. What it says goes to
# the rig on the second serial port, with the number of the life before it.
exec >/dev/ttyS1 2>&1 </dev/null
cd /run/rig || exit 1
PATH=/run/rig:$PATH
life=$(($(cat life 2>/dev/null || echo 0) + 1))
echo "$life" >life

# say NAME [TEXT]: a line, or standard input line by line
say() {
	if [ $# -gt 1 ]; then
		name=$1
		shift
		echo "rig: $life $name=$*"
	else
		sed "s/^/rig: $life $1=/"
	fi
}
# The root hash of the dm device under /, by the kernel's own table; "plain" where / is on none
root_hash() {
	number=$(findmnt -rno MAJ:MIN /)
	if [ -e "/sys/dev/block/$number/dm" ]; then
		dmsetup table -j "${number%:*}" -m "${number#*:}" | cut -d ' ' -f 12
	else
		echo plain
	fi
}
# does NAME COMMAND...: what it says, and its exit code
does() {
	name=$1
	shift
	{ "$@" 2>&1; echo "exit $?"; } | say "$name"
}
# The units of dist/systemd, for this life and the later ones, and a configuration. Each run of the hook is told.
install_hook() {
	cat >nextroot-hook <<-'END'
		#!/bin/sh
		echo "rig: $(cat /run/rig/life) hook=$2" >/dev/ttyS1
		exec /run/rig/nextroot "$@"
	END
	chmod +x nextroot-hook
	cp -r units/. /run/systemd/system/
	grep -rl /usr/bin/nextroot /run/systemd/system | xargs sed -i 's|/usr/bin/nextroot|/run/rig/nextroot-hook|'
	configure
	systemctl enable --no-reload --runtime nextroot-soft-reboot.service
	systemctl daemon-reload
	systemctl start nextroot-soft-reboot.service
}
# writable NAME...: of a root that is read-only, a directory: what is written goes into memory
writable() {
	for directory in "$@"; do
		mkdir -p "/run/rig/over/$directory" "/run/rig/work/$directory"
		mount -t overlay -o "lowerdir=/$directory,upperdir=/run/rig/over/$directory,workdir=/run/rig/work/$directory" overlay "/$directory"
	done
}
# install_package: the Debian package. What it left on /var when it was installed before goes first. From then on the package's programs
# are those that are found
install_package() {
	writable usr etc
	does purge dpkg --purge nextroot
	does install dpkg -i nextroot.deb
	say package "$(dpkg-query -W -f '${Status}' nextroot)"
	PATH=/usr/bin:/usr/sbin
}
# install_kernel LINE...: kernel-install adds the running kernel to the ESP, which stays mounted at /run/esp, with these lines in its
# install.conf; the entry that the rig made goes, its kernel is $linux
install_kernel() {
	mkdir /run/esp && mount /dev/disk/by-partlabel/esp /run/esp
	# It takes minutes under emulation, and modules.dep is there.
	mkdir -p /etc/kernel/install.d && ln -s /dev/null /etc/kernel/install.d/50-depmod.install
	printf '%s\n' initrd_generator=nextroot BOOT_ROOT=/run/esp "$@" >/etc/kernel/install.conf
	echo "$(cat /proc/cmdline) rig.installed" >/etc/kernel/cmdline
	linux=/run/esp$(sed -n 's/^linux *//p' /run/esp/loader/entries/nextroot.conf)
	does kernel kernel-install --verbose add "$(uname -r)" "$linux"
	rm /run/esp/loader/entries/nextroot.conf
}
# fleet_units FILE...: units and drop-ins of dist/fleet, with the programs that are here. What is said to the fleet is in the file
# fleetlock: the script itself is in tests/fleet.rs
fleet_units() {
	for file in "$@"; do
		mkdir -p "$(dirname "/run/systemd/system/$file")"
		sed 's|/usr/bin/nextroot|nextroot|; s#nextroot \(status\|preflight\|reboot\)#/run/rig/nextroot \1#; s|/etc/nextroot/fleetlock.env|-/nothing|; s|/usr/lib/nextroot/fleetlock|/run/rig/fleetlock-told|; s|/var/lib/prometheus/node-exporter|/run/rig|' "fleet/$file" >"/run/systemd/system/$file"
	done
	printf '#!/bin/sh\necho "$1" >>/run/rig/fleetlock\n' >fleetlock-told
	chmod +x fleetlock-told
}
# As kured runs what it runs on its host
as_kured() { unshare -m nsenter -m/proc/1/ns/mnt -- "$@"; }
# damage FILE: on the disk, all of it but its first block, below /usr/lib of os_2, which is staged
damage() {
	set -- $(filefrag -v -b4096 "/run/nextroot/sysroot/usr/lib/$1" | grep '^ *0:')
	dd if=/dev/urandom of=/dev/disk/by-partlabel/os_2 bs=4096 seek=$((${4%..} + 1)) count=$((${6%:} - 1)) conv=notrunc,fsync
}
# What systemd has not loaded yet it reads when it is started: to have it read all units again takes five seconds here.
# outlives NAME ARGUMENTS...: starts guest-init as a service that survives. systemd 254 knows survivors only by the
# @ of their first argument
mark=$([ "$(systemctl --version | cut -d ' ' -f 2 | head -n 1)" = 254 ] && echo @)
outlives() {
	name=$1
	shift
	cat >"/run/systemd/system/$name.service" <<-END
		[Unit]
		DefaultDependencies=no
		After=basic.target
		Conflicts=reboot.target kexec.target poweroff.target halt.target rescue.target emergency.target
		Before=reboot.target kexec.target poweroff.target halt.target rescue.target emergency.target
		IgnoreOnIsolate=yes
		SurviveFinalKillSignal=yes
		[Service]
		ExecStart=@/run/rig/guest-init ${mark}guest-init $*
	END
	systemctl start "$name.service"
}
# kept_unit NAME: a unit of this name, from standard input, that runs now and that the new system starts, too
kept_unit() {
	cat >"/run/systemd/system/$1"
	systemctl enable -q --runtime --now "$1"
}
# A survivor that counts: survivor NAME HELD
survivor() {
	outlives "$1" beat "/run/rig/$1" $2
}
# A socket that survives, with a service behind it, and a client that asks for ever. By itself, the service answers
# until all else has stopped; PID 1 kills what still runs then without waiting for it (SIGTERM, then SIGKILL at once),
# so it is told before, or an answer would be cut short. With "defer" it stops as any service, and what comes meanwhile
# waits in the socket (DeferTrigger=, systemd 258).
surviving_socket() {
	drains=DefaultDependencies=no defers=
	[ "$1" = defer ] && drains= defers=DeferTrigger=patient
	cat >/run/systemd/system/answer.socket <<-END
		[Unit]
		DefaultDependencies=no
		[Socket]
		ListenStream=127.0.0.1:8080
		Service=answer.service
		$defers
		[Install]
		WantedBy=multi-user.target
	END
	cat >/run/systemd/system/answer.service <<-END
		[Unit]
		$drains
		[Service]
		ExecStart=/run/rig/guest-init serve
		StandardInput=socket
		StandardOutput=journal
	END
	if [ -n "$drains" ]; then
		mkdir -p /run/systemd/system/systemd-soft-reboot.service.d
		cat >/run/systemd/system/systemd-soft-reboot.service.d/50-drain.conf <<-END
			[Service]
			Type=oneshot
			ExecStart=-systemctl kill --signal=SIGUSR1 answer.service
		END
	fi
	systemctl enable -q --runtime --now answer.socket
	outlives client ask 127.0.0.1:8080 /run/rig/asked
}
# configure: the configuration, from standard input
configure() {
	mkdir -p /run/nextroot-conf
	cat >/run/nextroot-conf/nextroot.conf
}
# ill HASH COMMAND...: ill.service, which is well but in the root with this root hash, where it does COMMAND
ill() {
	hash=$1
	shift
	cat >ill <<-END
		#!/bin/sh
		number=\$(findmnt -rno MAJ:MIN /)
		dmsetup table -j "\${number%:*}" -m "\${number#*:}" | grep -q $hash || exit 0
		$*
	END
	chmod +x ill
	cat >/run/systemd/system/ill.service <<-END
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		TimeoutStartSec=infinity
		TimeoutStopSec=5
		ExecStart=/run/rig/ill
		[Install]
		WantedBy=multi-user.target
	END
	systemctl enable -q --no-reload --runtime ill.service
	systemctl start ill.service
}
# mounted DEVICE: when its ext4 was checked last, and how often it was mounted since
mounted() { tune2fs -l "$1" | grep '^Last checked:\|ount count:' | sort | tr -s ' \n' ' '; }
# checks [FROM]: how often a file system was checked since then, in milliseconds, or since the machine was started. systemd-fsck@ starts in each life, and passes over what is mounted
checks() { journalctl -b -o short-monotonic -t systemd-fsck | tr -d '[]' | awk -v from="${1:-0}" '$1 * 1000 > from && /clean/ { n++ } END { print n + 0 }'; }
# Milliseconds since the machine was started
ms() { awk '{ print int($1 * 1000) }' /proc/uptime; }
# heart NAME [FROM [TO]]: what the beats of a survivor say, all of them or those between two times: numbers that are missing,
# processes that it was, the longest time between two in milliseconds
heart() {
	awk -v from="${2:-0}" -v to="${3:-1e12}" '
		$2 < from || $2 > to { next }
		!($3 in known) { known[$3]; processes++ }
		beats++ { if ($1 != last + 1) holes++; if ($2 - time > gap) gap = $2 - time }
		{ last = $1; time = $2 }
		END { print "holes=" holes + 0, "processes=" processes + 0, "gap=" gap + 0, "beats=" beats + 0 }' "$1.beats"
}
# counts NAME [FILE]: "on" where a survivor still does, by the file that it holds if it holds one, never missed a number, and was
# never silent for three seconds: it beats ten times in one, and on a busy machine that emulates a soft reboot kept it from that for
# 600 ms at most. "stopped" where it does no longer
counts() {
	one=$(cat "${2:-$1}")
	sleep 1
	[ "$one" != "$(cat "${2:-$1}")" ] || { echo stopped; return; }
	all=$(heart "$1") silent=${all#*gap=}
	case $all in "holes=0 processes=1 "*) [ "${silent%% *}" -ge 3000 ] || all=on ;; esac
	echo "$all"
}
# serves_until SECONDS: whether the survivor `beat` counts, again and again until the machine restarts; where it does not in so many
# seconds from the time in the file `gone` on, that is told as lost
serves_until() {
	while sleep 1; do
		say beats "$(counts beat)"
		[ $(($(ms) - $(cat gone))) -lt $(($1 * 1000)) ] || say lost "the machine still runs"
	done
}
# silences NAME FROM TO: between two times, each in which a service did nothing for longer than 300 ms
silences() {
	awk -v from="$2" -v to="$3" '
		BEGIN { time = from }
		$2 >= from && $2 <= to { if ($2 - time > 300) print time, $2; time = $2 }
		END { if (to - time > 300) print time, to }' "$1.beats"
}
# left_after SECONDS: whether the root between this life and the one before was left so many seconds after it began, with what it takes
# besides: ten seconds, and twice as long as it took to leave this root, at the time in the file `gone`, and to start it again; one that
# is left at once (0) has to start, too. It begins with the watcher's word
left_after() {
	now=$(ms)
	set -- $(($1 * 1000)) $(cat gone) $(dmesg | sed -n 's/^\[ *\([0-9]*\)\.\([0-9]\{3\}\).* watch: on trial: .*/\1\2/p' | tail -n 2)
	there=$(($4 - $3)) switch=$(($3 - $2 + now - $4))
	if [ $there -ge $1 ] && [ $there -le $(($1 + (2 + ($1 == 0)) * switch + 10000)) ]; then
		echo yes
	else
		echo "left after $there ms, a switch takes $switch ms"
	fi
}
settled() { systemctl is-system-running --wait; }
# Waits until the watcher has blessed this root, and is gone
watched() {
	while [ -e /run/systemd/system/nextroot-watcher.service ]; do sleep 1; done
	until nextroot status --is blessed; do sleep 1; done
}
# Without a watcher: roots are blessed, and earlier ones closed, by the script alone
unwatched() { printf '[Trial]\nAutomaticReturn=no\n' | configure; }
# What nextroot could leave behind: everything of these kinds, a line each
things() {
	dmsetup ls | sort | sed 's/[[:space:]].*//; s/^/dm /'
	losetup -nO NAME,BACK-FILE | sort | sed 's/^/loop /'
	findmnt -rno TARGET,FSTYPE | sort | sed 's/^/mount /'
	ls /run/systemd/system | sort | sed 's/^/unit /'
	ls -d /run/nextroot/* 2>/dev/null
	true
}
# same NAME FILE FILE: whether both say the same, and what differs
same() {
	if cmp -s "$2" "$3"; then say "$1" same; else diff "$2" "$3" | say "$1"; fi
}
# nothing_left [HASH]: whether things are as in the file `before`, once the watcher is gone and gc has closed what it can; but for what
# stays, as docs/soft-reboot.md says: the device of the root with this root hash, which runs or ran before, units that do nothing, and the mount by
# which systemd carries credentials
nothing_left() {
	while [ -e /run/systemd/system/nextroot-watcher.service ]; do sleep 0.2; done
	nextroot gc >closed || say lost "gc: $(cat closed)"
	udevadm settle
	things >after
	sed -i "/^dm $1-verity\$/d; /^unit systemd-veritysetup@\(root\|usr\)\.service\$/d; /^mount \/run\/credentials tmpfs\$/d" before after
	same left before after
}
# killed_at_each NAME BEFORE COMMAND...: nextroot COMMAND, killed with SIGKILL when it has said so many lines, once for each that it
# says, after BEFORE; then it is taken back, twice, which has to leave what is in the file `before`. Says what was killed, and what is left
killed_at_each() {
	cat >kill-at <<-'END'
		# Tells whether it was still running.
		my ($lines, @command) = @ARGV;
		my $process = open(my $out, "-|", @command) or die;
		while ($lines-- > 0) { defined(my $line = <$out>) or last; $last = $line; }
		kill("KILL", $process);
		waitpid($process, 0);
		print(($? & 127) == 9 ? "killed at $last" : "ended\n");
	END
	what=$1 first=$2
	shift 2
	at=1
	while [ $at -le 40 ]; do
		[ -z "$first" ] || $first >/dev/null 2>&1
		said=$(perl kill-at $at nextroot "$@")
		say "$what" "$at $said"
		does cancel nextroot cancel
		does cancel nextroot cancel
		udevadm settle
		things >after
		same left before after
		case $said in ended*) break ;; esac
		at=$((at + 1))
	done
}
# loader_entries NAME: the boot loader's entries on the ESP, in a line
loader_entries() {
	mkdir -p /run/esp && mount -o ro /dev/disk/by-partlabel/esp /run/esp
	say "$1" "$(ls /run/esp/loader/entries | tr '\n' ' ')"
	umount /run/esp
}
# soft_reboot COMMAND...: what it says, and the end of this life
soft_reboot() {
	trap 'stopped=yes' TERM
	# PID 1 stops this script as soon as it is asked: it says all the same what was said.
	if (
		trap '' TERM
		"$@" >asks 2>&1
		code=$?
		echo "exit $code" >>asks
		say asks <asks
		exit $code
	); then
		until [ "$stopped" ]; do sleep 1; done
		trap - EXIT
		exit
	fi
	say lost "nobody was asked for a soft reboot"
	exit
}
prove() {
	nonce=$(cat nonce)
	boot_id=$(cat /proc/sys/kernel/random/boot_id)
	proof=$(printf '%s:%s' "$nonce" "$boot_id" | sha256sum | cut -d ' ' -f 1)
	echo "rig: boot_id=$boot_id proof=$proof"
}
# The end of a scenario: power off at once, where the way down is not what it is about, or in order
finish() {
	prove
	systemctl poweroff -ff
	sleep infinity
}
finish_in_order() {
	prove
	systemctl poweroff
	sleep infinity
}

# A script that ends any other way than by one of these or a reboot has a mistake.
trap 'say lost "the script ended without an end"; systemctl poweroff' EXIT
# Reading ahead takes seconds where each instruction is emulated: only scenarios do that are about it, or about all of it.
ahead=/run/nextroot-conf/nextroot.conf.d/10-rig.conf
reads_ahead() { rm -f $ahead; }
if [ "$life" = 1 ]; then
	mkdir -p "${ahead%/*}"
	printf '[Stage]\nPrewarm=no\n' >$ahead
fi
# What the life before was saying may have been cut short.
echo
say life "$(root_hash)"
. ./script
