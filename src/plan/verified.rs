//! Which verified file systems are asked for: root hashes, their devices and options.

use crate::{
    format::{
        disk::guid::Guid,
        verity::{
            options::{GivenSignature, VerityOptions},
            root_hash::RootHash,
        },
    },
    units::Bytes,
};

use super::{
    intent::{Tag, Verity},
    invalid::{Error, value_error},
    request::{Given, Request},
    settings::truth,
    signed::{Place, Signed},
    tag::{self, Name, device},
};

const NOT_MADE: &str = "only devices that exist can be verified: name a partition";

/// The names of the parameters of one verified file system.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) dm: &'static str,
    pub(super) mount: &'static str,
    pub(super) hash: &'static str,
    data_device: &'static str,
    options: &'static str,
}

/// Those of the root.
pub(super) const ROOT: Names = Names {
    dm: "root",
    mount: "root",
    hash: "roothash",
    data_device: "systemd.verity_root_data",
    options: "systemd.verity_root_options",
};

/// Those of /usr.
pub(super) const USR: Names = Names {
    dm: "usr",
    mount: "mount.usr",
    hash: "usrhash",
    data_device: "systemd.verity_usr_data",
    options: "systemd.verity_usr_options",
};

/// Their values.
pub(super) struct Verified<'a> {
    names: &'static Names,
    mount: Option<&'a Given>,
    hash: Option<&'a Given>,
    data_device: Option<&'a Given>,
    hash_device: Option<&'a Given>,
    options: Option<&'a Given>,
    userspace: Option<&'a Given>,
}

impl<'a> Verified<'a> {
    pub(super) fn root(request: &'a Request) -> Self {
        Self {
            names: &ROOT,
            mount: request.root.as_ref(),
            hash: request.roothash.as_ref(),
            data_device: request.root_data.as_ref(),
            hash_device: request.root_hash.as_ref(),
            options: request.root_options.as_ref(),
            userspace: request.userspace_verity.as_ref(),
        }
    }

    pub(super) fn usr(request: &'a Request) -> Self {
        Self {
            names: &USR,
            mount: request.usr.as_ref(),
            hash: request.usrhash.as_ref(),
            data_device: request.usr_data.as_ref(),
            hash_device: request.usr_hash.as_ref(),
            options: request.usr_options.as_ref(),
            userspace: request.userspace_verity.as_ref(),
        }
    }

    /// The verified file system that is asked for; `None` where none is. `off` is the parameter that says
    /// that nothing is to be verified.
    pub(super) fn resolve(&self, off: Option<&Given>) -> Result<Option<Verity>, Error> {
        let names = self.names;
        let Some(hash) = self.hash else { return self.without_hash().map_or(Ok(None), Err) };
        let other = self.mount.filter(|mount| mount.value != self.mapper() && mount.value != "gpt-auto");
        match (off, other) {
            (Some(_), Some(_)) => return Ok(None),
            // What root= names would be mounted past verification.
            (None, Some(mount)) => {
                return Err(Error::Contradiction(format!(
                    "{}={} is not what {}= verifies: leave one of them out, or name the data device by {}=",
                    names.mount, mount.value, names.hash, names.data_device
                )));
            }
            (Some(off), None) => {
                return Err(Error::Contradiction(format!(
                    "{}={} and {}= together leave nothing to mount: leave one of them out, or name an unverified device by {}=",
                    off.name, off.value, names.hash, names.mount
                )));
            }
            (None, None) => {}
        }
        let root_hash: RootHash =
            hash.value.parse().map_err(|source| Error::RootHash { parameter: names.hash, source })?;
        let (data_uuid, hash_uuid) = root_hash.partition_uuids();
        let list = self.options.map_or("", |given| given.value.as_str());
        let mut options = VerityOptions::parse(list).map_err(|source| Error::Options {
            parameter: names.options,
            value: list.to_owned(),
            source,
        })?;
        let userspace = truth(self.userspace, true)?;
        let signature = options.signature.take().map(|given| {
            let from = format!("{}=", names.options);
            let at = match given {
                GivenSignature::Here(signature) => Place::Here { signature, from },
                GivenSignature::File(path) => Place::File(path),
            };
            Signed { at, required: true, userspace }
        });
        Ok(Some(Verity {
            signature,
            name: names.dm.to_owned(),
            root_hash,
            root_hash_from: hash.source.hash_origin(),
            data: partition(self.data_device, data_uuid)?,
            hash: partition(self.hash_device, hash_uuid)?,
            fec: self.parity(&options)?,
            options,
        }))
    }

    /// The device that `fec-device=` names.
    fn parity(&self, options: &VerityOptions) -> Result<Option<Tag>, Error> {
        let (Some(name), Some(given)) = (&options.fec_device, self.options) else { return Ok(None) };
        match tag::parse(name) {
            Ok(Name::Tag(tag)) => Ok(Some(tag)),
            Ok(Name::Mapper(_)) => Err(value_error(given, format!("fec-device={name}: {NOT_MADE}"))),
            Err(why) => Err(value_error(given, format!("fec-device={name}: {why}"))),
        }
    }

    /// The dm device that the file system is mounted from.
    fn mapper(&self) -> String {
        format!("/dev/mapper/{}", self.names.dm)
    }

    /// A parameter that means nothing without a root hash.
    fn without_hash(&self) -> Option<Error> {
        let mapper = self.mount.filter(|mount| mount.value == self.mapper());
        let lonely =
            [self.data_device, self.hash_device, self.options, mapper].into_iter().flatten().next()?;
        Some(Error::Contradiction(format!(
            "{}={} needs {}= beside it: nothing is verified without a root hash",
            lonely.name, lonely.value, self.names.hash
        )))
    }
}

/// What is said of parity, and has no effect where no device has it: as in systemd, which passes over it.
pub(super) fn without_parity(verity: &Verity) -> Option<String> {
    let VerityOptions { fec_device, fec_offset, fec_roots, .. } = &verity.options;
    let names = if verity.name == USR.dm { &USR } else { &ROOT };
    let given = fec_device.is_none() && (*fec_offset != Bytes(0) || fec_roots.is_some());
    given.then(|| format!("{}: fec-offset= and fec-roots= have no effect without fec-device=", names.options))
}

/// The device that is named, or else the partition that the root hash names.
fn partition(given: Option<&Given>, default: Guid) -> Result<Tag, Error> {
    let Some(given) = given else { return Ok(Tag::PartUuid(default.to_string())) };
    match device(given)? {
        Name::Tag(tag) => Ok(tag),
        Name::Mapper(_) => Err(value_error(given, NOT_MADE)),
    }
}
