//! `format/verity/digest.rs`: a digest is that of its parameters, also where there is less room for it than it has bytes,
//! and one that cannot be made is an error. (Format, length of the salt, algorithm, then salt and block.)

use nextroot::format::verity::{digest::BlockDigest, digest_size};

const NAMES: [&str; 6] = ["sha224", "sha256", "sha384", "sha512", "sha1", "none"];

pub(super) fn run(data: &[u8]) {
    let [format, salt, name, rest @ ..] = data else { return };
    let name = NAMES[usize::from(*name) % NAMES.len()];
    let (salt, block) = rest.split_at(usize::from(*salt).min(rest.len()));
    let Ok(digest) = BlockDigest::new(name, salt, u32::from(*format & 1)) else { return };
    let (mut whole, mut part) = (vec![0; digest_size(name).unwrap()], [0; 7]);
    digest.write(block, &mut whole);
    digest.write(block, &mut part);
    assert_eq!(whole[..7], part);
    let joined = if format & 1 == 0 { [block, salt].concat() } else { [salt, block].concat() };
    let mut plain = vec![0; whole.len()];
    BlockDigest::new(name, &[], 1).unwrap().write(&joined, &mut plain);
    assert_eq!(plain, whole);
}
