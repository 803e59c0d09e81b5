//! What an image file is, by what was found in it and beside it: a DDI (a GPT in a file), or a bare file system with
//! its hash tree in a second file.
//!
//! A file that could be read as both is refused, and so is one of which a part is missing: nothing is mounted that is
//! not verified.

use std::fmt;

use serde::Serialize;

use crate::{
    format::{
        config::{image_filter::ImageFilter, ini::Placed},
        disk::gpt,
        verity::root_hash::{NotARootHash, RootHash},
    },
    units::{BlockSize, Bytes},
};

use super::{
    facts::{Content, Partition},
    partitioned,
    source::RootHashFrom,
};

/// An image file, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// Its path.
    pub path: String,
    /// Its length.
    pub size: Bytes,
    /// Its partition table.
    pub table: Table,
    /// What its first blocks hold.
    pub content: Content,
    /// The files beside it that belong to it by name.
    pub beside: Vec<Beside>,
}

/// A partition table in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// None.
    None,
    /// A GPT.
    Gpt {
        /// The block size that it counts in.
        block_size: BlockSize,
        /// Its partitions.
        partitions: Vec<gpt::Partition>,
    },
    /// An MBR.
    Mbr,
    /// A GPT that cannot be believed, with the reason.
    Broken(String),
}

/// A file that belongs to an image by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// What it has.
    pub kind: Sibling,
    /// Its path.
    pub path: String,
    /// Its length, and its bytes where it holds a root hash; or why it cannot be read.
    pub outcome: Result<(Bytes, Vec<u8>), String>,
}

/// What a file beside an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sibling {
    /// The hash tree.
    HashTree,
    /// The root hash of the root.
    RootHash,
    /// A signature of it.
    RootHashSignature,
    /// The root hash of /usr.
    UsrHash,
    /// A signature of it.
    UsrHashSignature,
}

/// What to open: a verified root, and a verified /usr where the image has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Name and version by the label of the root's partition: `os_1.2`.
    pub label: Option<String>,
    /// The root.
    pub root: Verified,
    /// /usr.
    pub usr: Option<Verified>,
    /// Roots that cannot be used, with the reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// A file system with its hash tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The data.
    pub data: Part,
    /// The entry of the data in the partition table: its label and attributes count as those of a partition of a disk.
    pub partition: Option<Partition>,
    /// The hash tree.
    pub hash: Part,
    /// Its entry.
    pub tree_partition: Option<Partition>,
    /// The signature of the root hash.
    pub signature: Option<Signature>,
    /// The root hash.
    pub root_hash: RootHash,
    /// Where that comes from.
    pub root_hash_from: RootHashFrom,
}

/// A stretch of a file: what a loop device is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Which file.
    pub file: Place,
    /// Distance from its start.
    pub offset: Bytes,
    /// Length.
    pub size: Bytes,
}

/// A file of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The image itself.
    Image,
    /// The hash tree beside it.
    HashTree,
}

/// Where a signature stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    /// In a partition of the image, as JSON (UAPI.2).
    Partition(Part),
    /// In a file, as PKCS#7 in DER.
    File(String),
}

/// A file that cannot be opened as a root image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no root image.
    #[error("{path} is no root image: {why}")]
    Content {
        /// The file.
        path: String,
        /// What it is.
        why: String,
    },
    /// Something is missing.
    #[error("{path} cannot be verified: {why}")]
    Unverified {
        /// The file.
        path: String,
        /// What, and what to do.
        why: String,
    },
    /// Several partitions that cannot be told apart.
    #[error("{path} has several partitions that could be the {what}: {partitions}")]
    Ambiguous {
        /// The file.
        path: String,
        /// What is looked for.
        what: &'static str,
        /// All of them.
        partitions: String,
    },
    /// A file beside it.
    #[error("{path}: {why}")]
    Beside {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file with a root hash.
    #[error("read a root hash from {path}")]
    RootHash {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: NotARootHash,
    },
    /// Two root hashes.
    #[error("{path} has the root hash {found}, but {given} was asked for: this is another image")]
    Disagree {
        /// The file.
        path: String,
        /// What it has.
        found: RootHash,
        /// What was given.
        given: RootHash,
    },
}

/// The ends of the names of files beside an image, as systemd has them (systemd.exec(5), `RootHash=`, `RootVerity=`).
const SIBLINGS: [(Sibling, &str); 5] = [
    (Sibling::HashTree, ".verity"),
    (Sibling::RootHash, ".roothash"),
    (Sibling::RootHashSignature, ".roothash.p7s"),
    (Sibling::UsrHash, ".usrhash"),
    (Sibling::UsrHashSignature, ".usrhash.p7s"),
];

/// The paths at which files may stand that belong to the image at `path`: `os.raw` has `os.verity`; `os.erofs` has
/// `os.erofs.verity` or `os.verity`.
#[must_use]
pub fn siblings(path: &str) -> Vec<(Sibling, String)> {
    let is_suffix =
        |suffix: &&str| path.strip_suffix(*suffix).is_some_and(|stem| !stem.ends_with(['/', '.']));
    let suffix = crate::format::system::versioned_directory::SUFFIXES.into_iter().find(is_suffix);
    let stem = suffix.and_then(|suffix| path.strip_suffix(suffix)).filter(|stem| !stem.is_empty());
    let whole = (suffix != Some(".raw") || stem.is_none()).then_some(path);
    let stems = [whole, stem].into_iter().flatten();
    stems.flat_map(|stem| SIBLINGS.map(|(kind, end)| (kind, format!("{stem}{end}")))).collect()
}

/// What to open of a file. A root hash that was given has to be the one beside it, where there is one. Of partitions only
/// those whose labels match the filters are there.
pub fn decide(
    file: &ImageFile,
    given: Option<&RootHash>,
    filters: &[Placed<ImageFilter>],
) -> Result<Image, Error> {
    let no_image = |why: String| Error::Content { path: file.path.clone(), why };
    let root_hash = known_hash(file, Sibling::RootHash, given)?;
    match (&file.table, &file.content) {
        (_, Content::Unreadable(why)) => Err(no_image(format!("it cannot be read: {why}"))),
        (Table::Broken(why), _) => Err(no_image(format!("its partition table is damaged: {why}"))),
        (Table::Gpt { .. }, Content::Found(found)) => {
            Err(no_image(format!("it has a GPT, and {} besides: it is not clear which is meant", found.kind)))
        }
        (Table::Gpt { block_size, partitions }, Content::Unread | Content::Unknown) => {
            if let Some(tree) = beside(file, Sibling::HashTree)? {
                let why =
                    "it is the hash tree of a bare file system, but the image has a GPT: remove one of them";
                return Err(Error::Beside { path: tree.path.clone(), why: why.to_owned() });
            }
            let usr_hash = known_hash(file, Sibling::UsrHash, None)?;
            partitioned::decide(file, *block_size, (partitions, filters), root_hash, usr_hash)
        }
        (Table::None, Content::Found(found)) if found.kind.is_filesystem() => match found.size {
            Some(size) if size > file.size => Err(no_image(format!(
                "its {} has {size}, the file only {}: it was cut off",
                found.kind, file.size
            ))),
            _ => bare(file, root_hash),
        },
        (Table::None, Content::Found(found)) => {
            Err(no_image(format!("it holds {}, which is no file system", found.kind)))
        }
        (Table::Mbr, _) => Err(no_image("it has an MBR; a DDI has a GPT".to_owned())),
        (Table::None, Content::Unread | Content::Unknown) => {
            Err(no_image("it has neither a GPT nor a file system that is recognised".to_owned()))
        }
    }
}

fn bare(file: &ImageFile, root_hash: Option<(RootHash, RootHashFrom)>) -> Result<Image, Error> {
    let unverified = |why: String| Error::Unverified { path: file.path.clone(), why };
    let usr = [beside(file, Sibling::UsrHash)?, beside(file, Sibling::UsrHashSignature)?];
    if let Some(usr) = usr.into_iter().flatten().next() {
        let why = format!("{} says that it is a /usr: a root is needed", usr.path);
        return Err(Error::Content { path: file.path.clone(), why });
    }
    let wanted = |kind| {
        let paths: Vec<String> =
            siblings(&file.path).into_iter().filter(|(of, _)| *of == kind).map(|(_, path)| path).collect();
        paths.join(" or ")
    };
    let tree = beside(file, Sibling::HashTree)?
        .ok_or_else(|| unverified(format!("its hash tree is missing: {}", wanted(Sibling::HashTree))))?;
    let (root_hash, root_hash_from) = root_hash.ok_or_else(|| {
        unverified(format!("its root hash is missing: name it, or have it in {}", wanted(Sibling::RootHash)))
    })?;
    let (size, _) = read(tree)?;
    let whole = |file, size| Part { file, offset: Bytes(0), size };
    let root = Verified {
        data: whole(Place::Image, sectors(&file.path, file.size)?),
        partition: None,
        hash: whole(Place::HashTree, sectors(&tree.path, *size)?),
        tree_partition: None,
        signature: signature(file, Sibling::RootHashSignature)?,
        root_hash,
        root_hash_from,
    };
    Ok(Image { label: None, root, usr: None, skipped: Vec::new() })
}

/// The length of a file that is a block device's: whole sectors.
fn sectors(path: &str, size: Bytes) -> Result<Bytes, Error> {
    if size.0 > 0 && size.0.is_multiple_of(crate::units::SECTOR_SIZE) {
        return Ok(size);
    }
    Err(Error::Beside {
        path: path.to_owned(),
        why: format!("it has {} bytes, which are no whole sectors: it was cut off", size.0),
    })
}

/// The signature in a file beside the image.
pub(super) fn signature(file: &ImageFile, kind: Sibling) -> Result<Option<Signature>, Error> {
    let Some(found) = beside(file, kind)? else { return Ok(None) };
    read(found)?;
    Ok(Some(Signature::File(found.path.clone())))
}

/// The root hash that was given, or that a file has; both have to be the same.
fn known_hash(
    file: &ImageFile,
    kind: Sibling,
    given: Option<&RootHash>,
) -> Result<Option<(RootHash, RootHashFrom)>, Error> {
    let given_one = given.map(|hash| (hash.clone(), RootHashFrom::Given));
    let Some(found) = beside(file, kind)? else { return Ok(given_one) };
    let (_, bytes) = read(found)?;
    let text = String::from_utf8_lossy(bytes);
    let hash: RootHash =
        text.trim().parse().map_err(|source| Error::RootHash { path: found.path.clone(), source })?;
    match given {
        Some(given) if *given != hash => {
            Err(Error::Disagree { path: found.path.clone(), found: hash, given: given.clone() })
        }
        Some(_) => Ok(given_one),
        None => Ok(Some((hash, RootHashFrom::File(found.path.clone())))),
    }
}

fn beside(file: &ImageFile, kind: Sibling) -> Result<Option<&Beside>, Error> {
    let mut found = file.beside.iter().filter(|beside| beside.kind == kind);
    match (found.next(), found.next()) {
        (Some(one), Some(other)) => Err(Error::Beside {
            path: one.path.clone(),
            why: format!("it is not clear whether this or {} belongs to the image: remove one", other.path),
        }),
        (found, _) => Ok(found),
    }
}

fn read(beside: &Beside) -> Result<&(Bytes, Vec<u8>), Error> {
    let failed = |why: &String| Error::Beside { path: beside.path.clone(), why: why.clone() };
    beside.outcome.as_ref().map_err(failed)
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = match self.file {
            Place::Image => "the image",
            Place::HashTree => "the hash tree's file",
        };
        write!(f, "{} at {} of {file}", self.size, self.offset.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::disk::superblock::{Kind, Superblock};

    #[test]
    fn files_beside() {
        for (path, trees) in [
            ("/images/os.raw", &["/images/os.verity"][..]),
            ("os.raw", &["os.verity"]),
            ("/images/os_1.2.erofs", &["/images/os_1.2.erofs.verity", "/images/os_1.2.verity"]),
            ("/images/os", &["/images/os.verity"]),
            ("/images/os.bin", &["/images/os.bin.verity"]),
            ("/images/.raw", &["/images/.raw.verity"]),
        ] {
            let all = siblings(path);
            let found: Vec<&str> = all
                .iter()
                .filter(|(kind, _)| *kind == Sibling::HashTree)
                .map(|(_, path)| path.as_str())
                .collect();
            assert_eq!(found, trees);
            assert_eq!(all.len(), trees.len() * SIBLINGS.len());
        }
    }

    const HASH: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";

    fn beside(kind: Sibling, content: &str) -> Beside {
        let (_, path) = siblings("/images/os.raw").into_iter().find(|(of, _)| *of == kind).unwrap();
        let size = if kind == Sibling::HashTree { 8192 } else { content.len() as u64 };
        Beside { kind, path, outcome: Ok((Bytes(size), content.as_bytes().to_vec())) }
    }

    fn erofs(beside: Vec<Beside>) -> ImageFile {
        let content = superblock(Kind::Erofs, Some(1 << 20));
        let path = "/images/os.raw".to_owned();
        ImageFile { path, size: Bytes(1 << 20), table: Table::None, content, beside }
    }

    fn superblock(kind: Kind, size: Option<u64>) -> Content {
        Content::Found(Superblock { kind, uuid: None, label: None, size: size.map(Bytes) })
    }

    #[test]
    fn split_files() {
        let hash: RootHash = HASH.parse().unwrap();
        let tree = || beside(Sibling::HashTree, "");
        let by_file = RootHashFrom::File("/images/os.roothash".to_owned());
        let p7s = "/images/os.roothash.p7s".to_owned();
        for (beside, given, from, signature) in [
            (vec![tree(), beside(Sibling::RootHash, HASH)], None, by_file.clone(), None),
            (vec![tree(), beside(Sibling::RootHash, &format!(" {HASH}\n"))], None, by_file.clone(), None),
            (vec![tree()], Some(&hash), RootHashFrom::Given, None),
            (vec![tree(), beside(Sibling::RootHash, HASH)], Some(&hash), RootHashFrom::Given, None),
            (
                vec![tree(), beside(Sibling::RootHash, HASH), beside(Sibling::RootHashSignature, "x")],
                None,
                by_file,
                Some(Signature::File(p7s)),
            ),
        ] {
            let root = Verified {
                data: Part { file: Place::Image, offset: Bytes(0), size: Bytes(1 << 20) },
                partition: None,
                hash: Part { file: Place::HashTree, offset: Bytes(0), size: Bytes(8192) },
                tree_partition: None,
                signature,
                root_hash: hash.clone(),
                root_hash_from: from,
            };
            assert_eq!(
                decide(&erofs(beside), given, &[]),
                Ok(Image { label: None, root, usr: None, skipped: Vec::new() })
            );
        }
    }

    #[test]
    fn what_is_refused() {
        let file = |change: &dyn Fn(&mut ImageFile)| {
            let mut file = erofs(vec![beside(Sibling::HashTree, ""), beside(Sibling::RootHash, HASH)]);
            change(&mut file);
            file
        };
        let gpt = || Table::Gpt { block_size: BlockSize::B512, partitions: Vec::new() };
        type Row<'a> = (&'a dyn Fn(&mut ImageFile), &'a str);
        let rows: [Row<'_>; 17] = [
            (&|f| drop(f.beside.remove(0)), "its hash tree is missing: /images/os.verity"),
            (
                &|f| drop(f.beside.remove(1)),
                "its root hash is missing: name it, or have it in /images/os.roothash",
            ),
            (&|f| f.beside[0].outcome = Err("no".to_owned()), "/images/os.verity: no"),
            (&|f| f.beside[1].outcome = Err("no".to_owned()), "/images/os.roothash: no"),
            (
                &|f| f.beside[1].outcome = Ok((Bytes(0), Vec::new())),
                "read a root hash from /images/os.roothash",
            ),
            (
                &|f| f.beside[1].outcome = Ok((Bytes(1), vec![0xff])),
                "read a root hash from /images/os.roothash",
            ),
            (&|f| f.beside[0].outcome = Ok((Bytes(0), Vec::new())), "no whole sectors"),
            (
                &|f| f.beside.push(beside(Sibling::HashTree, "")),
                "it is not clear whether this or /images/os.verity",
            ),
            (&|f| f.beside.push(beside(Sibling::UsrHash, HASH)), "/images/os.usrhash says that it is a /usr"),
            (
                &|f| f.content = superblock(Kind::Erofs, Some(1 << 21)),
                "the file only 1.0 MiB: it was cut off",
            ),
            (&|f| f.size = Bytes((1 << 20) + 1), "no whole sectors"),
            (&|f| f.content = superblock(Kind::Luks, None), "it holds crypto_LUKS, which is no file system"),
            (&|f| f.content = Content::Unknown, "it has neither a GPT nor a file system"),
            (&|f| f.content = Content::Unreadable("no".to_owned()), "it cannot be read: no"),
            (&|f| f.table = Table::Broken("no".to_owned()), "its partition table is damaged: no"),
            (&|f| f.table = gpt(), "it has a GPT, and erofs besides"),
            (
                &|f| (f.table, f.content) = (gpt(), Content::Unknown),
                "/images/os.verity: it is the hash tree of a bare",
            ),
        ];
        for (change, expected) in rows {
            let error = decide(&file(change), None, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let mbr = file(&|f| (f.table, f.content) = (Table::Mbr, Content::Unknown));
        assert!(decide(&mbr, None, &[]).unwrap_err().to_string().contains("it has an MBR; a DDI has a GPT"));
        let other = HASH.replace("00", "ff").parse().unwrap();
        let error = decide(&file(&|_| ()), Some(&other), &[]).unwrap_err().to_string();
        assert!(error.ends_with("was asked for: this is another image"), "{error}");
    }
}
