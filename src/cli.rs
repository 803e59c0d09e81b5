//! The commands of the full build.

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use argh::FromArgs;
use nextroot::mode::{
    cancel, complain, gc, hook, plan, preflight, reboot,
    request::{self, Request, Wanted, Way},
    say, stage, status,
};

/// Find, verify, mount and switch into the next root file system.
///
/// As PID 1 of an initramfs (mkinitrd builds one) nextroot boots; started by a person it has these commands.
/// SOURCE is a device (/dev/NAME, PARTUUID=, PARTLABEL=, UUID=, LABEL=; with --roothash), roothash:HEX, slot:other, an image file, DIR.v/, or previous.
#[derive(FromArgs)]
#[argh(example = "nextroot plan --cmdline \"roothash=0a0f15ff...\"")]
#[argh(example = "nextroot plan --cmdline \"root=LABEL=data\" --facts facts.json")]
#[argh(example = "nextroot stage roothash:0a0f15ff...")]
#[argh(example = "nextroot reboot")]
struct Arguments {
    /// show the version
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Plan(Plan),
    Preflight(Preflight),
    Stage(Stage),
    Status(Status),
    Cancel(Cancel),
    Reboot(Reboot),
    Gc(Gc),
    Hook(Hook),
}

/// Print what would be done, step by step; nothing is touched. With SOURCE: by stage, and at the soft reboot. Without: by the init role, for a kernel command line.
///
/// Exit code: 0 a plan was printed, 1 it would be refused, or devices are missing.
#[derive(FromArgs)]
#[argh(subcommand, name = "plan")]
struct Plan {
    /// source of the next root
    #[argh(positional)]
    source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    roothash: Option<String>,
    /// device with the hash tree; default: the partition that the root hash names
    #[argh(option)]
    hash_device: Option<String>,
    /// let systemd switch by itself, without the relay
    #[argh(switch)]
    direct: bool,
    /// mount point to carry, whatever the rules say; may be given again
    #[argh(option)]
    carry: Vec<String>,
    /// mount point to leave; may be given again
    #[argh(option)]
    no_carry: Vec<String>,
    /// kernel command line; default: the running kernel's
    #[argh(option)]
    cmdline: Option<String>,
    /// what the machine has, as JSON; needs no privilege. Default: this machine is looked at
    #[argh(option)]
    facts: Option<String>,
    /// configuration that would be baked into the initramfs
    #[argh(option)]
    config: Option<String>,
    /// print the facts that were found instead, as --facts takes them
    #[argh(switch)]
    show_facts: bool,
}

/// Verify and mount the next root, and everything else of a soft reboot that can fail, while the system serves. Whatever fails, the machine is as before.
///
/// Exit code: 0 staged, 3 slot:other has nothing newer, 1 not staged.
#[derive(FromArgs)]
#[argh(subcommand, name = "stage")]
struct Stage {
    /// source of the next root; default: Source= of nextroot.conf
    #[argh(positional)]
    source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    roothash: Option<String>,
    /// device with the hash tree; default: the partition that the root hash names
    #[argh(option)]
    hash_device: Option<String>,
    /// let systemd switch by itself, without the relay: for systems that forbid programs on a tmpfs
    #[argh(switch)]
    direct: bool,
    /// mount point to carry, whatever the rules say; may be given again
    #[argh(option)]
    carry: Vec<String>,
    /// mount point to leave; may be given again
    #[argh(option)]
    no_carry: Vec<String>,
    /// put it in the place of what is staged
    #[argh(switch)]
    replace: bool,
    /// stage it even where preflight says that it would not run here
    #[argh(switch)]
    force: bool,
}

/// Check whether a source could be the next root, and tell what would survive, what would stop, and which mounts would be carried. Nothing is left changed.
///
/// Exit code: 0 it could be staged, 2 stage would refuse it, 1 it could not be looked at.
#[derive(FromArgs)]
#[argh(subcommand, name = "preflight")]
struct Preflight {
    /// source of the next root; default: Source= of nextroot.conf
    #[argh(positional)]
    source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    roothash: Option<String>,
    /// device with the hash tree; default: the partition that the root hash names
    #[argh(option)]
    hash_device: Option<String>,
    /// as for stage
    #[argh(switch)]
    direct: bool,
    /// as for stage
    #[argh(option)]
    carry: Vec<String>,
    /// as for stage
    #[argh(option)]
    no_carry: Vec<String>,
    /// as JSON (docs/preflight.md)
    #[argh(switch)]
    json: bool,
}

/// Tell which root runs, by the kernel's own word, what is staged, and what ran before.
///
/// Exit code: 0 it could be told; with --is: 0 it is so, 2 it is not; 1 it could not be told.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
struct Status {
    /// as JSON (docs/status.schema.json)
    #[argh(switch)]
    json: bool,
    /// answer by the exit code: staged, trial, blessed or idle
    #[argh(option)]
    is: Option<status::Question>,
}

/// Take back what is staged, or what an interrupted stage left; twice does no harm.
#[derive(FromArgs)]
#[argh(subcommand, name = "cancel")]
struct Cancel {}

/// Soft-reboot into what is staged, or into SOURCE, which is staged first. Refused where it would start this root again.
#[derive(FromArgs)]
#[argh(subcommand, name = "reboot")]
struct Reboot {
    /// source of the next root, as stage takes it
    #[argh(positional)]
    source: Option<String>,
    /// root hash, in hexadecimal, where SOURCE does not say it
    #[argh(option)]
    roothash: Option<String>,
}

/// What the units of a soft reboot run; not for people.
#[derive(FromArgs)]
#[argh(subcommand, name = "hook")]
struct Hook {
    /// early or late
    #[argh(positional)]
    when: String,
}

/// Close the devices of roots that are neither running, nor staged, nor the one before.
#[derive(FromArgs)]
#[argh(subcommand, name = "gc")]
struct Gc {}

/// Runs what the command line names.
pub(crate) fn run() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.version {
        say(format_args!("nextroot {}", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    let Some(command) = arguments.command else {
        complain(format_args!("nextroot: no command named: see nextroot --help"));
        return ExitCode::FAILURE;
    };
    done(command).unwrap_or_else(|error| {
        complain(format_args!("nextroot: {error}"));
        let mut cause = error.source();
        while let Some(error) = cause {
            complain(format_args!("  because: {error}"));
            cause = error.source();
        }
        ExitCode::FAILURE
    })
}

fn done(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    if !matches!(command, Command::Plan(_)) && !nextroot::mode::is_root() {
        return Err("this needs root, for device-mapper, mounts and /run: run it with sudo".into());
    }
    match command {
        Command::Plan(asked) => show(planned(asked)?)?,
        Command::Stage(asked) => {
            let request = configured(Request {
                source: asked.source.unwrap_or_default(),
                root_hash: asked.roothash,
                hash_device: asked.hash_device,
                way: way(asked.direct),
                wanted: Wanted { carry: asked.carry, leave: asked.no_carry },
                replace: asked.replace,
                force: asked.force,
                ..Request::default()
            })?;
            match stage::run(&request, tell) {
                Ok(staged) => {
                    say(format_args!(
                        "staged {}: nextroot reboot, or systemctl soft-reboot, goes there",
                        staged.root.source
                    ));
                }
                Err(error) if error.is_nothing_newer() => {
                    say(format_args!("nothing is staged: {error}"));
                    return Ok(ExitCode::from(request::NOTHING_NEWER));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Command::Preflight(asked) => {
            let request = configured(Request {
                source: asked.source.unwrap_or_default(),
                root_hash: asked.roothash,
                hash_device: asked.hash_device,
                way: way(asked.direct),
                wanted: Wanted { carry: asked.carry, leave: asked.no_carry },
                ..Request::default()
            })?;
            let examined = preflight::run(&request)?;
            if asked.json {
                show(examined.json()?)?;
            } else {
                show(&examined)?;
            }
            return Ok(ExitCode::from(if examined.is_unfit() { 2 } else { 0 }));
        }
        Command::Status(asked) => {
            let status = status::Status::look()?;
            match asked.is {
                Some(question) => return Ok(ExitCode::from(if status.is(question) { 0 } else { 2 })),
                None if asked.json => show(status.json()?)?,
                None => show(status)?,
            }
        }
        Command::Cancel(Cancel {}) => match cancel::run()? {
            Some(done) => {
                say(format_args!("took back {}", done.source));
                for holder in done.holders {
                    say(format_args!("its device goes when {holder} ends"));
                }
            }
            None => say(format_args!("nothing was staged")),
        },
        Command::Hook(asked) => match asked.when.as_str() {
            "early" => hook::early()?,
            "late" => hook::late()?,
            other => return Err(format!("hook {other}: write early or late").into()),
        },
        Command::Gc(Gc {}) => gc::run()?.iter().for_each(say),
        Command::Reboot(asked) => {
            let request = match asked.source {
                Some(source) => {
                    let root_hash = asked.roothash;
                    Some(configured(Request { source, root_hash, ..Request::default() })?)
                }
                None => None,
            };
            let staged = reboot::run(request.as_ref(), tell)?;
            say(format_args!("asked systemd for the soft reboot into {}", staged.root.source));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes what was asked for: that it cannot be written is an error.
fn show(text: impl Display) -> io::Result<()> {
    write!(io::stdout(), "{text}")
}

fn tell(line: &str) {
    say(line);
}

/// With what nextroot.conf says; what it warns of goes to standard error.
fn configured(request: Request) -> Result<Request, request::Error> {
    let (request, warnings) = request.configured()?;
    warnings.iter().for_each(|warning| complain(format_args!("nextroot: warning: {warning}")));
    Ok(request)
}

fn way(direct: bool) -> Way {
    if direct { Way::Direct } else { Way::Relay }
}

fn planned(asked: Plan) -> Result<String, Box<dyn Error>> {
    let Some(source) = asked.source else {
        return Ok(plan::run(&plan::Request {
            command_line: asked.cmdline,
            facts: asked.facts,
            config: asked.config,
            show_facts: asked.show_facts,
        })?);
    };
    if asked.cmdline.is_some() || asked.facts.is_some() || asked.config.is_some() || asked.show_facts {
        let why = "--cmdline, --facts, --config and --show-facts are for a boot: leave SOURCE out, or leave these out";
        return Err(why.into());
    }
    let request = configured(Request {
        source,
        root_hash: asked.roothash,
        hash_device: asked.hash_device,
        way: way(asked.direct),
        wanted: Wanted { carry: asked.carry, leave: asked.no_carry },
        ..Request::default()
    })?;
    Ok(request::plan(&request)?)
}
