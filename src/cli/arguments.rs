//! The command line as it is written: its commands, their options, and what --help says of them.

use argh::{ArgsInfo, FromArgs};
use nextroot::mode::{request, status};

use super::verity::Verity;

/// Find, verify, mount and switch into the next root file system.
///
/// Started by a person it has the commands below; as PID 1 of an initramfs, which mkinitrd(8) builds, it boots. A soft reboot in
/// order: doctor tells what is missing, preflight what would happen, stage prepares it while everything runs on, reboot goes there.
/// The new root is on trial then: once it is healthy it is blessed, and else the one before comes back, by itself.
#[derive(FromArgs, ArgsInfo)]
#[argh(example = "nextroot preflight slot:other      # would it work, and what would run on?")]
#[argh(example = "nextroot stage slot:other          # prepare it while everything runs on")]
#[argh(example = "nextroot reboot                    # go there")]
#[argh(example = "nextroot status                    # which root runs, is it healthy?")]
#[argh(example = "nextroot reboot /images/os_7.raw   # both in one, from an image file")]
#[argh(note = "SOURCE, where the next root is:
slot:other    the newest complete pair of root and verity partitions on the
              disk of the running root, if it is newer than what runs
roothash:HEX  the partitions whose UUIDs are the two halves of the root hash
FILE          a disk image, or a file system with .verity and .roothash
              beside it (or --roothash); a name without a dot as ./os
DIR.v/        the newest image of a versioned directory: systemd.v(7)
DEVICE        /dev/NAME, PARTUUID=, PARTLABEL=, UUID= or LABEL=, with
              --roothash
previous      the root that ran before")]
#[argh(note = "Words:
dm-verity     what the kernel checks each block of a root with when it is read
hash tree     what it is checked against: a hash of each block, and hashes of
              those, up to one; on a partition or in a file beside the root's
root hash     that one, in hexadecimal: it vouches for all of the root. It
              comes with the image: in a file, or as the partitions' UUIDs")]
#[argh(note = "More:
nextroot(8), nextroot.conf(5), nextroot-verity(8), mkinitrd(8); guides, and
schemas of what is printed as JSON: /usr/share/doc/nextroot/
All but doctor, the plan of a boot and verity's work on files need root.")]
pub(super) struct Arguments {
    /// show the version
    #[argh(switch, short = 'V')]
    pub(super) version: bool,
    #[argh(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub(super) enum Command {
    Doctor(Doctor),
    Preflight(Preflight),
    Plan(Plan),
    Stage(Stage),
    Cancel(Cancel),
    Reboot(Reboot),
    Status(Status),
    Bless(Bless),
    Rollback(Rollback),
    Gc(Gc),
    Report(Report),
    Verity(Verity),
    Hook(Hook),
    Watch(Watch),
    Probe(Probe),
}

/// Print each step that a soft reboot into SOURCE would take, or, without SOURCE, a boot; nothing is touched.
///
/// Before a soft reboot preflight is what to ask: it looks into the new root, and tells whether it would do. The plan shows how it
/// would be done. At boot nextroot, as the init of an initramfs, works by such a plan, too: without SOURCE it can be read before a
/// kernel command line is tried.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "plan")]
#[argh(example = "nextroot plan slot:other")]
#[argh(example = "nextroot plan --cmdline \"roothash=0a0f15ff...\"")]
#[argh(error_code(0, "the plan is printed"))]
#[argh(error_code(1, "it would be refused, or devices are missing"))]
pub(super) struct Plan {
    /// where the next root is: see nextroot --help; without it: the plan of a boot, whatever Source= of nextroot.conf says
    #[argh(positional, arg_name = "SOURCE")]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option, arg_name = "HEX")]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition whose UUID is the second half of the root hash
    #[argh(option, arg_name = "DEVICE")]
    pub(super) hash_device: Option<String>,
    /// let systemd switch by itself, where RestrictFileSystemAccess= forbids programs on a tmpfs: else nextroot runs from one between
    /// the two systems, moves the mounts, and goes back where the new root cannot be entered
    #[argh(switch)]
    pub(super) direct: bool,
    /// take the mount at PATH along into the new root, where it would not be by itself; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) carry: Vec<String>,
    /// do not take the mount at PATH along; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) no_carry: Vec<String>,
    /// stop this service last and start it first, beside those of Critical= in nextroot.conf; may be given again
    #[argh(option, arg_name = "SERVICE", from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// for the plan of a boot: kernel command line; default: the running kernel's
    #[argh(option, arg_name = "TEXT")]
    pub(super) cmdline: Option<String>,
    /// for the plan of a boot: the configuration that mkinitrd --config would put into the initramfs; default: none. It is not
    /// /etc/nextroot/nextroot.conf of this machine
    #[argh(option, arg_name = "FILE")]
    pub(super) config: Option<String>,
    /// do not look at this machine: what there is to plan with is in FILE, which --show-facts printed, here or elsewhere; needs no
    /// privilege
    #[argh(option, arg_name = "FILE")]
    pub(super) facts: Option<String>,
    /// print what was found on this machine, and not the plan: for --facts, so that somebody else can see why it comes out so
    #[argh(switch)]
    pub(super) show_facts: bool,
    /// print it as JSON
    #[argh(switch)]
    pub(super) json: bool,
}

/// Prepare the soft reboot while everything runs on: verify and mount the next root, and do all else that can fail.
///
/// Whatever fails, the machine is as before. Then nextroot reboot goes there, and systemctl soft-reboot does.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "stage")]
#[argh(example = "nextroot stage slot:other")]
#[argh(example = "nextroot stage roothash:0a0f15ff...")]
#[argh(example = "nextroot stage PARTLABEL=os_2 --roothash 0a0f15ff...")]
#[argh(error_code(0, "staged"))]
#[argh(error_code(1, "not staged"))]
#[argh(error_code(2, "a check of preflight, [Policy] of nextroot.conf or the signature refuses it"))]
#[argh(error_code(3, "slot:other has nothing newer than what runs"))]
#[argh(error_code(4, "what is newer failed before"))]
#[argh(error_code(5, "only a full reboot leads there"))]
pub(super) struct Stage {
    /// where the next root is: see nextroot --help; default: Source= of nextroot.conf, if it says one
    #[argh(positional, arg_name = "SOURCE")]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option, arg_name = "HEX")]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition whose UUID is the second half of the root hash
    #[argh(option, arg_name = "DEVICE")]
    pub(super) hash_device: Option<String>,
    /// let systemd switch by itself, where RestrictFileSystemAccess= forbids programs on a tmpfs: else nextroot runs from one between
    /// the two systems, moves the mounts, and goes back where the new root cannot be entered
    #[argh(switch)]
    pub(super) direct: bool,
    /// take the mount at PATH along into the new root, where it would not be by itself; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) carry: Vec<String>,
    /// do not take the mount at PATH along; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) no_carry: Vec<String>,
    /// stop this service last and start it first, beside those of Critical= in nextroot.conf; may be given again
    #[argh(option, arg_name = "SERVICE", from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// put it in the place of what is staged already, once it was found fit; without this that is refused
    #[argh(switch)]
    pub(super) replace: bool,
    /// read nothing of the new root into memory beforehand: its services start slower then
    #[argh(switch)]
    pub(super) no_prewarm: bool,
    /// how long reading ahead may take, as 90s or 2min; default: PrewarmTimeoutSec= of nextroot.conf
    #[argh(option, arg_name = "TIME", from_str_fn(span))]
    pub(super) prewarm_timeout: Option<u64>,
    /// stage it although a check of preflight fails, or slot:other failed before; a root without an init is refused all the same, and
    /// what [Policy] of nextroot.conf does not allow
    #[argh(switch)]
    pub(super) force: bool,
    /// print the outcome as JSON; what is under way goes to standard error
    #[argh(switch)]
    pub(super) json: bool,
}

/// Check whether SOURCE could be the next root, and tell what would run on, what would stop, and which mounts go along.
///
/// It is opened and mounted for that, and closed again: nothing is left changed. Where a check fails, stage would refuse it.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "preflight")]
#[argh(example = "nextroot preflight slot:other")]
#[argh(error_code(0, "it could be staged"))]
#[argh(error_code(1, "it could not be looked at"))]
#[argh(error_code(2, "stage would refuse it"))]
#[argh(error_code(3, "slot:other has nothing newer than what runs"))]
#[argh(error_code(4, "what is newer failed before"))]
#[argh(error_code(5, "only a full reboot leads there"))]
pub(super) struct Preflight {
    /// where the next root is: see nextroot --help; default: Source= of nextroot.conf, if it says one
    #[argh(positional, arg_name = "SOURCE")]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option, arg_name = "HEX")]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition whose UUID is the second half of the root hash
    #[argh(option, arg_name = "DEVICE")]
    pub(super) hash_device: Option<String>,
    /// let systemd switch by itself, where RestrictFileSystemAccess= forbids programs on a tmpfs: else nextroot runs from one between
    /// the two systems, moves the mounts, and goes back where the new root cannot be entered
    #[argh(switch)]
    pub(super) direct: bool,
    /// take the mount at PATH along into the new root, where it would not be by itself; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) carry: Vec<String>,
    /// do not take the mount at PATH along; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) no_carry: Vec<String>,
    /// stop this service last and start it first, beside those of Critical= in nextroot.conf; may be given again
    #[argh(option, arg_name = "SERVICE", from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// print it as JSON
    #[argh(switch)]
    pub(super) json: bool,
}

/// Tell which root runs, with the root hash that the kernel has for it and whether it is blessed, which is staged, and which ran before.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
#[argh(example = "nextroot status")]
#[argh(example = "if nextroot status --is trial; then echo not blessed yet; fi")]
#[argh(error_code(0, "it is told; with --is: it is so"))]
#[argh(error_code(1, "it could not be told"))]
#[argh(error_code(2, "with --is: it is not so"))]
pub(super) struct Status {
    /// print it as JSON
    #[argh(switch)]
    pub(super) json: bool,
    /// print it as metrics for Prometheus, as the textfile collector of node_exporter reads them
    #[argh(switch)]
    pub(super) metrics: bool,
    /// print nothing, and answer by the exit code: staged (something is), trial (the running root is not declared healthy yet),
    /// blessed (it is, or no switch led to it), idle (blessed, and nothing staged) or restored (the last switch was taken back: the root
    /// before it runs again)
    #[argh(option, arg_name = "STATE")]
    pub(super) is: Option<status::Question>,
}

/// Tell whether this machine could soft-reboot at all, and for each thing that it lacks the line of configuration that mends it.
///
/// Nothing is opened or changed. Without privilege it tells less, and says what it did not look at.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "doctor")]
#[argh(error_code(0, "it could"))]
#[argh(error_code(2, "it could not"))]
pub(super) struct Doctor {
    /// where the next root would be: see nextroot --help; default: Source= of nextroot.conf, else slot:other
    #[argh(positional, arg_name = "SOURCE")]
    pub(super) source: Option<String>,
    /// print it as JSON
    #[argh(switch)]
    pub(super) json: bool,
}

/// Tell what the last soft reboot cost: its phases, how long each service and socket was away, and what would make it shorter.
///
/// It is read from the time stamps of systemd and its journal, afterwards.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "report")]
#[argh(example = "nextroot report")]
#[argh(example = "nextroot report --svg >report.svg")]
#[argh(error_code(0, "told"))]
#[argh(error_code(1, "there was no soft reboot, or it could not be told"))]
pub(super) struct Report {
    /// print it as JSON
    #[argh(switch)]
    pub(super) json: bool,
    /// print it as a picture, for a browser
    #[argh(switch)]
    pub(super) svg: bool,
    /// add the requests that failed or were slow, as a client saw them: the one that [Probe] of nextroot.conf describes
    #[argh(switch)]
    pub(super) probe: bool,
}

/// Take back what is staged, or what an interrupted stage left.
///
/// Where nothing is, nothing is done.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "cancel")]
#[argh(error_code(0, "nothing is staged any more"))]
#[argh(error_code(1, "something could not be taken back"))]
pub(super) struct Cancel {}

/// Soft-reboot into what is staged, or into SOURCE, which is staged first.
///
/// Refused where systemd would start the running root again instead, and where an inhibitor blocks the shutdown.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "reboot")]
#[argh(example = "nextroot reboot slot:other")]
#[argh(example = "nextroot reboot --critical nginx.service slot:other")]
#[argh(error_code(0, "systemd was asked for the soft reboot"))]
#[argh(error_code(1, "it was not"))]
#[argh(error_code(2, "a check of preflight, [Policy] of nextroot.conf or the signature refuses it"))]
#[argh(error_code(3, "slot:other has nothing newer than what runs"))]
#[argh(error_code(4, "what is newer failed before"))]
#[argh(error_code(5, "only a full reboot leads there"))]
pub(super) struct Reboot {
    /// where the next root is: see nextroot --help; default: what is staged, else Source= of nextroot.conf
    #[argh(positional, arg_name = "SOURCE")]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option, arg_name = "HEX")]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition whose UUID is the second half of the root hash
    #[argh(option, arg_name = "DEVICE")]
    pub(super) hash_device: Option<String>,
    /// let systemd switch by itself, where RestrictFileSystemAccess= forbids programs on a tmpfs: else nextroot runs from one between
    /// the two systems, moves the mounts, and goes back where the new root cannot be entered
    #[argh(switch)]
    pub(super) direct: bool,
    /// take the mount at PATH along into the new root, where it would not be by itself; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) carry: Vec<String>,
    /// do not take the mount at PATH along; may be given again
    #[argh(option, arg_name = "PATH")]
    pub(super) no_carry: Vec<String>,
    /// stop this service last and start it first, beside those of Critical= in nextroot.conf; may be given again
    #[argh(option, arg_name = "SERVICE", from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// put it in the place of what is staged already, where that is another root, or this one not as --direct, --carry, --no-carry or
    /// --critical say; without this that is refused
    #[argh(switch)]
    pub(super) replace: bool,
    /// read nothing of the new root into memory beforehand: its services start slower then
    #[argh(switch)]
    pub(super) no_prewarm: bool,
    /// how long reading ahead may take, as 90s or 2min; default: PrewarmTimeoutSec= of nextroot.conf
    #[argh(option, arg_name = "TIME", from_str_fn(span))]
    pub(super) prewarm_timeout: Option<u64>,
    /// go although an inhibitor blocks the shutdown, a check of preflight fails, or slot:other failed before; what [Policy] of
    /// nextroot.conf does not allow is refused all the same
    #[argh(switch)]
    pub(super) force: bool,
}

/// Soft-reboot into the root that ran before, in the place of whatever is staged.
///
/// The image that is left counts as failed: slot:other passes it over until it runs again. reboot previous goes there and leaves no
/// such mark. Works after bless, too, as long as the root before is kept (Keep= of nextroot.conf).
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "rollback")]
#[argh(error_code(0, "systemd was asked for the soft reboot"))]
#[argh(error_code(1, "it was not"))]
#[argh(error_code(2, "a check of preflight, [Policy] of nextroot.conf or the signature refuses it"))]
#[argh(error_code(5, "only a full reboot leads there"))]
pub(super) struct Rollback {
    /// go although a check of preflight fails; what [Policy] of nextroot.conf does not allow is refused all the same
    #[argh(switch)]
    pub(super) force: bool,
    /// read nothing of that root into memory beforehand: its services start slower then
    #[argh(switch)]
    pub(super) no_prewarm: bool,
}

/// Declare the running root healthy: its trial ends.
///
/// As a rule nobody types it: a root that is healthy, as [Trial] of nextroot.conf has it, is blessed by itself. Then gc's work is done,
/// too.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "bless")]
#[argh(error_code(0, "it is blessed"))]
#[argh(error_code(1, "it is not"))]
pub(super) struct Bless {}

/// Internal: Run the early or the late check of a soft reboot, for systemd's units.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "hook")]
pub(super) struct Hook {
    /// early or late
    #[argh(positional, arg_name = "WHEN")]
    pub(super) when: String,
}

/// Internal: Watch over a root on trial, as nextroot-watcher.service.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "watch")]
pub(super) struct Watch {
    /// go back to the root before, for this reason
    #[argh(option, arg_name = "WHY")]
    pub(super) back: Option<String>,
    /// mark the boot loader's entries of the running root bad
    #[argh(switch)]
    pub(super) mark: bool,
}

/// Internal: Be the client that report --probe tells of, as nextroot-probe.service.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "probe")]
pub(super) struct Probe {}

/// Close what is left of roots that neither run, nor are staged, nor are kept for rollback: devices, loop devices, mounts.
///
/// What is in use is closed when that ends, and who uses it is named.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "gc")]
#[argh(error_code(0, "done, as far as nothing is in use"))]
#[argh(error_code(1, "something could not be closed"))]
pub(super) struct Gc {}

fn service(text: &str) -> Result<String, String> {
    request::service(text).ok_or_else(|| "a service is needed, as nginx.service".to_owned())
}

fn span(text: &str) -> Result<u64, String> {
    request::prewarm_timeout(text).ok_or_else(|| "a time from 1s to 1h is needed".to_owned())
}
