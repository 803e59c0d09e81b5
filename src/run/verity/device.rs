//! dm-verity devices by name: opened over two files or devices, closed, and told of.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use crate::{
    format::{
        kernel::devno::Devno,
        verity::{
            options::{Corruption, VerityOptions},
            root_hash::RootHash,
            setup::{self, Part},
        },
    },
    plan::{
        Step,
        device::Device,
        signed::{Handed, Place, Signed},
        step::{FilePart, HashOrigin, OpenVerity},
    },
    run::{
        closing,
        execute::{self, Executor},
    },
    sys::{
        self,
        block::Entry,
        dm::Control,
        file::{LastLink, RegularFile},
        kernel,
    },
    units::Bytes,
};

use super::{failure, image, opened::Opened};

/// What is to be opened.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The dm name.
    pub name: &'a str,
    /// The file or device with the data.
    pub data: &'a Path,
    /// The file or device with the hash tree.
    pub hash: &'a Path,
    /// The file or device with parity.
    pub fec: Option<&'a Path>,
    /// The root hash.
    pub root_hash: &'a RootHash,
    /// The file with its signature, which the kernel has to take.
    pub signature: Option<&'a Path>,
    /// As veritytab(5) has them.
    pub options: VerityOptions,
    /// An I/O error is dealt with as a block that does not match.
    pub error_as_corruption: bool,
    /// `try_verify_in_tasklet`
    pub use_tasklets: bool,
}

/// What was to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Now, or not at all.
    Now,
    /// Now, or when nobody has it open any more.
    Deferred,
    /// Not at all: what was deferred is taken back.
    CancelDeferred,
}

/// What cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The hash tree.
    #[error(transparent)]
    Image(#[from] failure::Error),
    /// Parameters that do not fit.
    #[error("make a dm-verity table of {} and {}", .data.display(), .hash.display())]
    Setup {
        /// The data.
        data: PathBuf,
        /// The hash tree.
        hash: PathBuf,
        /// Why.
        #[source]
        source: setup::Error,
    },
    /// A kernel call.
    #[error(transparent)]
    Call(#[from] sys::Error),
    /// A step of it.
    #[error(transparent)]
    Step(#[from] execute::Error),
    /// A file that is neither.
    #[error("look at {}", .path.display())]
    Look {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that dm cannot have.
    #[error("{0:?} is no name for a device: take 1 to 127 bytes without / and spaces")]
    Name(String),
    /// A word that this kernel does not know.
    #[error("--error-as-corruption needs {0}")]
    OnError(&'static str),
    /// Another kind of device.
    #[error("{name} is a dm device of {kind}, not of verity: dmsetup has to do with it")]
    Kind {
        /// The dm name.
        name: String,
        /// What it is.
        kind: String,
    },
}

impl Error {
    /// Whether everything could be read, and does not hold.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Step(execute::Error::Corrupt { .. }))
    }

    /// Whether a file or device of it is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Image(error) => error.is_missing(),
            Self::Look { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// Opens a device, and reads its first block: one that does not hold is closed again.
pub fn open(wanted: &Wanted<'_>) -> Result<(), Error> {
    let name = wanted.name;
    let good = |c: char| c.is_ascii_graphic() && c != '/';
    if name.is_empty() || name.len() > setup::LONGEST_NAME || !name.chars().all(good) {
        return Err(Error::Name(name.to_owned()));
    }
    if wanted.error_as_corruption && !setup::has_on_error(&kernel::release()) {
        return Err(Error::OnError("Linux 6.12"));
    }
    let (steps, _held) = planned(wanted)?;
    let mut executor = Executor::new(None, Vec::new());
    for step in &steps {
        if let Err(error) = executor.execute(step) {
            if matches!(step, Step::CheckVerity { .. }) {
                // The error above is the one to show; what could not be closed is still there to be closed by name.
                let _ = closing::close_if_there(name);
            }
            return Err(error.into());
        }
    }
    Ok(())
}

/// The steps that open a device, and the files that have to stay open until they are done.
fn planned(wanted: &Wanted<'_>) -> Result<(Vec<Step>, Backing), Error> {
    let Wanted { name, data, hash, root_hash, options, .. } = wanted;
    let superblock = match options.no_superblock {
        true => None,
        false => Some(image::read(&Opened::new(hash, OpenOptions::new().read(true))?, options.hash_offset)?),
    };
    let mut backing = Backing::default();
    let data_part = backing.part(data)?;
    let hash_part = backing.part(hash)?;
    let as_part = |(device, size): &(Device, Bytes)| Part { devno: device.devno, size: *size };
    let fec_part = wanted.fec.map(|path| backing.part(path)).transpose()?;
    let table = setup::table(
        as_part(&data_part),
        as_part(&hash_part),
        fec_part.as_ref().map(as_part),
        root_hash,
        options,
        superblock.as_ref(),
        wanted.error_as_corruption,
    );
    let failed = |source| Error::Setup { data: data.to_path_buf(), hash: hash.to_path_buf(), source };
    let mut table = table.map_err(failed)?;
    table.options.extend(wanted.use_tasklets.then(|| "try_verify_in_tasklet".to_owned()));
    let uuid = superblock.map(|superblock| superblock.uuid);
    let signature = wanted.signature.map(|path| Handed {
        // The kernel has to take it, as with veritysetup: nobody said who else is trusted.
        signed: Signed { at: Place::File(path.display().to_string()), required: true, userspace: false },
        key: setup::signature_key(uuid, name),
    });
    let open = OpenVerity {
        name: (*name).to_owned(),
        uuid: setup::dm_uuid(uuid, name),
        signature: signature.map(Box::new),
        data: data_part.0,
        hash: hash_part.0,
        fec: fec_part.map(|(device, _)| device),
        table,
        root_hash_from: HashOrigin::Arguments,
    };
    let corruption_ignored = options.corruption == Corruption::Ignore;
    let mut steps = std::mem::take(&mut backing.steps);
    steps.push(Step::OpenVerity(open));
    steps.push(Step::CheckVerity {
        name: (*name).to_owned(),
        corruption_ignored,
        repaired: wanted.fec.is_some(),
    });
    Ok((steps, backing))
}

/// Closes a device, or takes it back that it was to go when nobody uses it; whether it is still there.
pub fn close(name: &str, closing: Closing) -> Result<bool, Error> {
    let control = Control::open()?;
    let target = control.table(name)?;
    if target.kind != "verity" {
        return Err(Error::Kind { name: name.to_owned(), kind: target.kind });
    }
    match closing {
        Closing::Now => closing::close(&control, name, Control::remove)?,
        Closing::Deferred => closing::close(&control, name, Control::remove_when_unused)?,
        Closing::CancelDeferred => control.cancel_deferred_remove(name)?,
    }
    Ok(control.info(name).is_ok())
}

/// Files that take part, and the steps that make loop devices of them.
#[derive(Default)]
struct Backing {
    steps: Vec<Step>,
    /// Open, so that no other file can have the number of one until it is attached.
    files: Vec<(RegularFile, Device)>,
}

impl Backing {
    /// A device and its length; a number that no device has stands for a file until it is attached.
    fn part(&mut self, path: &Path) -> Result<(Device, Bytes), Error> {
        let look = |source| Error::Look { path: path.to_owned(), source };
        if let Some(entry) = Entry::of_node(path) {
            let (Some(devno), Some(size)) = (entry.devno(), entry.size()) else {
                return Err(look(io::Error::from(io::ErrorKind::NotFound)));
            };
            let diskseq = entry.disk().map_or_else(|| entry.diskseq(), |name| Entry { name }.diskseq());
            return Ok((Device { name: entry.name, devno, diskseq }, size));
        }
        let path = fs::canonicalize(path).map_err(look)?;
        let file = RegularFile::open(&path, LastLink::Refuse)?;
        let text = path.to_str().ok_or_else(|| look(io::Error::other("its name is not UTF-8")))?;
        let inode = file.inode();
        if let Some((_, device)) = self.files.iter().find(|(known, _)| known.inode() == inode) {
            return Ok((device.clone(), file.size()));
        }
        let stands_for = Devno { major: 0, minor: 1 + u32::try_from(self.steps.len()).unwrap_or_default() };
        let part = FilePart {
            path: text.to_owned(),
            inode: (inode.device, inode.number),
            offset: Bytes(0),
            size: file.size(),
        };
        self.steps.push(Step::AttachLoop { part, stands_for });
        let device = Device { name: text.to_owned(), devno: stands_for, diskseq: None };
        let size = file.size();
        self.files.push((file, device.clone()));
        Ok((device, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::verity::parameters::Parameters;

    /// What options come to in the line that the kernel gets.
    #[test]
    fn table_lines() {
        let directory = tempfile::tempdir().unwrap();
        let [data, hash, signature] = ["data", "hash", "p7s"].map(|name| directory.path().join(name));
        fs::write(&data, [7; 4 * 4096]).unwrap();
        let parameters = Parameters { salt: Some(vec![1, 2]), ..Parameters::default() };
        let made = image::format(&data, &hash, &parameters, &|_, _| ()).unwrap();
        let root_hash = made.root_hash.unwrap();
        let words = |options: VerityOptions, error_as_corruption, use_tasklets, signed: bool| {
            let (name, fec) = ("image", None);
            let signature = signed.then_some(signature.as_path());
            let (data, hash, root_hash) = (data.as_path(), hash.as_path(), &root_hash);
            let wanted = Wanted {
                name,
                data,
                hash,
                fec,
                root_hash,
                signature,
                options,
                error_as_corruption,
                use_tasklets,
            };
            let (steps, _held) = planned(&wanted).unwrap();
            let [Step::AttachLoop { .. }, Step::AttachLoop { .. }, Step::OpenVerity(open), check] =
                steps.as_slice()
            else {
                panic!("{steps:?}")
            };
            assert_eq!(open.signature.is_some(), signed);
            let excused = matches!(check, Step::CheckVerity { corruption_ignored: true, .. });
            assert_eq!(excused, wanted.options.corruption == Corruption::Ignore);
            let line = open.table.to_string();
            let start = format!("1 0:1 0:2 4096 4096 4 1 sha256 {root_hash} 0102");
            line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let on = |corruption| VerityOptions { corruption, ..VerityOptions::default() };
        for (options, error_as_corruption, use_tasklets, expected) in [
            (VerityOptions::default(), false, false, ""),
            (VerityOptions::default(), false, true, " 1 try_verify_in_tasklet"),
            (on(Corruption::Ignore), false, false, " 1 ignore_corruption"),
            (on(Corruption::Restart), false, false, " 1 restart_on_corruption"),
            (on(Corruption::Restart), true, false, " 2 restart_on_corruption restart_on_error"),
            (on(Corruption::Panic), false, false, " 1 panic_on_corruption"),
            (on(Corruption::Panic), true, false, " 2 panic_on_corruption panic_on_error"),
            (
                on(Corruption::Panic),
                true,
                true,
                " 3 panic_on_corruption panic_on_error try_verify_in_tasklet",
            ),
            (
                VerityOptions { check_at_most_once: true, ignore_zero_blocks: true, ..on(Corruption::Panic) },
                false,
                true,
                " 4 panic_on_corruption ignore_zero_blocks check_at_most_once try_verify_in_tasklet",
            ),
        ] {
            let found = words(options.clone(), error_as_corruption, use_tasklets, false);
            assert_eq!(found, expected, "{options:?}");
        }
        // Whoever names a signature wants the kernel to check it.
        assert_eq!(words(VerityOptions::default(), false, false, true), "");
    }
}
