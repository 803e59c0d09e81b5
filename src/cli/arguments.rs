//! The command line as it is written: its commands, their options, and what --help says of them.

use argh::FromArgs;
use nextroot::mode::{request, status};

use super::verity::Verity;

/// Find, verify, mount and switch into the next root file system.
///
/// As PID 1 of an initramfs (mkinitrd builds one) nextroot boots; started by a person it has these commands.
/// SOURCE is a device (/dev/NAME, PARTUUID=, PARTLABEL=, UUID=, LABEL=; with --roothash), roothash:HEX, slot:other, an image file, DIR.v/, or previous.
#[derive(FromArgs)]
#[argh(example = "nextroot plan --cmdline \"roothash=0a0f15ff...\"")]
#[argh(example = "nextroot plan --cmdline \"root=LABEL=data\" --facts facts.json")]
#[argh(example = "nextroot stage roothash:0a0f15ff...")]
#[argh(example = "nextroot reboot")]
pub(super) struct Arguments {
    /// show the version
    #[argh(switch)]
    pub(super) version: bool,
    #[argh(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub(super) enum Command {
    Plan(Plan),
    Preflight(Preflight),
    Stage(Stage),
    Status(Status),
    Cancel(Cancel),
    Reboot(Reboot),
    Rollback(Rollback),
    Bless(Bless),
    Gc(Gc),
    Report(Report),
    Doctor(Doctor),
    Hook(Hook),
    Watch(Watch),
    Probe(Probe),
    Verity(Verity),
}

/// Print what would be done, step by step; nothing is touched. With SOURCE: by stage, and at the soft reboot. Without: by the init role, for a kernel command line.
///
/// Exit code: 0 a plan was printed, 1 it would be refused, or devices are missing.
#[derive(FromArgs)]
#[argh(subcommand, name = "plan")]
pub(super) struct Plan {
    /// source of the next root
    #[argh(positional)]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition that the root hash names
    #[argh(option)]
    pub(super) hash_device: Option<String>,
    /// let systemd switch by itself, without the relay
    #[argh(switch)]
    pub(super) direct: bool,
    /// mount point to carry, whatever the rules say; may be given again
    #[argh(option)]
    pub(super) carry: Vec<String>,
    /// mount point to leave; may be given again
    #[argh(option)]
    pub(super) no_carry: Vec<String>,
    /// service that stops last and starts first, beside those of Critical= in nextroot.conf; may be given again
    #[argh(option, from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// kernel command line; default: the running kernel's
    #[argh(option)]
    pub(super) cmdline: Option<String>,
    /// what the machine has, as JSON, from --show-facts; needs no privilege. Default: this machine is looked at
    #[argh(option)]
    pub(super) facts: Option<String>,
    /// configuration that would be baked into the initramfs
    #[argh(option)]
    pub(super) config: Option<String>,
    /// as JSON (docs/plan.schema.json)
    #[argh(switch)]
    pub(super) json: bool,
    /// print the facts that were found instead, as --facts takes them
    #[argh(switch)]
    pub(super) show_facts: bool,
}

/// Verify and mount the next root, and everything else of a soft reboot that can fail, while the system serves. Whatever fails, the machine is as before.
///
/// Exit code: 0 staged, 2 a check of preflight or policy refused it, 3 slot:other has nothing newer, 4 what is newer failed before, 5 only a full reboot leads there, 1 not staged.
#[derive(FromArgs)]
#[argh(subcommand, name = "stage")]
pub(super) struct Stage {
    /// source of the next root; default: Source= of nextroot.conf
    #[argh(positional)]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition that the root hash names
    #[argh(option)]
    pub(super) hash_device: Option<String>,
    /// let systemd switch by itself, without the relay: for systems that forbid programs on a tmpfs
    #[argh(switch)]
    pub(super) direct: bool,
    /// mount point to carry, whatever the rules say; may be given again
    #[argh(option)]
    pub(super) carry: Vec<String>,
    /// mount point to leave; may be given again
    #[argh(option)]
    pub(super) no_carry: Vec<String>,
    /// service that stops last and starts first, beside those of Critical= in nextroot.conf; may be given again
    #[argh(option, from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// put it in the place of what is staged
    #[argh(switch)]
    pub(super) replace: bool,
    /// read nothing ahead
    #[argh(switch)]
    pub(super) no_prewarm: bool,
    /// how long reading ahead may take, as 90s or 2min; default: PrewarmTimeoutSec= of nextroot.conf
    #[argh(option, from_str_fn(span))]
    pub(super) prewarm_timeout: Option<u64>,
    /// stage it even where preflight says that it would not run here, and a slot that failed before
    #[argh(switch)]
    pub(super) force: bool,
    /// tell the outcome as JSON (docs/stage.schema.json); what is under way goes to standard error
    #[argh(switch)]
    pub(super) json: bool,
}

/// Check whether a source could be the next root, and tell what would survive, what would stop, and which mounts would be carried. Nothing is left changed.
///
/// Exit code: 0 it could be staged, 2 stage would refuse it, 3 slot:other has nothing newer, 4 what is newer failed before, 5 only a full reboot leads there, 1 it could not be looked at.
#[derive(FromArgs)]
#[argh(subcommand, name = "preflight")]
pub(super) struct Preflight {
    /// source of the next root; default: Source= of nextroot.conf
    #[argh(positional)]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition that the root hash names
    #[argh(option)]
    pub(super) hash_device: Option<String>,
    /// as for stage
    #[argh(switch)]
    pub(super) direct: bool,
    /// as for stage
    #[argh(option)]
    pub(super) carry: Vec<String>,
    /// as for stage
    #[argh(option)]
    pub(super) no_carry: Vec<String>,
    /// as for stage
    #[argh(option, from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// as JSON (docs/preflight.md)
    #[argh(switch)]
    pub(super) json: bool,
}

/// Tell which root runs, by the kernel's own word, what is staged, and what ran before.
///
/// Exit code: 0 it could be told; with --is: 0 it is so, 2 it is not; 1 it could not be told.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
pub(super) struct Status {
    /// as JSON (docs/status.schema.json)
    #[argh(switch)]
    pub(super) json: bool,
    /// as metrics for Prometheus, as node_exporter reads them (docs/fleet.md)
    #[argh(switch)]
    pub(super) metrics: bool,
    /// answer by the exit code: staged, trial, blessed, idle or restored
    #[argh(option)]
    pub(super) is: Option<status::Question>,
}

/// Tell whether this machine could soft-reboot into another root, and for each thing that it lacks what mends it. Nothing is changed; who is not root is told less.
///
/// Exit code: 0 it could, 2 it could not.
#[derive(FromArgs)]
#[argh(subcommand, name = "doctor")]
pub(super) struct Doctor {
    /// source of the next root; default: Source= of nextroot.conf, else slot:other
    #[argh(positional)]
    pub(super) source: Option<String>,
    /// as JSON (docs/doctor.schema.json)
    #[argh(switch)]
    pub(super) json: bool,
}

/// Tell what the last soft reboot cost: its phases, how long each service and socket was away, and what would make it shorter.
///
/// By the time stamps of systemd and of its journal; nothing of ours has to run.
#[derive(FromArgs)]
#[argh(subcommand, name = "report")]
pub(super) struct Report {
    /// as JSON (docs/report.schema.json)
    #[argh(switch)]
    pub(super) json: bool,
    /// as a picture, for a browser
    #[argh(switch)]
    pub(super) svg: bool,
    /// with what a client saw that asks [Probe] Address= of nextroot.conf meanwhile
    #[argh(switch)]
    pub(super) probe: bool,
}

/// Take back what is staged, or what an interrupted stage left; twice does no harm.
#[derive(FromArgs)]
#[argh(subcommand, name = "cancel")]
pub(super) struct Cancel {}

/// Soft-reboot into what is staged, or into SOURCE, which is staged first unless it is staged already. Refused where it would start this root again, or somebody holds the shutdown back.
///
/// Exit code: 0 systemd was asked, 2 to 5 as for stage, 1 nothing was asked for.
#[derive(FromArgs)]
#[argh(subcommand, name = "reboot")]
pub(super) struct Reboot {
    /// source of the next root, as stage takes it
    #[argh(positional)]
    pub(super) source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    pub(super) roothash: Option<String>,
    /// device with the hash tree; default: the partition that the root hash names
    #[argh(option)]
    pub(super) hash_device: Option<String>,
    /// as for stage
    #[argh(switch)]
    pub(super) direct: bool,
    /// as for stage
    #[argh(option)]
    pub(super) carry: Vec<String>,
    /// as for stage
    #[argh(option)]
    pub(super) no_carry: Vec<String>,
    /// as for stage
    #[argh(option, from_str_fn(service))]
    pub(super) critical: Vec<String>,
    /// put it in the place of what is staged, where that is another root
    #[argh(switch)]
    pub(super) replace: bool,
    /// as for stage
    #[argh(switch)]
    pub(super) no_prewarm: bool,
    /// as for stage
    #[argh(option, from_str_fn(span))]
    pub(super) prewarm_timeout: Option<u64>,
    /// as for stage; and go though somebody holds the shutdown back
    #[argh(switch)]
    pub(super) force: bool,
}

/// Soft-reboot into the root that ran before, also where another is staged. The image that is left counts as failed: slot:other passes it over.
#[derive(FromArgs)]
#[argh(subcommand, name = "rollback")]
pub(super) struct Rollback {
    /// go there even where preflight says that it would not run here
    #[argh(switch)]
    pub(super) force: bool,
    /// as for stage
    #[argh(switch)]
    pub(super) no_prewarm: bool,
}

/// Declare the running root healthy: it is on trial no more, and what only the root before the previous one needed is closed.
#[derive(FromArgs)]
#[argh(subcommand, name = "bless")]
pub(super) struct Bless {}

/// What the units of a soft reboot run; not for people.
#[derive(FromArgs)]
#[argh(subcommand, name = "hook")]
pub(super) struct Hook {
    /// early or late
    #[argh(positional)]
    pub(super) when: String,
}

/// What watches over a root on trial, as a service that stage leaves in /run; not for people.
#[derive(FromArgs)]
#[argh(subcommand, name = "watch")]
pub(super) struct Watch {
    /// go back to the root before, for this reason
    #[argh(option)]
    pub(super) back: Option<String>,
    /// mark the boot loader's entries of the running root bad
    #[argh(switch)]
    pub(super) mark: bool,
}

/// What asks [Probe] Address= of nextroot.conf while a soft reboot goes on, as a service that is left in /run; not for people.
#[derive(FromArgs)]
#[argh(subcommand, name = "probe")]
pub(super) struct Probe {}

/// Close the devices of roots that are neither running, nor staged, nor the one before.
#[derive(FromArgs)]
#[argh(subcommand, name = "gc")]
pub(super) struct Gc {}

fn service(text: &str) -> Result<String, String> {
    request::service(text).ok_or_else(|| "a service is needed, as nginx.service".to_owned())
}

fn span(text: &str) -> Result<u64, String> {
    request::prewarm_timeout(text).ok_or_else(|| "a time from 1s to 1h is needed".to_owned())
}
