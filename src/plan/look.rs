//! Looks for the devices of one file system, and says which steps mount it from them.

use crate::format::{
    config::{image_filter::ImageFilter, ini::Placed},
    disk::{discoverable, superblock::Kind},
    verity::{
        options::Corruption,
        setup::{self, Part},
    },
};

#[cfg(feature = "dissect")]
use super::dissect::{self, Dissected, dissect};
use super::{
    Step,
    decision::{Error, Read, Want},
    demands::Demands,
    device::Device,
    discover::{Discovery, discover},
    facts::{BlockDevice, Content, Facts, Partition},
    find::{Found, find, is_partitioned},
    intent::{FileSystem, From, Tag, Verity},
    signed::Handed,
    step::{Fstype, OpenVerity, Volume},
};

/// A file system whose devices are all known.
pub(super) struct Resolved {
    /// What mounts it.
    pub(super) steps: Vec<Step>,
    /// The partition that it comes from in the end: what systemd goes on from to find the disk.
    pub(super) origin: Option<Device>,
}

/// A look at the facts, and what it left to do.
pub(super) struct Look<'a> {
    facts: &'a Facts,
    filters: &'a [Placed<ImageFilter>],
    #[cfg_attr(not(feature = "dissect"), expect(dead_code, reason = "nothing is taken apart here"))]
    demands: &'a Demands,
    pub(super) reads: Vec<Read>,
    pub(super) wants: Vec<Want>,
    pub(super) modules: Vec<String>,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        filters: &'a [Placed<ImageFilter>],
        demands: &'a Demands,
        modules: Vec<String>,
    ) -> Self {
        Self { facts, filters, demands, reads: Vec::new(), wants: Vec::new(), modules }
    }

    /// The file system `name` (`root` or `usr`), to be mounted at `at`; `None` where that left something to
    /// read or to wait for.
    pub(super) fn file_system(
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
            From::GptAuto | From::Dissect(_) => match self.discover(role)? {
                Some((device, partition)) => {
                    let read_only = fs.read_only || partition.attributes & discoverable::READ_ONLY != 0;
                    #[cfg(feature = "dissect")]
                    if let From::Dissect(asked) = &fs.from {
                        let dissected = dissect(asked, device, self.facts, self.filters)?;
                        dissect::allow(asked, self.demands, device, &dissected)?;
                        if let Dissected::Verity(verity) = dissected {
                            return self.verity(fs, &verity, at);
                        }
                    }
                    self.plain(fs, device, role, at, read_only)
                }
                None => Ok(None),
            },
            From::Tmpfs => {
                let flags = Some(fs.flags.as_str()).filter(|flags| !flags.is_empty());
                let options = ["mode=0755"].into_iter().chain(flags).collect::<Vec<_>>().join(",");
                let steps = vec![Step::Tmpfs { at: at.to_owned(), options }];
                Ok(Some(Resolved { steps, origin: None }))
            }
            From::Bind(path) => {
                let steps = vec![Step::Bind { from: path.clone(), at: at.to_owned() }];
                Ok(Some(Resolved { steps, origin: None }))
            }
        }
    }

    /// The one device of this name, if it is there.
    fn locate(&mut self, tag: &Tag, role: &'static str) -> Result<Option<&'a BlockDevice>, Error> {
        match find(tag, self.facts) {
            Found::One(device) => return Ok(Some(device)),
            Found::Several(devices) => return Err(ambiguous(role, tag.to_string(), &devices)),
            Found::Unread(devices) => {
                devices.into_iter().map(Read::Superblock).for_each(|read| self.read(read))
            }
            Found::Nothing => {}
        }
        self.wants.push(Want { role, tag: tag.to_string() });
        Ok(None)
    }

    fn verity(&mut self, fs: &FileSystem, verity: &Verity, at: &str) -> Result<Option<Resolved>, Error> {
        let [data_role, hash_role, fec_role] = match verity.name.as_str() {
            "usr" => ["usr data partition", "usr hash partition", "usr FEC device"],
            _ => ["root data partition", "root hash partition", "root FEC device"],
        };
        let data = self.locate(&verity.data, data_role)?;
        let hash = self.locate(&verity.hash, hash_role)?;
        let fec = verity.fec.as_ref().map(|tag| self.locate(tag, fec_role)).transpose()?;
        let (Some(data), Some(hash)) = (data, hash) else { return Ok(None) };
        let fec = match fec {
            Some(None) => return Ok(None),
            Some(found) => found,
            None => None,
        };
        // A hint only, to load the driver meanwhile: the type is found by what the verified device holds.
        match &data.content {
            Content::Unread => self.read(Read::Superblock(data.devno)),
            Content::Found(hint) => self.want_module(hint.kind),
            Content::Unknown | Content::Unreadable(_) => {}
        }
        let options = &verity.options;
        let offset = options.hash_offset;
        let superblock = match hash.verity.iter().find(|read| read.offset == offset) {
            _ if options.no_superblock => None,
            Some(read) => Some(read.outcome.as_ref().map_err(|why| Error::NoVeritySuperblock {
                role: hash_role,
                device: hash.to_string(),
                offset,
                why: why.clone(),
                hint: match data.devno == hash.devno {
                    true => "where the tree begins on the data device is said by hash-offset=",
                    false => "is it the hash partition of this image? Without a superblock write superblock=no and all options",
                },
            })?),
            None => {
                self.read(Read::Verity { devno: hash.devno, offset });
                return Ok(None);
            }
        };
        let part = |device: &BlockDevice| Part { devno: device.devno, size: device.size };
        let on_error = setup::has_on_error(&self.facts.kernel_release);
        let table = setup::table(
            part(data),
            part(hash),
            fec.map(part),
            &verity.root_hash,
            options,
            superblock,
            on_error,
        )
        .map_err(|source| Error::Setup {
            name: verity.name.clone(),
            data: data.to_string(),
            hash: hash.to_string(),
            source,
        })?;
        let uuid = superblock.map(|superblock| superblock.uuid);
        let open = OpenVerity {
            name: verity.name.clone(),
            uuid: setup::dm_uuid(uuid, &verity.name),
            data: data.into(),
            hash: hash.into(),
            fec: fec.map(Device::from),
            table,
            root_hash_from: verity.root_hash_from,
            signature: verity
                .signature
                .clone()
                .map(|signed| Box::new(Handed { signed, key: setup::signature_key(uuid, &verity.name) })),
        };
        let steps = vec![
            Step::OpenVerity(open),
            Step::CheckVerity {
                name: verity.name.clone(),
                corruption_ignored: options.corruption == Corruption::Ignore,
                repaired: fec.is_some(),
            },
            mount_verified(fs, &verity.name, data_role, at)?,
        ];
        Ok(Some(Resolved { steps, origin: Some(data.into()) }))
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
                self.read(Read::Superblock(found.devno));
                return Ok(None);
            }
            Content::Unknown if is_partitioned(found, self.facts) => {
                return Err(refuse("it is a disk with partitions: name one of them".to_owned()));
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
        let volume = Volume::Device(found.into());
        let steps = vec![mount(fs, volume, kind, at, read_only || found.read_only)];
        Ok(Some(Resolved { steps, origin: Some(found.into()) }))
    }

    fn want_module(&mut self, kind: Kind) {
        let name = kind.module().filter(|name| !self.modules.iter().any(|other| other == name));
        self.modules.extend(name.map(str::to_owned));
    }

    /// The root partition on the disk that the boot loader was started from.
    fn discover(&mut self, role: &'static str) -> Result<Option<(&'a BlockDevice, &'a Partition)>, Error> {
        match discover(self.facts, self.filters) {
            Discovery::One(device, partition) => Ok(Some((device, partition))),
            Discovery::NoLoader => Err(Error::NoLoader),
            Discovery::Several(tag, devices) => Err(ambiguous(role, tag, &devices)),
            Discovery::Nothing(tag) => {
                self.wants.push(Want { role, tag });
                Ok(None)
            }
        }
    }

    fn read(&mut self, read: Read) {
        if !self.reads.contains(&read) {
            self.reads.push(read);
        }
    }
}

fn ambiguous(role: &'static str, tag: String, devices: &[&BlockDevice]) -> Error {
    let devices: Vec<String> = devices.iter().map(|device| device.to_string()).collect();
    Error::Ambiguous { role, tag, devices: devices.join(" and ") }
}

/// Mount options that have a file system read from elsewhere than its device: those of btrfs, erofs, ext4 and xfs (the kernel's
/// Documentation/filesystems, erofs' `fsid=` in fs/erofs/super.c).
const ELSEWHERE: &[&str] =
    &["device", "domain_id", "fsid", "journal_dev", "journal_path", "logdev", "rtdev", "source"];

/// Mounts a verified device, by nothing that would show another one: a type such as overlay or virtiofs takes its files from where
/// its options or the machine say.
fn mount_verified(fs: &FileSystem, name: &str, role: &'static str, at: &str) -> Result<Step, Error> {
    let is_of_a_disk = |fstype: &str| fstype == "auto" || fstype.parse().is_ok_and(Kind::is_filesystem);
    let other = match &fs.fstype {
        Some(types) => types.split(',').find(|fstype| !is_of_a_disk(fstype)),
        None => None,
    };
    let elsewhere =
        |option: &&str| ELSEWHERE.contains(&option.split_once('=').map_or(*option, |(key, _)| key));
    match other.or_else(|| fs.flags.split(',').find(elsewhere)) {
        None => Ok(mount(fs, Volume::Verity(name.to_owned()), None, at, true)),
        Some(word) => Err(Error::NoFileSystem {
            role,
            device: name.to_owned(),
            why: format!("{word} could show other files than those that are verified: leave it out"),
        }),
    }
}

fn mount(fs: &FileSystem, what: Volume, kind: Option<Kind>, at: &str, read_only: bool) -> Step {
    let named = fs.fstype.as_ref().filter(|fstype| *fstype != "auto");
    let fstype = match named {
        Some(name) => Some(name.parse().map_or_else(|_| Fstype::Named(name.clone()), Fstype::Known)),
        None => kind.map(Fstype::Known),
    };
    Step::Mount { what, fstype, at: at.to_owned(), read_only, options: fs.flags.clone() }
}
