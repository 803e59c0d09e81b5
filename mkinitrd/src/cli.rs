//! The command line, and the way from it to a file.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

use argh::{ArgsInfo, FromArgs};
use nextroot::{format::config::initramfs::Config, sys::kernel, units::Bytes};

use crate::{
    certificates::Certificates,
    compress::Compression,
    config,
    contents::Contents,
    drivers, host, index,
    init::{self, Init},
    select::{self, Selection, Wishes},
    signatures,
    sysroot::Sysroot,
    write,
};

/// Build an initramfs that boots into a verified root.
///
/// It holds the nextroot binary, the kernel modules and firmware that the root needs, their load order and
/// the configuration. A root is verified by its root hash, which the kernel command line names (roothash=): each block is checked
/// when it is read (dm-verity). Nothing is left behind where an error stops it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(example = "mkinitrd -o /boot/initrd.img")]
#[argh(example = "mkinitrd -o initrd --kernel 6.12.1-amd64 --list")]
#[argh(example = "mkinitrd -o initrd --sysroot image/ --config root.conf --add-driver dm_crypt")]
#[argh(example = "mkinitrd -o initrd --only-driver virtio_blk --only-driver erofs")]
#[argh(example = "mkinitrd -o initrd --certificate image.crt")]
#[argh(error_code(0, "written, or with --dry-run: it could be"))]
#[argh(error_code(1, "not written"))]
pub(crate) struct Arguments {
    /// file to write; replaced as a whole, readable by its owner only; needed, unless with --dry-run
    #[argh(option, short = 'o', arg_name = "FILE")]
    output: Option<PathBuf>,
    /// kernel release; default: the running one, or the only one in the sysroot
    #[argh(option, arg_name = "RELEASE")]
    kernel: Option<String>,
    /// root of the system whose kernel modules and firmware are taken; default: /
    #[argh(option, default = "PathBuf::from(\"/\")", arg_name = "DIRECTORY")]
    sysroot: PathBuf,
    /// kernel module to take, too, with what it needs; may be given again. One that belongs to no device is loaded at every boot
    #[argh(option, arg_name = "MODULE")]
    add_driver: Vec<String>,
    /// take this driver or file system, what it needs, what dm-verity needs, and no other; may be given again: for a machine
    /// that is known
    #[argh(option, arg_name = "MODULE")]
    only_driver: Vec<String>,
    /// configuration of the initramfs, with [Boot] and [Policy], which outranks the kernel command line: cmdline.md has the keys. It is
    /// not the nextroot.conf of a running system
    #[argh(option, arg_name = "FILE")]
    config: Option<PathBuf>,
    /// certificate in PEM that signatures of root hashes are checked with, beside those in the sysroot's etc/verity.d,
    /// usr/local/lib/verity.d and usr/lib/verity.d; may be given again
    #[argh(option, arg_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// take no certificates from the sysroot
    #[argh(switch)]
    no_certificates: bool,
    /// zstd, lz4, xz, gzip or none; default: zstd
    #[argh(option, default = "Compression::Zstd", arg_name = "HOW")]
    compress: Compression,
    /// take only what the running root of this machine needs
    #[argh(switch)]
    host_only: bool,
    /// program to take as the init; default: nextroot-init, with certificates nextroot-init-signatures, else nextroot: beside mkinitrd,
    /// or in /usr/lib/nextroot
    #[argh(option, arg_name = "FILE")]
    nextroot: Option<PathBuf>,
    /// print what is in it, with sizes
    #[argh(switch)]
    list: bool,
    /// do everything but write the file
    #[argh(switch)]
    dry_run: bool,
    /// write an initramfs even where it could not boot
    #[argh(switch)]
    force: bool,
    /// show the version
    #[argh(switch, short = 'V')]
    version: bool,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Does what the arguments say.
pub(crate) fn run(arguments: &Arguments) -> Outcome<()> {
    if arguments.version {
        println!("mkinitrd {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let begun = Instant::now();
    let output = arguments.output.as_deref();
    if output.is_none() && !arguments.dry_run {
        return Err("no output named: write -o FILE, or --dry-run to see what it would hold".into());
    }
    let time = modification_time()?;
    let sysroot = Sysroot::open(&arguments.sysroot, arguments.kernel.as_deref(), &kernel::release())?;
    sysroot.check_compression(arguments.compress)?;
    let (text, config) = configuration(arguments)?;
    let wishes = Wishes {
        drivers: arguments.add_driver.clone(),
        only: arguments.only_driver.clone(),
        ..config::wishes(&config)
    };
    let selection = select(arguments, &sysroot, &wishes)?;
    let certificates =
        Certificates::read(&arguments.sysroot, !arguments.no_certificates, &arguments.certificate)?;
    let init = init(arguments, &certificates, &config)?;
    let mut contents = Contents::new(init.bytes, text);
    contents.add_files(certificates.files)?;
    contents.add_files(signatures(arguments, &config)?)?;
    let index = index::make(&sysroot, &selection)?;
    contents.add_drivers(&sysroot, &index, drivers::read_all(&sysroot, &index)?)?;
    say("note", &contents.notes);
    let archive = contents.archive(time)?;
    if arguments.list {
        print!("{}", contents.listing());
    }
    let compressed = arguments.compress.compress(&archive)?;
    let did = match output.filter(|_| !arguments.dry_run) {
        Some(output) => {
            write::replace(output, &compressed)?;
            format!("wrote {}", output.display())
        }
        None => "dry run".to_owned(),
    };
    eprintln!(
        "mkinitrd: {did}: kernel {}, {} modules, {} files, {} ({} unpacked), {:.2} s",
        sysroot.release,
        index.modules.len(),
        contents.len(),
        Bytes(compressed.len() as u64),
        Bytes(archive.len() as u64),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What every file's time will be, in seconds since 1970 (reproducible-builds.org, SOURCE_DATE_EPOCH).
fn modification_time() -> Outcome<u32> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(0) };
    text.parse().map_err(|e| {
        format!(
            "SOURCE_DATE_EPOCH={text}: seconds since 1970 are needed, below 2^32, or no such variable: {e}"
        )
        .into()
    })
}

/// The configuration that is baked in, where there is one: its text, and what it says.
fn configuration(arguments: &Arguments) -> Outcome<(Option<String>, Config)> {
    let Some(path) = &arguments.config else { return Ok((None, Config::default())) };
    let (text, config) = config::read(path)?;
    let unknown: Vec<String> = config.unknown.iter().map(|key| format!("{key} is not known")).collect();
    say("warning", &unknown);
    Ok((Some(text), config))
}

/// The program that becomes /init: one that can do what the certificates are for.
fn init(arguments: &Arguments, certificates: &Certificates, config: &Config) -> Outcome<Init> {
    say("warning", &certificates.warnings);
    let need = match (certificates.is_empty(), signatures::by_partition(config)) {
        (false, _) => {
            let names = certificates.names();
            Some(format!(
                "there are certificates to check them with ({names}), which --no-certificates leaves out"
            ))
        }
        (true, true) => {
            Some("the configuration has root=dissect, for which signature partitions are read".to_owned())
        }
        (true, false) => None,
    };
    let init = init::read(arguments.nextroot.as_deref(), need.clone())?;
    if let Some(need) = need {
        say("note", &[format!("{} is the init, as it checks signatures: {need}", init.path.display())]);
    }
    Ok(init)
}

/// Signatures that the configuration names: without them the root would not be opened.
fn signatures(arguments: &Arguments, config: &Config) -> Outcome<Vec<(String, Vec<u8>)>> {
    match signatures::read(&arguments.sysroot, config) {
        Err(error) if arguments.force => {
            let cause = error.source().map_or_else(String::new, |source| format!(": {source}"));
            say("warning", &[format!("{error}{cause}")]);
            Ok(Vec::new())
        }
        read => Ok(read?),
    }
}

fn select(arguments: &Arguments, sysroot: &Sysroot, wishes: &Wishes) -> Outcome<Selection> {
    let selection = if arguments.host_only && !wishes.only.is_empty() {
        return Err(
            "--host-only finds out which drivers to take, and --only-driver says it: leave one out".into()
        );
    } else if arguments.host_only {
        let roots = host::Root::of_this_machine();
        if roots.is_empty() {
            return Err(
                "--host-only: this machine's root is on no disk that /sys knows, as in a container: leave --host-only out"
                    .into(),
            );
        }
        select::host_only(sysroot, &roots, wishes)?
    } else {
        // Another sysroot is for another machine; its disk is not known.
        let here = arguments.sysroot == Path::new("/");
        let roots = if here { host::Root::of_this_machine() } else { Vec::new() };
        select::generic(sysroot, &roots, wishes)?
    };
    say("note", &selection.notes);
    say("warning", &selection.warnings);
    match selection.obstacles.as_slice() {
        [] => Ok(selection),
        obstacles if arguments.force => {
            say("warning", obstacles);
            Ok(selection)
        }
        obstacles => Err(format!("{} (--force writes it all the same)", obstacles.join("; ")).into()),
    }
}

fn say(kind: &str, messages: &[String]) {
    messages.iter().for_each(|message| eprintln!("mkinitrd: {kind}: {message}"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{ffi::OsString, fs};

    use super::*;

    #[test]
    fn examples_of_help_and_man_page_can_be_typed() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/man/mkinitrd.8");
        let page = fs::read_to_string(page).unwrap();
        let of_page: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".Dl ")).collect();
        let of_help = Arguments::get_args_info().examples;
        assert!(of_page.len() >= 2 && of_help.len() >= 5);
        for line in of_page.iter().chain(of_help) {
            // Nothing in them is a shell's.
            assert!(line.starts_with("mkinitrd ") && !line.contains(['"', '\'', '>', '#', ';']), "{line}");
            let read = nextroot_usage::read::<Arguments>(line.split(' ').map(OsString::from));
            assert_eq!(read.err(), None, "{line}");
        }
    }
}
