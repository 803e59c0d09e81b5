//! The command line, and the way from it to a file.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

use argh::FromArgs;
use nextroot::{format::config::Config, units::Bytes};

use crate::{
    compress::Compression,
    contents, host,
    select::{self, Selection},
    sysroot::Sysroot,
    write,
};

/// Build an initramfs that boots into a verified root.
///
/// It holds the nextroot binary, the kernel modules and firmware that the root needs, their load order and
/// the configuration. Nothing is left behind where an error stops it.
#[derive(FromArgs, Debug)]
#[argh(example = "mkinitrd -o /boot/initrd.img")]
#[argh(example = "mkinitrd -o initrd --sysroot image/ --config nextroot.conf --add-driver nvme_tcp")]
pub(crate) struct Arguments {
    /// file to write; replaced as a whole, readable by its owner only
    #[argh(option, short = 'o')]
    output: Option<PathBuf>,
    /// kernel release; default: the running one, or the only one in the sysroot
    #[argh(option)]
    kernel: Option<String>,
    /// root of the system whose kernel, modules and firmware are taken; default: /
    #[argh(option, default = "PathBuf::from(\"/\")")]
    sysroot: PathBuf,
    /// one more kernel module, with what it needs; may be repeated
    #[argh(option)]
    add_driver: Vec<String>,
    /// nextroot.conf to bake in: it outranks the kernel command line
    #[argh(option)]
    config: Option<PathBuf>,
    /// zstd, lz4, xz, gzip or none; default: zstd
    #[argh(option, default = "Compression::Zstd")]
    compress: Compression,
    /// take only what the running machine's root needs
    #[argh(switch)]
    host_only: bool,
    /// the nextroot binary; default: nextroot-init beside this program, then in /usr/lib/nextroot
    #[argh(option)]
    nextroot: Option<PathBuf>,
    /// show the contents with their sizes
    #[argh(switch)]
    list: bool,
    /// do everything but write the file
    #[argh(switch)]
    dry_run: bool,
    /// write an initramfs even where it could not boot
    #[argh(switch)]
    force: bool,
    /// show the version
    #[argh(switch)]
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
    let output = match (&arguments.output, arguments.dry_run) {
        (Some(output), _) => Some(output),
        (None, true) => None,
        (None, false) => {
            return Err("no output named: write -o FILE, or --dry-run to see what it would hold".into());
        }
    };
    let sysroot = Sysroot::open(&arguments.sysroot, arguments.kernel.as_deref())?;
    sysroot.check_compression(arguments.compress)?;
    let config = arguments.config.as_deref().map(read_config).transpose()?;
    let root = host::Root::of(&arguments.sysroot);
    let selection = select(arguments, &sysroot, root.as_ref())?;
    for note in &selection.notes {
        eprintln!("mkinitrd: note: {note}");
    }
    for warning in &selection.warnings {
        eprintln!("mkinitrd: warning: {warning}");
    }
    let binary = binary(arguments.nextroot.as_deref())?;
    let contents = contents::collect(&sysroot, &selection, &binary, config.as_deref())?;
    for note in &contents.notes {
        eprintln!("mkinitrd: note: {note}");
    }
    let archive = contents.archive()?;
    if arguments.list {
        print!("{}", contents.listing());
    }
    let compressed = arguments.compress.compress(&archive)?;
    let verb = match output.filter(|_| !arguments.dry_run) {
        Some(output) => {
            write::replace(output, &compressed)?;
            format!("wrote {}", output.display())
        }
        None => "dry run".to_owned(),
    };
    eprintln!(
        "mkinitrd: {verb}: kernel {}, {} modules, {} files, {} ({} unpacked), {:.2} s",
        sysroot.release,
        selection.modules.len(),
        contents.len(),
        Bytes(compressed.len() as u64),
        Bytes(archive.len() as u64),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn select(arguments: &Arguments, sysroot: &Sysroot, root: Option<&host::Root>) -> Outcome<Selection> {
    let selection = if arguments.host_only {
        let root = root.ok_or_else(|| {
            format!(
                "--host-only: the disk behind {} cannot be found in /sys: run it on the machine itself, or leave --host-only out",
                arguments.sysroot.display()
            )
        })?;
        select::host_only(sysroot, root, &arguments.add_driver)?
    } else {
        select::generic(sysroot, root, &arguments.add_driver)?
    };
    match selection.obstacle() {
        Some(obstacle) if !arguments.force => {
            Err(format!("{obstacle} (--force writes it all the same)").into())
        }
        Some(obstacle) => {
            eprintln!("mkinitrd: warning: {obstacle}");
            Ok(selection)
        }
        None => Ok(selection),
    }
}

/// Reads a configuration, and refuses one that the init would refuse.
fn read_config(path: &Path) -> Outcome<String> {
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("read configuration {}: {e}", path.display()))?;
    let config = Config::parse(&text, &path.display().to_string())?;
    for key in &config.unknown {
        eprintln!("mkinitrd: warning: {key} is not known");
    }
    Ok(text)
}

fn binary(given: Option<&Path>) -> Outcome<Vec<u8>> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    let directories = [beside, Some(PathBuf::from("/usr/lib/nextroot"))];
    let mut places = directories.iter().flatten().map(|directory| directory.join("nextroot-init"));
    let path = match given {
        Some(given) => given.to_owned(),
        None => places.find(|path| path.is_file()).ok_or(
            "nextroot-init is neither beside mkinitrd nor in /usr/lib/nextroot: name it with --nextroot",
        )?,
    };
    let bytes =
        std::fs::read(&path).map_err(|e| format!("read the nextroot binary {}: {e}", path.display()))?;
    contents::check_static(&bytes).map_err(|why| format!("{} cannot be an init: {why}", path.display()))?;
    Ok(bytes)
}
