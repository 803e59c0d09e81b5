//! Images and their hash trees in files or on devices: made, checked, and told of.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::{
    format::{
        disk::guid::Guid,
        verity::{
            digest::{BlockDigest, Unknown},
            hex,
            root_hash::{NotARootHash, RootHash},
            superblock::{self, VeritySuperblock},
            tree::{self, Tree},
        },
    },
    units::{BlockSize, Bytes},
};

use super::levels::{Failure, Levels, Of};

/// How a hash tree is to be made, or what is said of one that has no superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The kernel's name of the hash.
    pub algorithm: String,
    /// 1, or 0 as Chromium OS had it.
    pub format: u32,
    /// What is hashed at once.
    pub data_block_size: BlockSize,
    /// What holds the digests.
    pub hash_block_size: BlockSize,
    /// How many data blocks; default: as many as the data has.
    pub data_blocks: Option<u64>,
    /// Where the superblock, or without one the tree, begins on its device.
    pub hash_offset: Bytes,
    /// Hashed with each block; default: 32 bytes that nobody knows before.
    pub salt: Option<Vec<u8>>,
    /// The tree's UUID; default: a random one.
    pub uuid: Option<Guid>,
    /// Whether there is no superblock.
    pub no_superblock: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            algorithm: "sha256".to_owned(),
            format: 1,
            data_block_size: BlockSize::B4096,
            hash_block_size: BlockSize::B4096,
            data_blocks: None,
            hash_offset: Bytes(0),
            salt: None,
            uuid: None,
            no_superblock: false,
        }
    }
}

/// What is known of a hash tree: what veritysetup(8) calls its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The file or device with the tree.
    pub path: PathBuf,
    /// Its parameters.
    pub superblock: VeritySuperblock,
    /// Hash blocks of all levels.
    pub hash_blocks: u64,
    /// What the tree needs of a device of its own; `None` where it begins further on.
    pub size: Option<Bytes>,
    /// The root hash, where it was computed.
    pub root_hash: Option<RootHash>,
}

/// What cannot be done, or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or device.
    #[error("{what} {}", .path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// At some place.
    #[error("{what} {} at byte {at}", .path.display())]
    At {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Bytes from its start.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No superblock, or none that can be.
    #[error("read the superblock of {} at byte {offset}: is it the hash device, and --hash-offset right?", .path.display())]
    Superblock {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: superblock::Error,
    },
    /// A superblock cannot say it.
    #[error("write a superblock")]
    Unwritable(#[source] superblock::Error),
    /// Parameters that make no tree.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// A hash.
    #[error(transparent)]
    Digest(#[from] Unknown),
    /// A digest that is no root hash.
    #[error("the root's digest")]
    RootHash(#[from] NotARootHash),
    /// What a superblock would say.
    #[error("without a superblock {0} is needed")]
    Needed(&'static str),
    /// An offset that cannot be.
    #[error("--hash-offset={offset}: it has to be a multiple of {of} bytes")]
    Offset {
        /// What was given.
        offset: u64,
        /// What it has to be a multiple of.
        of: u32,
    },
    /// Less data than was said.
    #[error("{} has {has}, and {needs} of data are asked for: take fewer --data-blocks", .path.display())]
    Short {
        /// The data.
        path: PathBuf,
        /// What is needed.
        needs: Bytes,
        /// What is there.
        has: Bytes,
    },
    /// Data that the tree would overwrite.
    #[error("the data reaches to byte {data} of {}, and the hash tree would begin at byte {tree}: take --data-blocks and a --hash-offset behind them", .path.display())]
    Overlap {
        /// The file.
        path: PathBuf,
        /// Where the data ends.
        data: u64,
        /// Where the tree begins.
        tree: u64,
    },
    /// A device that is too short.
    #[error("the hash tree needs {needs} of {}, which has {has}", .path.display())]
    Full {
        /// The device.
        path: PathBuf,
        /// What is needed.
        needs: Bytes,
        /// What is there.
        has: Bytes,
    },
    /// Another root hash.
    #[error("the root hash of {} is {found}, not {wanted}: it is another image's, or its hash tree is damaged", .path.display())]
    OtherRoot {
        /// The hash device.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What was given.
        wanted: String,
    },
    /// A block that is wrong.
    #[error("{what} {number} of {} does not match its digest: at byte {at}", .path.display())]
    Block {
        /// What kind of block.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its number, counted from 0; of a hash block, from the start of its device.
        number: u64,
        /// Bytes from the file's start.
        at: u64,
    },
    /// Something between the digests.
    #[error("hash block {number} of {} has other than zeros where no digest is: at byte {at}", .path.display())]
    Spare {
        /// The file.
        path: PathBuf,
        /// Its number, counted from 0 from the start of its device.
        number: u64,
        /// Bytes from the file's start.
        at: u64,
    },
}

impl Error {
    /// Whether it was looked at as a whole, and does not hold.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::OtherRoot { .. } | Self::Block { .. } | Self::Spare { .. })
    }
}

/// A file or device that is open, with its length.
struct Opened {
    file: File,
    path: PathBuf,
    size: Bytes,
    is_device: bool,
}

impl Opened {
    fn new(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let failed = |what| move |source| Error::File { what, path: path.to_owned(), source };
        let mut file = options.open(path).map_err(failed("open"))?;
        let is_device = file.metadata().map_err(failed("stat"))?.file_type().is_block_device();
        let size = Bytes(file.seek(SeekFrom::End(0)).map_err(failed("measure"))?);
        Ok(Self { file, path: path.to_owned(), size, is_device })
    }

    /// Whether both are one file or device, whatever it is called.
    fn is(&self, other: &Self) -> bool {
        let what = |opened: &Self| {
            let metadata = opened.file.metadata().ok()?;
            Some(if opened.is_device { (0, metadata.rdev()) } else { (metadata.dev(), metadata.ino()) })
        };
        self.is_device == other.is_device && what(self).is_some() && what(self) == what(other)
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::File { what, path, source }
    }
}

/// Makes the hash tree of `data` in `hash`, which is made if it is missing. The superblock comes last: what was
/// interrupted is none.
pub fn format(data: &Path, hash: &Path, parameters: &Parameters) -> Result<Header, Error> {
    let data = Opened::new(data, OpenOptions::new().read(true))?;
    let superblock = asked(parameters, data.size)?;
    let tree = Tree::of(&superblock)?;
    let digest = BlockDigest::new(&superblock.algorithm, &superblock.salt, superblock.format)?;
    let start = start(parameters, superblock.hash_block_size)?;
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
    Ok(Header { root_hash, ..header(hash.path, superblock, &tree, parameters, start) })
}

/// Holds data and hash tree against a root hash, every block of both.
pub fn verify(data: &Path, hash: &Path, root_hash: &RootHash, parameters: &Parameters) -> Result<(), Error> {
    let data = Opened::new(data, OpenOptions::new().read(true))?;
    let hash = Opened::new(hash, OpenOptions::new().read(true))?;
    let superblock = match parameters.no_superblock {
        true if parameters.salt.is_none() => return Err(Error::Needed("--salt (--salt=- for none)")),
        true => asked(parameters, data.size)?,
        false => read(&hash, parameters)?,
    };
    let tree = Tree::of(&superblock)?;
    let digest = BlockDigest::new(&superblock.algorithm, &superblock.salt, superblock.format)?;
    let start = start(parameters, superblock.hash_block_size)?;
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
    let start = start(parameters, superblock.hash_block_size)?;
    Ok(header(hash.path, superblock, &tree, parameters, start))
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
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| Error::File { what: "read", path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// What a superblock would say of what is asked for.
fn asked(parameters: &Parameters, data: Bytes) -> Result<VeritySuperblock, Error> {
    let Parameters { algorithm, format, data_block_size, hash_block_size, .. } = parameters;
    let random = |bytes: &mut [u8]| {
        let path = Path::new("/dev/urandom");
        let read = File::open(path).and_then(|mut file| file.read_exact(bytes));
        read.map_err(|source| Error::File { what: "read", path: path.to_owned(), source })
    };
    let salt = match &parameters.salt {
        Some(salt) => salt.clone(),
        None => {
            let mut salt = vec![0; 32];
            random(&mut salt)?;
            salt
        }
    };
    let uuid = match parameters.uuid {
        Some(uuid) => uuid,
        None => {
            let mut bytes = [0; 16];
            random(&mut bytes)?;
            Guid::random(bytes)
        }
    };
    let data_blocks = parameters.data_blocks.unwrap_or(data.0 / u64::from(data_block_size.get()));
    Ok(VeritySuperblock {
        uuid,
        format: *format,
        algorithm: algorithm.clone(),
        data_block_size: *data_block_size,
        hash_block_size: *hash_block_size,
        data_blocks,
        salt,
    })
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

/// Where the tree begins, in hash blocks (cryptsetup, lib/verity/verity.c, `VERITY_hash_offset_block`).
fn start(parameters: &Parameters, block: BlockSize) -> Result<u64, Error> {
    let (offset, size) = (parameters.hash_offset.0, u64::from(block.get()));
    let of = if parameters.no_superblock { block.get() } else { 512 };
    if !offset.is_multiple_of(u64::from(of)) {
        return Err(Error::Offset { offset, of });
    }
    let behind = if parameters.no_superblock { 0 } else { superblock::SIZE as u64 };
    Ok(offset.saturating_add(behind).div_ceil(size))
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

fn header(
    path: PathBuf,
    superblock: VeritySuperblock,
    tree: &Tree,
    parameters: &Parameters,
    start: u64,
) -> Header {
    let alone = parameters.hash_offset == Bytes(0);
    let size = tree.end(start, superblock.hash_block_size).filter(|_| alone).map(Bytes);
    Header { path, superblock, hash_blocks: tree.blocks(), size, root_hash: None }
}

/// A failure with the names of the files that it is of.
fn told(failure: Failure, data: &Opened, hash: &Opened, superblock: &VeritySuperblock, start: u64) -> Error {
    let path = |of| match of {
        Of::Data => data.path.clone(),
        Of::Tree => hash.path.clone(),
    };
    let of_tree =
        |number: u64| (start + number, (start + number) * u64::from(superblock.hash_block_size.get()));
    match failure {
        Failure::Io { what, of, at, source } => Error::At { what, path: path(of), at, source },
        Failure::Block { of: Of::Data, number } => {
            let at = number * u64::from(superblock.data_block_size.get());
            Error::Block { what: "data block", path: path(Of::Data), number, at }
        }
        Failure::Block { of: Of::Tree, number } => {
            let (number, at) = of_tree(number);
            Error::Block { what: "hash block", path: path(Of::Tree), number, at }
        }
        Failure::Spare { number } => {
            let (number, at) = of_tree(number);
            Error::Spare { path: path(Of::Tree), number, at }
        }
    }
}

impl fmt::Display for Header {
    /// As veritysetup(8) prints it, for people and scripts that know that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VeritySuperblock { uuid, format, algorithm, data_block_size, hash_block_size, data_blocks, salt } =
            &self.superblock;
        writeln!(f, "VERITY header information for {}", self.path.display())?;
        let uuid = if *uuid == Guid::default() { String::new() } else { uuid.to_string() };
        writeln!(f, "UUID:            \t{uuid}")?;
        writeln!(f, "Hash type:       \t{format}")?;
        writeln!(f, "Data blocks:     \t{data_blocks}")?;
        writeln!(f, "Data block size: \t{}", data_block_size.get())?;
        writeln!(f, "Hash blocks:     \t{}", self.hash_blocks)?;
        writeln!(f, "Hash block size: \t{}", hash_block_size.get())?;
        writeln!(f, "Hash algorithm:  \t{algorithm}")?;
        writeln!(f, "Salt:            \t{}", hex(salt))?;
        if let Some(root_hash) = &self.root_hash {
            writeln!(f, "Root hash:      \t{root_hash}")?;
        }
        match self.size {
            Some(size) => writeln!(f, "Hash device size: \t{} [bytes]", size.0),
            None => Ok(()),
        }
    }
}
