//! SHA-256 (FIPS 180-4) of sixteen messages of one length at once, each in a 32-bit lane of AVX-512.
//!
//! About double of what SHA-NI does on a processor that has both. The sha2 crate is the other way, and the reference:
//! docs/decisions/0021.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set_epi8, _mm512_set1_epi32,
    _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

/// How many messages are hashed at once.
pub const LANES: usize = 16;

/// Bytes that the compression function takes in at once.
const CHUNK: usize = 64;

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// The first 32 bits of the fractional parts of the square roots of the first eight primes (FIPS 180-4, 5.3.3).
#[rustfmt::skip]
const INITIAL: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// What stands before and behind each message.
#[derive(Clone, Debug)]
pub struct Sha256Lanes {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Sha256Lanes {
    /// `None` where the processor has no AVX-512 (F and BW).
    #[must_use]
    pub fn new(before: &[u8], after: &[u8]) -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has.then(|| Self { before: before.to_vec(), after: after.to_vec() })
    }

    /// The digests of sixteen messages; `None` where they differ in length.
    #[must_use]
    pub fn digest(&self, messages: &[&[u8]; LANES]) -> Option<[[u8; 32]; LANES]> {
        let [first, rest @ ..] = messages;
        rest.iter().all(|message| message.len() == first.len()).then(|| {
            // SAFETY: `new` is the only way to a value, and gives one only where the processor has both features.
            unsafe { self.all(messages, first.len()) }
        })
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn all(&self, messages: &[&[u8]; LANES], length: usize) -> [[u8; 32]; LANES] {
        let mut state = INITIAL.map(|word| _mm512_set1_epi32(word.cast_signed()));
        let total = self.before.len() + length + self.after.len();
        // What follows the messages: a one bit, zeros, the length in bits, up to a whole chunk (FIPS 180-4, 5.1.1).
        let mut after = self.after.clone();
        after.push(0x80);
        after.resize(after.len() + (CHUNK - (total + 9) % CHUNK) % CHUNK, 0);
        after.extend_from_slice(&(total as u64).wrapping_mul(8).to_be_bytes());
        let mut staged = [[0; CHUNK]; LANES];
        for at in (0..self.before.len() + length + after.len()).step_by(CHUNK) {
            let inside = at.checked_sub(self.before.len()).filter(|at| at + CHUNK <= length);
            let mut chunks = [&[0; CHUNK]; LANES];
            let parts = chunks.iter_mut().zip(messages).zip(&mut staged);
            for ((chunk, message), staged) in parts {
                *chunk = match inside.and_then(|at| message.get(at..)?.first_chunk()) {
                    Some(chunk) => chunk,
                    None => {
                        stage([&self.before, message, &after], at, staged);
                        staged
                    }
                };
            }
            compress(&mut state, &chunks);
        }
        digests(&state)
    }
}

/// The bytes from a place on of what is in three pieces.
fn stage(pieces: [&[u8]; 3], mut at: usize, to: &mut [u8; CHUNK]) {
    let mut room = to.as_mut_slice();
    for piece in pieces {
        let rest = piece.get(at..).unwrap_or_default();
        at = at.saturating_sub(piece.len());
        let (now, later) = room.split_at_mut(rest.len().min(room.len()));
        now.copy_from_slice(rest.get(..now.len()).unwrap_or_default());
        room = later;
    }
}

/// The sixteen words of a chunk, each of all lanes.
type Words = [__m512i; 16];

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(state: &mut [__m512i; 8], chunks: &[&[u8; CHUNK]; LANES]) {
    let words = transposed(chunks);
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    /// A round (FIPS 180-4, 6.2.2 step 3): the truth tables of `vpternlogd` are those of exclusive or (0x96),
    /// choice (0xca) and majority (0xe8).
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $word:expr, $k:expr) => {
            let sigma = _mm512_ternarylogic_epi32::<0x96>(
                _mm512_ror_epi32::<6>($e),
                _mm512_ror_epi32::<11>($e),
                _mm512_ror_epi32::<25>($e),
            );
            let choice = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
            let input = _mm512_add_epi32($word, _mm512_set1_epi32($k.cast_signed()));
            let one = _mm512_add_epi32(_mm512_add_epi32($h, input), _mm512_add_epi32(sigma, choice));
            let sigma = _mm512_ternarylogic_epi32::<0x96>(
                _mm512_ror_epi32::<2>($a),
                _mm512_ror_epi32::<13>($a),
                _mm512_ror_epi32::<22>($a),
            );
            let majority = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
            $d = _mm512_add_epi32($d, one);
            $h = _mm512_add_epi32(one, _mm512_add_epi32(sigma, majority));
        };
    }
    let [mut w0, mut w1, mut w2, mut w3, mut w4, mut w5, mut w6, mut w7, ..] = words;
    let [.., mut w8, mut w9, mut w10, mut w11, mut w12, mut w13, mut w14, mut w15] = words;
    macro_rules! next {
        ($to:ident $back15:ident $back7:ident $back2:ident) => {
            let small = _mm512_ternarylogic_epi32::<0x96>(
                _mm512_ror_epi32::<7>($back15),
                _mm512_ror_epi32::<18>($back15),
                _mm512_srli_epi32::<3>($back15),
            );
            let large = _mm512_ternarylogic_epi32::<0x96>(
                _mm512_ror_epi32::<17>($back2),
                _mm512_ror_epi32::<19>($back2),
                _mm512_srli_epi32::<10>($back2),
            );
            $to = _mm512_add_epi32(_mm512_add_epi32($to, small), _mm512_add_epi32($back7, large));
        };
    }
    let [head, tail @ ..] = K.as_chunks::<16>().0 else { return };
    {
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14, k15]: [u32; 16] = *head;
        round!(a b c d e f g h, w0, k0);
        round!(h a b c d e f g, w1, k1);
        round!(g h a b c d e f, w2, k2);
        round!(f g h a b c d e, w3, k3);
        round!(e f g h a b c d, w4, k4);
        round!(d e f g h a b c, w5, k5);
        round!(c d e f g h a b, w6, k6);
        round!(b c d e f g h a, w7, k7);
        round!(a b c d e f g h, w8, k8);
        round!(h a b c d e f g, w9, k9);
        round!(g h a b c d e f, w10, k10);
        round!(f g h a b c d e, w11, k11);
        round!(e f g h a b c d, w12, k12);
        round!(d e f g h a b c, w13, k13);
        round!(c d e f g h a b, w14, k14);
        round!(b c d e f g h a, w15, k15);
    }
    for k in tail {
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14, k15]: [u32; 16] = *k;
        next!(w0 w1 w9 w14);
        round!(a b c d e f g h, w0, k0);
        next!(w1 w2 w10 w15);
        round!(h a b c d e f g, w1, k1);
        next!(w2 w3 w11 w0);
        round!(g h a b c d e f, w2, k2);
        next!(w3 w4 w12 w1);
        round!(f g h a b c d e, w3, k3);
        next!(w4 w5 w13 w2);
        round!(e f g h a b c d, w4, k4);
        next!(w5 w6 w14 w3);
        round!(d e f g h a b c, w5, k5);
        next!(w6 w7 w15 w4);
        round!(c d e f g h a b, w6, k6);
        next!(w7 w8 w0 w5);
        round!(b c d e f g h a, w7, k7);
        next!(w8 w9 w1 w6);
        round!(a b c d e f g h, w8, k8);
        next!(w9 w10 w2 w7);
        round!(h a b c d e f g, w9, k9);
        next!(w10 w11 w3 w8);
        round!(g h a b c d e f, w10, k10);
        next!(w11 w12 w4 w9);
        round!(f g h a b c d e, w11, k11);
        next!(w12 w13 w5 w10);
        round!(e f g h a b c d, w12, k12);
        next!(w13 w14 w6 w11);
        round!(d e f g h a b c, w13, k13);
        next!(w14 w15 w7 w12);
        round!(c d e f g h a b, w14, k14);
        next!(w15 w0 w8 w13);
        round!(b c d e f g h a, w15, k15);
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *sum = _mm512_add_epi32(*sum, word);
    }
}

/// The big-endian words of sixteen chunks, one chunk a lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transposed(chunks: &[&[u8; CHUNK]; LANES]) -> Words {
    #[rustfmt::skip]
    let swap = _mm512_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    );
    let row = |chunk: &[u8; CHUNK]| {
        // SAFETY: a chunk has the 64 bytes that are read, and the load asks for no alignment.
        let row = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
        _mm512_shuffle_epi8(row, swap)
    };
    // Four rows at a time: each 128 bits have a column of them then.
    macro_rules! four {
        ($a:ident $b:ident $c:ident $d:ident) => {{
            let (a, b, c, d) = (row($a), row($b), row($c), row($d));
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            (
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab2, cd2),
                _mm512_unpackhi_epi64(ab2, cd2),
            )
        }};
    }
    // What has the columns N, N + 4, N + 8 and N + 12 of four rows each, to those columns.
    macro_rules! columns {
        ($a:ident $b:ident $c:ident $d:ident) => {{
            let (ab, cd) = (_mm512_shuffle_i32x4::<0x88>($a, $b), _mm512_shuffle_i32x4::<0x88>($c, $d));
            let (ab2, cd2) = (_mm512_shuffle_i32x4::<0xdd>($a, $b), _mm512_shuffle_i32x4::<0xdd>($c, $d));
            (
                _mm512_shuffle_i32x4::<0x88>(ab, cd),
                _mm512_shuffle_i32x4::<0x88>(ab2, cd2),
                _mm512_shuffle_i32x4::<0xdd>(ab, cd),
                _mm512_shuffle_i32x4::<0xdd>(ab2, cd2),
            )
        }};
    }
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15] = *chunks;
    let (a0, a1, a2, a3) = four!(c0 c1 c2 c3);
    let (b0, b1, b2, b3) = four!(c4 c5 c6 c7);
    let (d0, d1, d2, d3) = four!(c8 c9 c10 c11);
    let (e0, e1, e2, e3) = four!(c12 c13 c14 c15);
    let (w0, w4, w8, w12) = columns!(a0 b0 d0 e0);
    let (w1, w5, w9, w13) = columns!(a1 b1 d1 e1);
    let (w2, w6, w10, w14) = columns!(a2 b2 d2 e2);
    let (w3, w7, w11, w15) = columns!(a3 b3 d3 e3);
    [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
}

/// Each lane's eight words, big-endian.
#[target_feature(enable = "avx512f,avx512bw")]
fn digests(state: &[__m512i; 8]) -> [[u8; 32]; LANES] {
    let mut digests = [[0; 32]; LANES];
    for (number, word) in state.iter().enumerate() {
        let mut lanes = [0_u32; LANES];
        // SAFETY: the array has the 64 bytes that are written, and the store asks for no alignment.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), *word) };
        for (digest, lane) in digests.iter_mut().zip(lanes) {
            digest.iter_mut().skip(number * 4).zip(lane.to_be_bytes()).for_each(|(to, byte)| *to = byte);
        }
    }
    digests
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn as_the_sha2_crate_says() {
        if Sha256Lanes::new(b"", b"").is_none() {
            eprintln!("skipped: this processor has no AVX-512");
            return;
        }
        let bytes: Vec<u8> =
            (0..40_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (before, after) in [(0, 0), (1, 0), (32, 0), (0, 32), (64, 0), (100, 7), (256, 0), (55, 64)] {
            let lanes = Sha256Lanes::new(&bytes[..before], &bytes[..after]).unwrap();
            for length in [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 127, 128, 512, 1000, 4096] {
                let messages: [&[u8]; LANES] = std::array::from_fn(|lane| &bytes[lane * 1009..][..length]);
                let digests = lanes.digest(&messages).unwrap();
                for (message, digest) in messages.iter().zip(digests) {
                    let hash = Sha256::new_with_prefix(&bytes[..before]).chain_update(message);
                    let expected: [u8; 32] = hash.chain_update(&bytes[..after]).finalize().into();
                    assert_eq!(digest, expected, "{before} {length} {after}");
                }
            }
            let mut uneven = [&bytes[..10]; LANES];
            uneven[7] = &bytes[..9];
            assert_eq!(lanes.digest(&uneven), None);
        }
    }
}
