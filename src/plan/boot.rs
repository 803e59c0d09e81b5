//! Decides how to boot: intent and facts to a plan, or to what is still missing.

use std::fmt;

use crate::{
    format::{
        devno::Devno,
        guid::Guid,
        kernel_release,
        superblock::Kind,
        verity::{
            options::Corruption,
            setup::{self, Part},
        },
    },
    units::Bytes,
};

use super::{
    Plan, Step,
    facts::{BlockDevice, Content, Facts, Partition},
    find::{Found, find},
    intent::{FileSystem, From, Intent, Tag, Verity, Volatile},
    step::{Device, Fstype, OpenVerity, Volume},
};

/// What a look at the facts gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Everything is there: this is to be done.
    Go(Plan),
    /// These have to be looked into, and then the question put again.
    Read(Vec<Read>),
    /// These are not there yet.
    Wait(Vec<Want>),
    /// It cannot be done.
    Refuse(Error),
}

/// A look into a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// At its first blocks.
    Superblock(Devno),
    /// At a verity superblock.
    Verity {
        /// The device.
        devno: Devno,
        /// Distance from its start.
        offset: Bytes,
    },
}

/// A device that is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// What it is for.
    pub role: &'static str,
    /// Its name.
    pub tag: String,
}

/// Facts that cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that several devices have.
    #[error("{role} {tag} is ambiguous: {devices}; detach all but one, or give them different names")]
    Ambiguous {
        /// What the device is for.
        role: &'static str,
        /// The name.
        tag: String,
        /// Who has it.
        devices: String,
    },
    /// A hash device without its superblock.
    #[error(
        "{role} {device}, at {offset}: {why}; is it the hash partition of this image? Without a superblock write superblock=no and all options"
    )]
    NoVeritySuperblock {
        /// What the device is for.
        role: &'static str,
        /// The device.
        device: String,
        /// Where it was looked for.
        offset: Bytes,
        /// What was found.
        why: String,
    },
    /// dm-verity parameters that do not fit the devices.
    #[error("dm-verity {name} on {data} with hash tree on {hash}")]
    Setup {
        /// The dm name.
        name: String,
        /// The data device.
        data: String,
        /// The hash device.
        hash: String,
        /// Why not.
        #[source]
        source: setup::Error,
    },
    /// A device without a file system.
    #[error("{role} {device} cannot be mounted: {why}")]
    NoFileSystem {
        /// What the device is for.
        role: &'static str,
        /// The device.
        device: String,
        /// What is there, and what to do.
        why: String,
    },
}

/// Where the new root is put together.
const SYSROOT: &str = "/sysroot";
/// What is looked for where `init=` says nothing: systemd as it looks for itself (src/shared/switch-root.c),
/// then the kernel's places (init/main.c), without its shell.
const INITS: [&str; 4] = ["/usr/lib/systemd/systemd", "/sbin/init", "/etc/init", "/bin/init"];
/// dm-verity's `*_on_error` words came with this kernel.
const ON_ERROR_SINCE: (u32, u32) = (6, 12);

/// The root partition's type, by architecture (Discoverable Partitions Specification).
const ROOT_TYPES: [(&str, &str); 5] = [
    ("x86_64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    ("aarch64", "b921b045-1df0-41c3-af44-4c6f280d3fae"),
    ("riscv64", "72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
    ("x86", "44479540-f297-41b2-9af7-d131d5f0458a"),
    ("arm", "69dad710-2ce4-4e3c-b16c-21a1d49abed3"),
];
/// Partition attributes of the same specification.
const NO_AUTO: u64 = 1 << 63;
const READ_ONLY: u64 = 1 << 60;

/// Modules that any plan for this intent loads: they can be begun with before devices are known.
#[must_use]
pub fn modules(intent: &Intent) -> Vec<String> {
    let all = [Some(&intent.root), intent.usr.as_ref()];
    let mut names: Vec<&str> = Vec::new();
    for fs in all.into_iter().flatten() {
        names.extend(matches!(fs.from, From::Verity(_)).then_some("dm_verity"));
        names.extend(fs.fstype.as_ref().and_then(|name| name.parse::<Kind>().ok()).and_then(Kind::module));
    }
    names.extend((intent.volatile == Volatile::Overlay).then_some("overlay"));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}

/// Decides.
#[must_use]
pub fn decide(intent: &Intent, facts: &Facts) -> Decision {
    let mut look = Look { facts, reads: Vec::new(), wants: Vec::new(), modules: modules(intent) };
    let root = look.file_system(&intent.root, "root", SYSROOT);
    let usr = intent.usr.as_ref().map(|usr| look.file_system(usr, "usr", "/sysroot/usr"));
    let (root, usr) = match (root, usr.transpose()) {
        (Ok(root), Ok(usr)) => (root, usr.flatten()),
        (Err(error), _) | (_, Err(error)) => return Decision::Refuse(error),
    };
    if !look.reads.is_empty() {
        return Decision::Read(look.reads);
    }
    match (root, usr, intent.usr.is_some()) {
        (Some(root), usr, wanted) if usr.is_some() == wanted => {
            Decision::Go(plan(intent, look.modules, root, usr))
        }
        _ => Decision::Wait(look.wants),
    }
}

/// What is awaited, what was seen so far, and which drivers could not be loaded.
#[must_use]
pub fn waiting(wants: &[Want], facts: &Facts, failures: &[String]) -> String {
    let wants: Vec<String> = wants.iter().map(Want::to_string).collect();
    let seen: Vec<String> = facts.devices.iter().map(BlockDevice::to_string).collect();
    let seen = if seen.is_empty() { "no block device".to_owned() } else { seen.join(", ") };
    let failures = match failures {
        [] => String::new(),
        failures => format!("; drivers that could not be loaded: {}", failures.join(", ")),
    };
    format!("waiting for {}; seen: {seen}{failures}", wants.join(" and "))
}

/// A file system whose devices are all known.
struct Resolved {
    steps: Vec<Step>,
    volume: Option<Volume>,
}

struct Look<'a> {
    facts: &'a Facts,
    reads: Vec<Read>,
    wants: Vec<Want>,
    modules: Vec<String>,
}

impl<'a> Look<'a> {
    fn file_system(
        &mut self,
        fs: &FileSystem,
        name: &'static str,
        at: &str,
    ) -> Result<Option<Resolved>, Error> {
        let role = if name == "root" { "root partition" } else { "usr partition" };
        match &fs.from {
            From::Verity(verity) => self.verity(fs, verity, at),
            From::Device(tag) => match self.locate(tag, role)? {
                Some(device) => self.plain(fs, device, role, at, fs.read_only),
                None => Ok(None),
            },
            From::GptAuto => match self.discover(role)? {
                Some((device, partition)) => {
                    let read_only = fs.read_only || partition.attributes & READ_ONLY != 0;
                    self.plain(fs, device, role, at, read_only)
                }
                None => Ok(None),
            },
            From::Tmpfs => {
                let steps = vec![Step::Tmpfs { at: at.to_owned(), options: "mode=0755".to_owned() }];
                Ok(Some(Resolved { steps, volume: None }))
            }
            From::Bind(path) => {
                let steps = vec![Step::Bind { from: path.clone(), at: at.to_owned() }];
                Ok(Some(Resolved { steps, volume: None }))
            }
        }
    }

    /// The one device of this name, if it is there.
    fn locate(&mut self, tag: &Tag, role: &'static str) -> Result<Option<&'a BlockDevice>, Error> {
        match find(tag, self.facts) {
            Found::One(device) => return Ok(Some(device)),
            Found::Several(devices) => return Err(ambiguous(role, tag.to_string(), &devices)),
            Found::Unread(devices) => self.reads.extend(devices.into_iter().map(Read::Superblock)),
            Found::Nothing => {}
        }
        self.wants.push(Want { role, tag: tag.to_string() });
        Ok(None)
    }

    fn verity(&mut self, fs: &FileSystem, verity: &Verity, at: &str) -> Result<Option<Resolved>, Error> {
        let (data_role, hash_role) = match verity.name.as_str() {
            "usr" => ("usr data partition", "usr hash partition"),
            _ => ("root data partition", "root hash partition"),
        };
        let data = self.locate(&verity.data, data_role)?;
        let hash = self.locate(&verity.hash, hash_role)?;
        let (Some(data), Some(hash)) = (data, hash) else { return Ok(None) };
        let options = &verity.options;
        let offset = options.hash_offset;
        let superblock = match &hash.verity {
            _ if options.no_superblock => None,
            Some(read) if read.offset == offset => {
                Some(read.outcome.as_ref().map_err(|why| Error::NoVeritySuperblock {
                    role: hash_role,
                    device: hash.to_string(),
                    offset,
                    why: why.clone(),
                })?)
            }
            _ => {
                self.reads.push(Read::Verity { devno: hash.devno, offset });
                return Ok(None);
            }
        };
        // A hint only, to load the driver meanwhile: the type is found by what the verified device holds.
        match &data.content {
            Content::Unread => self.reads.push(Read::Superblock(data.devno)),
            Content::Found(hint) => self.want_module(hint.kind),
            Content::Unknown | Content::Unreadable(_) => {}
        }
        let part = |device: &BlockDevice| Part { devno: device.devno, size: device.size };
        let on_error = kernel_release::version(&self.facts.kernel_release) >= Some(ON_ERROR_SINCE);
        let table = setup::table(part(data), part(hash), &verity.root_hash, options, superblock, on_error)
            .map_err(|source| Error::Setup {
                name: verity.name.clone(),
                data: data.to_string(),
                hash: hash.to_string(),
                source,
            })?;
        let uuid = superblock.map(|superblock| superblock.uuid);
        let volume = Volume::Verity(verity.name.clone());
        let open = OpenVerity {
            name: verity.name.clone(),
            uuid: setup::dm_uuid(uuid, &verity.name),
            data: device(data),
            hash: device(hash),
            table,
            root_hash_from: verity.root_hash_from,
        };
        let steps = vec![
            Step::OpenVerity(open),
            Step::CheckVerity {
                name: verity.name.clone(),
                corruption_ignored: options.corruption == Corruption::Ignore,
            },
            mount(fs, volume.clone(), None, at, true),
        ];
        Ok(Some(Resolved { steps, volume: Some(volume) }))
    }

    fn plain(
        &mut self,
        fs: &FileSystem,
        found: &BlockDevice,
        role: &'static str,
        at: &str,
        read_only: bool,
    ) -> Result<Option<Resolved>, Error> {
        let refuse = |why: String| Error::NoFileSystem { role, device: found.to_string(), why };
        let kind = match &found.content {
            _ if fs.fstype.as_ref().is_some_and(|fstype| fstype != "auto") => None,
            Content::Found(superblock) if superblock.kind.is_filesystem() => Some(superblock.kind),
            Content::Found(superblock) => {
                return Err(refuse(format!("it holds {}, which is no file system", superblock.kind)));
            }
            Content::Unread => {
                self.reads.push(Read::Superblock(found.devno));
                return Ok(None);
            }
            Content::Unknown => {
                return Err(refuse(
                    "it holds no file system that is recognised: name its type with rootfstype= or mount.usrfstype="
                        .to_owned(),
                ));
            }
            Content::Unreadable(why) => return Err(refuse(why.clone())),
        };
        if let Some(kind) = kind {
            self.want_module(kind);
        }
        let volume = Volume::Device(device(found));
        let steps = vec![mount(fs, volume.clone(), kind, at, read_only || found.read_only)];
        Ok(Some(Resolved { steps, volume: Some(volume) }))
    }

    fn want_module(&mut self, kind: Kind) {
        let name = kind.module().filter(|name| !self.modules.iter().any(|other| other == name));
        self.modules.extend(name.map(str::to_owned));
    }

    /// The root partition on the disk that the boot loader was started from.
    fn discover(&mut self, role: &'static str) -> Result<Option<(&'a BlockDevice, &'a Partition)>, Error> {
        let facts = self.facts;
        let Some(loader) = facts.loader_partition else {
            self.wants.push(Want { role, tag: "beside the boot loader's (which names none)".to_owned() });
            return Ok(None);
        };
        let tag = Tag::PartUuid(loader.to_string());
        let Some(loader) = self.locate(&tag, "boot loader's partition")? else { return Ok(None) };
        let disk = loader.partition.as_ref().map(|partition| partition.disk.as_str());
        let root_type = ROOT_TYPES.iter().find(|(arch, _)| *arch == std::env::consts::ARCH);
        let root_type: Option<Guid> = root_type.and_then(|(_, text)| text.parse().ok());
        let found: Vec<(&BlockDevice, &Partition)> = facts
            .devices
            .iter()
            .filter_map(|device| device.partition.as_ref().map(|partition| (device, partition)))
            .filter(|(_, partition)| {
                Some(partition.disk.as_str()) == disk && partition.type_uuid == root_type
            })
            .filter(|(_, partition)| root_type.is_some() && partition.attributes & NO_AUTO == 0)
            .collect();
        match found.as_slice() {
            [one] => Ok(Some(*one)),
            [] => {
                let tag =
                    format!("of the type for {} on {}", std::env::consts::ARCH, disk.unwrap_or("no disk"));
                self.wants.push(Want { role, tag });
                Ok(None)
            }
            several => {
                let devices: Vec<&BlockDevice> = several.iter().map(|(device, _)| *device).collect();
                Err(ambiguous(role, "by its type".to_owned(), &devices))
            }
        }
    }
}

fn ambiguous(role: &'static str, tag: String, devices: &[&BlockDevice]) -> Error {
    let devices: Vec<String> = devices.iter().map(|device| device.to_string()).collect();
    Error::Ambiguous { role, tag, devices: devices.join(" and ") }
}

fn device(found: &BlockDevice) -> Device {
    Device { name: found.name.clone(), devno: found.devno }
}

fn mount(fs: &FileSystem, what: Volume, kind: Option<Kind>, at: &str, read_only: bool) -> Step {
    let named = fs.fstype.as_ref().filter(|fstype| *fstype != "auto");
    let fstype = match named {
        Some(name) => Some(name.parse().map_or_else(|_| Fstype::Named(name.clone()), Fstype::Known)),
        None => kind.map(Fstype::Known),
    };
    Step::Mount { what, fstype, at: at.to_owned(), read_only, options: fs.flags.clone() }
}

fn plan(intent: &Intent, modules: Vec<String>, root: Resolved, usr: Option<Resolved>) -> Plan {
    let mut steps = Vec::new();
    if !modules.is_empty() {
        steps.push(Step::LoadModules { names: modules });
    }
    steps.extend(root.steps);
    let mut under = root.volume;
    if let Some(usr) = usr {
        steps.extend(usr.steps);
        under = under.or(usr.volume);
    }
    let at = SYSROOT.to_owned();
    let empty = match intent.volatile {
        Volatile::No => intent.root.from == From::Tmpfs,
        Volatile::Yes => {
            steps.push(volatile_tmpfs("/run/systemd/volatile-sysroot"));
            let store = "/run/systemd/volatile-sysroot".to_owned();
            steps.push(Step::VolatileUsr { at: at.clone(), store });
            true
        }
        Volatile::Overlay => {
            steps.push(volatile_tmpfs("/run/systemd/overlay-sysroot"));
            steps.push(Step::Overlay { at: at.clone(), store: "/run/systemd/overlay-sysroot".to_owned() });
            false
        }
    };
    if empty {
        steps.push(Step::BaseFileSystem { root: at.clone() });
    }
    if let Some(what) = under.filter(|_| empty || intent.volatile != Volatile::No) {
        steps.push(Step::NameVolatileRoot { what });
    }
    let candidates = match &intent.init {
        Some(init) => vec![init.clone()],
        None => INITS.map(str::to_owned).to_vec(),
    };
    steps.extend([
        Step::FindInit { root: at.clone(), candidates },
        Step::MoveApi { root: at.clone() },
        Step::SwitchRoot { root: at },
        Step::Exec,
    ]);
    Plan { steps }
}

/// As systemd mounts it (src/volatile-root/volatile-root.c).
fn volatile_tmpfs(at: &str) -> Step {
    Step::Tmpfs { at: at.to_owned(), options: "mode=0755,strictatime".to_owned() }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.tag)
    }
}
