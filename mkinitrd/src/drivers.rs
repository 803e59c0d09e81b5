//! Reads the chosen modules.

use std::{
    cmp::Reverse,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use memchr::memmem;
use nextroot::format::kernel::modindex::{Module, ModuleIndex};

use crate::sysroot::{Error, Sysroot};

/// A module, read.
#[derive(Debug)]
pub(crate) struct Driver {
    /// Its name.
    pub(crate) name: String,
    /// Its place in the initramfs.
    pub(crate) place: String,
    /// What the kernel takes: decompressed, with its signature.
    pub(crate) bytes: Vec<u8>,
    /// Names of firmware that it may ask for, sorted.
    pub(crate) firmware: Vec<String>,
}

/// Reads all modules of an index, with a thread a CPU: decompressing takes most of the time. In the order of
/// the index.
pub(crate) fn read_all(sysroot: &Sysroot, index: &ModuleIndex) -> Result<Vec<Driver>, Error> {
    // The largest first, so that no thread is left alone with it at the end.
    let mut work: Vec<(usize, &Module)> = index.modules.iter().enumerate().collect();
    work.sort_by_key(|(_, module)| Reverse(sysroot.module_size(&module.name)));
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, Driver)>, Error> {
        let mut done = Vec::new();
        while let Some((place, module)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*place, read(sysroot, module)?));
        }
        Ok(done)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Result<Vec<_>, Error>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
            .collect()
    });
    let mut drivers = Vec::with_capacity(work.len());
    for part in parts {
        drivers.extend(part?);
    }
    drivers.sort_by_key(|(place, _)| *place);
    Ok(drivers.into_iter().map(|(_, driver)| driver).collect())
}

fn read(sysroot: &Sysroot, module: &Module) -> Result<Driver, Error> {
    let bytes = sysroot.module(&module.name)?;
    let firmware = firmware(&bytes);
    Ok(Driver { name: module.name.clone(), place: module.path.clone(), bytes, firmware })
}

/// Names in a module's `firmware=` fields (modinfo(8)): texts that end with a zero, in the .modinfo section.
fn firmware(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0firmware=";
    const LONGEST: usize = 256;
    let name = |at: usize| {
        let rest = module.get(at + FIELD.len()..)?;
        let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(rest.get(..end)?).ok()?;
        let below = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        below.then(|| name.to_owned())
    };
    let mut names: Vec<String> = memmem::find_iter(module, FIELD).filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_fields() {
        for (module, expected) in [
            (
                b"\0license=GPL\0firmware=a/b.bin\0x=y\0firmware=c.fw\0".as_slice(),
                &["a/b.bin", "c.fw"] as &[&str],
            ),
            (b"\0firmware=b\0firmware=a\0firmware=b\0", &["a", "b"]),
            (b"\0firmware=../etc/shadow\0firmware=/etc/shadow\0firmware=\0", &[]),
            (b"\0firmware=endless", &[]),
            (b"\0parm=firmware=no\0", &[]),
            (b"", &[]),
        ] {
            assert_eq!(firmware(module), expected, "{}", String::from_utf8_lossy(module));
        }
    }
}
