//! The signature of a root hash: PKCS#7 (RFC 2315, RFC 5652), detached, over the root hash as lower-case hexadecimal
//! text without a newline. systemd, libcryptsetup and the kernel (drivers/md/dm-verity-verify-sig.c) agree on that.
//!
//! [`Signature`] is one as it was found, to be handed to the kernel. What is in it is read where it is checked here.

use std::{fmt, str::FromStr};

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

#[cfg(feature = "signatures")]
mod algorithm;
#[cfg(feature = "signatures")]
pub mod certificate;
#[cfg(feature = "signatures")]
pub mod check;
#[cfg(feature = "signatures")]
mod message;
pub mod partition;

/// A signature, in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature(Vec<u8>);

/// Bytes of the longest signature: what a key of the type "user" holds (security/keys/user_defined.c), and so what the
/// kernel can be given.
pub const LONGEST: usize = 32767;

/// Bytes that are no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASignature {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// More than any signature has.
    #[error(
        "it has more than {LONGEST} bytes, which the kernel does not take: leave certificates out (-nocerts)"
    )]
    TooLong,
    /// Something else.
    #[error(
        "it is no PKCS#7 in DER or PEM: write it by openssl smime -sign -nocerts -noattr -binary -outform DER"
    )]
    Other,
    /// A length that is not given in front.
    #[error("it is BER of indefinite length, as a stream is written: make it in DER, without -stream")]
    Indefinite,
    /// The end is missing.
    #[error("it is cut off: {has} of {needs} bytes are there")]
    Truncated {
        /// Bytes that are there.
        has: usize,
        /// Bytes that it says it has.
        needs: usize,
    },
    /// There is more than a signature.
    #[error("{0} bytes follow its end: it was not written by one tool alone")]
    Trailing(usize),
    /// PEM that is none.
    #[error("its PEM cannot be read: {0}")]
    Pem(String),
    /// Base64 that is none.
    #[error("it is no base64")]
    Base64,
}

/// The labels of PEM: those of openssl smime and openssl cms.
#[cfg(feature = "signatures")]
const LABELS: [&str; 2] = ["PKCS7", "CMS"];

impl Signature {
    /// Reads a file: DER, or PEM as `openssl smime -outform PEM` writes it.
    pub fn read(bytes: &[u8]) -> Result<Self, NotASignature> {
        // Base64 of PEM is a third longer.
        if bytes.len() > LONGEST * 3 / 2 {
            return Err(NotASignature::TooLong);
        }
        match bytes.first() {
            None => Err(NotASignature::Empty),
            Some(&SEQUENCE) => Self::der_of(bytes.to_vec()),
            Some(_) if bytes.windows(PEM.len()).any(|window| window == PEM) => Self::of_pem(bytes),
            Some(_) => Err(NotASignature::Other),
        }
    }

    /// DER of it.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    #[cfg(not(feature = "signatures"))]
    fn of_pem(_: &[u8]) -> Result<Self, NotASignature> {
        Err(NotASignature::Pem("this build reads DER only".to_owned()))
    }

    #[cfg(feature = "signatures")]
    fn of_pem(bytes: &[u8]) -> Result<Self, NotASignature> {
        let (label, der) =
            pem_rfc7468::decode_vec(bytes).map_err(|error| NotASignature::Pem(error.to_string()))?;
        if !LABELS.contains(&label) {
            return Err(NotASignature::Pem(format!("it is {label}, not {}", LABELS.join(" or "))));
        }
        Self::der_of(der)
    }

    /// One whole element, and nothing behind it.
    fn der_of(bytes: Vec<u8>) -> Result<Self, NotASignature> {
        let (has, needs) = (bytes.len(), whole_length(&bytes)?);
        match has {
            _ if has < needs => Err(NotASignature::Truncated { has, needs }),
            _ if has > needs => Err(NotASignature::Trailing(has - needs)),
            _ if has > LONGEST => Err(NotASignature::TooLong),
            _ => Ok(Self(bytes)),
        }
    }
}

/// What DER of PKCS#7 begins with.
const SEQUENCE: u8 = 0x30;
/// What PEM has at the start of a line.
const PEM: &[u8] = b"-----BEGIN ";

/// The length of an element with its head (X.690, 8.1.3).
fn whole_length(bytes: &[u8]) -> Result<usize, NotASignature> {
    const INDEFINITE: u8 = 0x80;
    match bytes {
        [SEQUENCE, INDEFINITE, ..] => Err(NotASignature::Indefinite),
        [SEQUENCE, short @ 0..INDEFINITE, ..] => Ok(2 + usize::from(*short)),
        [SEQUENCE, 0x81, length, ..] => Ok(3 + usize::from(*length)),
        [SEQUENCE, 0x82, high, low, ..] => Ok(4 + usize::from(u16::from_be_bytes([*high, *low]))),
        [SEQUENCE, 0x83..=0xff, ..] => Err(NotASignature::TooLong),
        [SEQUENCE, ..] => Err(NotASignature::Truncated { has: bytes.len(), needs: bytes.len() + 1 }),
        _ => Err(NotASignature::Other),
    }
}

impl FromStr for Signature {
    type Err = NotASignature;

    /// Base64 of DER; lines may be broken anywhere, as systemd reads it (src/basic/hexdecoct.c).
    fn from_str(text: &str) -> Result<Self, NotASignature> {
        if text.len() > LONGEST * 3 / 2 {
            return Err(NotASignature::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if text.is_empty() {
            return Err(NotASignature::Empty);
        }
        Self::der_of(Base64::decode_vec(&text).map_err(|_| NotASignature::Base64)?)
    }
}

impl fmt::Display for Signature {
    /// Base64 of DER.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode_string(&self.0))
    }
}

impl TryFrom<String> for Signature {
    type Error = NotASignature;
    fn try_from(text: String) -> Result<Self, NotASignature> {
        text.parse()
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> String {
        signature.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/signatures/{name}.p7s", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn files() {
        let der = file("rsa2048");
        let of = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut der = der.clone();
            change(&mut der);
            Signature::read(&der).map(|signature| signature.der().len()).map_err(|error| error.to_string())
        };
        for (got, expected) in [
            (of(&|_| ()), Ok(der.len())),
            (of(&Vec::clear), Err("it is empty")),
            (of(&|der| der.truncate(100)), Err("it is cut off: 100 of 408 bytes are there")),
            (of(&|der| der.truncate(1)), Err("it is cut off: 1 of 2 bytes are there")),
            (of(&|der| der.push(b'\n')), Err("1 bytes follow its end: it was not written by one tool alone")),
            (of(&|der| der[1] = 0x83), Err(TOO_LONG)),
            (of(&|der| *der = vec![0x30; 60000]), Err(TOO_LONG)),
            (of(&|der| *der = b"MIIB".to_vec()), Err(OTHER)),
            (of(&|der| *der = file("stream")), Err(INDEFINITE)),
        ] {
            assert_eq!(got, expected.map_err(str::to_owned));
        }
    }

    #[cfg(feature = "signatures")]
    #[test]
    fn pem() {
        for (name, length) in [("pem", file("rsa2048").len()), ("pem-cms", 207)] {
            assert_eq!(Signature::read(&file(name)).unwrap().der().len(), length, "{name}");
        }
        let pem = String::from_utf8(file("pem")).unwrap();
        for (change, expected) in [
            (
                pem.replace("PKCS7", "CERTIFICATE"),
                "its PEM cannot be read: it is CERTIFICATE, not PKCS7 or CMS",
            ),
            (pem.replace("-----END", "--END"), "its PEM cannot be read: "),
            (pem.replace("MII", "M I"), "its PEM cannot be read: "),
        ] {
            let error = Signature::read(change.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[cfg(not(feature = "signatures"))]
    #[test]
    fn pem_is_not_read_by_the_init() {
        let error = Signature::read(&file("pem")).unwrap_err().to_string();
        assert_eq!(error, "its PEM cannot be read: this build reads DER only");
    }

    const TOO_LONG: &str =
        "it has more than 32767 bytes, which the kernel does not take: leave certificates out (-nocerts)";
    const OTHER: &str = "it is no PKCS#7 in DER or PEM: write it by openssl smime -sign -nocerts -noattr -binary -outform DER";
    const INDEFINITE: &str =
        "it is BER of indefinite length, as a stream is written: make it in DER, without -stream";

    #[test]
    fn base64() {
        let signature = Signature::read(&file("p256")).unwrap();
        let text = signature.to_string();
        assert_eq!(text.parse(), Ok(signature.clone()));
        let lines: Vec<String> =
            text.as_bytes().chunks(64).map(|l| String::from_utf8_lossy(l).into()).collect();
        assert_eq!(lines.join("\n").parse(), Ok(signature));
        for (text, error) in [
            ("", NotASignature::Empty),
            (" \n", NotASignature::Empty),
            ("MII", NotASignature::Base64),
            ("M-I=", NotASignature::Base64),
            ("AAAA", NotASignature::Other),
            ("MIIBAA==", NotASignature::Truncated { has: 4, needs: 260 }),
        ] {
            assert_eq!(text.parse::<Signature>(), Err(error), "{text}");
        }
        assert_eq!("A".repeat(1 << 20).parse::<Signature>(), Err(NotASignature::TooLong));
    }
}
