//! `format/verity/signature/check.rs`, and the reading of PKCS#7 that it does by `format/verity/signature/message.rs` and
//! `format/verity/signature/algorithm.rs`: what holds, holds by a certificate that is
//! trusted, for the root hash that was signed, and has in it what a stored signature by that key has; a stored one whose
//! value or digest is changed does not hold. (A signature; or, after a zero, the number of a stored one and changes of it:
//! two bytes of place, one of bits.)

use std::sync::LazyLock;

use nextroot::format::verity::{
    root_hash::RootHash,
    signature::{Signature, certificate::Certificate, check::check},
};

/// A stored signature of [`signed`].
pub(super) struct Stored {
    pub(super) name: &'static str,
    /// The certificate that it holds by.
    by: &'static str,
    /// What only the holder of the key can make: the value of RSA, the first number of ECDSA. (Of the second there are two
    /// that hold, and who has one has both.)
    value: Vec<u8>,
    pub(super) signature: Signature,
}

macro_rules! stored {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../../tests/signatures/", $name)).as_slice())),*]
    };
}

/// Each the certificate's name, and how its signatures begin.
static CERTIFICATES: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
    let files = stored!["rsa2048.crt", "rsa3072.crt", "p256.crt", "p384.crt", "foreign.crt", "ed25519.crt"];
    files.into_iter().map(|(name, bytes)| Certificate::parse(name, bytes).unwrap()).collect()
});

/// Signatures that hold. The ones by the same certificate have different digests, or signed attributes.
pub(super) static STORED: LazyLock<Vec<Stored>> = LazyLock::new(|| {
    let files = stored![
        "rsa2048.p7s",
        "rsa2048-sha384.p7s",
        "rsa2048-sha512.p7s",
        "attributes-hash.p7s",
        "rsa3072.p7s",
        "foreign.p7s",
        "p256.p7s",
        "p256-sha512.p7s",
        "keyid.p7s",
        "p384.p7s",
        "p384-sha384.p7s",
        "attributes-p384.p7s"
    ];
    files.into_iter().map(|(name, bytes)| read(name, bytes)).collect()
});

pub(super) fn run(data: &[u8]) {
    let patched = match data {
        [0, number, changes @ ..] => Some(patch(&STORED[usize::from(*number) % STORED.len()], changes)),
        _ => None,
    };
    let (der, is_broken) = patched.unwrap_or_else(|| (data.to_vec(), false));
    let Ok(signature) = Signature::read(&der) else { return };
    let trusted = CERTIFICATES.as_slice();
    if let Ok(by) = check(&signature, signed(), trusted) {
        assert!(!is_broken, "it was changed, and holds");
        assert!(trusted.iter().any(|known| known.fingerprint == by.fingerprint));
        let ours = |stored: &&Stored| stored.by == by.path && contains(signature.der(), &stored.value);
        assert!(STORED.iter().any(|stored| ours(&stored)), "it holds by {}, which never made it", by.path);
    }
    assert!(check(&signature, unsigned(), trusted).is_err(), "it holds for what nobody signed");
    assert!(check(&signature, signed(), &[]).is_err());
}

/// A stored signature with changes, and whether they are of its value.
fn patch(stored: &Stored, changes: &[u8]) -> (Vec<u8>, bool) {
    let mut der = stored.signature.der().to_vec();
    for [high, low, bits] in changes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % der.len();
        der[place] ^= bits;
    }
    let is_broken = !contains(&der, &stored.value);
    (der, is_broken)
}

/// What tests/signatures/make signed.
fn signed() -> &'static RootHash {
    static HASH: LazyLock<RootHash> =
        LazyLock::new(|| "4f68bce3e8cd4db196e7fbcaf984b7094f68bce3e8cd4db196e7fbcaf984b709".parse().unwrap());
    &HASH
}

/// What it never signed.
pub(super) fn unsigned() -> &'static RootHash {
    static HASH: LazyLock<RootHash> = LazyLock::new(|| "ab".repeat(32).parse().unwrap());
    &HASH
}

fn read(name: &'static str, bytes: &[u8]) -> Stored {
    let signature = Signature::read(bytes).unwrap();
    let by = check(&signature, signed(), &CERTIFICATES).unwrap_or_else(|error| panic!("{name}: {error}"));
    let by = by.path.as_str();
    let value = last_octets(signature.der());
    let value = if by.starts_with('p') { first_number(value) } else { value };
    Stored { name, by, value: value.to_vec(), signature }
}

/// The OCTET STRING that ends a message without unsigned attributes: the value of the signature.
fn last_octets(der: &[u8]) -> &[u8] {
    let is_head = |at: usize| match der[at..] {
        [4, short @ ..0x80, ..] => at + 2 + usize::from(short) == der.len(),
        [4, 0x82, high, low, ..] => at + 4 + usize::from(u16::from_be_bytes([high, low])) == der.len(),
        _ => false,
    };
    // An octet of the value itself can look like a head: the first one that fits holds the others.
    let at = (0..der.len()).find(|at| is_head(*at)).expect("a signature ends with its value");
    &der[at + if der[at + 1] == 0x82 { 4 } else { 2 }..]
}

/// r of ECDSA: SEQUENCE of two INTEGERs (RFC 3279, section 2.2.3).
fn first_number(value: &[u8]) -> &[u8] {
    let [0x30, _, 2, length, rest @ ..] = value else { panic!("no two numbers: {value:?}") };
    &rest[..usize::from(*length)]
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
