//! Initramfs images that are put together here: the floor, and rsinit behind a program that loads modules, which it does not.

use std::{fs, path::Path, process::Command};

use nextroot::format::cpio::{self, Entry};
use nextroot_qemu::measured::{Boot, Measured};
use regex::Regex;

use super::{
    DISK, MEMORY, archive,
    peers::{Made, VERITY, nextroot},
};
use crate::Outcome;

const RSINIT: &str = "0.1.0";
/// Root file system and hash tree on one device, without a superblock: all that rsinit knows.
pub(super) const BARE: &str = "bare";

/// What nextroot loads and opens, seen in a boot of its own.
struct Seen {
    table: String,
    sectors: u64,
    /// Names and contents, in the order in which they are loaded.
    modules: Vec<(String, Vec<u8>)>,
}

impl Seen {
    fn of(measured: &Measured, dist: &Path) -> Outcome<Self> {
        let ours = nextroot(measured, dist)?;
        let command_line = format!("console=ttyS0 panic=-1 init=/usr/sbin/init rig.do=tell-times {VERITY}");
        let told = measured.boot(&Boot {
            initramfs: &ours.file,
            disks: &[DISK],
            command_line: &command_line,
            memory: MEMORY,
            processors: 1,
        })?;
        let table = Regex::new(r"open dm-verity root .*: (1 \d+:\d+ \d+:\d+ (\d+) \d+ (\d+) .*)$")?;
        let found = told.console.iter().find_map(|line| table.captures(line));
        let found = found.ok_or_else(|| format!("nextroot told no table: {}", told.log.display()))?;
        let sectors = found[2].parse::<u64>()? * found[3].parse::<u64>()? / 512;
        let table = found[1].trim().to_owned();
        let archive = archive::last(&fs::read(&ours.file)?)?;
        let contents = cpio::read(&archive)?;
        let module = |name: &str| -> Outcome<(String, Vec<u8>)> {
            let is_it = |entry: &&Entry<'_>| {
                let file = Path::new(&entry.path).file_name().and_then(|file| file.to_str());
                file.and_then(|file| file.strip_suffix(".ko"))
                    .is_some_and(|stem| stem.replace('-', "_") == name)
            };
            let entry = contents.iter().find(is_it);
            let entry = entry.ok_or_else(|| format!("nextroot's initramfs has no module {name}"))?;
            Ok((name.to_owned(), entry.data.to_vec()))
        };
        let loaded = told.witness.lines().filter_map(|line| line.strip_prefix("rig: module="));
        let names = loaded.filter_map(|line| line.split_whitespace().next());
        let mut modules = names.map(module).collect::<Outcome<Vec<_>>>()?;
        modules.reverse(); // the newest was the first
        // Several were loaded at once there. What others ask the kernel for by an algorithm's name has to be there before.
        let is_algorithm =
            |(name, _): &(String, Vec<u8>)| ["crc32c_intel", "sha256_ssse3"].contains(&name.as_str());
        modules.sort_by_key(|module| !is_algorithm(module));
        // Block drivers get their major numbers from 254 down, as they come (block/genhd.c, __register_blkdev).
        let place = |name: &str| modules.iter().position(|(module, _)| module == name);
        let major = if place("dm_mod") < place("virtio_blk") { 253 } else { 254 };
        let table = Regex::new(r"\b25[34]:")?.replace_all(&table, format!("{major}:")).into_owned();
        Ok(Self { table, sectors, modules })
    }

    fn names(&self) -> String {
        self.modules.iter().map(|(name, _)| name.as_str()).collect::<Vec<&str>>().join(" ")
    }

    /// Compiles floor.c, and packs it with the modules and with files of these paths.
    fn pack(&self, work: &Path, defined: &[String], files: &[(&str, Vec<u8>)]) -> Outcome<()> {
        let (source, program) = (work.join("floor.c"), work.join("init"));
        fs::write(&source, include_str!("floor.c"))?;
        let mut command = Command::new("cc");
        command.args(["-Os", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-s"]);
        command.args(["-fno-asynchronous-unwind-tables", "-fno-tree-loop-distribute-patterns"]);
        command.arg(format!("-DMODULES={}", self.modules.len())).args(defined);
        finished(command.arg(&source).arg("-o").arg(&program))?;
        let entry = |path: &str, mode: u32, data: &[u8]| Entry {
            path: path.to_owned(),
            mode,
            device: (0, 0),
            data: data.to_vec().into(),
        };
        let mut entries: Vec<Entry<'_>> = ["dev", "proc", "sys", "run", "root", "tmp"]
            .into_iter()
            .map(|path| entry(path, cpio::DIRECTORY | 0o755, &[]))
            .collect();
        entries.push(entry("init", cpio::FILE | 0o755, &fs::read(&program)?));
        entries.extend(files.iter().map(|(path, data)| entry(path, cpio::FILE | 0o755, data)));
        for ((_, data), letter) in self.modules.iter().zip("0123456789abcdefghijklmnopqrstuvwxyz".chars()) {
            entries.push(entry(&format!("{letter}.ko"), cpio::FILE | 0o644, data));
        }
        let packed = zstd::encode_all(cpio::write(&entries, 0)?.as_slice(), 19)?;
        Ok(fs::write(work.join("initrd"), packed)?)
    }
}

/// The same modules and calls, hard-coded.
pub(super) fn floor(measured: &Measured, dist: &Path) -> Outcome<Made> {
    let seen = Seen::of(measured, dist)?;
    let work = measured.directory("floor")?;
    seen.pack(&work, &[format!("-DSECTORS={}", seen.sectors), format!("-DTABLE=\"{}\"", seen.table)], &[])?;
    Ok(Made { file: work.join("initrd"), command: format!("cc -Os floor.c; modules {}", seen.names()) })
}

/// rsinit as it is published, linked statically, with its features as they are by default.
pub(super) fn rsinit(measured: &Measured, dist: &Path) -> Outcome<Made> {
    let seen = Seen::of(measured, dist)?;
    let work = measured.directory("rsinit")?;
    let name = format!("rsinit@{RSINIT}");
    let mut command = Command::new("cargo");
    command.args(["install", "--quiet", "--locked", "--root"]).arg(&work).arg(&name);
    // With a target named, procedural macros are not linked so.
    command.env("CARGO_BUILD_TARGET", "host-tuple").env("RUSTFLAGS", "-C target-feature=+crt-static");
    finished(&mut command)?;
    let parameters = measured.filled(
        BARE,
        "VERITY_DATA_BLOCKS={blocks}\nVERITY_DATA_BLOCK_SIZE=4096\nVERITY_HASH_BLOCK_SIZE=4096\n\
         VERITY_HASH_ALGORITHM=sha256\nVERITY_SALT=00112233\nVERITY_ROOT_HASH={roothash}\n",
    )?;
    let sectors = measured.filled(BARE, "{offset}")?.parse::<u64>()? / 512;
    let parameters = format!("{parameters}VERITY_DATA_SECTORS={sectors}\n");
    let program = fs::read(work.join("bin/init"))?;
    let files = [("rsinit", program), ("verity-params", parameters.into_bytes())];
    seen.pack(&work, &["-DNEXT=\"/rsinit\"".to_owned()], &files)?;
    Ok(Made {
        file: work.join("initrd"),
        command: format!("cargo install {name}; modules {} by floor.c", seen.names()),
    })
}

/// Runs it to its end; what it said is in the error where it failed.
pub(super) fn finished(command: &mut Command) -> Outcome<()> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
