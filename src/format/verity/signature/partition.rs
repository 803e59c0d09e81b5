//! What a partition with the signature of a root hash holds: JSON, filled up with zeros (UAPI.2, Discoverable Partitions
//! Specification; systemd's src/shared/dissect-image.c).

use serde::Deserialize;

use super::{NotASignature, Signature};
use crate::{
    format::verity::{
        from_hex,
        root_hash::{NotARootHash, RootHash},
    },
    units::Bytes,
};

/// The largest partition of that type that is looked at; systemd has the same limit.
pub const LARGEST: Bytes = Bytes(4 << 20);

/// A signature, and what it says it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The root hash.
    pub root_hash: RootHash,
    /// The SHA-256 of the signer's certificate in DER: a hint, which proves nothing.
    pub fingerprint: Option<Vec<u8>>,
    /// The signature.
    pub signature: Signature,
}

/// A partition that holds no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is too large.
    #[error("it has {0}, and a signature partition has {LARGEST} at most")]
    TooLarge(Bytes),
    /// No JSON, or other JSON.
    #[error("it is no JSON with rootHash and signature (UAPI.2): {0}")]
    Json(String),
    /// Something behind the zero that ends it.
    #[error("something follows the zero byte that ends its JSON, at {0}")]
    Zero(usize),
    /// Its root hash.
    #[error("its rootHash: {0}")]
    RootHash(NotARootHash),
    /// Its fingerprint.
    #[error("its certificateFingerprint is no SHA-256 in hexadecimal")]
    Fingerprint,
    /// Its signature.
    #[error("its signature: {0}")]
    Signature(NotASignature),
    /// A signature of another image.
    #[error("it has a signature of the root hash {found}, not of {wanted}: it belongs to another image")]
    Other {
        /// Its root hash.
        found: RootHash,
        /// The one of the image.
        wanted: RootHash,
    },
}

/// What of the JSON counts; other keys are passed over, as systemd does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    root_hash: String,
    certificate_fingerprint: Option<String>,
    signature: String,
}

impl Signed {
    /// Reads a whole partition.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() as u64 > LARGEST.0 {
            return Err(Error::TooLarge(Bytes(bytes.len() as u64)));
        }
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        if let Some(at) = rest.iter().position(|byte| *byte != 0) {
            return Err(Error::Zero(end + at));
        }
        // What does not count is not kept, and not followed into its depth.
        let json: Json = serde_json::from_slice(text).map_err(|error| Error::Json(error.to_string()))?;
        let fingerprint = match json.certificate_fingerprint {
            Some(text) => {
                let bytes = from_hex(&text).filter(|bytes| bytes.len() == 32);
                Some(bytes.ok_or(Error::Fingerprint)?)
            }
            None => None,
        };
        Ok(Self {
            root_hash: json.root_hash.parse().map_err(Error::RootHash)?,
            fingerprint,
            signature: json.signature.parse().map_err(Error::Signature)?,
        })
    }

    /// The signature, where it is of this root hash. That it holds is not checked here.
    pub fn of(self, root_hash: &RootHash) -> Result<Signature, Error> {
        if self.root_hash == *root_hash {
            return Ok(self.signature);
        }
        Err(Error::Other { found: self.root_hash, wanted: root_hash.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "4f68bce3e8cd4db196e7fbcaf984b7094f68bce3e8cd4db196e7fbcaf984b709";
    /// DER that could be a signature, in base64.
    const SIGNATURE: &str = "MAMCAQE=";

    /// As systemd-repart writes it.
    fn json() -> String {
        format!(
            "{{\"rootHash\":\"{HASH}\",\"certificateFingerprint\":\"{}\",\"signature\":\"{SIGNATURE}\"}}",
            "ab".repeat(32)
        )
    }

    fn padded(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(16384, 0);
        bytes
    }

    #[test]
    fn partitions() {
        let whole = Signed::parse(&padded(&json())).unwrap();
        assert_eq!(whole.root_hash.to_string(), HASH);
        assert_eq!(whole.fingerprint, Some(vec![0xab; 32]));
        assert_eq!(whole.signature.to_string(), SIGNATURE);
        for text in [
            format!("{{\"signature\":\"{SIGNATURE}\",\"rootHash\":\"{HASH}\"}}"),
            format!("{{\"rootHash\":\"{HASH}\",\"signature\":\"{SIGNATURE}\",\"more\":[{{}}]}}\n"),
            format!("{{\"rootHash\":\"{}\",\"signature\":\"{SIGNATURE}\"}}", HASH.to_uppercase()),
        ] {
            let read = Signed::parse(&padded(&text)).unwrap();
            assert_eq!((read.fingerprint.as_ref(), &read.signature), (None, &whole.signature), "{text}");
            // Also where nothing is filled up.
            assert_eq!(Signed::parse(text.as_bytes()), Ok(read));
        }
    }

    #[test]
    fn partitions_that_hold_no_signature() {
        let deep = format!("{{\"more\":{}", "[".repeat(1 << 20));
        let mut behind = padded(&json());
        behind[9000] = 1;
        for (bytes, expected) in [
            (padded(""), "it is no JSON with rootHash and signature (UAPI.2)"),
            (padded("{}"), "missing field `rootHash`"),
            (padded("[]"), "it is no JSON with rootHash and signature (UAPI.2)"),
            (padded(&json().replace("signature", "sign")), "missing field `signature`"),
            (padded(&json().replace(&format!("\"{HASH}\""), "7")), "invalid type: integer"),
            (padded(&json().replace("certificateFingerprint", "rootHash")), "duplicate field `rootHash`"),
            (padded(&json().replace(HASH, "4f68")), "its rootHash: \"4f68\" has 4 hexadecimal digits"),
            (padded(&json().replace("abab", "ab")), "its certificateFingerprint is no SHA-256"),
            (padded(&json().replace(SIGNATURE, "MAMC")), "its signature: it is cut off: 3 of 5 bytes"),
            (padded(&json()[..100]), "EOF while parsing"),
            (padded(&(json() + "{}")), "trailing characters"),
            (deep.into_bytes(), "EOF while parsing a list"),
            (behind, "something follows the zero byte that ends its JSON, at 9000"),
            (vec![0; (4 << 20) + 1], "it has 4.0 MiB, and a signature partition has 4.0 MiB at most"),
        ] {
            let error = Signed::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    /// systemd#39664: the signature of the other slot was taken.
    #[test]
    fn the_signature_of_another_image_is_refused() {
        let signed = Signed::parse(&padded(&json())).unwrap();
        assert!(signed.clone().of(&HASH.parse().unwrap()).is_ok());
        let other: RootHash = HASH.replace('4', "5").parse().unwrap();
        let error = signed.of(&other).unwrap_err().to_string();
        assert!(error.contains("it belongs to another image"), "{error}");
    }
}
