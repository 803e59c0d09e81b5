//! What makes up the root that was found by its type (`root=dissect`, systemd-gpt-auto-generator(8)): its hash tree and
//! the signature of its root hash, by the Discoverable Partitions Specification (UAPI.2).

use crate::format::{
    config::{image_filter::ImageFilter, image_policy::Designator, ini::Placed},
    disk::discoverable::Purpose,
    verity::options::VerityOptions,
};

use super::{
    decision::Error,
    demands::{Candidate, Demands, Proof},
    device::Device,
    facts::{BlockDevice, Facts},
    intent::{Dissect, Tag, Verity},
    pair::{ROOT, Reason, Row, pair},
    signed::{Place, Signed},
    slot::{self, Slot},
    step::HashOrigin,
    verified,
};

/// A root that was taken apart.
#[derive(Debug, PartialEq)]
pub(super) enum Dissected {
    /// It has no hash tree.
    Plain,
    /// It has one, and a root hash: the signed one, or else the one of its partitions' UUIDs.
    Verity(Box<Verity>),
}

/// Looks for what belongs to `data` on its disk. What is there has to be whole: a hash tree that is no candidate, a second one,
/// or a signature without a tree is an error, and nothing is mounted in its place.
pub(super) fn dissect(
    asked: &Dissect,
    data: &BlockDevice,
    facts: &Facts,
    filters: &[Placed<ImageFilter>],
) -> Result<Dissected, Error> {
    let incomplete = |why: String| Error::Incomplete { device: data.to_string(), why };
    let Some(own) = row(data) else { return Ok(Dissected::Plain) };
    let rows: Vec<Row<'_, BlockDevice>> = facts
        .devices
        .iter()
        .filter_map(row)
        .filter(|row| row.partition.disk == own.partition.disk)
        .filter(|row| row.of.devno == data.devno || row.passes(filters).is_ok())
        .collect();
    if let Some(why) = rows.iter().find_map(|row| row.of.table_error.clone()) {
        return Err(incomplete(format!(
            "the partition table of {} cannot be read: {why}",
            own.partition.disk
        )));
    }
    let found = pair(own, &rows, ROOT, None, true);
    let lacks = |purpose: Purpose| match &found {
        Ok(found) => purpose == ROOT.signature && found.signatures.is_empty(),
        Err(_) => purpose == ROOT.hash || purpose == ROOT.signature,
    };
    let stray = rows.iter().find(|row| row.purpose().is_some_and(lacks) && may_belong(**row, own));
    match (&found, stray) {
        (Ok(_) | Err(Reason::NoHash), Some(stray)) => Err(incomplete(format!(
            "{stray} may belong to it, and nothing says so: have a root, its hash tree and its signature, labelled \
             NAME_VERSION, NAME_VERSION_verity and NAME_VERSION_verity_sig"
        ))),
        (Ok(found), None) => {
            let slot = slot::slot(found, None, facts).map_err(|error| incomplete(error.to_string()))?;
            Ok(Dissected::Verity(Box::new(verity(asked, slot))))
        }
        (Err(Reason::NoHash), None) => Ok(Dissected::Plain),
        (Err(reason), _) => Err(incomplete(reason.to_string())),
    }
}

/// Whether a hash tree or a signature may be of `own`: where no label gives it to another root.
fn may_belong(row: Row<'_, BlockDevice>, own: Row<'_, BlockDevice>) -> bool {
    row.image().is_none_or(|image| own.image().is_none_or(|own| own == image))
}

/// Whether policy allows a root of which this is proven.
pub(super) fn allow(
    asked: &Dissect,
    demands: &Demands,
    data: &BlockDevice,
    dissected: &Dissected,
) -> Result<(), Error> {
    let (what, proof, has_tree) = match dissected {
        Dissected::Plain => (data.to_string(), Proof::Unprotected, false),
        Dissected::Verity(verity) => (
            format!("root hash {} from {}", verity.root_hash, verity.root_hash_from.place()),
            verity.proof(),
            true,
        ),
    };
    if let Some(rule) = asked.required.clone().filter(|_| proof < Proof::Verity) {
        return Err(Error::Unverified { what, rule });
    }
    Ok(demands.allow(Designator::Root, Candidate::Image { what: &what, proof, has_tree })?)
}

/// Its signature, where there is one, has to hold: without it the root hash is nobody's.
fn verity(asked: &Dissect, slot: Slot) -> Verity {
    let Slot { data, hash, signature, root_hash, .. } = slot;
    let tag = |device: &Device| Tag::Number(device.devno);
    let mut verity = Verity {
        name: verified::ROOT.dm.to_owned(),
        root_hash,
        root_hash_from: HashOrigin::PartitionUuids,
        data: tag(&data),
        hash: tag(&hash),
        fec: None,
        options: VerityOptions::default(),
        signature: signature
            .map(|device| Signed { userspace: asked.userspace, ..Signed::found(Place::Partition(device)) }),
    };
    verity.rely_on_signature();
    verity
}

fn row(device: &BlockDevice) -> Option<Row<'_, BlockDevice>> {
    Some(Row { of: device, partition: device.partition.as_ref()? })
}
