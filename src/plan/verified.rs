//! Verified file systems on the command line: a root hash and what stands beside it.

use crate::format::{guid::Guid, root_hash::RootHash, verity::options::VerityOptions};

use super::{
    intent::{Tag, Verity},
    invalid::{Error, value_error},
    request::Given,
    tag::{Name, device},
};

/// The names of the parameters of one verified file system.
pub(super) struct Names {
    dm: &'static str,
    mount: &'static str,
    hash: &'static str,
    data_device: &'static str,
    hash_device: &'static str,
    options: &'static str,
}

pub(super) const ROOT: Names = Names {
    dm: "root",
    mount: "root",
    hash: "roothash",
    data_device: "systemd.verity_root_data",
    hash_device: "systemd.verity_root_hash",
    options: "systemd.verity_root_options",
};

pub(super) const USR: Names = Names {
    dm: "usr",
    mount: "mount.usr",
    hash: "usrhash",
    data_device: "systemd.verity_usr_data",
    hash_device: "systemd.verity_usr_hash",
    options: "systemd.verity_usr_options",
};

/// Their values.
pub(super) struct Verified<'a> {
    pub(super) names: &'static Names,
    pub(super) mount: Option<&'a Given>,
    pub(super) hash: Option<&'a Given>,
    pub(super) data_device: Option<&'a Given>,
    pub(super) hash_device: Option<&'a Given>,
    pub(super) options: Option<&'a Given>,
}

impl Verified<'_> {
    /// The verified file system that is asked for; `None` where none is. `mount` is how the file system
    /// itself is named: anything but the dm device would go past verification.
    pub(super) fn resolve(&self, verity_on: bool) -> Result<Option<Verity>, Error> {
        let names = self.names;
        let mapper = format!("/dev/mapper/{}", names.dm);
        let wants_mapper = self.mount.is_some_and(|mount| mount.value == mapper);
        let Some(hash) = self.hash else {
            let options = [
                (names.data_device, self.data_device),
                (names.hash_device, self.hash_device),
                (names.options, self.options),
            ];
            let lonely =
                options.iter().find(|(_, given)| given.is_some()).map(|(name, _)| format!("{name}="));
            let lonely = lonely.or_else(|| wants_mapper.then(|| format!("{}={mapper}", names.mount)));
            return lonely.map_or(Ok(None), |lonely| {
                Err(Error::Contradiction(format!(
                    "{lonely} needs {}= beside it: nothing is verified without a root hash",
                    names.hash
                )))
            });
        };
        if let Some(mount) = self.mount.filter(|mount| !wants_mapper && mount.value != "gpt-auto") {
            if !verity_on {
                return Ok(None);
            }
            return Err(Error::Contradiction(format!(
                "{}={} is not what {}= verifies: leave one of them out, or name the data device by {}=",
                names.mount, mount.value, names.hash, names.data_device
            )));
        }
        if !verity_on {
            return Err(Error::Contradiction(format!(
                "systemd.verity=no and {hash}= together leave nothing to mount: leave one of them out, or name an unverified device by {mount}=",
                hash = names.hash,
                mount = names.mount
            )));
        }
        let root_hash: RootHash =
            hash.value.parse().map_err(|source| Error::RootHash { parameter: names.hash, source })?;
        let (data_uuid, hash_uuid) = root_hash.partition_uuids();
        let tag = |parameter, given: Option<&Given>, default: Guid| match given {
            None => Ok(Tag::PartUuid(default.to_string())),
            Some(given) => match device(parameter, given)? {
                Name::Tag(tag) => Ok(tag),
                Name::Mapper(_) => Err(value_error(
                    parameter,
                    &given.value,
                    "only devices that exist can be verified: name a partition",
                )),
            },
        };
        let list = self.options.map_or("", |given| given.value.as_str());
        let options = VerityOptions::parse(list).map_err(|source| Error::Options {
            parameter: names.options,
            value: list.to_owned(),
            source,
        })?;
        Ok(Some(Verity {
            name: names.dm.to_owned(),
            root_hash,
            root_hash_from: hash.origin,
            data: tag(names.data_device, self.data_device, data_uuid)?,
            hash: tag(names.hash_device, self.hash_device, hash_uuid)?,
            options,
        }))
    }
}
