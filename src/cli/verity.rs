//! `nextroot verity` and its options, spelled as veritysetup(8) spells them.

use std::{error::Error, path::PathBuf, process::ExitCode, str::FromStr};

use argh::{ArgsInfo, FromArgs};
use nextroot::mode::verity::{self, Activation, Closing, Written};

use super::{bar::Bar, fail, show};

/// Make, check and show dm-verity hash trees, open and close devices over them, as veritysetup(8) does.
///
/// A hash tree has a hash of each block of the data, and hashes of those, up to one, the root hash. A device over both gives only
/// what matches it.
#[derive(FromArgs, ArgsInfo)]
#[argh(example = "nextroot verity format os.erofs os.verity --root-hash-file os.roothash")]
#[argh(example = "nextroot verity verify os.erofs os.verity --root-hash-file os.roothash")]
#[argh(example = "nextroot verity open /dev/vda3 os /dev/vda4 0a0f15ff...")]
#[argh(subcommand, name = "verity")]
pub(super) struct Verity {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Command {
    Format(Format),
    Verify(Verify),
    Dump(Dump),
    Open(Open),
    Close(Close),
    Status(Status),
}

/// Make a hash tree, and print its parameters and root hash.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "format")]
#[argh(error_code(0, "made"))]
#[argh(error_code(1, "not made"))]
#[argh(error_code(2, "a file may not be read, or not be written"))]
#[argh(error_code(4, "a file or device is missing"))]
#[argh(error_code(5, "one is in use"))]
struct Format {
    /// file or device with the data
    #[argh(positional, arg_name = "DATA")]
    data: PathBuf,
    /// file or device that the hash tree is written into; a file is made where there is none
    #[argh(positional, arg_name = "HASH_DEVICE")]
    hash_device: PathBuf,
    /// hash: sha256 (default), sha224, sha384, sha512
    #[argh(option, short = 'h', arg_name = "ALGORITHM")]
    hash: Option<String>,
    /// on-disk format of the tree: 1 (default), or 0, which Chromium OS had
    #[argh(option, arg_name = "0|1", from_str_fn(number))]
    format: Option<u32>,
    /// bytes that are hashed at once; default: 4096
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    data_block_size: Option<u32>,
    /// bytes of a block of digests; default: 4096
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    hash_block_size: Option<u32>,
    /// how many data blocks; default: all
    #[argh(option, arg_name = "NUMBER", from_str_fn(number))]
    data_blocks: Option<u64>,
    /// bytes before the superblock on the hash device; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    hash_offset: Option<u64>,
    /// salt, in hexadecimal, - for none; default: 32 random bytes
    #[argh(option, short = 's', arg_name = "HEX")]
    salt: Option<String>,
    /// UUID of the hash tree; default: a random one
    #[argh(option, arg_name = "UUID")]
    uuid: Option<String>,
    /// write no superblock: whoever opens or verifies it has to give --hash, --salt and the sizes then
    #[argh(switch)]
    no_superblock: bool,
    /// write the root hash into this file, too
    #[argh(option, arg_name = "FILE")]
    root_hash_file: Option<PathBuf>,
    /// file or device for parity, by which damage is repaired
    #[argh(option, arg_name = "DEVICE")]
    fec_device: Option<PathBuf>,
    /// bytes before the parity on its device; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    fec_offset: Option<u64>,
    /// how many of each 255 bytes are parity: 2 (default) to 24
    #[argh(option, arg_name = "NUMBER", from_str_fn(number))]
    fec_roots: Option<u32>,
}

/// Check every block of data and hash tree against a root hash.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "verify")]
#[argh(error_code(0, "all match, or do when they are repaired"))]
#[argh(error_code(1, "it could not be checked"))]
#[argh(error_code(2, "one does not match, or may not be read"))]
#[argh(error_code(4, "a file or device is missing"))]
struct Verify {
    /// file or device with the data
    #[argh(positional, arg_name = "DATA")]
    data: PathBuf,
    /// file or device with the hash tree
    #[argh(positional, arg_name = "HASH_DEVICE")]
    hash_device: PathBuf,
    /// root hash, in hexadecimal, or --root-hash-file
    #[argh(positional, arg_name = "ROOT_HASH")]
    root_hash: Option<String>,
    /// read the root hash from this file
    #[argh(option, arg_name = "FILE")]
    root_hash_file: Option<PathBuf>,
    /// bytes before the superblock on the hash device; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    hash_offset: Option<u64>,
    /// there is no superblock
    #[argh(switch)]
    no_superblock: bool,
    /// where no superblock says it: sha256 (default), sha224, sha384, sha512
    #[argh(option, short = 'h', arg_name = "ALGORITHM")]
    hash: Option<String>,
    /// where no superblock says it: on-disk format of the tree, 1 (default), or 0, which Chromium OS had
    #[argh(option, arg_name = "0|1", from_str_fn(number))]
    format: Option<u32>,
    /// where no superblock says it: bytes that are hashed at once; default: 4096
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    data_block_size: Option<u32>,
    /// where no superblock says it: bytes of a block of digests; default: 4096
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    hash_block_size: Option<u32>,
    /// where no superblock says it: how many data blocks; default: all
    #[argh(option, arg_name = "NUMBER", from_str_fn(number))]
    data_blocks: Option<u64>,
    /// where no superblock says it, and needed then: salt, in hexadecimal, - for none
    #[argh(option, short = 's', arg_name = "HEX")]
    salt: Option<String>,
    /// file or device with parity: what does not match is repaired in memory, and told of
    #[argh(option, arg_name = "DEVICE")]
    fec_device: Option<PathBuf>,
    /// bytes before the parity on its device; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    fec_offset: Option<u64>,
    /// how many of each 255 bytes are parity: 2 (default) to 24
    #[argh(option, arg_name = "NUMBER", from_str_fn(number))]
    fec_roots: Option<u32>,
}

/// Open a dm-verity device over data and hash tree, as /dev/mapper/NAME, and check its first block.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "open")]
#[argh(error_code(0, "opened"))]
#[argh(error_code(1, "not opened, as where the signature is not accepted"))]
#[argh(error_code(2, "a block does not match, or it is not permitted"))]
#[argh(error_code(4, "a file or device is missing"))]
#[argh(error_code(5, "there is a device of this name, or one is in use"))]
struct Open {
    /// file or device with the data; a file gets a loop device
    #[argh(positional, arg_name = "DATA")]
    data: PathBuf,
    /// name of the device
    #[argh(positional, arg_name = "NAME")]
    name: String,
    /// file or device with the hash tree
    #[argh(positional, arg_name = "HASH_DEVICE")]
    hash_device: PathBuf,
    /// root hash, in hexadecimal, or --root-hash-file
    #[argh(positional, arg_name = "ROOT_HASH")]
    root_hash: Option<String>,
    /// read the root hash from this file
    #[argh(option, arg_name = "FILE")]
    root_hash_file: Option<PathBuf>,
    /// signature of the root hash (PKCS#7), which the kernel has to take
    #[argh(option, arg_name = "FILE")]
    root_hash_signature: Option<PathBuf>,
    /// bytes before the superblock on the hash device; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    hash_offset: Option<u64>,
    /// there is no superblock
    #[argh(switch)]
    no_superblock: bool,
    /// where no superblock says it: sha256 (default), sha224, sha384, sha512
    #[argh(option, short = 'h', arg_name = "ALGORITHM")]
    hash: Option<String>,
    /// where no superblock says it: on-disk format of the tree, 1 (default), or 0, which Chromium OS had
    #[argh(option, arg_name = "0|1", from_str_fn(number))]
    format: Option<u32>,
    /// where no superblock says it: bytes that are hashed at once; default: 4096
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    data_block_size: Option<u32>,
    /// where no superblock says it: bytes of a block of digests; default: 4096
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    hash_block_size: Option<u32>,
    /// where no superblock says it: how many data blocks; default: all
    #[argh(option, arg_name = "NUMBER", from_str_fn(number))]
    data_blocks: Option<u64>,
    /// where no superblock says it, and needed then: salt, in hexadecimal, - for none
    #[argh(option, short = 's', arg_name = "HEX")]
    salt: Option<String>,
    /// file or device with parity: what does not match is repaired
    #[argh(option, arg_name = "DEVICE")]
    fec_device: Option<PathBuf>,
    /// bytes before the parity on its device; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    fec_offset: Option<u64>,
    /// how many of each 255 bytes are parity: 2 (default) to 24
    #[argh(option, arg_name = "NUMBER", from_str_fn(number))]
    fec_roots: Option<u32>,
    /// log blocks that do not match, and let them be read
    #[argh(switch)]
    ignore_corruption: bool,
    /// restart the machine when a block does not match
    #[argh(switch)]
    restart_on_corruption: bool,
    /// panic when a block does not match
    #[argh(switch)]
    panic_on_corruption: bool,
    /// with --restart-on-corruption or --panic-on-corruption: take a block that cannot be read for one that does not match (Linux
    /// 6.12)
    #[argh(switch)]
    error_as_corruption: bool,
    /// where the digest is that of a block of zeros, give zeros without reading the data
    #[argh(switch)]
    ignore_zero_blocks: bool,
    /// check a block only the first time that it is read
    #[argh(switch)]
    check_at_most_once: bool,
    /// check in the kernel's tasklets, for less delay (Linux 6.0)
    #[argh(switch)]
    use_tasklets: bool,
}

/// Close a dm-verity device.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "close")]
#[argh(error_code(0, "closed, or with --deferred: will be"))]
#[argh(error_code(1, "not closed"))]
#[argh(error_code(4, "there is no such device"))]
#[argh(error_code(5, "it is in use"))]
struct Close {
    /// name of the device
    #[argh(positional, arg_name = "NAME")]
    name: String,
    /// close it when nobody has it open any more
    #[argh(switch)]
    deferred: bool,
    /// keep it after all, where --deferred was said before
    #[argh(switch)]
    cancel_deferred: bool,
}

/// Print what is known of a dm-verity device that is open.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
#[argh(error_code(0, "printed"))]
#[argh(error_code(1, "it could not be told"))]
#[argh(error_code(4, "there is no such device"))]
struct Status {
    /// name of the device
    #[argh(positional, arg_name = "NAME")]
    name: String,
}

/// Print what the superblock of a hash tree says.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "dump")]
#[argh(error_code(0, "printed"))]
#[argh(error_code(1, "there is none"))]
#[argh(error_code(2, "it may not be read"))]
#[argh(error_code(4, "the file or device is missing"))]
struct Dump {
    /// file or device with the hash tree
    #[argh(positional, arg_name = "HASH_DEVICE")]
    hash_device: PathBuf,
    /// bytes before the superblock; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    hash_offset: Option<u64>,
    /// file or device with parity: show what is known of it, too
    #[argh(option, arg_name = "DEVICE")]
    fec_device: Option<PathBuf>,
    /// bytes before the parity on its device; default: 0
    #[argh(option, arg_name = "BYTES", from_str_fn(number))]
    fec_offset: Option<u64>,
    /// how many of each 255 bytes are parity: 2 (default) to 24
    #[argh(option, arg_name = "NUMBER", from_str_fn(number))]
    fec_roots: Option<u32>,
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "a whole number is needed, in decimal".to_owned())
}

/// The options that format, verify and open share: argh has no way to say them once, their meaning is.
macro_rules! written {
    ($asked:ident) => {
        Written {
            algorithm: $asked.hash,
            format: $asked.format,
            data_block_size: $asked.data_block_size,
            hash_block_size: $asked.hash_block_size,
            data_blocks: $asked.data_blocks,
            hash_offset: $asked.hash_offset,
            salt: $asked.salt,
            uuid: None,
            no_superblock: $asked.no_superblock,
            fec_device: $asked.fec_device,
            fec_offset: $asked.fec_offset,
            fec_roots: $asked.fec_roots,
        }
    };
}

impl Verity {
    /// Files may be read and written by whoever may do that; device-mapper is root's.
    pub(super) fn needs_root(&self) -> bool {
        matches!(self.command, Command::Open(_) | Command::Close(_) | Command::Status(_))
    }
}

/// Does what is asked for.
pub(super) fn run(asked: Verity) -> Result<ExitCode, Box<dyn Error>> {
    match done(asked.command) {
        Err(error) => {
            fail(&*error);
            let code = error.downcast_ref().map_or(1, verity::Error::exit_code);
            Ok(ExitCode::from(code))
        }
        done => done,
    }
}

fn done(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Format(asked) => {
            let written = Written { uuid: asked.uuid, ..written!(asked) };
            let file = asked.root_hash_file.as_deref();
            let bar = Bar::new("hashed");
            let header = verity::format(&asked.data, &asked.hash_device, file, &written, &bar.watch());
            drop(bar);
            show(header?)?;
        }
        Command::Verify(asked) => {
            let written = written!(asked);
            let (root_hash, file) = (asked.root_hash.as_deref(), asked.root_hash_file.as_deref());
            let bar = Bar::new("verified");
            let verified =
                verity::verify(&asked.data, &asked.hash_device, root_hash, file, &written, &bar.watch());
            drop(bar);
            let report = verified?;
            let whole = report.is_whole();
            show(report)?;
            if !whole {
                return Ok(ExitCode::from(2));
            }
        }
        Command::Open(asked) => open(asked)?,
        Command::Close(asked) => {
            let closing = match (asked.deferred, asked.cancel_deferred) {
                (false, false) => Closing::Now,
                (true, false) => Closing::Deferred,
                (false, true) => Closing::CancelDeferred,
                (true, true) => return Err("--deferred and --cancel-deferred exclude each other".into()),
            };
            if verity::close(&asked.name, closing)? && closing == Closing::Deferred {
                show(format_args!(
                    "Device {} is still active and scheduled for deferred removal.\n",
                    asked.name
                ))?;
            }
        }
        Command::Status(asked) => {
            let status = verity::status(&asked.name)?;
            show(&status)?;
            return Ok(ExitCode::from(if status.active.is_some() { 0 } else { 4 }));
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

fn open(asked: Open) -> Result<(), verity::Error> {
    let written = written!(asked);
    let activation = Activation {
        root_hash_signature: asked.root_hash_signature,
        ignore_corruption: asked.ignore_corruption,
        restart_on_corruption: asked.restart_on_corruption,
        panic_on_corruption: asked.panic_on_corruption,
        error_as_corruption: asked.error_as_corruption,
        ignore_zero_blocks: asked.ignore_zero_blocks,
        check_at_most_once: asked.check_at_most_once,
        use_tasklets: asked.use_tasklets,
    };
    let (root_hash, file) = (asked.root_hash.as_deref(), asked.root_hash_file.as_deref());
    verity::open(&asked.data, &asked.name, &asked.hash_device, root_hash, file, &written, &activation)
}
