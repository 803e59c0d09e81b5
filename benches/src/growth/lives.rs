//! Running systems, by the machine's own clock: stage and the files that are in the page cache, and soft reboots in a row.

use std::path::Path;

use nextroot_qemu::measured::{Boot, Disk, Measured, Scripted, Told};
use regex::Regex;

use super::Row;
use crate::{Outcome, initramfs::peers::nextroot_generic};

const MEMORY: u64 = 2048;
const COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 roothash={roothash:os_1} systemd.default_device_timeout_sec=900";

/// So many files were read before, each time.
const FILES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// A system with more of them.
const LARGE: &str = "serving";
/// Soft reboots.
const ROUNDS: usize = 50;

/// Stages the other root with ever more files of the running one in the page cache.
pub(super) fn stage(measured: &Measured, dist: &Path) -> Outcome<Vec<Row>> {
    measured.say("stage, by files");
    let counts = FILES.map(|count| count.to_string()).join(" ");
    let script = format!(
        "\
reads_ahead
settled | say state
find /usr /etc -xdev -type f >files
say files \"$(wc -l <files)\"
for count in {counts}; do
	sync
	echo 3 >/proc/sys/vm/drop_caches
	head -n $count files | tr '\\n' '\\0' | xargs -0 cat >/dev/null
	say begin-$count \"$(guest-init clock)\"
	does stage-$count nextroot stage slot:other
	say end-$count \"$(guest-init clock)\"
	nextroot cancel
done
finish
"
    );
    let told = play(measured, dist, LARGE, &script)?;
    let files = Regex::new(r"(?m)^rig: 1 files=(\d+)")?;
    let there = files.captures(&told.witness).and_then(|found| found[1].parse().ok()).unwrap_or(0);
    let staged = told.witness.lines().filter(|line| line.ends_with("=exit 0")).count();
    if FILES.iter().any(|count| *count > there) || staged != FILES.len() {
        let log = told.log.display();
        return Err(format!("{there} files, and {staged} of {} staged: {log}", FILES.len()).into());
    }
    let row = |count: usize| {
        let seconds = clock(&told, &format!("1 end-{count}"))? - clock(&told, &format!("1 begin-{count}"))?;
        Ok(Row { series: "files".to_owned(), count, seconds, memory: None })
    };
    FILES.into_iter().map(row).collect()
}

/// Soft-reboots again and again: from the wish until all services of the next system are up.
pub(super) fn soft_reboots(measured: &Measured, dist: &Path) -> Outcome<Vec<Row>> {
    measured.say("soft reboots in a row");
    let script = format!(
        "\
say begun \"$(guest-init clock)\"
settled | say state
[ \"$life\" -le {ROUNDS} ] || finish
watched
[ $((life % 2)) = 1 ] && next={{roothash:os_2}} || next={{roothash:os_1}}
does stage nextroot stage \"roothash:$next\"
say go \"$(guest-init clock)\"
soft_reboot nextroot reboot
"
    );
    let told = play(measured, dist, "mini-trixie", &script)?;
    let row = |count: usize| {
        let seconds = clock(&told, &format!("{} begun", count + 1))? - clock(&told, &format!("{count} go"))?;
        Ok(Row { series: "soft-reboots".to_owned(), count, seconds, memory: None })
    };
    (1..=ROUNDS).map(row).collect()
}

fn play(measured: &Measured, dist: &Path, image: &str, script: &str) -> Outcome<Told> {
    let made = nextroot_generic(measured, dist)?;
    let disks = [Disk { image, scsi: false, times: 1, rate: None }];
    let boot = Boot {
        initramfs: &made.file,
        disks: &disks,
        command_line: COMMAND_LINE,
        memory: MEMORY,
        processors: 1,
    };
    measured.play(&boot, Scripted { script, ports: &[], has_kernel: false })
}

/// What the machine's clock was where the guest said it, in seconds.
fn clock(told: &Told, said: &str) -> Outcome<f64> {
    let line = Regex::new(&format!(r"(?m)^rig: {said}=machine=(\d+) "))?;
    let found = line.captures(&told.witness);
    let found = found.ok_or_else(|| format!("the guest did not say {said}: {}", told.log.display()))?;
    Ok(found[1].parse::<f64>()? / 1e9)
}
