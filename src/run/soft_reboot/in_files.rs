//! A root image in files, seen as devices before there are any: what stands in for them has a number that
//! no device has, and what the files hold at the same places.

use std::path::Path;

use crate::{
    format::{
        disk::{self, superblock::Superblock},
        kernel::devno::Devno,
        system::versioned_directory::Pattern,
        verity::{
            root_hash::RootHash,
            superblock::{self, VeritySuperblock},
        },
    },
    plan::{
        choose,
        facts::{BlockDevice, Content, VerityRead},
        image_file::{self, Part},
        intent::Tag,
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
    /// A layout that is not supported.
    #[error("{0} has a /usr of its own, which is not staged: build an image whose root has its /usr in it")]
    SplitUsr(String),
    /// No versioned directory.
    #[error("{0} is no versioned directory: write DIR.v/")]
    NoPattern(String),
}

/// What was found.
#[derive(Debug)]
pub struct InFiles {
    /// The root.
    pub root: Root,
    /// What stands in for its devices.
    pub devices: Vec<BlockDevice>,
    /// A line for each file that was passed over.
    pub skipped: Vec<String>,
}

/// Looks into the newest image of a versioned directory (systemd.v(7)).
pub fn newest(directory: &str, given: Option<&RootHash>) -> Result<InFiles, Error> {
    let pattern = Pattern::of(directory).ok_or_else(|| Error::NoPattern(directory.to_owned()))?;
    let picked = image::pick(&pattern)?;
    let mut found = look(&picked.path, given)?;
    found.skipped =
        picked.skipped.iter().map(|(name, why)| format!("{name} was passed over: {why}")).collect();
    Ok(found)
}

/// Looks into an image.
pub fn look(path: &Path, given: Option<&RootHash>) -> Result<InFiles, Error> {
    let open = OpenImage::open(path, LastLink::Refuse)?;
    let image = image_file::decide(&open.found, given)?;
    if image.usr.is_some() {
        return Err(Error::SplitUsr(open.found.path));
    }
    let root = &image.root;
    let (mut devices, mut parts) = (Vec::new(), Vec::new());
    for (minor, part) in (1..).zip([&root.data, &root.hash]) {
        let (devno, file) = (Devno { major: 0, minor }, open.file_part(part)?);
        devices.push(device(&open, part, devno, &file));
        parts.push((devno, file));
    }
    let [data, hash] = [1, 2].map(|minor| Tag::Number(Devno { major: 0, minor }));
    let verity = choose::verity(&root.root_hash, choose::origin(&root.root_hash_from), data, hash);
    Ok(InFiles { root: Root::InFiles(Box::new(verity), parts), devices, skipped: Vec::new() })
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
