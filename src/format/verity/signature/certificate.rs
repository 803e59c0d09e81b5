//! Certificates that signatures are checked with: what of X.509 (RFC 5280) says whose a key is.
//!
//! They are trusted because of where they lie. So nothing else of them counts: no issuer's signature, no purpose, and no
//! validity, as for systemd (`PKCS7_NOVERIFY`) and the kernel; at boot nobody knows the time either.

use der::{Decode, Encode, asn1::ObjectIdentifier};
use sha2::{Digest, Sha256};
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use super::algorithm::Key;
use crate::format::verity::hex;

/// A trusted certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The file it was read from.
    pub path: String,
    /// SHA-256 of its DER, in hexadecimal.
    pub fingerprint: String,
    pub(super) issuer: Vec<u8>,
    pub(super) serial: Vec<u8>,
    pub(super) key_id: Option<Vec<u8>>,
    /// The key, or why it is not taken.
    pub(super) key: Result<Key, String>,
}

/// Bytes of the longest file that is read as a certificate.
pub const LONGEST: usize = 64 << 10;

/// A file that is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACertificate {
    /// Too long.
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    /// No PEM.
    #[error("it is no certificate in PEM: {0}")]
    Pem(String),
    /// No certificate in it.
    #[error("it is no X.509 certificate: {0}")]
    X509(String),
}

impl Certificate {
    /// Reads the first certificate of a file in PEM, the only form that systemd takes.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self, NotACertificate> {
        if bytes.len() > LONGEST {
            return Err(NotACertificate::TooLong);
        }
        let (label, der) =
            pem_rfc7468::decode_vec(first(bytes)).map_err(|error| NotACertificate::Pem(error.to_string()))?;
        if label != "CERTIFICATE" {
            return Err(NotACertificate::Pem(format!("it is {label}")));
        }
        Self::of_der(path, &der).map_err(|error| NotACertificate::X509(error.to_string()))
    }

    fn of_der(path: &str, der: &[u8]) -> der::Result<Self> {
        let read = x509_cert::Certificate::from_der(der)?;
        let about = read.tbs_certificate();
        let public = about.subject_public_key_info();
        let curve =
            public.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let bits = public.subject_public_key.raw_bytes();
        let key_id = about.get_extension::<SubjectKeyIdentifier>()?;
        Ok(Self {
            path: path.to_owned(),
            fingerprint: hex(&Sha256::digest(der)),
            issuer: about.issuer().to_der()?,
            serial: about.serial_number().to_der()?,
            key_id: key_id.map(|(_, id)| id.0.as_bytes().to_vec()),
            key: Key::of(public.algorithm.oid, curve, bits),
        })
    }
}

/// What is behind the first certificate is not looked at.
fn first(bytes: &[u8]) -> &[u8] {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let end = bytes.windows(END.len()).position(|window| window == END);
    end.and_then(|end| bytes.get(..end + END.len())).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/signatures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn files() {
        let certificate = file("p256.crt");
        let text = String::from_utf8(certificate.clone()).unwrap();
        let (_, der) = pem_rfc7468::decode_vec(&certificate).unwrap();
        for (bytes, expected) in [
            (certificate.clone(), ""),
            // Of several, the first; what openssl x509 -text writes before it is passed over.
            ([certificate.clone(), file("p384.crt")].concat(), ""),
            (format!("Certificate:\n    Data:\n{text}trailing words\n").into_bytes(), ""),
            (der, "it is no certificate in PEM"),
            (file("pem.p7s"), "it is no certificate in PEM: it is PKCS7"),
            (Vec::new(), "it is no certificate in PEM"),
            (text.replace("MII", "AAA").into_bytes(), "it is no X.509 certificate"),
            (vec![b'\n'; LONGEST + 1], "it has more than 65536 bytes"),
        ] {
            match Certificate::parse("p256.crt", &bytes) {
                Ok(found) => {
                    let by_openssl = "b9abe469b9a6574ccaad73ec66b2e7cd3585facdddce1698ada70bcf210871f5";
                    assert_eq!((expected, found.fingerprint.as_str()), ("", by_openssl));
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(!expected.is_empty() && error.contains(expected), "{expected}: {error}");
                }
            }
        }
    }
}
