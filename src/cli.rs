//! The commands of the full build.

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use nextroot::mode::{
    bless, cancel, client, complain, doctor, gc, hook,
    plan::{self, Form},
    preflight, reboot, report,
    request::{self, Request, Wanted, Way},
    say, stage, status, watch,
};

mod arguments;
mod bar;
mod colour;
#[cfg(test)]
mod tests;
mod verity;

use bar::Bar;

use arguments::{Arguments, Bless, Cancel, Command, Gc, Plan, Preflight, Probe, Reboot, Stage};

/// Runs what the command line names.
pub(crate) fn run() -> ExitCode {
    let arguments: Arguments = match nextroot_usage::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(early) => return early.tell(),
    };
    if arguments.version {
        say(format_args!("nextroot {}", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    let Some(command) = arguments.command else {
        complain(format_args!("nextroot: no command named: see nextroot --help"));
        return ExitCode::FAILURE;
    };
    done(command).unwrap_or_else(|error| {
        if !is_unread(&*error) {
            fail(&*error);
        }
        ExitCode::from(code(&*error))
    })
}

/// Whether whoever read what we print has gone, as `head` does: nobody is to be told of that.
fn is_unread(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What it ends with: why nothing was staged shows by it.
fn code(error: &(dyn Error + 'static)) -> u8 {
    let of_reboot = || match error.downcast_ref::<reboot::Error>() {
        Some(reboot::Error::Stage(error)) => Some(error),
        _ => None,
    };
    error.downcast_ref::<request::Error>().or_else(of_reboot).map_or(1, request::Error::code)
}

/// An error, with what led to it.
fn fail(error: &dyn Error) {
    complain(format_args!("{} {}", colour::error(), cut(error)));
    let mut cause = error.source();
    while let Some(error) = cause {
        complain(format_args!("  because: {}", cut(error)));
        cause = error.source();
    }
}

/// What an error says; a file's content that it names may have no end, and may be meant for the terminal.
fn cut(error: &dyn Error) -> String {
    const LONGEST: usize = 4000;
    let steers = |c: char| c.is_control() && c != '\n';
    let mut text = error.to_string().replace(steers, "?");
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.replace_range(at.., "...");
    }
    text
}

fn done(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    if needs_root(&command) && !nextroot::mode::is_root() {
        return Err("this needs root, for device-mapper, mounts and /run: run it with sudo".into());
    }
    match command {
        Command::Plan(asked) => show(planned(asked)?)?,
        Command::Stage(asked) => return staged(asked),
        Command::Preflight(asked) => return examined(asked),
        Command::Status(asked) => {
            let status = status::Status::look()?;
            match asked.is {
                Some(question) => return Ok(ExitCode::from(if status.is(question) { 0 } else { 2 })),
                None if asked.json => show(status.json()?)?,
                None if asked.metrics => show(status.metrics()?)?,
                None => show(status)?,
            }
        }
        Command::Report(asked) => {
            let report = report::Report::look()?;
            let report = if asked.probe { report.probed()? } else { report };
            match (asked.json, asked.svg) {
                (true, true) => return Err("report: --json and --svg are two reports: ask for one".into()),
                (true, false) => show(report.json()?)?,
                (false, true) => show(report.svg()?)?,
                (false, false) => show(report)?,
            }
        }
        Command::Doctor(asked) => {
            let diagnosis = doctor::run(asked.source);
            if asked.json {
                show(diagnosis.json()?)?;
            } else {
                show(colour::of_checks(&diagnosis.to_string()))?;
            }
            return Ok(ExitCode::from(match diagnosis.is_able() {
                Some(true) => 0,
                None => 1,
                Some(false) => 2,
            }));
        }
        Command::Cancel(Cancel {}) => took_back(cancel::run()?),
        Command::Hook(asked) => match asked.when.as_str() {
            "early" => hook::early()?,
            "late" => hook::late()?,
            other => return Err(format!("hook {other}: write early or late").into()),
        },
        Command::Watch(asked) => match asked.back {
            None if asked.mark => watch::mark()?,
            None => watch::run()?,
            Some(why) => match watch::back(&why) {
                Err(error) if error.is_locked() => return Ok(ExitCode::from(watch::LATER)),
                staged => drop(staged?),
            },
        },
        Command::Probe(Probe {}) => client::run()?,
        Command::Bless(Bless {}) => blessed(bless::run()?),
        Command::Rollback(asked) => {
            let (force, no_prewarm) = (asked.force, asked.no_prewarm);
            let back = Request { force, no_prewarm, ..reboot::back(reboot::GIVEN_UP)? };
            let bar = Bar::new(AHEAD);
            goes(&reboot::run(&configured(back)?, Some(&bar.watch()), tell)?.root.source);
        }
        Command::Gc(Gc {}) => match gc::run()?.as_slice() {
            [] => say("nothing is left to close"),
            closed => closed.iter().for_each(say),
        },
        Command::Verity(asked) => return verity::run(asked),
        Command::Reboot(asked) => rebooted(asked)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the bar is about.
const AHEAD: &str = "reading ahead";

fn goes(source: &str) {
    say(format_args!("asked systemd for the soft reboot into {source}"));
}

fn blessed(done: bless::Done) {
    let root = done.root.unwrap_or_else(|| "the running root".to_owned());
    match done.was_on_trial {
        true => say(format_args!("blessed {root}")),
        false => say(format_args!("nothing to bless: {root} is not on trial")),
    }
    match done.closed {
        Ok(lines) => lines.iter().for_each(say),
        Err(error) => {
            complain(format_args!("{} {error}, ignoring: nextroot gc tries again", colour::warning()));
        }
    }
}

fn took_back(outcome: cancel::Outcome) {
    match outcome {
        cancel::Outcome::TookBack(done) => {
            say(format_args!("took back {}", done.source));
            for holder in done.holders {
                say(format_args!("its device goes when {holder} ends"));
            }
        }
        cancel::Outcome::Nothing { foreign } => {
            say(format_args!("nothing was staged"));
            if let Some(mount) = foreign {
                say(format_args!(
                    "{mount} is mounted at /run/nextroot, and nothing tells that nextroot did it: umount -R /run/nextroot takes it away"
                ));
            }
        }
    }
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
    warn(&warnings);
    Ok(request)
}

fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| complain(format_args!("{} {warning}", colour::warning())));
}

/// The plan of a boot says itself what it cannot look at; that of a soft reboot is made of what only root sees.
fn needs_root(command: &Command) -> bool {
    match command {
        Command::Plan(asked) => asked.source.is_some() && asked.facts.is_none(),
        Command::Verity(asked) => asked.needs_root(),
        Command::Doctor(_) => false,
        _ => true,
    }
}

/// What plan, preflight, stage and reboot take alike.
fn root(
    source: Option<String>,
    (root_hash, hash_device): (Option<String>, Option<String>),
    direct: bool,
    (carry, leave): (Vec<String>, Vec<String>),
    critical: Vec<String>,
) -> Request {
    let way = if direct { Way::Direct } else { Way::Relay };
    let (source, wanted) = (source.unwrap_or_default(), Wanted { carry, leave });
    Request { source, root_hash, hash_device, way, wanted, critical, ..Request::default() }
}

fn examined(asked: Preflight) -> Result<ExitCode, Box<dyn Error>> {
    let (hash, mounts) = ((asked.roothash, asked.hash_device), (asked.carry, asked.no_carry));
    let request = configured(root(asked.source, hash, asked.direct, mounts, asked.critical))?;
    let examined = preflight::run(&request)?;
    if asked.json {
        show(examined.json()?)?;
    } else {
        show(colour::of_checks(&examined.to_string()))?;
    }
    // The checks that failed are told already.
    Ok(ExitCode::from(examined.refused(&request).map_or_else(|error| error.code(), |()| 0)))
}

fn rebooted(asked: Reboot) -> Result<(), reboot::Error> {
    let (hash, mounts) = ((asked.roothash, asked.hash_device), (asked.carry, asked.no_carry));
    let request = Request {
        replace: asked.replace,
        force: asked.force,
        no_prewarm: asked.no_prewarm,
        prewarm_timeout_sec: asked.prewarm_timeout,
        ..root(asked.source, hash, asked.direct, mounts, asked.critical)
    };
    let bar = Bar::new(AHEAD);
    goes(&reboot::go(request, Some(&bar.watch()), tell)?.root.source);
    Ok(())
}

fn staged(asked: Stage) -> Result<ExitCode, Box<dyn Error>> {
    let (hash, mounts) = ((asked.roothash, asked.hash_device), (asked.carry, asked.no_carry));
    let request = Request {
        replace: asked.replace,
        force: asked.force,
        no_prewarm: asked.no_prewarm,
        prewarm_timeout_sec: asked.prewarm_timeout,
        ..root(asked.source, hash, asked.direct, mounts, asked.critical)
    };
    let (request, warnings) = request.configured()?;
    warn(&warnings);
    let told = if asked.json { |line: &str| complain(line) } else { tell };
    let bar = Bar::new(AHEAD);
    let (outcome, text, code) = match stage::run(&request, Some(&bar.watch()), told) {
        Ok(done) => {
            let source = &done.staged.root.source;
            let text = format!("staged {source}: nextroot reboot, or systemctl soft-reboot, goes there");
            (stage::Outcome::staged(&request, done), text, ExitCode::SUCCESS)
        }
        Err(error) => match error.passed() {
            Some(passed) => {
                let outcome = stage::Outcome::passed(&request, passed);
                (outcome, format!("nothing is staged: {error}"), ExitCode::from(error.code()))
            }
            None => return Err(error.into()),
        },
    };
    // Nobody may read it any more; an exit code of failure would say that nothing is staged.
    say(if asked.json { outcome.warned(warnings).json()? } else { text });
    Ok(code)
}

fn planned(asked: Plan) -> Result<String, Box<dyn Error>> {
    let form = match (asked.show_facts, asked.json) {
        (true, _) => Form::Facts,
        (false, true) => Form::Json,
        (false, false) => Form::Text,
    };
    let Some(source) = asked.source else {
        let of_root = asked.roothash.is_some() || asked.hash_device.is_some() || asked.direct;
        let lists = [&asked.carry, &asked.no_carry, &asked.critical];
        if of_root || lists.iter().any(|list| !list.is_empty()) {
            return Err("--roothash, --hash-device, --direct, --carry, --no-carry and --critical are for a soft reboot: name a SOURCE, or leave these out".into());
        }
        return Ok(plan::boot::run(&plan::boot::Request {
            command_line: asked.cmdline,
            facts: asked.facts,
            config: asked.config,
            form,
        })?);
    };
    if asked.cmdline.is_some() || asked.config.is_some() {
        return Err("--cmdline and --config are for a boot: leave SOURCE out, or leave these out".into());
    }
    if asked.facts.is_some() && !asked.critical.is_empty() {
        return Err("--critical is worked out on the machine itself: give it to --show-facts, which writes down what came of it".into());
    }
    let (hash, mounts) = ((asked.roothash, asked.hash_device), (asked.carry, asked.no_carry));
    let request = root(Some(source), hash, asked.direct, mounts, asked.critical);
    Ok(match asked.facts {
        Some(path) => plan::soft_reboot::of_facts(request, &path, form)?,
        None => plan::soft_reboot::of_machine(&configured(request)?, form)?,
    })
}
