//! Digests and keys of signatures: what is taken, and what is too weak.

use der::{Decode, Reader, SliceReader, asn1::UintRef, oid::ObjectIdentifier};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey};
use sha2::{Sha256, Sha384, Sha512};

/// A digest that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

/// A public key that is taken.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Rsa(Box<PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

// RFC 8017, appendix C, and RFC 5758.
const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
const ECDSA_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
const P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = oid("1.3.132.0.34");
const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");

/// Digests that are known by name, and not taken.
const WEAK: [(ObjectIdentifier, &str); 4] = [
    (oid("1.2.840.113549.2.4"), "MD4"),
    (oid("1.2.840.113549.2.5"), "MD5"),
    (oid("1.3.14.3.2.26"), "SHA-1"),
    (oid("2.16.840.1.101.3.4.2.4"), "SHA-224"),
];

/// Bits of an RSA modulus that are taken.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

impl Digest {
    /// The digest of this object identifier; the words for a refusal where it is not taken.
    pub(super) fn of(oid: ObjectIdentifier) -> Result<Self, String> {
        match oid {
            SHA256 => Ok(Self::Sha256),
            SHA384 => Ok(Self::Sha384),
            SHA512 => Ok(Self::Sha512),
            _ => Err(match WEAK.iter().find(|(weak, _)| *weak == oid) {
                Some((_, name)) => {
                    format!("its digest is {name}, which is too weak: sign with SHA-256 or more")
                }
                None => format!("its digest {oid} is not known: sign with SHA-256, SHA-384 or SHA-512"),
            }),
        }
    }

    pub(super) fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        fn of<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut digest = D::new();
            parts.iter().for_each(|part| digest.update(part));
            digest.finalize().to_vec()
        }
        match self {
            Self::Sha256 => of::<Sha256>(parts),
            Self::Sha384 => of::<Sha384>(parts),
            Self::Sha512 => of::<Sha512>(parts),
        }
    }
}

impl Key {
    /// The key of a certificate: its algorithm, the curve, and its bits (RFC 5480, RFC 8017).
    pub(super) fn of(
        algorithm: ObjectIdentifier,
        curve: Option<ObjectIdentifier>,
        bits: &[u8],
    ) -> Result<Self, String> {
        const DAMAGED: &str = "its public key cannot be read";
        match (algorithm, curve) {
            (RSA, _) => rsa_key(bits),
            (EC, Some(P256)) => p256::ecdsa::VerifyingKey::from_sec1_bytes(bits)
                .map(|key| Self::P256(Box::new(key)))
                .map_err(|_| DAMAGED.to_owned()),
            (EC, Some(P384)) => p384::ecdsa::VerifyingKey::from_sec1_bytes(bits)
                .map(|key| Self::P384(Box::new(key)))
                .map_err(|_| DAMAGED.to_owned()),
            (EC, _) => Err("its curve is neither P-256 nor P-384: take one of them".to_owned()),
            _ => Err(format!("its key {algorithm} is neither RSA nor ECDSA: take one of them")),
        }
    }

    /// Whether `signature`, made by what `algorithm` names, is this key's over a digest; the words for a refusal.
    pub(super) fn verify(
        &self,
        algorithm: ObjectIdentifier,
        digest: Digest,
        hashed: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        self.fits(algorithm, digest)?;
        let holds = match self {
            Self::Rsa(key) => {
                let scheme = match digest {
                    Digest::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                    Digest::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                    Digest::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
                };
                key.verify(scheme, hashed, signature).is_ok()
            }
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(hashed, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(hashed, &signature).is_ok()),
        };
        holds.then_some(()).ok_or_else(|| "it is not this key's signature of this root hash".to_owned())
    }

    /// openssl names RSA by the key alone, ECDSA with the digest; other tools name both with it.
    fn fits(&self, algorithm: ObjectIdentifier, digest: Digest) -> Result<(), String> {
        let (rsa, ecdsa) = match digest {
            Digest::Sha256 => (RSA_SHA256, ECDSA_SHA256),
            Digest::Sha384 => (RSA_SHA384, ECDSA_SHA384),
            Digest::Sha512 => (RSA_SHA512, ECDSA_SHA512),
        };
        match self {
            Self::Rsa(_) if algorithm == RSA || algorithm == rsa => Ok(()),
            Self::P256(_) | Self::P384(_) if algorithm == ecdsa => Ok(()),
            _ if algorithm == RSA_PSS => Err(
                "it is RSASSA-PSS, which neither the kernel nor systemd takes here: sign with PKCS#1 v1.5"
                    .to_owned(),
            ),
            _ => Err(format!("its algorithm {algorithm} does not go with the key and the digest")),
        }
    }
}

fn rsa_key(bits: &[u8]) -> Result<Key, String> {
    let read = || -> der::Result<(Vec<u8>, Vec<u8>)> {
        let mut reader = SliceReader::new(bits)?;
        let parts = reader.sequence(|reader| {
            let [modulus, exponent] = [UintRef::decode(reader)?, UintRef::decode(reader)?];
            Ok::<_, der::Error>((modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec()))
        })?;
        reader.finish()?;
        Ok(parts)
    };
    let (modulus, exponent) = read().map_err(|_| "its public key cannot be read".to_owned())?;
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let size = modulus.len().saturating_mul(8).saturating_sub(zeros);
    if !RSA_BITS.contains(&size) {
        let (least, most) = RSA_BITS.into_inner();
        return Err(format!("its RSA key has {size} bits: {least} to {most} are taken"));
    }
    let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
    let key = PublicKey::new_with_size_limits(number(&modulus), number(&exponent), RSA_BITS);
    key.map(|key| Key::Rsa(Box::new(key))).map_err(|error| format!("its RSA key cannot be used: {error}"))
}
