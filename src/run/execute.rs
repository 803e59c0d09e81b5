//! Does one step of a plan, by a kernel call or two.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::{
    format::{
        disk::superblock::{self, Superblock},
        kernel::{devno::Devno, mount_options::MountOptions},
        verity::table::VerityStatus,
    },
    plan::{
        Plan, Step,
        device::Device,
        prewarm::Prewarmed,
        signed::CheckedBy,
        step::{Fstype, HashOrigin, OpenVerity, Volume},
    },
    sys::{
        self,
        block::Device as BlockDevice,
        dm::Control,
        kmsg::Follower,
        loopdev::{Attached, LoopDevice},
        mount, process,
        root::{self, Initramfs},
    },
    units::Bytes,
};

use crate::run::{
    boot::{api, modules::Loader, new_root},
    shutdown,
    signed::{self, Loaded},
};

pub use super::failure::{Error, said};

/// Is told how much of how much is done.
pub type Progress<'a> = &'a (dyn Fn(Bytes, Bytes) + Sync);

/// Does the steps of one plan.
#[allow(missing_debug_implementations, reason = "progress is a function")]
pub struct Executor<'a> {
    loader: Option<&'a Loader>,
    pub(super) verity: BTreeMap<String, Devno>,
    /// Those of them that were open before: they are not ours to close.
    pub(super) reused: BTreeSet<String>,
    /// Loop devices, by the number that stands for them in the plan; open, so that they stay.
    pub(super) loops: BTreeMap<Devno, Attached>,
    /// What signatures were found to hold by, by dm name.
    checked: Vec<(String, CheckedBy)>,
    pub(super) notes: Vec<String>,
    pub(super) progress: Option<Progress<'a>>,
    pub(super) prewarmed: Option<Prewarmed>,
    arguments: Vec<String>,
    init: Option<String>,
}

impl<'a> Executor<'a> {
    /// An executor that has done nothing yet. `loader` is for an initramfs: a running system loads what the
    /// kernel asks for. `arguments` are for the program that it ends in.
    #[must_use]
    pub fn new(loader: Option<&'a Loader>, arguments: Vec<String>) -> Self {
        let (verity, reused, loops) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (checked, notes) = (Vec::new(), Vec::new());
        let (progress, prewarmed, init) = (None, None, None);
        Self { loader, verity, reused, loops, checked, notes, progress, prewarmed, arguments, init }
    }

    /// With somebody who is told how far a step is that takes a while.
    #[must_use]
    pub fn showing(mut self, progress: Option<Progress<'a>>) -> Self {
        self.progress = progress;
        self
    }

    /// What was read ahead.
    #[must_use]
    pub fn prewarmed(&self) -> Option<Prewarmed> {
        self.prewarmed
    }

    /// What is to be told of the steps so far, once.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// What the signature of this dm-verity device was found to hold by.
    #[must_use]
    pub fn checked(&self, name: &str) -> Option<&CheckedBy> {
        self.checked.iter().rfind(|(of, _)| of == name).map(|(_, by)| by)
    }

    /// A plan that was done, with root hashes by their signers where those were found out.
    #[must_use]
    pub fn proven(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        for step in &mut plan.steps {
            if let Step::OpenVerity(open) = step
                && self.checked(&open.name).is_some()
            {
                open.root_hash_from = HashOrigin::Signature;
            }
        }
        plan
    }

    /// Does a step. [`Step::Exec`] returns only where it failed.
    pub fn execute(&mut self, step: &Step) -> Result<(), Error> {
        #[cfg(feature = "cli")]
        if sys::termination::is_to_end() {
            return Err(Error::Ended);
        }
        match step {
            Step::LoadModules { names } => Ok(self.loader.map_or(Ok(()), |loader| loader.load(names))?),
            Step::OpenVerity(open) => self.open_verity(&self.attached(open)),
            Step::CheckVerity { name, corruption_ignored, repaired } => {
                self.check_verity(name, *corruption_ignored || *repaired)
            }
            Step::Mount { what, fstype, at, read_only, options } => {
                self.mount(what, fstype.as_ref(), Path::new(at), *read_only, options)
            }
            Step::Tmpfs { at, options } => tmpfs(Path::new(at), options),
            Step::Overlay { at, store } => overlay(Path::new(at), Path::new(store)),
            Step::VolatileUsr { at, store } => volatile_usr(Path::new(at), Path::new(store)),
            Step::Bind { from, at } => Ok(mount::clone_tree(Path::new(from))?.attach(Path::new(at))?),
            Step::BaseFileSystem { root } => Ok(new_root::fill(root)?),
            Step::NameVolatileRoot { what } => self.name_volatile_root(what),
            Step::CheckVersion { root, files, at_least } => {
                Ok(new_root::check_version(root, files, at_least)?)
            }
            Step::FindInit { root, candidates } => {
                self.init = Some(new_root::find_init(root, candidates)?);
                Ok(())
            }
            Step::MoveApi { root } => move_api(Path::new(root)),
            Step::SwitchRoot { root } => {
                let initramfs = Initramfs::open()?;
                root::switch(Path::new(root))?;
                Ok(initramfs.free()?)
            }
            Step::LeaveExitrd => shutdown::leave(),
            Step::Exec => self.exec(),
            Step::AttachLoop { .. }
            | Step::KeepExitrd
            | Step::CheckPlain { .. }
            | Step::ReuseVerity { .. }
            | Step::Isolate { .. }
            | Step::Follow { .. }
            | Step::FurnishRelay { .. }
            | Step::Carry { .. }
            | Step::Prewarm { .. }
            | Step::LeaveUnits { .. }
            | Step::Watch { .. }
            | Step::Order { .. }
            | Step::MarkEntryBad(_)
            | Step::Publish { .. }
            | Step::ArmWatchdog(_)
            | Step::Move { .. }
            | Step::Pivot { .. } => self.execute_in_running_system(step),
        }
    }

    /// The steps that a cold boot never has are those of `run/soft_reboot/steps.rs`.
    #[cfg(not(feature = "cli"))]
    fn execute_in_running_system(&mut self, _: &Step) -> Result<(), Error> {
        Err(Error::Plan { what: "a running system".to_owned() })
    }

    fn open_verity(&mut self, open: &OpenVerity) -> Result<(), Error> {
        // Held open, they are what they were until the table is loaded.
        let mut held = Vec::new();
        for device in [&open.data, &open.hash].into_iter().chain(&open.fec) {
            let node = sys::block::Entry { name: device.name.clone() }.node();
            let same = BlockDevice::open(&node, device.devno, device.diskseq);
            held.push(
                same.map_err(|error| Error::Changed { device: device.clone(), why: error.in_one_line() })?,
            );
        }
        let signature = signed::read(open)?;
        let follower = Follower::open();
        let control = Control::open()?;
        let devno = control.create(&open.name, &open.uuid)?;
        let loaded = match open.signature.as_ref().zip(signature.as_ref()) {
            Some((handed, signature)) => signed::load(&control, open, handed, signature),
            None => {
                let target = signed::target(open, open.table.to_string());
                control.load_read_only(&open.name, &target).map(|()| Loaded::default()).map_err(Error::from)
            }
        };
        let live = loaded.and_then(|loaded| Ok(control.resume(&open.name).map(|()| loaded)?));
        let Loaded { checked, note } = live.map_err(|error| {
            let kernel = follower.kernel_records();
            put_away(&control, &open.name);
            match error {
                Error::Call(source) => Error::Verity { name: open.name.clone(), kernel, source },
                other => other,
            }
        })?;
        if let Some(by) = checked {
            self.notes.push(format!("the signature of {} holds by {by}", open.table.root_hash));
            self.checked.push((open.name.clone(), by));
        }
        self.notes.extend(note);
        self.verity.insert(open.name.clone(), devno);
        link_mapper(&open.name, devno.minor)
    }

    /// With loop devices in the place of the numbers that stand for them.
    fn attached(&self, open: &OpenVerity) -> OpenVerity {
        let mut open = open.clone();
        for (device, number) in
            [(&mut open.data, &mut open.table.data), (&mut open.hash, &mut open.table.hash)]
        {
            if let Some(attached) = self.loops.get(&device.devno) {
                *device = of_loop(attached);
                *number = device.devno;
            }
        }
        if let Some(device) = &mut open.fec
            && let Some(attached) = self.loops.get(&device.devno)
        {
            *device = of_loop(attached);
            open.table.set_fec_device(device.devno);
        }
        open
    }

    /// The kernel opens a device whose root hash is wrong all the same; it shows at the first block.
    fn check_verity(&self, name: &str, excused: bool) -> Result<(), Error> {
        let follower = Follower::open();
        let control = Control::open()?;
        // A device that was open before may have the block in memory, from when it was good.
        let read = self.open_volume(&Volume::Verity(name.to_owned())).and_then(|device| {
            device.forget();
            Ok(device.read(0, 4096)?)
        });
        let why = match (read, bad_status(&control, name, excused)?) {
            (Ok(_), None) => return Ok(()),
            (Ok(_), Some(why)) => why,
            (Err(error), _) => match std::error::Error::source(&error) {
                Some(source) => format!("its first block: {error}: {source}"),
                None => format!("its first block: {error}"),
            },
        };
        let kernel = follower.kernel_records();
        if !self.reused.contains(name) {
            put_away(&control, name);
        }
        Err(Error::Corrupt { name: name.to_owned(), why, kernel })
    }

    fn mount(
        &self,
        what: &Volume,
        fstype: Option<&Fstype>,
        at: &Path,
        read_only: bool,
        options: &str,
    ) -> Result<(), Error> {
        let types = match fstype {
            Some(Fstype::Known(kind)) => vec![kind.to_string()],
            Some(Fstype::Named(names)) => names.split(',').map(str::to_owned).collect(),
            None => vec![self.recognise(what)?],
        };
        let mut options = MountOptions::parse(options);
        if read_only {
            options.read_only();
        }
        make_mount_point(at)?;
        let node = self.node(what)?;
        // Held open, the node is of the device that is meant until that is mounted.
        let _held = self.open_volume(what)?;
        let mut last = None;
        for fstype in types {
            let follower = Follower::open();
            match mount::create(&fstype, Some(&node), &options) {
                Ok(mounted) => return Ok(mounted.attach(at)?),
                Err(source) => {
                    let (what, at) = (what.to_string(), at.display().to_string());
                    last = Some(Error::Mount { what, fstype, at, kernel: follower.kernel_records(), source });
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::Plan { what: "a file system type".to_owned() }))
    }

    fn recognise(&self, what: &Volume) -> Result<String, Error> {
        let bytes = self.open_volume(what)?.read(0, superblock::PREFIX)?;
        match Superblock::recognise(&bytes) {
            Some(found) if found.kind.is_filesystem() => Ok(found.kind.to_string()),
            Some(found) => {
                Err(Error::UnknownFileSystem { what: what.clone(), found: format!("it is {}", found.kind) })
            }
            None => {
                Err(Error::UnknownFileSystem { what: what.clone(), found: "no known superblock".to_owned() })
            }
        }
    }

    fn devno(&self, what: &Volume) -> Result<Devno, Error> {
        match what {
            Volume::Device(device) => Ok(device.devno),
            Volume::Verity(name) => {
                self.verity.get(name).copied().ok_or_else(|| Error::Plan { what: what.to_string() })
            }
        }
    }

    fn node(&self, what: &Volume) -> Result<PathBuf, Error> {
        let devno = self.devno(what)?;
        let name = match what {
            Volume::Device(device) => device.name.clone(),
            Volume::Verity(_) => format!("dm-{}", devno.minor),
        };
        Ok(sys::block::Entry { name }.node())
    }

    fn open_volume(&self, what: &Volume) -> Result<BlockDevice, Error> {
        let devno = self.devno(what)?;
        let diskseq = match what {
            Volume::Device(device) => device.diskseq,
            // It was made here.
            Volume::Verity(_) => None,
        };
        Ok(BlockDevice::open(&self.node(what)?, devno, diskseq)?)
    }

    fn name_volatile_root(&self, what: &Volume) -> Result<(), Error> {
        let link = "/run/systemd/volatile-root";
        let write = || -> io::Result<()> {
            fs::create_dir_all("/run/systemd")?;
            let devno = self.devno(what).map_err(io::Error::other)?;
            symlink(format!("/dev/block/{devno}"), link)
        };
        write().map_err(|source| Error::Write { path: link.to_owned(), source })
    }

    fn exec(&self) -> Result<(), Error> {
        let init = self.init.as_deref().ok_or_else(|| Error::Plan { what: "the init".to_owned() })?;
        process::restore_sigpipe()?;
        Err(process::execute(Path::new(init), &self.arguments).into())
    }
}

fn of_loop(attached: &Attached) -> Device {
    let LoopDevice { name, devno, diskseq } = attached.device.clone();
    Device { name, devno, diskseq }
}

/// What is wrong with the status of a dm-verity device: a block that did not match was read, and that is not `excused`.
pub(super) fn bad_status(control: &Control, name: &str, excused: bool) -> Result<Option<String>, Error> {
    let status = control.status(name)?;
    Ok(match VerityStatus::parse(&status.text) {
        Ok(VerityStatus::Verified) => None,
        Ok(VerityStatus::Corrupted) if excused => None,
        _ => Some(format!("its status is \"{}\", not V", status.text)),
    })
}

/// Closes a device that does not do. Nothing can be done where even that fails: the error before is the one to show.
fn put_away(control: &Control, name: &str) {
    #[cfg(feature = "cli")]
    let _ = super::closing::close(control, name, Control::remove);
    // Where udev is not, nobody takes a name away late.
    #[cfg(not(feature = "cli"))]
    let _ = control.remove(name);
}

/// `/dev/mapper/NAME`, which udev would make: veritysetup and fstab know the device by it.
fn link_mapper(name: &str, minor: u32) -> Result<(), Error> {
    let (path, target) = (format!("/dev/mapper/{name}"), format!("../dm-{minor}"));
    let write = || match symlink(&target, &path) {
        // udev was faster; or it is left from a device that had another number.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_link(&path).is_ok_and(|link| link == Path::new(&target)) {
                return Ok(());
            }
            // Whoever takes it away, or makes it, meanwhile: what counts is where it leads in the end.
            let _ = fs::remove_file(&path);
            symlink(&target, &path).or_else(|error| match fs::read_link(&path) {
                Ok(link) if link == Path::new(&target) => Ok(()),
                _ => Err(error),
            })
        }
        made => made,
    };
    write().map_err(|source| Error::Write { path: path.clone(), source })
}

fn make_mount_point(at: &Path) -> Result<(), Error> {
    if at.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(at).map_err(|source| Error::MountPoint { at: at.display().to_string(), source })
}

fn tmpfs(at: &Path, options: &str) -> Result<(), Error> {
    make_mount_point(at)?;
    create("tmpfs", &MountOptions::parse(options), at)
}

fn create(fstype: &str, options: &MountOptions, at: &Path) -> Result<(), Error> {
    let follower = Follower::open();
    let made = mount::create(fstype, None, options);
    let failed = |source| Error::Mount {
        what: fstype.to_owned(),
        fstype: fstype.to_owned(),
        at: at.display().to_string(),
        kernel: follower.kernel_records(),
        source,
    };
    Ok(made.map_err(failed)?.attach(at)?)
}

fn overlay(at: &Path, store: &Path) -> Result<(), Error> {
    let (upper, work) = (store.join("upper"), store.join("work"));
    make_mount_point(&upper)?;
    make_mount_point(&work)?;
    let text = |path: &Path| Some(path.display().to_string());
    let options = MountOptions {
        filesystem: vec![
            ("lowerdir".to_owned(), text(at)),
            ("upperdir".to_owned(), text(&upper)),
            ("workdir".to_owned(), text(&work)),
        ],
        flags: Vec::new(),
    };
    create("overlay", &options, at)
}

fn volatile_usr(at: &Path, store: &Path) -> Result<(), Error> {
    let usr = store.join("usr");
    make_mount_point(&usr)?;
    match mount::clone_tree(&at.join("usr")) {
        Ok(tree) => tree.attach(&usr)?,
        // A /usr of its own comes above. Where there is none either, no init is found, which is told.
        Err(error) if error.is_absent() => {}
        Err(error) => return Err(error.into()),
    }
    mount::unmount(at)?;
    Ok(mount::move_to(store, at)?)
}

fn move_api(root: &Path) -> Result<(), Error> {
    for path in api::paths() {
        let at = root.join(path.trim_start_matches('/'));
        make_mount_point(&at)?;
        mount::move_to(Path::new(path), &at)?;
    }
    Ok(())
}
