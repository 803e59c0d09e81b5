//! `format/verity/signature/partition.rs`: what is read of a partition is a signature of one root hash, and given for that
//! one only; written as JSON again it reads as the same; zeros behind it change nothing, anything else is refused.

use nextroot::format::verity::{
    root_hash::RootHash,
    signature::partition::{LARGEST, Signed},
};
use serde_json::json;

pub(super) fn run(data: &[u8]) {
    let Ok(signed) = Signed::parse(data) else { return };
    assert!(data.len() as u64 <= LARGEST.0);
    assert!(signed.fingerprint.as_ref().is_none_or(|fingerprint| fingerprint.len() == 32));
    let (root_hash, signature) = (signed.root_hash.to_string(), signed.signature.to_string());
    let mut json = json!({"rootHash": root_hash, "signature": signature});
    if let Some(fingerprint) = &signed.fingerprint {
        let hexadecimal: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        json["certificateFingerprint"] = hexadecimal.into();
    }
    assert_eq!(Signed::parse(json.to_string().as_bytes()).as_ref(), Ok(&signed));
    let mut padded = data.to_vec();
    padded.resize(data.len() + 512, 0);
    assert_eq!(Signed::parse(&padded).as_ref(), Ok(&signed));
    padded.push(b'x');
    assert!(Signed::parse(&padded).is_err());
    let mut other = signed.root_hash.bytes().to_vec();
    other[0] ^= 1;
    let other: String = other.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(signed.clone().of(&other.parse::<RootHash>().unwrap()).is_err());
    assert_eq!(signed.clone().of(&signed.root_hash), Ok(signed.signature));
}
