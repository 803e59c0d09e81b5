//! Images and their hash trees in files or on devices: made, checked, and told of.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    format::verity::{
        digest::BlockDigest,
        hex,
        root_hash::RootHash,
        superblock::{self, VeritySuperblock},
        tree::{self, Tree},
    },
    sys::file::{LONGEST_TEXT, whole_at},
    units::Bytes,
};

use super::{
    failure::{Error, told},
    header::Header,
    levels::Levels,
    opened::Opened,
    parameters::Parameters,
};

/// Makes the hash tree of `data` in `hash`, which is made if it is missing. The superblock comes last: what was
/// interrupted is none.
pub fn format(data: &Path, hash: &Path, parameters: &Parameters) -> Result<Header, Error> {
    let data = Opened::new(data, OpenOptions::new().read(true))?;
    let superblock = parameters.superblock(data.size)?;
    let tree = Tree::of(&superblock)?;
    let digest = BlockDigest::new(&superblock.algorithm, &superblock.salt, superblock.format)?;
    let start = parameters.start(superblock.hash_block_size)?;
    let end = tree.end(start, superblock.hash_block_size);
    let end = Bytes(end.ok_or(tree::Error::Large(superblock.data_blocks))?);
    let of_data = fits(&data, &superblock)?;
    let encoded = superblock.encode().map_err(Error::Unwritable)?;
    let hash = Opened::new(hash, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
    if data.is(&hash) && parameters.hash_offset < of_data {
        let (path, tree) = (hash.path, parameters.hash_offset.0);
        return Err(Error::Overlap { path, data: of_data.0, tree });
    }
    if hash.is_device && hash.size < end {
        return Err(Error::Full { path: hash.path, needs: end, has: hash.size });
    }
    if !hash.is_device && hash.size < end {
        hash.file.set_len(end.0).map_err(hash.failed("lengthen"))?;
    }
    if !parameters.no_superblock {
        let none = [0; superblock::SIZE];
        hash.file.write_all_at(&none, parameters.hash_offset.0).map_err(hash.failed("write"))?;
    }
    let levels = levels(&superblock, &tree, &digest, &data.file, &hash.file, start);
    let root = levels.build().map_err(|failure| told(failure, &data, &hash, &superblock, start))?;
    hash.file.sync_data().map_err(hash.failed("write out"))?;
    if !parameters.no_superblock {
        hash.file.write_all_at(&encoded, parameters.hash_offset.0).map_err(hash.failed("write"))?;
        hash.file.sync_data().map_err(hash.failed("write out"))?;
    }
    let root_hash = Some(hex(&root).parse()?);
    Ok(Header { root_hash, ..Header::of(hash.path, superblock, &tree, parameters, start) })
}

/// Holds data and hash tree against a root hash, every block of both.
pub fn verify(data: &Path, hash: &Path, root_hash: &RootHash, parameters: &Parameters) -> Result<(), Error> {
    let data = Opened::new(data, OpenOptions::new().read(true))?;
    let hash = Opened::new(hash, OpenOptions::new().read(true))?;
    let superblock = match parameters.no_superblock {
        true if parameters.salt.is_none() => return Err(Error::Needed("--salt (--salt=- for none)")),
        true => parameters.superblock(data.size)?,
        false => read(&hash, parameters)?,
    };
    let tree = Tree::of(&superblock)?;
    let digest = BlockDigest::new(&superblock.algorithm, &superblock.salt, superblock.format)?;
    let start = parameters.start(superblock.hash_block_size)?;
    fits(&data, &superblock)?;
    let levels = levels(&superblock, &tree, &digest, &data.file, &hash.file, start);
    let told = |failure| told(failure, &data, &hash, &superblock, start);
    let root = levels.root().map_err(told)?;
    if root != root_hash.bytes() {
        let (path, wanted) = (hash.path.clone(), root_hash.to_string());
        return Err(Error::OtherRoot { path, found: hex(&root), wanted });
    }
    levels.check().map_err(told)
}

/// What the superblock of a hash tree says.
pub fn dump(hash: &Path, parameters: &Parameters) -> Result<Header, Error> {
    let hash = Opened::new(hash, OpenOptions::new().read(true))?;
    let superblock = read(&hash, parameters)?;
    let tree = Tree::of(&superblock)?;
    let start = parameters.start(superblock.hash_block_size)?;
    Ok(Header::of(hash.path, superblock, &tree, parameters, start))
}

/// Writes a root hash into a file of its own, whole or not at all.
pub fn save(root_hash: &RootHash, path: &Path) -> Result<(), Error> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let write = || fs::write(&unfinished, root_hash.to_string()).and_then(|()| fs::rename(&unfinished, path));
    write().map_err(|source| Error::File { what: "write", path: path.to_owned(), source })
}

/// A root hash in a file of its own.
pub fn load(path: &Path) -> Result<String, Error> {
    let text =
        whole_at(path, LONGEST_TEXT).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let text = text.map_err(|source| Error::File { what: "read", path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

fn read(hash: &Opened, parameters: &Parameters) -> Result<VeritySuperblock, Error> {
    let offset = parameters.hash_offset.0;
    let mut bytes = [0; superblock::SIZE];
    let failed = |source| Error::Superblock { path: hash.path.clone(), offset, source };
    match hash.file.read_exact_at(&mut bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(failed(superblock::Error::Signature));
        }
        read => {
            read.map_err(|source| Error::At { what: "read", path: hash.path.clone(), at: offset, source })?
        }
    }
    VeritySuperblock::parse(&bytes).map_err(failed)
}

/// The length of the data, which has to be there.
fn fits(data: &Opened, superblock: &VeritySuperblock) -> Result<Bytes, Error> {
    let needs = superblock.data_block_size.times(superblock.data_blocks).unwrap_or(Bytes(u64::MAX));
    if needs <= data.size {
        Ok(needs)
    } else {
        Err(Error::Short { path: data.path.clone(), needs, has: data.size })
    }
}

fn levels<'a>(
    superblock: &VeritySuperblock,
    tree: &'a Tree,
    digest: &'a BlockDigest,
    data: &'a File,
    hash: &'a File,
    start: u64,
) -> Levels<'a> {
    Levels {
        tree,
        digest,
        data,
        data_blocks: superblock.data_blocks,
        data_block: superblock.data_block_size,
        hash,
        hash_block: superblock.hash_block_size,
        start,
    }
}
