//! Which partitions of a DDI are its root and its /usr (systemd-dissect(1), UAPI.3).

use std::cmp::Ordering;

use crate::{
    format::{
        config::{image_filter::ImageFilter, ini::Placed},
        disk::{
            discoverable::{self, Purpose},
            gpt,
        },
        system::version,
        verity::root_hash::RootHash,
    },
    units::BlockSize,
};

use super::{
    facts::Partition,
    image_file::{Error, Image, ImageFile, Part, Place, Sibling, Signature, Verified, signature},
    pair::{self, Pair, Purposes, ROOT, Reason, Row, USR, pair},
    source::RootHashFrom,
};

/// A root hash that is known, and from where.
type Known = Option<(RootHash, RootHashFrom)>;

/// The newest root that is complete, and the /usr of the same version.
pub(super) fn decide(
    file: &ImageFile,
    block_size: BlockSize,
    (partitions, filters): (&[gpt::Partition], &[Placed<ImageFilter>]),
    root_hash: Known,
    usr_hash: Known,
) -> Result<Image, Error> {
    let described: Vec<Partition> =
        partitions.iter().map(|partition| Partition::of_gpt(&file.path, partition)).collect();
    let rows: Vec<Row<'_, gpt::Partition>> =
        partitions.iter().zip(&described).map(|(of, partition)| Row { of, partition }).collect();
    let of_all = rows.as_slice();
    let rows: Vec<_> = of_all.iter().copied().filter(|row| row.passes(filters).is_ok()).collect();
    let unverified = |why: String| Error::Unverified { path: file.path.clone(), why };
    let (root, skipped) = match newest(file, &rows, ROOT, root_hash.as_ref())? {
        Newest::One(pair, skipped) => (pair, skipped),
        Newest::Incomplete(why) => return Err(unverified(why)),
        Newest::Nothing => {
            let why = no_root(of_all, filters);
            return Err(Error::Content { path: file.path.clone(), why });
        }
    };
    let usr = match newest(file, &rows, USR, usr_hash.as_ref())? {
        Newest::One(usr, _) if root.image.zip(usr.image).is_some_and(|(root, usr)| root != usr) => {
            return Err(unverified(format!("{} is not of the same version as {}", usr.data, root.data)));
        }
        Newest::One(usr, _) => Some(usr),
        // Whoever could lay an unverified /usr over a verified root would own it.
        Newest::Incomplete(why) => return Err(unverified(why)),
        Newest::Nothing if usr_hash.is_some() => {
            return Err(unverified("it has a root hash of /usr beside it, but no /usr".to_owned()));
        }
        Newest::Nothing => None,
    };
    let part = |row: Row<'_, gpt::Partition>| part(file, block_size, row);
    let label = root.image.map(|image| image.to_string());
    let root = verified(file, &root, root_hash, Sibling::RootHashSignature, part)?;
    let usr = usr.map(|usr| verified(file, &usr, usr_hash, Sibling::UsrHashSignature, part)).transpose()?;
    Ok(Image { label, root, usr, skipped })
}

enum Newest<'a> {
    /// One, and why others cannot be used.
    One(Pair<'a, gpt::Partition>, Vec<String>),
    /// Partitions of the type, none of which can be used, with the reasons.
    Incomplete(String),
    Nothing,
}

fn newest<'a>(
    file: &ImageFile,
    rows: &[Row<'a, gpt::Partition>],
    purposes: Purposes,
    known: Option<&(RootHash, RootHashFrom)>,
) -> Result<Newest<'a>, Error> {
    let mut best: Vec<Pair<'a, gpt::Partition>> = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    for data in rows.iter().copied().filter(|row| row.purpose() == Some(purposes.data)) {
        let found =
            data.usable().and_then(|()| pair(data, rows, purposes, known.map(|(hash, _)| hash), true));
        let found = match found {
            // A place for an update holds nothing that would have to be verified.
            Err(Reason::Empty) => continue,
            // Nor is a /usr of which the image says that it is not to be mounted.
            Err(Reason::NoAuto) if purposes == USR => continue,
            Err(why) => {
                reasons.push(format!("{data}: {why}"));
                continue;
            }
            Ok(found) => found,
        };
        match best.first().map_or(Ordering::Greater, |other| compare(&found, other)) {
            Ordering::Less => {}
            Ordering::Equal => best.push(found),
            Ordering::Greater => best = vec![found],
        }
    }
    let ambiguous = |what, rows: &[Row<'_, gpt::Partition>]| {
        let partitions: Vec<String> = rows.iter().map(Row::to_string).collect();
        Err(Error::Ambiguous { path: file.path.clone(), what, partitions: partitions.join(" and ") })
    };
    if best.len() > 1 {
        let what = if purposes == ROOT { "root" } else { "/usr" };
        return ambiguous(what, &best.iter().map(|pair| pair.data).collect::<Vec<_>>());
    }
    match best.pop() {
        Some(pair) if !pair.rivals.is_empty() => {
            ambiguous("hash tree", &[&[pair.hash], pair.rivals.as_slice()].concat())
        }
        Some(pair) if pair.signatures.len() > 1 => ambiguous("signature", &pair.signatures),
        Some(pair) => Ok(Newest::One(pair, reasons)),
        None if reasons.is_empty() => Ok(Newest::Nothing),
        None => Ok(Newest::Incomplete(reasons.join("; "))),
    }
}

/// By version; equal where they are not versions of one image.
fn compare(one: &Pair<'_, gpt::Partition>, other: &Pair<'_, gpt::Partition>) -> Ordering {
    match one.image.zip(other.image) {
        Some((one, other)) if one.name == other.name => version::compare(one.version, other.version),
        _ => Ordering::Equal,
    }
}

fn verified(
    file: &ImageFile,
    found: &Pair<'_, gpt::Partition>,
    known: Known,
    sibling: Sibling,
    part: impl Fn(Row<'_, gpt::Partition>) -> Result<Part, Error>,
) -> Result<Verified, Error> {
    let known = known.as_ref().map(|(hash, from)| (hash, from.clone()));
    let joined = pair::root_hash(found.data, found.hash, known);
    let (root_hash, root_hash_from) = joined.ok_or_else(|| Error::Unverified {
        path: file.path.clone(),
        why: format!("{} or its hash tree has no UUID, so there is no root hash: name it", found.data),
    })?;
    let in_partition =
        found.signatures.first().map(|row| part(*row).map(Signature::Partition)).transpose()?;
    let signature = match (in_partition, signature(file, sibling)?) {
        (Some(_), Some(Signature::File(path))) => {
            let why = "the image has a partition with a signature too: remove one of them".to_owned();
            return Err(Error::Beside { path, why });
        }
        (partition, file) => partition.or(file),
    };
    let (data, hash) = (part(found.data)?, part(found.hash)?);
    let (partition, tree_partition) =
        (Some(found.data.partition.clone()), Some(found.hash.partition.clone()));
    Ok(Verified { data, partition, hash, tree_partition, signature, root_hash, root_hash_from })
}

/// Where a partition lies in the file.
fn part(file: &ImageFile, block_size: BlockSize, row: Row<'_, gpt::Partition>) -> Result<Part, Error> {
    let gpt::Partition { first_lba, last_lba, .. } = row.of;
    let blocks = last_lba.checked_sub(*first_lba).and_then(|blocks| blocks.checked_add(1));
    let part = blocks.and_then(|blocks| {
        let (offset, size) = (block_size.times(*first_lba)?, block_size.times(blocks)?);
        let end = offset.0.checked_add(size.0)?;
        (end <= file.size.0).then_some(Part { file: Place::Image, offset, size })
    });
    part.ok_or_else(|| Error::Content {
        path: file.path.clone(),
        why: format!("{row} ends behind the end of the file: it was cut off"),
    })
}

/// What stands there in place of a root.
fn no_root(rows: &[Row<'_, gpt::Partition>], filters: &[Placed<ImageFilter>]) -> String {
    let refused = |row: &Row<'_, gpt::Partition>| match row.passes(filters) {
        Err(why) if row.purpose() == Some(Purpose::Root) => Some(format!("{row}: {why}")),
        _ => None,
    };
    let refused: Vec<String> = rows.iter().filter_map(refused).collect();
    if !refused.is_empty() {
        return refused.join("; ");
    }
    let elsewhere = rows.iter().find_map(|row| match discoverable::elsewhere(row.of.type_uuid)? {
        (architecture, Purpose::Root) => Some(architecture),
        _ => None,
    });
    let own = std::env::consts::ARCH;
    match elsewhere {
        Some(architecture) if architecture != own => {
            format!("it has a root for {architecture}, not for {own}")
        }
        _ if rows.iter().any(|row| row.purpose() == Some(Purpose::Usr)) => {
            format!("it has a /usr, but no root partition of the type for {own}")
        }
        _ => format!("it has no root partition of the type for {own}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::disk::{discoverable::own_types, guid::Guid},
        plan::{
            facts::Content,
            image_file::{Beside, Table, decide},
        },
        units::Bytes,
    };

    /// Partition `number`, of 4 MiB; its UUID is made of its number.
    fn part(number: u32, purpose: Purpose, label: &str) -> gpt::Partition {
        let first_lba = u64::from(number) * 8192;
        gpt::Partition {
            number,
            type_uuid: own_types().find(|(_, other)| *other == purpose).unwrap().0,
            uuid: format!("{number:08x}-0000-4000-8000-000000000000").parse().unwrap(),
            first_lba,
            last_lba: first_lba + 8191,
            attributes: 0,
            label: label.to_owned(),
        }
    }

    fn with(mut partition: gpt::Partition, change: impl Fn(&mut gpt::Partition)) -> gpt::Partition {
        change(&mut partition);
        partition
    }

    fn ddi(partitions: Vec<gpt::Partition>) -> ImageFile {
        ImageFile {
            path: "/images/os.raw".to_owned(),
            size: Bytes(1 << 30),
            table: Table::Gpt { block_size: BlockSize::B512, partitions },
            content: Content::Unknown,
            beside: Vec::new(),
        }
    }

    fn hash(data: u32, tree: u32) -> RootHash {
        format!("{data:08x}000040008000000000000000{tree:08x}000040008000000000000000").parse().unwrap()
    }

    /// The numbers of data, hash tree and signature.
    fn numbers(verified: &Verified) -> Vec<u64> {
        let of = |part: &Part| part.offset.0 / (8192 * 512);
        let signature = match &verified.signature {
            Some(Signature::Partition(part)) => Some(of(part)),
            _ => None,
        };
        [of(&verified.data), of(&verified.hash)].into_iter().chain(signature).collect()
    }

    fn os(version: &str, first: u32) -> Vec<gpt::Partition> {
        vec![
            part(first, Purpose::Root, &format!("os_{version}")),
            part(first + 1, Purpose::RootVerity, &format!("os_{version}_verity")),
            part(first + 2, Purpose::RootVeritySig, &format!("os_{version}_verity_sig")),
        ]
    }

    #[test]
    fn images_that_can_be_opened() {
        let by_repart = || {
            vec![
                part(1, Purpose::Root, "root-x86-64"),
                part(2, Purpose::RootVerity, "root-x86-64-verity"),
                part(3, Purpose::RootVeritySig, "root-x86-64-verity-sig"),
            ]
        };
        let empty = vec![part(4, Purpose::Root, "_empty"), part(5, Purpose::RootVerity, "_empty")];
        let usr = vec![part(4, Purpose::Usr, "os_1.2"), part(5, Purpose::UsrVerity, "os_1.2_verity")];
        let hidden = with(part(4, Purpose::Usr, "os_1.2"), |p| p.attributes = discoverable::NO_AUTO);
        type Row = (Vec<gpt::Partition>, Option<&'static str>, Vec<u64>, Option<Vec<u64>>);
        let rows: Vec<Row> = vec![
            (by_repart(), None, vec![1, 2, 3], None),
            (os("1.2", 1), Some("os_1.2"), vec![1, 2, 3], None),
            ([os("1.2", 1), os("1.10", 4)].concat(), Some("os_1.10"), vec![4, 5, 6], None),
            ([os("1.10", 1), os("1.2", 4)].concat(), Some("os_1.10"), vec![1, 2, 3], None),
            ([os("1.2", 1), empty].concat(), Some("os_1.2"), vec![1, 2, 3], None),
            // The newest has no hash tree.
            (
                [os("1.2", 1), vec![part(4, Purpose::Root, "os_2")]].concat(),
                Some("os_1.2"),
                vec![1, 2, 3],
                None,
            ),
            ([os("1.2", 1)[..2].to_vec(), usr].concat(), Some("os_1.2"), vec![1, 2], Some(vec![4, 5])),
            ([os("1.2", 1), vec![hidden]].concat(), Some("os_1.2"), vec![1, 2, 3], None),
        ];
        for (partitions, label, root, usr) in rows {
            let image = decide(&ddi(partitions), None, &[]).unwrap();
            assert_eq!(image.label.as_deref(), label);
            assert_eq!((numbers(&image.root), image.usr.as_ref().map(numbers)), (root.clone(), usr));
            let [data, tree] = [root[0], root[1]].map(|number| u32::try_from(number).unwrap());
            assert_eq!(image.root.root_hash, hash(data, tree));
            assert_eq!(image.root.root_hash_from, RootHashFrom::PartitionUuids);
        }
    }

    #[test]
    fn extents() {
        let mut file = ddi(os("1", 1));
        let root = decide(&file, None, &[]).unwrap().root;
        assert_eq!((root.data.offset, root.data.size), (Bytes(4 << 20), Bytes(4 << 20)));
        assert_eq!(root.data.to_string(), "4.0 MiB at 4194304 of the image");
        if let Table::Gpt { block_size, .. } = &mut file.table {
            *block_size = BlockSize::B4096;
        }
        let root = decide(&file, None, &[]).unwrap().root;
        assert_eq!((root.hash.offset, root.hash.size), (Bytes(64 << 20), Bytes(32 << 20)));
    }

    #[test]
    fn a_known_root_hash_chooses() {
        let both = || ddi([os("1.2", 1), os("1.10", 4)].concat());
        let image = decide(&both(), Some(&hash(1, 2)), &[]).unwrap();
        assert_eq!((numbers(&image.root), image.root.root_hash_from), (vec![1, 2, 3], RootHashFrom::Given));
        let mut file = both();
        let path = "/images/os.roothash".to_owned();
        let outcome = Ok((Bytes(65), format!("{}\n", hash(1, 2)).into_bytes()));
        file.beside.push(Beside { kind: Sibling::RootHash, path: path.clone(), outcome });
        let image = decide(&file, None, &[]).unwrap();
        assert_eq!(
            (numbers(&image.root), image.root.root_hash_from),
            (vec![1, 2, 3], RootHashFrom::File(path))
        );
        let error = decide(&file, Some(&hash(4, 5)), &[]).unwrap_err();
        assert!(matches!(error, Error::Disagree { .. }), "{error}");
        let error = decide(&both(), Some(&hash(1, 9)), &[]).unwrap_err().to_string();
        assert!(
            error.contains("os_1.2, PARTUUID=00000001-0000-4000-8000-000000000000): no partition has"),
            "{error}"
        );
        assert!(error.contains("its UUID is not the first half of the root hash"), "{error}");
    }

    #[test]
    fn labels_that_filters_take() {
        let both = || ddi([os("1.2", 1), os("1.10", 4)].concat());
        let filters = |texts: &[&str]| -> Vec<Placed<ImageFilter>> {
            let placed = |text: &&str| Placed { value: text.parse().unwrap(), place: "f:1".to_owned() };
            texts.iter().map(placed).collect()
        };
        for (texts, expected) in [
            (&["root=os_*"][..], Ok(vec![4, 5, 6])),
            (&["root=os_1.2"], Ok(vec![1, 2, 3])),
            (&["root=os_1.2", "root-verity-sig=x"], Ok(vec![1, 2])),
            (&["root-verity=os_1.2*"], Ok(vec![1, 2, 3])),
            (&["root=os_1.2", "root=os_1.10"], Err("its label does not match os_1.10, by f:1")),
            (&["root=x"], Err("its label does not match x, by f:1")),
            (&["root-verity=x"], Err("no partition has its hash tree")),
        ] {
            match (decide(&both(), None, &filters(texts)), expected) {
                (Ok(image), Ok(expected)) => assert_eq!(numbers(&image.root), expected, "{texts:?}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (found, expected) => panic!("{texts:?}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn images_that_are_refused() {
        let root = |label| part(1, Purpose::Root, label);
        let tree = |number, label| part(number, Purpose::RootVerity, label);
        let foreign = if cfg!(target_arch = "aarch64") {
            ("x86_64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
        } else {
            ("aarch64", "b921b045-1df0-41c3-af44-4c6f280d3fae")
        };
        let for_another = format!("it has a root for {}, not for {}", foreign.0, std::env::consts::ARCH);
        let rows: Vec<(Vec<gpt::Partition>, &str)> = vec![
            (vec![], "it has no root partition of the type for"),
            (
                vec![part(1, Purpose::Usr, "u"), part(2, Purpose::UsrVerity, "v")],
                "it has a /usr, but no root partition",
            ),
            (vec![with(root("os_1"), |p| p.type_uuid = foreign.1.parse().unwrap())], &for_another),
            (vec![root("os_1")], "no partition has its hash tree"),
            (vec![root("PRT#os_1"), tree(2, "os_1")], "only partly written"),
            (vec![root("os_1"), tree(2, "PND#os_1_verity")], "belongs to it, and is pending"),
            (
                vec![with(root("os_1"), |p| p.attributes = discoverable::NO_AUTO), tree(2, "os_1")],
                "(no-auto)",
            ),
            ([os("1", 1), os("1", 4)].concat(), "several partitions that could be the root"),
            (
                vec![root("a_1"), tree(2, "a_1"), part(3, Purpose::Root, "b_2"), tree(4, "b_2")],
                "several partitions that could be the root",
            ),
            (vec![root("os_1"), tree(2, "os_1"), tree(3, "os_1_verity")], "that could be the hash tree"),
            (vec![root("a"), tree(2, "b"), tree(3, "c")], "no partition has its hash tree"),
            (
                [os("1", 1), vec![part(4, Purpose::RootVeritySig, "os_1")]].concat(),
                "that could be the signature",
            ),
            ([os("1", 1), vec![part(4, Purpose::Usr, "os_1")]].concat(), "no partition has its hash tree"),
            (
                [os("1", 1), vec![part(4, Purpose::Usr, "os_2"), part(5, Purpose::UsrVerity, "os_2")]]
                    .concat(),
                "is not of the same version as",
            ),
            (
                vec![root("os_1"), with(tree(2, "os_1"), |p| p.last_lba = 1 << 22)],
                "ends behind the end of the file",
            ),
            (
                vec![root("os_1"), with(tree(2, "os_1"), |p| p.last_lba = u64::MAX)],
                "ends behind the end of the file",
            ),
            (vec![with(root("os_1"), |p| p.uuid = Guid::default()), tree(2, "os_1")], "has no UUID"),
        ];
        for (partitions, expected) in rows {
            let error = decide(&ddi(partitions), None, &[]).unwrap_err().to_string();
            assert!(error.starts_with("/images/os.raw ") && error.contains(expected), "{expected}: {error}");
        }
    }
}
