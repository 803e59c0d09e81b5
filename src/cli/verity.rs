//! `nextroot verity` and its options, spelled as veritysetup(8) spells them.

use std::{error::Error, path::PathBuf, process::ExitCode};

use argh::FromArgs;
use nextroot::mode::{
    complain,
    verity::{self, Written},
};

use super::show;

/// Make, check and show the dm-verity hash trees of images, with the options and the format of veritysetup(8).
#[derive(FromArgs)]
#[argh(subcommand, name = "verity")]
pub(super) struct Verity {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Format(Format),
    Verify(Verify),
    Dump(Dump),
}

/// Make a hash tree, and print its parameters and root hash.
///
/// Exit code: 0 made, 1 not made.
#[derive(FromArgs)]
#[argh(subcommand, name = "format")]
struct Format {
    /// file or device with the data
    #[argh(positional)]
    data: PathBuf,
    /// file or device for the hash tree; a file is made
    #[argh(positional)]
    hash_device: PathBuf,
    /// hash: sha256 (default), sha224, sha384, sha512
    #[argh(option)]
    hash: Option<String>,
    /// format of the tree: 1 (default), or 0 as Chromium OS had it
    #[argh(option)]
    format: Option<u32>,
    /// bytes that are hashed at once; default: 4096
    #[argh(option)]
    data_block_size: Option<u32>,
    /// bytes of a block of digests; default: 4096
    #[argh(option)]
    hash_block_size: Option<u32>,
    /// how many data blocks; default: all
    #[argh(option)]
    data_blocks: Option<u64>,
    /// bytes before the superblock on the hash device; default: 0
    #[argh(option)]
    hash_offset: Option<u64>,
    /// salt, in hexadecimal, - for none; default: 32 random bytes
    #[argh(option)]
    salt: Option<String>,
    /// UUID of the hash tree; default: a random one
    #[argh(option)]
    uuid: Option<String>,
    /// write no superblock: all these options are needed again then
    #[argh(switch)]
    no_superblock: bool,
    /// write the root hash into this file, too
    #[argh(option)]
    root_hash_file: Option<PathBuf>,
    /// file or device for parity, by which damage is repaired; a file is made
    #[argh(option)]
    fec_device: Option<PathBuf>,
    /// bytes before the parity on its device; default: 0
    #[argh(option)]
    fec_offset: Option<u64>,
    /// bytes of parity in 255: 2 (default) to 24
    #[argh(option)]
    fec_roots: Option<u32>,
}

/// Check every block of data and hash tree against a root hash.
///
/// Exit code: 0 all match, 2 one does not, 1 it could not be checked.
#[derive(FromArgs)]
#[argh(subcommand, name = "verify")]
struct Verify {
    /// file or device with the data
    #[argh(positional)]
    data: PathBuf,
    /// file or device with the hash tree
    #[argh(positional)]
    hash_device: PathBuf,
    /// root hash, in hexadecimal
    #[argh(positional)]
    root_hash: Option<String>,
    /// read the root hash from this file
    #[argh(option)]
    root_hash_file: Option<PathBuf>,
    /// bytes before the superblock on the hash device; default: 0
    #[argh(option)]
    hash_offset: Option<u64>,
    /// there is no superblock: the options below say what it would
    #[argh(switch)]
    no_superblock: bool,
    /// as for format
    #[argh(option)]
    hash: Option<String>,
    /// as for format
    #[argh(option)]
    format: Option<u32>,
    /// as for format
    #[argh(option)]
    data_block_size: Option<u32>,
    /// as for format
    #[argh(option)]
    hash_block_size: Option<u32>,
    /// as for format
    #[argh(option)]
    data_blocks: Option<u64>,
    /// as for format
    #[argh(option)]
    salt: Option<String>,
    /// file or device with parity: what does not match is repaired in memory
    #[argh(option)]
    fec_device: Option<PathBuf>,
    /// as for format
    #[argh(option)]
    fec_offset: Option<u64>,
    /// as for format
    #[argh(option)]
    fec_roots: Option<u32>,
}

/// Print what the superblock of a hash tree says.
///
/// Exit code: 0 printed, 1 there is none.
#[derive(FromArgs)]
#[argh(subcommand, name = "dump")]
struct Dump {
    /// file or device with the hash tree
    #[argh(positional)]
    hash_device: PathBuf,
    /// bytes before the superblock; default: 0
    #[argh(option)]
    hash_offset: Option<u64>,
    /// file or device with parity: told of, too
    #[argh(option)]
    fec_device: Option<PathBuf>,
    /// as for format
    #[argh(option)]
    fec_offset: Option<u64>,
    /// as for format
    #[argh(option)]
    fec_roots: Option<u32>,
}

/// Does what is asked for.
pub(super) fn run(asked: Verity) -> Result<ExitCode, Box<dyn Error>> {
    match asked.command {
        Command::Format(asked) => {
            let written = Written {
                algorithm: asked.hash,
                format: asked.format,
                data_block_size: asked.data_block_size,
                hash_block_size: asked.hash_block_size,
                data_blocks: asked.data_blocks,
                hash_offset: asked.hash_offset,
                salt: asked.salt,
                uuid: asked.uuid,
                no_superblock: asked.no_superblock,
                fec_device: asked.fec_device,
                fec_offset: asked.fec_offset,
                fec_roots: asked.fec_roots,
            };
            let file = asked.root_hash_file.as_deref();
            show(verity::format(&asked.data, &asked.hash_device, file, &written)?)?;
        }
        Command::Verify(asked) => {
            let written = Written {
                algorithm: asked.hash,
                format: asked.format,
                data_block_size: asked.data_block_size,
                hash_block_size: asked.hash_block_size,
                data_blocks: asked.data_blocks,
                hash_offset: asked.hash_offset,
                salt: asked.salt,
                uuid: None,
                no_superblock: asked.no_superblock,
                fec_device: asked.fec_device,
                fec_offset: asked.fec_offset,
                fec_roots: asked.fec_roots,
            };
            let (root_hash, file) = (asked.root_hash.as_deref(), asked.root_hash_file.as_deref());
            match verity::verify(&asked.data, &asked.hash_device, root_hash, file, &written) {
                Err(error) if error.is_mismatch() => {
                    complain(format_args!("nextroot: {error}"));
                    return Ok(ExitCode::from(2));
                }
                verified => {
                    let report = verified?;
                    let whole = report.is_whole();
                    show(report)?;
                    if !whole {
                        return Ok(ExitCode::from(2));
                    }
                }
            }
        }
        Command::Dump(asked) => {
            let written = Written {
                hash_offset: asked.hash_offset,
                fec_device: asked.fec_device,
                fec_offset: asked.fec_offset,
                fec_roots: asked.fec_roots,
                ..Written::default()
            };
            show(verity::dump(&asked.hash_device, &written)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
