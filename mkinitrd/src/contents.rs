//! The files of the initramfs.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    io, thread,
};

use nextroot::{
    format::{
        cpio::{self, CHARACTER_DEVICE, DIRECTORY, Entry, FILE, SYMLINK},
        elf::{self, Program},
        modindex::{self, Module, ModuleIndex},
        modules,
    },
    mode::init,
    units::Bytes,
};

use crate::{
    select::Selection,
    sysroot::{self, Sysroot},
};

/// Files by path, without a leading `/`.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    files: BTreeMap<String, File>,
    /// What was not found and may not be missed.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
struct File {
    mode: u32,
    device: (u32, u32),
    data: Vec<u8>,
}

/// Contents that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Sysroot(#[from] sysroot::Error),
    #[error("read firmware {name}")]
    Firmware {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("order the modules")]
    Index(#[source] modindex::Error),
}

/// A module, read.
struct Read {
    name: String,
    place: String,
    bytes: Vec<u8>,
}

/// Collects all files.
pub(crate) fn collect(
    sysroot: &Sysroot,
    selection: &Selection,
    binary: &[u8],
    config: Option<&str>,
) -> Result<Contents, Error> {
    let mut contents = Contents::default();
    for directory in ["dev", "proc", "run", "sys", "sysroot", "tmp"] {
        contents.add(directory, DIRECTORY | 0o755, Vec::new());
    }
    contents.device("dev/console", (5, 1), 0o600);
    contents.device("dev/null", (1, 3), 0o666);
    contents.add("init", FILE | 0o755, binary.to_vec());
    contents.add("lib", SYMLINK | 0o777, b"usr/lib".to_vec());
    contents.add("sbin/modprobe", SYMLINK | 0o777, b"../init".to_vec());
    contents.add("etc/initrd-release", FILE | 0o644, release().into_bytes());
    if let Some(config) = config {
        contents.add(init::CONFIG, FILE | 0o644, config.as_bytes().to_vec());
    }
    let modules = read_all(sysroot, selection)?;
    let index = index(sysroot, selection, &modules);
    // Read back, as the init will: what it refuses must not be written.
    ModuleIndex::parse(&index.to_string()).map_err(Error::Index)?;
    contents.add(init::INDEX, FILE | 0o644, index.to_string().into_bytes());
    for module in modules {
        contents.add_firmware(sysroot, &module)?;
        contents.add(&module.place, FILE | 0o644, module.bytes);
    }
    Ok(contents)
}

/// Whether a binary is an ELF program for this machine that needs no other file.
pub(crate) fn check_static(binary: &[u8]) -> Result<(), String> {
    match Program::parse(binary.get(..elf::PREFIX).unwrap_or(binary)) {
        Ok(Program::Elf(elf)) => match elf.interpreter {
            None => Ok(()),
            Some(interpreter) => {
                Err(format!("it is linked dynamically (it needs {interpreter}): take a static build"))
            }
        },
        Ok(Program::Script { interpreter }) => Err(format!("it is a script for {interpreter}")),
        Err(error) => Err(error.to_string()),
    }
}

fn release() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("NAME=nextroot\nID=nextroot\nVERSION_ID={version}\nPRETTY_NAME=\"nextroot {version}\"\n")
}

/// Reads all modules, with as many threads as there are CPUs: decompressing takes most of the time.
fn read_all(sysroot: &Sysroot, selection: &Selection) -> Result<Vec<Read>, Error> {
    let names: Vec<&String> = selection.modules.iter().collect();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let read = |name: &&String| -> Result<Option<Read>, Error> {
        let Some(dependency) = sysroot.dependencies.0.get(*name) else { return Ok(None) };
        let (place, bytes) = (sysroot.place(&dependency.path), sysroot.module(&dependency.path)?);
        Ok(Some(Read { name: (*name).clone(), place, bytes }))
    };
    // Dealt out in turn, so that one thread does not get all the large ones of one directory.
    let parts: Vec<Result<Vec<Read>, Error>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let names = names.iter().skip(first).step_by(threads);
                scope.spawn(move || names.map(read).filter_map(Result::transpose).collect())
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn index(sysroot: &Sysroot, selection: &Selection, modules: &[Read]) -> ModuleIndex {
    let place = |name: &String| modules.binary_search_by(|module| module.name.cmp(name)).ok();
    let aliases = modules::aliases(&sysroot.aliases, |name| selection.modules.contains(name));
    let ids = |names: Option<&Vec<String>>| -> Vec<modindex::ModuleId> {
        names.into_iter().flatten().filter_map(place).map(modindex::ModuleId::at).collect()
    };
    let module = |read: &Read| Module {
        name: read.name.clone(),
        path: read.place.clone(),
        needs: ids(sysroot.dependencies.0.get(&read.name).map(|dependency| &dependency.needs)),
        with: ids(selection.with.get(&read.name)),
        aliases: aliases
            .get(&read.name)
            .into_iter()
            .flatten()
            // Ciphers are loaded when something wants them, not because the CPU could run them.
            .filter(|alias| !alias.starts_with("cpu:"))
            .map(|alias| (*alias).to_owned())
            .collect(),
    };
    ModuleIndex {
        release: sysroot.release.clone(),
        builtin: sysroot.builtin.clone(),
        always: Vec::new(),
        modules: modules.iter().map(module).collect(),
    }
}

/// Names in a module's `firmware=` fields (modinfo(8)): texts that end with a zero, in the .modinfo section.
fn firmware_names(module: &[u8]) -> BTreeSet<String> {
    const FIELD: &[u8] = b"\0firmware=";
    let starts = module.windows(FIELD.len()).enumerate().filter(|(_, window)| *window == FIELD);
    starts
        .filter_map(|(at, _)| {
            let rest = module.get(at + FIELD.len()..)?;
            let end = rest.iter().take(256).position(|byte| *byte == 0)?;
            let name = std::str::from_utf8(rest.get(..end)?).ok()?;
            let inside = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
            inside.then(|| name.to_owned())
        })
        .collect()
}

impl Contents {
    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The archive: sorted, and each directory before what is in it. Times are SOURCE_DATE_EPOCH, or 0.
    pub(crate) fn archive(&self) -> Result<Vec<u8>, cpio::Error> {
        let time = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let entry = |(path, file): (&String, &'_ File)| -> Entry<'_> {
            Entry {
                path: path.clone(),
                mode: file.mode,
                device: file.device,
                data: Cow::Owned(file.data.clone()),
            }
        };
        let entries: Vec<Entry<'_>> = self.files.iter().map(entry).collect();
        cpio::write(&entries, time)
    }

    /// A line a file: permissions, size, path.
    pub(crate) fn listing(&self) -> String {
        let mut text = String::new();
        for (path, file) in &self.files {
            let size = Bytes(file.data.len() as u64).to_string();
            let kind = match file.mode & 0o170_000 {
                DIRECTORY => 'd',
                SYMLINK => 'l',
                CHARACTER_DEVICE => 'c',
                _ => '-',
            };
            let target = if kind == 'l' {
                format!(" -> {}", String::from_utf8_lossy(&file.data))
            } else {
                String::new()
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{kind}{:04o} {size:>10}  /{path}{target}", file.mode & 0o7777);
        }
        text
    }

    fn add(&mut self, path: &str, mode: u32, data: Vec<u8>) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            let parent = path.get(..at).unwrap_or_default().to_owned();
            self.files.entry(parent).or_insert(File {
                mode: DIRECTORY | 0o755,
                device: (0, 0),
                data: Vec::new(),
            });
        }
        self.files.insert(path.to_owned(), File { mode, device: (0, 0), data });
    }

    fn device(&mut self, path: &str, device: (u32, u32), mode: u32) {
        self.files.insert(path.to_owned(), File { mode: CHARACTER_DEVICE | mode, device, data: Vec::new() });
    }

    fn add_firmware(&mut self, sysroot: &Sysroot, module: &Read) -> Result<(), Error> {
        for name in firmware_names(&module.bytes) {
            match sysroot.firmware(&name) {
                Some(Ok(bytes)) => self.add(&format!("usr/lib/firmware/{name}"), FILE | 0o644, bytes),
                Some(Err(source)) => return Err(Error::Firmware { name, source }),
                None => self
                    .notes
                    .push(format!("{} may ask for firmware {name}, which is not installed", module.name)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware() {
        let module = b"\0license=GPL\0firmware=a/b.bin\0firmware=../etc/shadow\0firmware=\0firmware=c.fw\0firmware=endless";
        assert_eq!(firmware_names(module).into_iter().collect::<Vec<_>>(), ["a/b.bin", "c.fw"]);
    }

    #[test]
    fn parents_come_first() {
        let mut contents = Contents::default();
        contents.add("/a/b/c", FILE | 0o644, b"x".to_vec());
        let archive = contents.archive().unwrap();
        let paths: Vec<String> = cpio::read(&archive).unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c"]);
    }
}
