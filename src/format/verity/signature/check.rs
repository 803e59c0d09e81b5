//! Whether a signature is a trusted certificate's, of this root hash: what the kernel does with the keys of its keyrings
//! (crypto/asymmetric_keys/pkcs7_verify.c), and systemd with the certificates in verity.d.

use super::{
    Signature,
    algorithm::Digest,
    certificate::Certificate,
    message::{Signer, SignerId, signers},
};
use crate::format::verity::{hex, root_hash::RootHash};

/// A signature that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is none that can be checked.
    #[error("the signature of {root_hash} cannot be checked: {why}")]
    Message {
        /// The root hash.
        root_hash: RootHash,
        /// Why not.
        why: String,
    },
    /// None of the certificates is the signer's.
    #[error(
        "the signature of {root_hash} is by {signer}, and none of {certificates} trusted certificates is that one's: put it into /etc/verity.d"
    )]
    Unknown {
        /// The root hash.
        root_hash: RootHash,
        /// Who signed.
        signer: String,
        /// How many certificates there are.
        certificates: usize,
    },
    /// It is not what the certificate's key signed.
    #[error("the signature of {root_hash} does not hold by {certificate}: {why}")]
    Wrong {
        /// The root hash.
        root_hash: RootHash,
        /// The certificate's file.
        certificate: String,
        /// Why not.
        why: String,
    },
}

/// Checks a signature of a root hash with these certificates, and gives the one that it holds by. Of several signers each
/// has to be trusted and right, as for systemd; the last one's certificate is given.
pub fn check<'a>(
    signature: &Signature,
    root_hash: &RootHash,
    trusted: &'a [Certificate],
) -> Result<&'a Certificate, Error> {
    let unusable = |why| Error::Message { root_hash: root_hash.clone(), why };
    let content = root_hash.to_string();
    let mut by = None;
    for signer in signers(signature.der()).map_err(unusable)? {
        let (digest, hashed) = hashed(&signer, content.as_bytes()).map_err(unusable)?;
        by = Some(certificate(&signer, digest, &hashed, root_hash, trusted)?);
    }
    by.ok_or_else(|| unusable("nobody signed it".to_owned()))
}

/// The digest that was signed: of the content, or of attributes that have the content's.
fn hashed(signer: &Signer<'_>, content: &[u8]) -> Result<(Digest, Vec<u8>), String> {
    const SET: u8 = 0x31;
    let digest = Digest::of(signer.digest)?;
    let of_content = digest.digest(&[content]);
    let Some(attributes) = &signer.attributes else { return Ok((digest, of_content)) };
    if attributes.digest != of_content {
        return Err("its messageDigest is not of this root hash: it was made for another image".to_owned());
    }
    // They are signed under the tag of a set, not the one that they have in the message (RFC 5652, section 5.4).
    let head = [&[SET], length(attributes.signed.len()).as_slice()].concat();
    Ok((digest, digest.digest(&[&head, attributes.signed])))
}

/// A length in DER (X.690, 8.1.3).
fn length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => vec![short],
        Ok(byte) => vec![0x81, byte],
        Err(_) => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            [&[0x80 | bytes.len() as u8], bytes.as_slice()].concat()
        }
    }
}

/// Of several certificates by one name, any may be the right one.
fn certificate<'a>(
    signer: &Signer<'_>,
    digest: Digest,
    hashed: &[u8],
    root_hash: &RootHash,
    trusted: &'a [Certificate],
) -> Result<&'a Certificate, Error> {
    let mut failure = Error::Unknown {
        root_hash: root_hash.clone(),
        signer: describe(&signer.id),
        certificates: trusted.len(),
    };
    for certificate in trusted.iter().filter(|certificate| is_of(certificate, &signer.id)) {
        let key = certificate.key.as_ref().map_err(String::clone);
        match key.and_then(|key| key.verify(signer.algorithm, digest, hashed, signer.signature)) {
            Ok(()) => return Ok(certificate),
            Err(why) => {
                let (root_hash, certificate) = (root_hash.clone(), certificate.path.clone());
                failure = Error::Wrong { root_hash, certificate, why };
            }
        }
    }
    Err(failure)
}

fn is_of(certificate: &Certificate, id: &SignerId<'_>) -> bool {
    match id {
        SignerId::Serial { issuer, serial } => certificate.issuer == *issuer && certificate.serial == *serial,
        SignerId::KeyId(key_id) => certificate.key_id.as_deref() == Some(key_id),
    }
}

fn describe(id: &SignerId<'_>) -> String {
    match id {
        SignerId::Serial { serial, .. } => {
            format!("the certificate with the serial number {}", hex(serial.get(2..).unwrap_or_default()))
        }
        SignerId::KeyId(key_id) => format!("the certificate with the key identifier {}", hex(key_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "4f68bce3e8cd4db196e7fbcaf984b7094f68bce3e8cd4db196e7fbcaf984b709";

    /// What tests/signatures/make made.
    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/signatures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn signature(name: &str) -> Signature {
        Signature::read(&file(&format!("{name}.p7s"))).unwrap()
    }

    fn certificates(names: &str) -> Vec<Certificate> {
        let read = |name: &str| Certificate::parse(name, &file(&format!("{name}.crt"))).unwrap();
        names.split_whitespace().map(read).collect()
    }

    fn checked(signature: &Signature, trusted: &str) -> Result<String, String> {
        let root_hash: RootHash = HASH.parse().unwrap();
        let trusted = certificates(trusted);
        check(signature, &root_hash, &trusted).map(|by| by.path.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn signatures_that_hold() {
        for (name, trusted, by) in [
            ("rsa2048", "rsa2048", "rsa2048"),
            ("rsa3072", "rsa3072", "rsa3072"),
            ("rsa4096", "rsa4096", "rsa4096"),
            ("rsa2048-sha384", "rsa2048", "rsa2048"),
            ("rsa2048-sha512", "rsa2048", "rsa2048"),
            ("p256", "p256", "p256"),
            ("p256-sha512", "p256", "p256"),
            ("p384", "p384", "p384"),
            ("p384-sha384", "p384", "p384"),
            // One that is not used may be of any kind.
            ("p256", "p521 ed25519 rsa1024 rsa2048 p256", "p256"),
            // Of two by one name, the right one.
            ("rsa2048", "foreign rsa2048", "rsa2048"),
            ("foreign", "foreign rsa2048", "foreign"),
            ("attributes-hash", "rsa2048", "rsa2048"),
            ("attributes-p384", "p384", "p384"),
            ("keyid", "rsa2048 p256", "p256"),
            ("pem", "rsa2048", "rsa2048"),
            ("pem-cms", "p256", "p256"),
            ("two", "rsa2048 p256", "rsa2048"),
            ("certificate-inside", "foreign", "foreign"),
            ("keyutil", "keyutil", "keyutil"),
            // Nobody knows the time when a machine starts: validity does not count.
            ("expired", "expired", "expired"),
        ] {
            assert_eq!(checked(&signature(name), trusted), Ok(by.to_owned()), "{name}");
        }
    }

    #[test]
    fn signatures_that_do_not_hold() {
        for (name, trusted, why) in [
            (
                "other",
                "rsa2048",
                "does not hold by rsa2048: it is not this key's signature of this root hash",
            ),
            ("rsa2048", "foreign", "does not hold by foreign: it is not this key's signature"),
            ("foreign", "rsa2048", "does not hold by rsa2048: it is not this key's signature"),
            // The certificate in the message is nobody that is trusted.
            ("certificate-inside", "rsa2048", "does not hold by rsa2048: it is not this key's signature"),
            ("certificate-inside", "p256", "none of 1 trusted certificates is that one's"),
            ("rsa2048", "", "serial number 008001, and none of 0 trusted certificates"),
            ("keyid", "rsa2048", "with the key identifier "),
            ("two", "rsa2048", "the certificate with the serial number 05"),
            (
                "attributes-other",
                "rsa2048",
                "messageDigest is not of this root hash: it was made for another",
            ),
            ("rsa2048-sha1", "rsa2048", "its digest is SHA-1, which is too weak"),
            ("p384-sha1", "p384", "its digest is SHA-1, which is too weak"),
            ("rsa1024", "rsa1024", "its RSA key has 1024 bits: 2048 to 4096 are taken"),
            ("p521", "p521", "its curve is neither P-256 nor P-384"),
            ("pss", "rsa2048", "it is RSASSA-PSS, which neither the kernel nor systemd takes here"),
            ("attached", "rsa2048", "what it signs is inside of it: a detached signature is needed"),
        ] {
            let error = checked(&signature(name), trusted).unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn a_partition_by_systemd_repart() {
        let mut bytes = file("repart.json");
        bytes.resize(16384, 0);
        let signed = super::super::partition::Signed::parse(&bytes).unwrap();
        let certificates = certificates("p256 repart");
        let by = check(&signed.signature, &signed.root_hash, &certificates).unwrap();
        assert_eq!(by.path, "repart");
        assert_eq!(signed.fingerprint.map(|bytes| hex(&bytes)), Some(by.fingerprint.clone()));
        assert!(check(&signed.signature, &HASH.parse().unwrap(), &certificates).is_err());
    }

    /// Each byte of a signature counts, but for these: what is signed is the root hash, and what says who signed it how is
    /// compared or used.
    #[test]
    fn no_changed_byte_makes_another_signature_hold() {
        const TAG: &str =
            "that [0] holds others, which is not looked at where it is read as what it has to be";
        const VERSION: &str = "the version of a structure that is read by its form";
        const DIGESTS: &str = "the list of digests for those who read in one go: each signer names its own";
        const PARAMETERS: &str =
            "what stands in the place of NULL beside an algorithm that has no parameters";
        let every = [1, 2, 4, 8, 16, 32, 64, 128].as_slice();
        for (name, trusted, bits, without_effect) in [
            (
                "p256",
                "p256",
                every,
                &[
                    (14..15, TAG),
                    (22..23, VERSION),
                    (25..40, DIGESTS),
                    (61..62, VERSION),
                    (124..125, PARAMETERS),
                ][..],
            ),
            (
                "keyid",
                "p256",
                every,
                &[(14..15, TAG), (22..23, VERSION), (25..38, DIGESTS), (57..58, VERSION), (58..59, TAG)],
            ),
            (
                "rsa2048",
                "rsa2048",
                &[1, 32],
                &[
                    (15..16, TAG),
                    (25..26, VERSION),
                    (28..43, DIGESTS),
                    (66..67, VERSION),
                    (131..132, PARAMETERS),
                    (146..147, PARAMETERS),
                ],
            ),
            (
                "attributes-hash",
                "rsa2048",
                &[1, 32],
                &[
                    (15..16, TAG),
                    (25..26, VERSION),
                    (28..43, DIGESTS),
                    (66..67, VERSION),
                    (131..132, PARAMETERS),
                    // They are hashed as a SET, whatever their tag is (RFC 5652, 5.4).
                    (133..134, TAG),
                    (377..378, PARAMETERS),
                ],
            ),
        ] {
            let (good, certificates) = (file(&format!("{name}.p7s")), certificates(trusted));
            let root_hash: RootHash = HASH.parse().unwrap();
            let other: RootHash = HASH.replace('4', "5").parse().unwrap();
            for at in 0..good.len() {
                let holds = |bit: &u8| {
                    let mut changed = good.clone();
                    changed[at] ^= bit;
                    let Ok(changed) = Signature::read(&changed) else { return false };
                    assert!(check(&changed, &other, &certificates).is_err(), "{name}: {at}");
                    check(&changed, &root_hash, &certificates).is_ok()
                };
                let argued = without_effect.iter().find(|(range, _)| range.contains(&at)).map(|(_, why)| why);
                assert_eq!(bits.iter().any(holds), argued.is_some(), "{name}: byte {at}: {argued:?}");
            }
        }
    }

    #[test]
    fn every_truncation_is_survived() {
        let der = file("attributes-hash.p7s");
        let certificates = certificates("rsa2048");
        for end in 0..der.len() {
            // As it is, and with a head that hides it.
            assert!(Signature::read(&der[..end]).is_err());
            let body = &der[4.min(end)..end];
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            let whole = [&[0x30, 0x82], length.as_slice(), body].concat();
            let signature = Signature::read(&whole).unwrap();
            assert!(check(&signature, &HASH.parse().unwrap(), &certificates).is_err(), "{end}");
        }
    }

    #[test]
    fn lengths() {
        for (number, der) in
            [(0, &[0][..]), (127, &[127]), (128, &[0x81, 128]), (255, &[0x81, 255]), (256, &[0x82, 1, 0])]
        {
            assert_eq!(length(number), der);
        }
    }
}
