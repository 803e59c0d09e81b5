//! Images and their hash trees in files or on devices: made, checked, and told of.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    format::verity::{
        hex,
        root_hash::RootHash,
        superblock::{self, VeritySuperblock},
        tree::{self, Tree},
    },
    sys::file::{LONGEST_TEXT, NO_LINK, named},
    units::Bytes,
};

use super::{
    digests::Digests,
    failure::{Error, told},
    header::Header,
    levels::{Failure, Levels, Of},
    opened::{self, Opened, put_in_place},
    parameters::Parameters,
    parity::Parity,
    progress::{Progress, Watch, digested},
    repair::{Fate, Repair, Run},
    report::{Blocks, Outcome, Report},
};

/// Makes the hash tree of `data` in `hash`, which is made if it is missing, and its parity where that is asked for. The
/// superblock comes last, and a file that was missing has its name only then: what was interrupted is none.
pub fn format(data: &Path, hash: &Path, parameters: &Parameters, watch: Watch<'_>) -> Result<Header, Error> {
    let data = to_read(data)?;
    let superblock = parameters.superblock(data.size)?;
    if superblock.algorithm == "sha1" {
        return Err(Error::Broken(superblock.algorithm));
    }
    let tree = Tree::of(&superblock)?;
    let digest = Digests::new(&superblock)?;
    let start = parameters.start(superblock.hash_block_size)?;
    let end = tree.end(start, superblock.hash_block_size);
    let end = Bytes(end.ok_or(tree::Error::Large(superblock.data_blocks))?);
    let of_data = fits(&data, &superblock)?;
    let header = superblock.encode().map_err(Error::Unwritable)?;
    let hash = Opened::to_write(hash)?.emptied()?;
    if data.is(&hash) && parameters.hash_offset < of_data {
        let (path, tree) = (hash.path, parameters.hash_offset.0);
        return Err(Error::Overlap { path, data: of_data.0, tree });
    }
    if hash.is_device && hash.size < end {
        return Err(Error::Full { path: hash.path, needs: end, has: hash.size });
    }
    let length = hash.size.max(end);
    let to_write = |path: &Path| Opened::to_write(path)?.left_to(&hash).emptied();
    let parity =
        Parity::open(parameters.fec.as_ref(), &to_write, &hash, length, &superblock, (&tree, start))?;
    if !hash.is_device && hash.size < end {
        hash.file.set_len(end.0).map_err(hash.failed("lengthen"))?;
    }
    let encoded = parity.as_ref().map_or(0, |parity| parity.layout.encoded().0);
    let progress = Progress::new(Bytes(digested(&superblock, &tree).0.saturating_add(encoded)), watch);
    let mut image = Image { data, hash, superblock, tree, digest, start, parity, progress };
    let root =
        image.build(of_data, (!parameters.no_superblock).then_some((parameters.hash_offset.0, &header)))?;
    let root_hash = Some(hex(&root).parse()?);
    image.parity.as_mut().map_or(Ok(()), |parity| parity.opened.finish())?;
    image.hash.finish()?;
    Ok(Header { root_hash, ..image.header(parameters) })
}

/// Holds data and hash tree against a root hash, every block of both; what does not match is repaired in memory, where
/// there is parity for it.
pub fn verify(
    data: &Path,
    hash: &Path,
    root_hash: &RootHash,
    parameters: &Parameters,
    watch: Watch<'_>,
) -> Result<Report, Error> {
    let data = to_read(data)?;
    let hash = to_read(hash)?;
    let superblock = match parameters.no_superblock {
        true if parameters.salt.is_none() => return Err(Error::Needed("--salt (--salt=- for none)")),
        true => parameters.superblock(data.size)?,
        false => read(&hash, parameters.hash_offset)?,
    };
    let tree = Tree::of(&superblock)?;
    let digest = Digests::new(&superblock)?;
    let start = parameters.start(superblock.hash_block_size)?;
    fits(&data, &superblock)?;
    let parity =
        Parity::open(parameters.fec.as_ref(), &to_read, &hash, hash.size, &superblock, (&tree, start))?;
    parity.as_ref().map_or(Ok(()), Parity::is_there)?;
    let progress = Progress::new(digested(&superblock, &tree), watch);
    let image = Image { data, hash, superblock, tree, digest, start, parity, progress };
    image.check(root_hash)
}

/// What the superblock of a hash tree says.
pub fn dump(hash: &Path, parameters: &Parameters) -> Result<Header, Error> {
    let hash = to_read(hash)?;
    let superblock = read(&hash, parameters.hash_offset)?;
    let tree = Tree::of(&superblock)?;
    let start = parameters.start(superblock.hash_block_size)?;
    let parity =
        Parity::open(parameters.fec.as_ref(), &to_read, &hash, hash.size, &superblock, (&tree, start))?;
    Ok(Header::of(hash.path, superblock, &tree, parameters, start, parity.as_ref()))
}

/// Writes a root hash into a file of its own, whole or not at all.
pub fn save(root_hash: &RootHash, path: &Path) -> Result<(), Error> {
    let unfinished = opened::unfinished(path);
    let write = || {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).custom_flags(NO_LINK).open(&unfinished)?;
        file.write_all(root_hash.to_string().as_bytes()).map(|()| file)
    };
    let file = write().map_err(|source| Error::File { what: "write", path: unfinished.clone(), source })?;
    put_in_place(&file, &unfinished, path)
}

fn to_read(path: &Path) -> Result<Opened, Error> {
    Opened::new(path, OpenOptions::new().read(true))
}

/// A root hash in a file of its own.
pub fn load(path: &Path) -> Result<String, Error> {
    let text = named(path, LONGEST_TEXT).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let text = text.map_err(|source| Error::File { what: "read", path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// The superblock at this place.
pub(super) fn read(hash: &Opened, at: Bytes) -> Result<VeritySuperblock, Error> {
    let offset = at.0;
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

/// An image whose parts are open.
struct Image<'a> {
    data: Opened,
    hash: Opened,
    superblock: VeritySuperblock,
    tree: Tree,
    digest: Digests,
    /// Where the tree begins, in hash blocks.
    start: u64,
    parity: Option<Parity>,
    progress: Progress<'a>,
}

impl Image<'_> {
    /// Makes the tree, the parity, and the superblock at its offset; the root's digest.
    fn build(
        &self,
        of_data: Bytes,
        superblock: Option<(u64, &[u8; superblock::SIZE])>,
    ) -> Result<Vec<u8>, Error> {
        let Self { hash, .. } = self;
        if let Some(parity) = &self.parity {
            parity.make_room(&self.data, of_data)?;
        }
        if let Some((offset, _)) = superblock {
            hash.file.write_all_at(&[0; superblock::SIZE], offset).map_err(hash.failed("write"))?;
        }
        let root = self.levels().build().map_err(|failure| self.told(failure))?;
        if let Some(parity) = &self.parity {
            let correction = parity.correction(&self.data, hash, self.start);
            correction.encode(&self.progress).map_err(|failure| self.told(failure))?;
            parity.opened.file.sync_data().map_err(parity.opened.failed("write out"))?;
        }
        hash.file.sync_data().map_err(hash.failed("write out"))?;
        if let Some((offset, encoded)) = superblock {
            hash.file.write_all_at(encoded, offset).map_err(hash.failed("write"))?;
            hash.file.sync_data().map_err(hash.failed("write out"))?;
        }
        Ok(root)
    }

    /// Every block, against the root hash; what does not match is repaired, where there is parity.
    fn check(&self, root_hash: &RootHash) -> Result<Report, Error> {
        match (self.compare(root_hash), &self.parity) {
            (Ok(()), _) => Ok(Report::default()),
            (Err(error), Some(parity)) if error.is_mismatch() => {
                let correction = parity.correction(&self.data, &self.hash, self.start);
                let repair = Repair::new(self.levels(), correction, root_hash.bytes());
                let runs = repair.run().map_err(|failure| self.told(failure))?;
                // What the digests do not tell parity cannot, either: other than zeros between them.
                if runs.is_empty() { Err(error) } else { Ok(self.report(runs)) }
            }
            (Err(error), _) => Err(error),
        }
    }

    fn compare(&self, root_hash: &RootHash) -> Result<(), Error> {
        let root = self.levels().root().map_err(|failure| self.told(failure))?;
        if root != root_hash.bytes() {
            let (path, wanted) = (self.hash.path.clone(), root_hash.to_string());
            return Err(Error::OtherRoot { path, found: hex(&root), wanted });
        }
        self.levels().check().map_err(|failure| self.told(failure))
    }

    fn report(&self, runs: Vec<Run>) -> Report {
        let blocks = |run: Run| {
            let (kind, start) = if run.of == Of::Data { ("data", 0) } else { ("hash", self.start) };
            let first = start + run.first;
            let outcome = match run.fate {
                Fate::Repaired { bytes } => Outcome::Repaired(bytes),
                Fate::Lost => Outcome::Lost,
                Fate::Unknown => Outcome::Unknown,
            };
            let at = first * u64::from(self.superblock.data_block_size.get());
            Blocks { kind, path: self.path(run.of), first, count: run.blocks, at, outcome }
        };
        Report { runs: runs.into_iter().map(blocks).collect() }
    }

    fn levels(&self) -> Levels<'_> {
        Levels {
            tree: &self.tree,
            digest: &self.digest,
            data: &self.data.file,
            data_blocks: self.superblock.data_blocks,
            data_block: self.superblock.data_block_size,
            hash: &self.hash.file,
            hash_block: self.superblock.hash_block_size,
            start: self.start,
            progress: &self.progress,
        }
    }

    fn told(&self, failure: Failure) -> Error {
        told(failure, |of| self.path(of), &self.superblock, self.start)
    }

    fn path(&self, of: Of) -> PathBuf {
        match (of, &self.parity) {
            (Of::Data, _) => self.data.path.clone(),
            (Of::Parity, Some(parity)) => parity.opened.path.clone(),
            (Of::Tree | Of::Parity, _) => self.hash.path.clone(),
        }
    }

    fn header(self, parameters: &Parameters) -> Header {
        let Self { hash, superblock, tree, start, parity, .. } = self;
        Header::of(hash.path, superblock, &tree, parameters, start, parity.as_ref())
    }
}
