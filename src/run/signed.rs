//! Opens dm-verity devices whose root hash has a signature: it is the kernel's to check first, and then ours.

use std::path::Path;

use crate::{
    format::verity::{
        root_hash::RootHash,
        signature::{self, Signature},
    },
    plan::{
        device::Device,
        signed::{CheckedBy, Handed, Place},
        step::OpenVerity,
    },
    sys::{
        self,
        dm::{Control, Target},
        file::{LastLink, RegularFile},
        keyring::ThreadKey,
    },
};

use super::failure::Error;

/// How a table was loaded.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// What its signature holds by.
    pub(super) checked: Option<CheckedBy>,
    /// What is to be told of a signature that counts for nothing.
    pub(super) note: Option<String>,
}

/// Why a certificate does not vouch for a signature.
enum Unvouched {
    /// None is the signer's.
    Unknown(String),
    /// It is wrong.
    #[cfg_attr(not(feature = "signatures"), expect(dead_code, reason = "nothing is checked here"))]
    Wrong(String),
}

/// Reads the signature that a device is to be opened with: it has to be one, and in a partition to be of this root hash.
pub(super) fn read(open: &OpenVerity) -> Result<Option<Signature>, Error> {
    let Some(handed) = &open.signature else { return Ok(None) };
    let (at, root_hash) = (&handed.signed.at, &open.table.root_hash);
    let read = match at {
        Place::Here { signature, .. } => Ok(signature.clone()),
        Place::File(path) => file(path),
        Place::Partition(device) => partition_of(device, root_hash),
    };
    let unusable = |why| Error::Signature { root_hash: root_hash.clone(), from: at.to_string(), why };
    read.map(Some).map_err(unusable)
}

/// Loads the table of a device with a signature: first with it; where the kernel does not take that, without it, if a
/// certificate vouches for it or nothing hangs on it.
pub(super) fn load(
    control: &Control,
    open: &OpenVerity,
    handed: &Handed,
    signature: &Signature,
) -> Result<Loaded, Error> {
    let refusal = match by_kernel(control, open, handed, signature) {
        Ok(()) => return Ok(Loaded { checked: Some(CheckedBy::Keyring), note: None }),
        Err(error) => error,
    };
    let root_hash = &open.table.root_hash;
    let by_certificate = match handed.signed.userspace {
        true => certificate(signature, root_hash),
        false => Err(Unvouched::Unknown("systemd.allow_userspace_verity= forbids it".to_owned())),
    };
    let loaded = match by_certificate {
        Ok(path) => Loaded { checked: Some(CheckedBy::Certificate(path)), note: None },
        Err(Unvouched::Unknown(why)) if !handed.signed.required && !refusal.is_key_rejected() => {
            let from = &handed.signed.at;
            let note = format!(
                "the signature of {root_hash} from {from} was not checked, and counts for nothing: by the kernel: {}; by a certificate in verity.d: {why}",
                refusal.in_one_line()
            );
            Loaded { checked: None, note: Some(note) }
        }
        Err(Unvouched::Unknown(why) | Unvouched::Wrong(why)) => {
            return Err(Error::Unsigned {
                name: open.name.clone(),
                root_hash: root_hash.clone(),
                from: handed.signed.at.to_string(),
                kernel: refusal.in_one_line(),
                userspace: why,
            });
        }
    };
    control.load_read_only(&open.name, &target(open, open.table.to_string()))?;
    Ok(loaded)
}

/// The target of a device.
pub(super) fn target(open: &OpenVerity, text: String) -> Target {
    Target { kind: "verity".to_owned(), sectors: open.table.sectors().0, text }
}

/// The kernel looks for the key by its description when the table is loaded, and not later: by then it has gone again, as
/// with libcryptsetup (lib/verity/verity.c).
///
/// ENOKEY: no keyring has the signer's key; EINVAL: built without `CONFIG_DM_VERITY_VERIFY_ROOTHASH_SIG`; ENOPKG: without
/// the algorithm; ENOSYS: without keys.
fn by_kernel(
    control: &Control,
    open: &OpenVerity,
    handed: &Handed,
    signature: &Signature,
) -> Result<(), sys::Error> {
    let _key = ThreadKey::user(&handed.key, signature.der())?;
    control.load_read_only(&open.name, &target(open, open.table.signed(&handed.key).to_string()))
}

#[cfg(feature = "signatures")]
fn certificate(signature: &Signature, root_hash: &RootHash) -> Result<String, Unvouched> {
    use crate::run::certificates::trusted;
    use signature::check::{self, check};

    let found = trusted(None).map_err(|error| Unvouched::Unknown(error.to_string()))?;
    let skipped = || match found.skipped.as_slice() {
        [] => String::new(),
        lines => format!(" (passed over: {})", lines.join("; ")),
    };
    match check(signature, root_hash, &found.certificates) {
        Ok(certificate) => Ok(certificate.path.clone()),
        Err(error @ check::Error::Unknown { .. }) => Err(Unvouched::Unknown(format!("{error}{}", skipped()))),
        Err(error) => Err(Unvouched::Wrong(error.to_string())),
    }
}

#[cfg(not(feature = "signatures"))]
fn certificate(_: &Signature, _: &RootHash) -> Result<String, Unvouched> {
    Err(Unvouched::Unknown("this build leaves that to the kernel".to_owned()))
}

fn file(path: &str) -> Result<Signature, String> {
    let file = RegularFile::open(Path::new(path), LastLink::Follow).map_err(|e| e.in_one_line())?;
    // Base64 of the longest one is a third longer; what has more is none.
    let bytes = file.read(0, signature::LONGEST * 2).map_err(|e| e.in_one_line())?;
    Signature::read(&bytes).map_err(|e| e.to_string())
}

/// The small init takes none: its signatures come with the kernel command line.
#[cfg(not(feature = "dissect"))]
fn partition_of(_: &Device, _: &RootHash) -> Result<Signature, String> {
    Err("this build reads no signature partitions".to_owned())
}

#[cfg(feature = "dissect")]
fn partition_of(partition: &Device, root_hash: &RootHash) -> Result<Signature, String> {
    use crate::{
        format::verity::signature::partition,
        sys::block::{self, Entry},
    };

    let Device { name, devno, diskseq } = partition;
    let node = Entry { name: name.clone() }.node();
    let device = block::Device::open(&node, *devno, *diskseq).map_err(|e| e.in_one_line())?;
    // One byte more, so that what is too large is seen to be.
    let length = usize::try_from(partition::LARGEST.0 + 1).map_err(|e| e.to_string())?;
    let bytes = device.read(0, length).map_err(|e| e.in_one_line())?;
    partition::Signed::parse(&bytes).and_then(|signed| signed.of(root_hash)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::kernel::devno::Devno,
        plan::{signed::Signed, step::HashOrigin},
    };

    #[test]
    fn signatures_are_read_before_anything_is_opened() {
        let devno = Devno { major: 0, minor: 1 };
        let device = Device { name: "nothing".to_owned(), devno, diskseq: None };
        let table = format!("1 0:1 0:1 4096 4096 1 1 sha256 {} -", "ab".repeat(32)).parse().unwrap();
        let mut open = OpenVerity {
            name: "root".to_owned(),
            uuid: String::new(),
            data: device.clone(),
            hash: device.clone(),
            fec: None,
            table,
            root_hash_from: HashOrigin::File,
            signature: None,
        };
        assert!(read(&open).unwrap().is_none());
        let file =
            |name: &str| Place::File(format!("{}/tests/signatures/{name}", env!("CARGO_MANIFEST_DIR")));
        // The init reads neither PEM nor partitions.
        let pem = match cfg!(feature = "signatures") {
            true => "it is CERTIFICATE, not PKCS7 or CMS",
            false => "this build reads DER only",
        };
        let partition = match cfg!(feature = "dissect") {
            true => "open /dev/nothing: No such file",
            false => "this build reads no signature partitions",
        };
        let pem = format!("its PEM cannot be read: {pem}");
        let partition = format!("from nothing (0:1) cannot be used: {partition}");
        for (at, expected) in [
            (file("p256.p7s"), Ok(212)),
            (file("stream.p7s"), Err("stream.p7s cannot be used: it is BER of indefinite length")),
            (file("p256.crt"), Err(pem.as_str())),
            (file("missing"), Err("missing: No such file")),
            (file(""), Err("it is no regular file")),
            (Place::Partition(device), Err(partition.as_str())),
        ] {
            open.signature = Some(Box::new(Handed { signed: Signed::found(at), key: "k".to_owned() }));
            match (read(&open), expected) {
                (Ok(signature), Ok(length)) => assert_eq!(signature.unwrap().der().len(), length),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (read, expected) => panic!("{read:?}, not {expected:?}"),
            }
        }
    }
}
