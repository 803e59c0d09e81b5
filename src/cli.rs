//! The commands of the full build.

use std::process::ExitCode;

use argh::FromArgs;
use nextroot::mode::plan;

/// Find, verify, mount and switch into the next root file system.
///
/// As PID 1 of an initramfs (mkinitrd builds one) nextroot boots; started by a person it has these commands.
#[derive(FromArgs)]
#[argh(example = "nextroot plan --cmdline \"roothash=0a0f15ff...\"")]
#[argh(example = "nextroot plan --cmdline \"root=LABEL=data\" --facts facts.json")]
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
}

/// Print what the init role would do for a kernel command line, step by step; nothing is touched.
///
/// Exit code: 0 a plan was printed, 1 it would be refused, or devices are missing.
#[derive(FromArgs)]
#[argh(subcommand, name = "plan")]
struct Plan {
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

/// Runs what the command line names.
pub(crate) fn run() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.version {
        println!("nextroot {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments.command {
        Some(Command::Plan(asked)) => plan::run(&plan::Request {
            command_line: asked.cmdline,
            facts: asked.facts,
            config: asked.config,
            show_facts: asked.show_facts,
        }),
        None => {
            eprintln!("nextroot: no command named: see nextroot --help");
            return ExitCode::FAILURE;
        }
    };
    match outcome {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nextroot: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
