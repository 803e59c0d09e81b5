//! Opens image files: each once, and everything is taken from what was opened.

use std::path::{Path, PathBuf};

use crate::{
    format::{
        disk::{
            mbr,
            superblock::{self, Superblock},
        },
        system::versioned_directory::{Ambiguous, Pattern, Skip},
    },
    plan::{
        facts::Content,
        image_file::{Beside, ImageFile, Part, Place, Sibling, Table, siblings},
        step::FilePart,
    },
    sys::{
        self,
        file::{LastLink, RegularFile},
        loopdev::{self, Attached, Extent, Lifetime},
    },
    units::{BlockSize, Bytes},
};

use crate::run::table::gpt;

/// An open image, with the files beside it that it needs.
#[derive(Debug)]
pub struct OpenImage {
    /// What was found.
    pub found: ImageFile,
    file: RegularFile,
    hash_tree: Option<RegularFile>,
}

/// A versioned directory's newest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Its path.
    pub path: PathBuf,
    /// Files of this image that were passed over, with the reason.
    pub skipped: Vec<(String, Skip)>,
}

/// An image that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel call.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// A path that is not UTF-8 has no place in messages and state.
    #[error("{0:?} is not UTF-8: rename the file")]
    NotText(PathBuf),
    /// A versioned directory without a file that can be taken.
    #[error("no file is {pattern}{skipped}")]
    Nothing {
        /// What was looked for.
        pattern: String,
        /// What was passed over.
        skipped: String,
    },
    /// A versioned directory in which it is not clear which file is the newest.
    #[error("choose {pattern}")]
    Ambiguous {
        /// What was looked for.
        pattern: String,
        /// The files.
        #[source]
        source: Ambiguous,
    },
    /// Another file of the same name.
    #[error("{0} is not the file that was looked at any more: try again once nobody writes there")]
    Swapped(String),
    /// A file that was not opened is to be attached.
    #[error("{0} has no hash tree beside it")]
    NoHashTree(String),
}

/// Block sizes that a GPT in a file may count in.
const BLOCK_SIZES: [u32; 4] = [512, 1024, 2048, 4096];
/// Bytes of a root hash or a signature beside an image; more is none.
const LARGEST_SIBLING: u64 = 64 << 10;

impl OpenImage {
    /// Opens an image file and looks into it, and at what is beside it.
    pub fn open(path: &Path, link: LastLink) -> Result<Self, Error> {
        let name = path.to_str().ok_or_else(|| Error::NotText(path.to_owned()))?;
        let file = RegularFile::open(path, link)?;
        let content = match file.read(0, superblock::PREFIX) {
            Ok(bytes) => Superblock::recognise(&bytes).map_or(Content::Unknown, Content::Found),
            Err(error) => Content::Unreadable(error.in_one_line()),
        };
        let table = table(&file, &content);
        let (mut beside, mut hash_tree) = (Vec::new(), None);
        for (kind, path) in siblings(name) {
            let outcome = match RegularFile::open(Path::new(&path), link) {
                Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => Err(error.in_one_line()),
                Ok(open) if kind == Sibling::HashTree => {
                    let size = open.size();
                    hash_tree = Some(open);
                    Ok((size, Vec::new()))
                }
                Ok(open) => small(&open),
            };
            beside.push(Beside { kind, path, outcome });
        }
        let found = ImageFile { path: name.to_owned(), size: file.size(), table, content, beside };
        Ok(Self { found, file, hash_tree })
    }

    /// A part, as a plan names it.
    pub fn file_part(&self, part: &Part) -> Result<FilePart, Error> {
        let file = self.file_of(part)?;
        Ok(FilePart {
            path: file.path().to_str().ok_or_else(|| Error::NotText(file.path().to_owned()))?.to_owned(),
            inode: (file.inode().device, file.inode().number),
            offset: part.offset,
            size: part.size,
        })
    }

    fn file_of(&self, part: &Part) -> Result<&RegularFile, Error> {
        match part.file {
            Place::Image => Ok(&self.file),
            Place::HashTree => {
                self.hash_tree.as_ref().ok_or_else(|| Error::NoHashTree(self.found.path.clone()))
            }
        }
    }

    /// Reads from a part of the image: up to `length` bytes from its start.
    pub fn read(&self, part: &Part, length: usize) -> Result<Vec<u8>, Error> {
        let file = self.file_of(part)?;
        let length = usize::try_from(part.size.0).map_or(length, |size| length.min(size));
        Ok(file.read(part.offset.0, length)?)
    }
}

/// Attaches a stretch of a file as a read-only loop device, which goes when nobody has it open: the file is
/// the one that was looked at, or it is refused. As long as the [`OpenImage`] is there, no other file has its numbers.
pub fn attach(part: &FilePart) -> Result<Attached, Error> {
    let file = RegularFile::open(Path::new(&part.path), LastLink::Refuse)?;
    if (file.inode().device, file.inode().number) != part.inode {
        return Err(Error::Swapped(part.path.clone()));
    }
    let extent = Extent { offset: part.offset, size: part.size };
    Ok(loopdev::attach(&file, extent, Lifetime::WhileOpen)?)
}

/// The newest file of a versioned directory.
pub fn pick(pattern: &Pattern) -> Result<Picked, Error> {
    let names = sys::file::names(Path::new(&pattern.directory))?;
    let pick = pattern
        .pick(names.iter().map(String::as_str))
        .map_err(|source| Error::Ambiguous { pattern: pattern.to_string(), source })?;
    let skipped: Vec<(String, Skip)> =
        pick.skipped.into_iter().map(|(name, why)| (name.to_owned(), why)).collect();
    match pick.chosen {
        Some(entry) => Ok(Picked { path: Path::new(&pattern.directory).join(entry.file), skipped }),
        None => {
            let reasons: Vec<String> = skipped.iter().map(|(name, why)| format!("{name}: {why}")).collect();
            let list = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
            Err(Error::Nothing { pattern: pattern.to_string(), skipped: list })
        }
    }
}

/// A root hash or a signature.
fn small(file: &RegularFile) -> Result<(Bytes, Vec<u8>), String> {
    let size = file.size();
    if size.0 > LARGEST_SIBLING {
        return Err(format!("it has {size}, too many for what its name says"));
    }
    let length = usize::try_from(size.0).map_err(|e| e.to_string())?;
    let bytes = file.read(0, length).map_err(|e| e.in_one_line())?;
    Ok((size, bytes))
}

/// The partition table of a file, in whichever block size it is written.
fn table(file: &RegularFile, content: &Content) -> Table {
    let first = match file.read(0, 512) {
        Ok(first) => first,
        Err(error) => return Table::Broken(error.in_one_line()),
    };
    let has_header = |block_size: &BlockSize| {
        file.read(u64::from(block_size.get()), 8).is_ok_and(|bytes| bytes == b"EFI PART")
    };
    let sizes: Vec<BlockSize> =
        BLOCK_SIZES.into_iter().filter_map(|size| BlockSize::new(size).ok()).collect();
    // A file system's boot sector looks like an MBR: it is one only where nothing else is recognised.
    let is_mbr = *content == Content::Unknown && mbr::disk_signature(&first).is_some();
    let protective = is_protective(&first);
    let candidates = match sizes.iter().copied().find(has_header) {
        Some(size) => vec![size],
        // The first copy is gone: the second stands in the last block, whatever the block size.
        None if protective => sizes,
        None if is_mbr => return Table::Mbr,
        None => return Table::None,
    };
    let mut why = String::new();
    for block_size in candidates {
        let blocks = file.size().0 / u64::from(block_size.get());
        match gpt(&|offset, length| file.read(offset, length), block_size, blocks) {
            Ok(partitions) => return Table::Gpt { block_size, partitions },
            Err(error) if why.is_empty() => why = error,
            Err(_) => {}
        }
    }
    Table::Broken(why)
}

/// Whether a first block is the protective MBR that a GPT has.
fn is_protective(block: &[u8]) -> bool {
    block.get(510..512) == Some(&[0x55, 0xaa]) && mbr::disk_signature(block).is_none()
}

#[cfg(test)]
pub(in crate::run::soft_reboot) mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;
    use crate::{
        format::{
            bytes::CRC32,
            disk::discoverable::{Purpose, READ_ONLY, own_types},
        },
        left_out::left_out,
        plan::image_file,
    };

    /// 16 MiB with a root and its hash tree, laid out as the UEFI specification has it: a protective MBR, the
    /// header and the entries, and both again at the end. The root is marked as read-only.
    pub(in crate::run::soft_reboot) fn ddi(block_size: usize) -> Vec<u8> {
        let types = [(Purpose::Root, "os_1.2"), (Purpose::RootVerity, "os_1.2_verity")];
        let (length, table) = (16 << 20, 16384_usize.div_ceil(block_size));
        let blocks = length / block_size;
        let mut entries = vec![0; table * block_size];
        for ((entry, (purpose, label)), number) in entries.chunks_exact_mut(128).zip(types).zip(1_u8..) {
            let (kind, _) = own_types().find(|(_, of)| *of == purpose).unwrap();
            let first = usize::from(number) * (4 << 20) / block_size;
            entry[..16].copy_from_slice(&kind.to_disk());
            entry[16..32].fill(number);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&(first + (4 << 20) / block_size - 1).to_le_bytes());
            let attributes = if purpose == Purpose::Root { READ_ONLY } else { 0 };
            entry[48..56].copy_from_slice(&attributes.to_le_bytes());
            for (place, unit) in entry[56..].chunks_exact_mut(2).zip(label.encode_utf16()) {
                place.copy_from_slice(&unit.to_le_bytes());
            }
        }
        let header = |own: usize, other: usize, entries_at: usize| {
            let mut header = vec![0; block_size];
            header[..8].copy_from_slice(b"EFI PART");
            header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
            let usable = (2 + table, blocks - table - 2);
            for (at, value) in [(24, own), (32, other), (40, usable.0), (48, usable.1), (72, entries_at)] {
                header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            let crc = CRC32.checksum(&entries[..16384]);
            for (at, value) in [(80, 128), (84, 128), (88, crc)] {
                header[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            }
            let crc = CRC32.checksum(&header[..92]);
            header[16..20].copy_from_slice(&crc.to_le_bytes());
            header
        };
        let mut disk = vec![0; length];
        (disk[450], disk[510], disk[511]) = (0xee, 0x55, 0xaa);
        let last = blocks - 1;
        for (at, bytes) in [
            (1, &header(1, last, 2)),
            (2, &entries),
            (last - table, &entries),
            (last, &header(last, 1, last - table)),
        ] {
            disk[at * block_size..][..bytes.len()].copy_from_slice(bytes);
        }
        disk
    }

    fn check_ddi(path: &Path, block_size: u32) {
        let image = OpenImage::open(path, LastLink::Refuse).unwrap();
        let Table::Gpt { block_size: found, partitions } = &image.found.table else {
            panic!("{block_size}: {:?}", image.found.table)
        };
        let purposes: Vec<_> = partitions.iter().map(|p| Purpose::of(p.type_uuid)).collect();
        assert_eq!(purposes, [Some(Purpose::Root), Some(Purpose::RootVerity)]);
        assert_eq!(found.get(), block_size);
        let decided = image_file::decide(&image.found, None, &[]).unwrap();
        assert_eq!(decided.label.as_deref(), Some("os_1.2"));
        assert_eq!(image.read(&decided.root.data, 16).unwrap(), [0; 16]);
    }

    #[test]
    fn a_ddi_of_any_block_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("os.raw");
        for block_size in BLOCK_SIZES {
            let size = block_size as usize;
            let mut bytes = ddi(size);
            fs::write(&path, &bytes).unwrap();
            check_ddi(&path, block_size);
            // The backup stands in.
            bytes[size..][..8].fill(0);
            fs::write(&path, &bytes).unwrap();
            check_ddi(&path, block_size);
            let end = bytes.len() - size;
            bytes[end..][..8].fill(0);
            fs::write(&path, &bytes).unwrap();
            let found = OpenImage::open(&path, LastLink::Refuse).unwrap().found;
            assert!(matches!(found.table, Table::Broken(_)), "{:?}", found.table);
        }
    }

    /// Needs root and the loop driver; elsewhere the scenarios have it.
    #[test]
    fn parts_are_attached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("os.raw");
        let mut bytes = ddi(512);
        bytes[8 << 20..][..4].copy_from_slice(b"tree");
        fs::write(&path, bytes).unwrap();
        let image = OpenImage::open(&path, LastLink::Refuse).unwrap();
        let hash = image_file::decide(&image.found, None, &[]).unwrap().root.hash;
        let part = image.file_part(&hash).unwrap();
        fs::write(directory.path().join("other"), ddi(512)).unwrap();
        let is_root = fs::File::options().write(true).open("/dev/loop-control").is_ok();
        let attached = attach(&part);
        // Another file under the name of the one that was looked at
        fs::rename(directory.path().join("other"), &path).unwrap();
        assert!(matches!(attach(&part), Err(Error::Swapped(_))));
        let Ok(attached) = attached else {
            assert!(!is_root, "loop devices can be had, but not this one");
            return left_out("it needs root and the loop driver");
        };
        let node = Path::new("/dev").join(&attached.device.name);
        let device = sys::block::Device::open(&node, attached.device.devno, attached.device.diskseq).unwrap();
        assert_eq!(device.read(0, 4).unwrap(), b"tree");
    }

    /// systemd's own idea of such an image, where systemd-repart is installed.
    #[test]
    fn a_ddi_by_systemd_repart() {
        let directory = tempfile::tempdir().unwrap();
        let (definitions, image) = (directory.path().join("repart.d"), directory.path().join("os.raw"));
        fs::create_dir(&definitions).unwrap();
        let types = [("10-root", "root", "os_1.2"), ("20-verity", "root-verity", "os_1.2_verity")];
        for (name, kind, label) in types {
            let text = format!("[Partition]\nType={kind}\nLabel={label}\nSizeMinBytes=4M\nSizeMaxBytes=4M\n");
            fs::write(definitions.join(format!("{name}.conf")), text).unwrap();
        }
        let mut command = Command::new("systemd-repart");
        command.args(["--empty=create", "--size=32M", "--dry-run=no", "--definitions"]);
        if command.arg(&definitions).arg(&image).output().is_ok_and(|output| output.status.success()) {
            check_ddi(&image, 512);
        }
    }

    #[test]
    fn files_and_what_is_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut squashfs = vec![0; 8192];
        squashfs[..4].copy_from_slice(b"hsqs");
        squashfs[28] = 4;
        fs::write(path("os.raw"), &squashfs).unwrap();
        fs::write(path("os.verity"), [1; 4096]).unwrap();
        fs::write(path("os.roothash"), "ab".repeat(32)).unwrap();
        fs::write(path("os.roothash.p7s"), vec![0; 65537]).unwrap();
        symlink("os.raw", path("link.raw")).unwrap();
        symlink("os.roothash", path("os.usrhash")).unwrap();
        let image = OpenImage::open(&path("os.raw"), LastLink::Refuse).unwrap();
        assert_eq!((image.found.size, &image.found.table), (Bytes(8192), &Table::None));
        let kinds: Vec<_> = image.found.beside.iter().map(|b| (b.kind, b.outcome.is_ok())).collect();
        let expected = [
            (Sibling::HashTree, true),
            (Sibling::RootHash, true),
            (Sibling::RootHashSignature, false),
            (Sibling::UsrHash, false),
        ];
        assert_eq!(kinds, expected);
        let tree = Part { file: Place::HashTree, offset: Bytes(0), size: Bytes(4096) };
        assert_eq!(image.read(&tree, 9999).unwrap(), [1; 4096]);
        let error = image_file::decide(&image.found, None, &[]).unwrap_err().to_string();
        assert!(error.contains("os.usrhash"), "{error}");
        assert!(OpenImage::open(&path("link.raw"), LastLink::Refuse).is_err());
        assert!(OpenImage::open(&path("missing.raw"), LastLink::Refuse).is_err());

        fs::write(path("empty.raw"), "").unwrap();
        let image = OpenImage::open(&path("empty.raw"), LastLink::Refuse).unwrap();
        assert_eq!((&image.found.table, &image.found.content), (&Table::None, &Content::Unknown));
        assert!(matches!(image.file_part(&tree), Err(Error::NoHashTree(_))));
    }

    #[test]
    fn versioned_directories() {
        let directory = tempfile::tempdir().unwrap();
        let images = directory.path().join("os.raw.v");
        fs::create_dir(&images).unwrap();
        let pattern = Pattern::of(images.to_str().unwrap()).unwrap();
        assert!(matches!(pick(&pattern), Err(Error::Nothing { .. })));
        fs::write(images.join("os_3+0-3.raw"), "").unwrap();
        let error = pick(&pattern).unwrap_err().to_string();
        assert!(error.ends_with("/os.raw.v/os_*.raw (os_3+0-3.raw: it has no tries left)"), "{error}");
        fs::write(images.join("os_2.raw"), "").unwrap();
        let picked = pick(&pattern).unwrap();
        assert_eq!(picked.path, images.join("os_2.raw"));
        assert_eq!(picked.skipped, [("os_3+0-3.raw".to_owned(), Skip::NoTriesLeft)]);
        fs::write(images.join("os_2.0.raw"), "").unwrap();
        assert_eq!(pick(&pattern).unwrap().path, images.join("os_2.0.raw"));
        fs::write(images.join("os_02.0.raw"), "").unwrap();
        assert!(matches!(pick(&pattern), Err(Error::Ambiguous { .. })));
    }
}
