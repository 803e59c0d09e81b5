//! From what was written to what is meant: one root, one /usr at most, and nothing weaker than policy.

use std::time::Duration;

use crate::format::{config::initramfs::Config, kernel::cmdline::CommandLine};

use super::{
    intent::{Emergency, FileSystem, From, Intent, Volatile},
    invalid::{Error, value_error},
    policy::{self, Policy},
    request::{Given, Request},
    settings::{self, truth},
    tag::{Name, device},
    verified::{Verified, without_parity},
};

impl Emergency {
    /// What a command line says of failures, even if the rest of it cannot be meant.
    #[must_use]
    pub fn of(line: &CommandLine, config: &Config) -> Self {
        // What is wrong with the rest is reported by whoever resolves the whole.
        let (request, _) = Request::read(line, config);
        settings::emergency(&request).unwrap_or_default()
    }
}

impl Intent {
    /// What the command line asks for, within what the configuration allows.
    pub fn resolve(line: &CommandLine, config: &Config) -> Result<Self, Error> {
        let (mut request, outcome) = Request::read(line, config);
        outcome?;
        let off = if truth(request.verity.as_ref(), true)? { None } else { request.verity.as_ref() };
        let policy = Policy::of(config, &request);
        policy.allows_switch(off)?;
        let mut root = root(&request, off)?;
        let mut usr = usr(&request, off, &root)?;
        if let From::Dissect(dissect) = &mut root.from {
            dissect.required = policy.of_found_root(usr.is_some());
        }
        policy.allows(&request, &root, usr.as_ref())?;
        let demands = policy::demands(config, &request)?;
        let filters = policy::filters(config, &request)?;
        policy::meet(&demands, &request, &root, usr.as_ref())?;
        if root.from == From::Tmpfs && usr.is_none() {
            return Err(Error::Value {
                parameter: "root",
                value: "tmpfs".to_owned(),
                why: "an empty root needs a /usr: add usrhash= or mount.usr=".to_owned(),
            });
        }
        let mut notes: Vec<String> =
            config.unknown.iter().map(|key| format!("{key} is not known, ignoring")).collect();
        notes.append(&mut request.notes);
        notes.extend(without_effect(&request, &root)?);
        let verified = [Some(&root), usr.as_ref()].into_iter().flatten().filter_map(|fs| match &fs.from {
            From::Verity(verity) => without_parity(verity),
            _ => None,
        });
        notes.extend(verified);
        // What lies on a tmpfs is forgotten anyway.
        let volatile = settings::volatile(request.volatile.as_ref())?;
        let volatile = if root.from == From::Tmpfs { Volatile::No } else { volatile };
        root.read_only |= volatile != Volatile::No;
        usr.iter_mut().for_each(|usr| usr.read_only |= volatile == Volatile::Yes);
        Ok(Self {
            volatile,
            init: settings::init(request.init.as_ref())?,
            timeout: settings::timeout(&request)?,
            delay: request.rootdelay.as_ref().map_or(Ok(Duration::ZERO), settings::seconds)?,
            exitrd: config.exitrd,
            emergency: settings::emergency(&request)?,
            verbosity: settings::verbosity(&request)?,
            modules: settings::modules(request),
            root,
            usr,
            demands,
            filters,
            notes,
        })
    }
}

/// What is asked for and not done, where that does no harm.
fn without_effect(request: &Request, root: &FileSystem) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    let verified = matches!(root.from, From::Verity(_));
    if request.write == Some(true) && verified {
        notes.push("rw has no effect: a verified root is always read-only".to_owned());
    }
    if request.write == Some(false) && root.from == From::Tmpfs {
        notes.push("ro has no effect: an empty root has to be filled".to_owned());
    }
    if let Some(given) = &request.rootfallback {
        let why = "there is no falling back to another root";
        if verified {
            return Err(value_error(given, format!("{why} from a verified one: leave it out")));
        }
        notes.push(format!("{}={} has no effect: {why}", given.name, given.value));
    }
    Ok(notes)
}

fn root(request: &Request, off: Option<&Given>) -> Result<FileSystem, Error> {
    let given = request.root.as_ref();
    let from = match (Verified::root(request).resolve(off)?, given) {
        (Some(verity), _) => From::Verity(Box::new(verity)),
        #[cfg(not(feature = "dissect"))]
        (None, Some(given)) if given.value == "dissect" => {
            return Err(value_error(
                given,
                "this init reads no signature partitions: make the initramfs with nextroot-init-signatures",
            ));
        }
        #[cfg(feature = "dissect")]
        (None, Some(given)) if given.value == "dissect" => match off {
            // It would protect less than was asked for.
            Some(off) => {
                return Err(Error::Contradiction(format!(
                    "{}={} and root=dissect together: write root=gpt-auto for a root that is not verified",
                    off.name, off.value
                )));
            }
            None => From::Dissect(super::intent::Dissect {
                userspace: truth(request.userspace_verity.as_ref(), true)?,
                required: None,
            }),
        },
        (None, Some(given)) => unverified_root(given)?,
        (None, None) => From::GptAuto,
    };
    let discovery = truth(request.gpt_auto.as_ref(), true)?;
    let by_type = matches!(from, From::GptAuto | From::Dissect(_));
    if let Some(switch) = request.gpt_auto.as_ref().filter(|_| by_type && !discovery) {
        return Err(Error::Contradiction(format!(
            "{}={}, and nothing else names a root: write root= or roothash=",
            switch.name, switch.value
        )));
    }
    let access = access(request.rootflags.as_ref());
    let write = request.write.or(access.write).unwrap_or(from == From::Tmpfs);
    let read_only = from != From::Tmpfs && (matches!(from, From::Verity(_)) || !write);
    Ok(FileSystem { from, fstype: fstypes(request.rootfstype.as_ref()), flags: access.flags, read_only })
}

fn unverified_root(given: &Given) -> Result<From, Error> {
    match given.value.as_str() {
        "gpt-auto" => Ok(From::GptAuto),
        "tmpfs" => Ok(From::Tmpfs),
        "dissect-force" | "gpt-auto-force" | "fstab" | "off" => {
            Err(value_error(given, "not available in this version: use roothash=, dissect or gpt-auto"))
        }
        path => match path.strip_prefix("bind:") {
            Some(path) if path.starts_with('/') => Ok(From::Bind(path.to_owned())),
            Some(_) => Err(value_error(given, "write bind: and an absolute path of the initramfs")),
            None => unverified(given, "roothash"),
        },
    }
}

fn unverified(given: &Given, hash: &str) -> Result<From, Error> {
    match device(given)? {
        Name::Tag(tag) => Ok(From::Device(tag)),
        Name::Mapper(name) => Err(value_error(
            given,
            format!("nothing here makes /dev/mapper/{name}: what is verified is named by {hash}="),
        )),
    }
}

fn usr(request: &Request, off: Option<&Given>, root: &FileSystem) -> Result<Option<FileSystem>, Error> {
    // One of the three brings the others along, from the root (systemd-fstab-generator(8)).
    let named = [&request.usr, &request.usrfstype, &request.usrflags].into_iter().find_map(Option::as_ref);
    let from = match (Verified::usr(request).resolve(off)?, &request.usr, named) {
        (Some(verity), _, _) => From::Verity(Box::new(verity)),
        (None, Some(given), _) => match given.value.as_str() {
            "gpt-auto" | "dissect" | "fstab" | "tmpfs" => {
                return Err(value_error(
                    given,
                    "not available in this version: use usrhash=, or name a device",
                ));
            }
            _ => unverified(given, "usrhash")?,
        },
        (None, None, None) => return Ok(None),
        (None, None, Some(given)) => match &root.from {
            From::Device(tag) => From::Device(tag.clone()),
            _ => {
                return Err(Error::Contradiction(format!(
                    "{}={} needs mount.usr= or usrhash= beside it: the root has no device to take /usr from, too",
                    given.name, given.value
                )));
            }
        },
    };
    let like_root = named.is_some() && !matches!(root.from, From::Tmpfs | From::Bind(_));
    let fallback = |given: &Option<Given>, root: &Option<Given>| {
        given.clone().or_else(|| root.clone().filter(|_| like_root))
    };
    let access = access(fallback(&request.usrflags, &request.rootflags).as_ref());
    let write = access.write.or(request.write).unwrap_or(false);
    Ok(Some(FileSystem {
        fstype: fstypes(fallback(&request.usrfstype, &request.rootfstype).as_ref()),
        flags: access.flags,
        read_only: matches!(from, From::Verity(_)) || !write,
        from,
    }))
}

/// Mount options, and what they say of write access.
struct Access {
    flags: String,
    write: Option<bool>,
}

fn access(given: Option<&Given>) -> Access {
    let words = given.map_or("", |given| given.value.as_str()).split(',');
    let (modes, flags): (Vec<&str>, Vec<&str>) = words.partition(|word| matches!(*word, "ro" | "rw"));
    Access { flags: flags.join(","), write: modes.last().map(|word| *word == "rw") }
}

/// A type, or several to try, apart by commas; empty words name none.
fn fstypes(given: Option<&Given>) -> Option<String> {
    let types: Vec<&str> = given?.value.split(',').filter(|word| !word.is_empty()).collect();
    (!types.is_empty()).then(|| types.join(","))
}
