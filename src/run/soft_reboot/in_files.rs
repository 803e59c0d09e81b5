//! A root image in files, seen as devices before there are any: what stands in for them has a number that
//! no device has, and what the files hold at the same places.

use std::path::Path;

use crate::{
    format::{
        config::{image_filter::ImageFilter, ini::Placed},
        disk::{self, superblock::Superblock},
        kernel::devno::Devno,
        system::versioned_directory::Pattern,
        verity::{
            root_hash::RootHash,
            signature::{Signature, partition},
            superblock::{self, VeritySuperblock},
        },
    },
    plan::{
        choose,
        facts::{BlockDevice, Content, VerityRead},
        image_file::{self, Part},
        intent::Tag,
        signed::{Place, Signed},
        stage::Root,
        step::FilePart,
    },
    sys::file::LastLink,
    units::{BlockSize, Bytes},
};

use crate::run::soft_reboot::image::{self, OpenImage};

/// An image that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// What it holds.
    #[error(transparent)]
    Content(#[from] image_file::Error),
    /// A signature that is none, or of another root hash.
    #[error("the signature of {root_hash} from {from} cannot be used: {why}")]
    Signature {
        /// The root hash.
        root_hash: RootHash,
        /// Where it stands.
        from: String,
        /// Why not.
        why: String,
    },
    /// A layout that is not supported.
    #[error("{0} has a /usr of its own, which is not staged: build an image whose root has its /usr in it")]
    SplitUsr(String),
    /// No versioned directory.
    #[error("{0} is no versioned directory: write DIR.v/")]
    NoPattern(String),
}

/// Bytes of a signature partition.
const LARGEST_SIGNATURE: usize = partition::LARGEST.0 as usize;

/// What was found.
#[derive(Debug)]
pub struct InFiles {
    /// The root.
    pub root: Root,
    /// What stands in for its devices.
    pub devices: Vec<BlockDevice>,
    /// A line for each file that was passed over.
    pub skipped: Vec<String>,
    /// The image, to be kept until it is attached.
    pub image: OpenImage,
}

/// Looks into the newest image of a versioned directory (systemd.v(7)).
pub fn newest(
    directory: &str,
    given: Option<&RootHash>,
    filters: &[Placed<ImageFilter>],
) -> Result<InFiles, Error> {
    let pattern = Pattern::of(directory).ok_or_else(|| Error::NoPattern(directory.to_owned()))?;
    let picked = image::pick(&pattern)?;
    let mut found = look(&picked.path, given, filters)?;
    let others = picked.skipped.iter().map(|(name, why)| format!("{name} was passed over: {why}"));
    found.skipped.splice(0..0, others);
    Ok(found)
}

/// Looks into an image.
pub fn look(
    path: &Path,
    given: Option<&RootHash>,
    filters: &[Placed<ImageFilter>],
) -> Result<InFiles, Error> {
    let open = OpenImage::open(path, LastLink::Refuse)?;
    let image = image_file::decide(&open.found, given, filters)?;
    if image.usr.is_some() {
        return Err(Error::SplitUsr(open.found.path));
    }
    let root = &image.root;
    let (mut devices, mut parts) = (Vec::new(), Vec::new());
    for (minor, part, partition) in [(1, &root.data, &root.partition), (2, &root.hash, &root.tree_partition)]
    {
        let (devno, file) = (Devno { major: 0, minor }, open.file_part(part)?);
        devices.push(BlockDevice { partition: partition.clone(), ..device(&open, part, devno, &file) });
        parts.push((devno, file));
    }
    let [data, hash] = [1, 2].map(|minor| Tag::Number(Devno { major: 0, minor }));
    let mut verity = choose::verity(&root.root_hash, choose::origin(&root.root_hash_from), data, hash);
    verity.signature = signature(&open, root)?.map(Signed::found);
    let root = Root::InFiles(Box::new(verity), parts);
    let passed_over = |why: &String| format!("{}: {why}: passed over", open.found.path);
    let skipped = image.skipped.iter().map(passed_over).collect();
    Ok(InFiles { root, devices, skipped, image: open })
}

/// The signature of a root: it has to be one, and in a partition to be of this root hash.
fn signature(open: &OpenImage, root: &image_file::Verified) -> Result<Option<Place>, Error> {
    let (from, read) = match &root.signature {
        None => return Ok(None),
        Some(image_file::Signature::File(path)) => {
            let beside = open.found.beside.iter().find(|beside| beside.path == *path);
            let bytes = beside.and_then(|beside| beside.outcome.as_ref().ok()).map(|(_, bytes)| bytes);
            (path.clone(), Signature::read(bytes.map_or(&[], Vec::as_slice)).map_err(|e| e.to_string()))
        }
        Some(image_file::Signature::Partition(part)) => {
            // One byte more, so that what is too large is seen to be.
            let bytes = open.read(part, LARGEST_SIGNATURE + 1)?;
            let signed = partition::Signed::parse(&bytes).and_then(|signed| signed.of(&root.root_hash));
            (format!("the signature partition of {}", open.found.path), signed.map_err(|e| e.to_string()))
        }
    };
    match read {
        Ok(signature) => Ok(Some(Place::Here { signature, from })),
        Err(why) => Err(Error::Signature { root_hash: root.root_hash.clone(), from, why }),
    }
}

fn device(open: &OpenImage, part: &Part, devno: Devno, file: &FilePart) -> BlockDevice {
    let content = match open.read(part, disk::superblock::PREFIX) {
        Ok(bytes) => Superblock::recognise(&bytes).map_or(Content::Unknown, Content::Found),
        Err(error) => Content::Unreadable(error.to_string()),
    };
    let outcome = match open.read(part, superblock::SIZE) {
        Ok(bytes) => VeritySuperblock::parse(&bytes).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    BlockDevice {
        name: file.path.clone(),
        devno,
        diskseq: None,
        size: part.size,
        logical_block_size: BlockSize::B512,
        read_only: true,
        dm_name: None,
        table_error: None,
        partition: None,
        content,
        verity: vec![VerityRead { offset: Bytes(0), outcome }],
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        format::disk::discoverable,
        plan::{
            image_file::{Place as File, Verified},
            source::RootHashFrom,
        },
    };

    const HASH: &str = "4f68bce3e8cd4db196e7fbcaf984b7094f68bce3e8cd4db196e7fbcaf984b709";

    /// They counted as off: an image was refused by a policy that demands read-only, and taken by one that forbids it.
    #[test]
    fn attributes_of_a_partition_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("os.raw");
        fs::write(&path, image::tests::ddi(512)).unwrap();
        let devices = look(&path, None, &[]).unwrap().devices;
        let partitions: Vec<_> = devices.iter().map(|device| device.partition.as_ref()).collect();
        assert!(
            matches!(partitions.as_slice(), [Some(data), Some(tree)]
                if data.attributes == discoverable::READ_ONLY && data.label.as_deref() == Some("os_1.2")
                    && tree.label.as_deref() == Some("os_1.2_verity")),
            "{partitions:?}"
        );
    }

    /// By the numbers of a file that is gone another one went for it: file systems give them anew at once.
    #[test]
    fn an_image_that_is_exchanged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("os.raw");
        fs::write(&path, image::tests::ddi(512)).unwrap();
        let found = look(&path, None, &[]).unwrap();
        let Root::InFiles(_, parts) = &found.root else { panic!("{:?}", found.root) };
        let swapped = |(_, part): &(Devno, FilePart)| matches!(image::attach(part), Err(image::Error::Swapped(swapped)) if swapped == part.path);
        for attempt in 0..32 {
            fs::remove_file(&path).unwrap();
            fs::write(&path, image::tests::ddi(512)).unwrap();
            assert!(parts.iter().all(swapped), "{attempt}");
        }
    }

    #[test]
    fn signatures() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let der = include_bytes!("../../../tests/signatures/p256.p7s");
        let json = format!("{{\"rootHash\":\"{HASH}\",\"signature\":\"{}\"}}", Signature::read(der).unwrap());
        let mut image = vec![0; 8192];
        image.extend(json.as_bytes());
        image.resize(16384, 0);
        fs::write(at("os.raw"), &image).unwrap();
        let beside = at("os.roothash.p7s").display().to_string();
        let part = |offset, size| Part { file: File::Image, offset: Bytes(offset), size: Bytes(size) };
        let file = || image_file::Signature::File(beside.clone());
        let partition = |offset, size| image_file::Signature::Partition(part(offset, size));
        for (p7s, signature, hash, expected) in [
            (&der[..], None, HASH, Ok(None)),
            (&der[..], Some(file()), HASH, Ok(Some(beside.clone()))),
            (&der[..50], Some(file()), HASH, Err("it is cut off: 50 of 212 bytes are there")),
            (b"", Some(file()), HASH, Err("it is empty")),
            (
                b"",
                Some(partition(8192, 8192)),
                HASH,
                Ok(Some(format!("the signature partition of {}", at("os.raw").display()))),
            ),
            (b"", Some(partition(0, 8192)), HASH, Err("it is no JSON with rootHash and signature")),
            (b"", Some(partition(8192, 100)), HASH, Err("it is no JSON with rootHash and signature")),
            (b"", Some(partition(8192, 8192)), &HASH.replace('4', "5"), Err("it belongs to another image")),
        ] {
            fs::write(&beside, p7s).unwrap();
            let open = OpenImage::open(&at("os.raw"), LastLink::Refuse).unwrap();
            let (root_hash, root_hash_from) = (hash.parse().unwrap(), RootHashFrom::Given);
            let (data, hash, partition) = (part(0, 4096), part(4096, 4096), None);
            let tree_partition = None;
            let root =
                Verified { data, partition, hash, tree_partition, signature, root_hash, root_hash_from };
            let found = super::signature(&open, &root);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.as_ref().map(Place::to_string), expected);
                    assert!(found.is_none_or(
                        |place| matches!(place, Place::Here { signature, .. } if signature.der() == der)
                    ));
                }
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        }
    }
}
