//! Digests of blocks as dm-verity makes them: with the salt before the block, or behind it in format 0
//! (Documentation/admin-guide/device-mapper/verity.rst).

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// What makes the digest of a block; it may be used by several threads.
pub struct BlockDigest(Box<dyn Salted>);

/// A hash that we cannot compute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be computed here: sha1, sha224, sha256, sha384 and sha512 can; the kernel may know more")]
pub struct Unknown(pub String);

trait Salted: Send + Sync {
    fn write(&self, block: &[u8], to: &mut [u8]);
}

/// A hash that has taken in what stands before the block.
struct Begun<D> {
    before: D,
    after: Vec<u8>,
}

/// What is hashed before each block, and what behind it.
#[must_use]
pub fn around(salt: &[u8], format: u32) -> (&[u8], &[u8]) {
    if format == 0 { (&[], salt) } else { (salt, &[]) }
}

impl<D: Digest + Clone + Send + Sync> Begun<D> {
    fn new(salt: &[u8], format: u32) -> Box<Self> {
        let (before, after) = around(salt, format);
        Box::new(Self { before: D::new_with_prefix(before), after: after.to_vec() })
    }
}

impl<D: Digest + Clone + Send + Sync> Salted for Begun<D> {
    fn write(&self, block: &[u8], to: &mut [u8]) {
        let digest = self.before.clone().chain_update(block).chain_update(&self.after).finalize();
        to.iter_mut().zip(digest.iter()).for_each(|(to, byte)| *to = *byte);
    }
}

impl BlockDigest {
    /// For the kernel's name of an algorithm.
    pub fn new(algorithm: &str, salt: &[u8], format: u32) -> Result<Self, Unknown> {
        Ok(Self(match algorithm {
            "sha1" => Begun::<Sha1>::new(salt, format),
            "sha224" => Begun::<Sha224>::new(salt, format),
            "sha256" => Begun::<Sha256>::new(salt, format),
            "sha384" => Begun::<Sha384>::new(salt, format),
            "sha512" => Begun::<Sha512>::new(salt, format),
            other => return Err(Unknown(other.to_owned())),
        }))
    }

    /// Writes the digest of a block, as much of it as there is room for.
    pub fn write(&self, block: &[u8], to: &mut [u8]) {
        self.0.write(block, to);
    }
}

impl std::fmt::Debug for BlockDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockDigest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::verity::{digest_size, hex};

    /// By sha224sum(1) and its likes.
    #[test]
    fn salts_stand_before_or_behind() {
        let digest = |algorithm: &str, salt: &[u8], format, block: &[u8]| {
            let mut bytes = vec![0; digest_size(algorithm).unwrap()];
            BlockDigest::new(algorithm, salt, format).unwrap().write(block, &mut bytes);
            hex(&bytes)
        };
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (salt, format, block) in [("", 1, "abc"), ("ab", 1, "c"), ("bc", 0, "a"), ("", 0, "abc")] {
            assert_eq!(digest("sha256", salt.as_bytes(), format, block.as_bytes()), abc);
        }
        for (algorithm, start) in
            [("sha1", "a9993e36"), ("sha224", "23097d22"), ("sha384", "cb00753f"), ("sha512", "ddaf35a1")]
        {
            assert!(digest(algorithm, b"", 1, b"abc").starts_with(start), "{algorithm}");
        }
        let error = BlockDigest::new("md5", b"", 1).unwrap_err().to_string();
        assert!(error.starts_with("md5 cannot be computed here"), "{error}");
    }
}
