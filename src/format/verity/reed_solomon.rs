//! Reed-Solomon codes as dm-verity has them: RS(255, 255 - roots) over GF(2^8) with the polynomial 0x11d, the generator's
//! roots being the powers of 2 from the 0th on (drivers/md/dm-verity-fec.c, `fec_rs_alloc`; lib/reed_solomon). A code word
//! is what is protected, and behind it as many bytes of parity as there are roots.

/// Bytes of a code word.
pub const WORD: usize = 255;
/// The fewest and the most bytes of parity in a code word that the kernel takes.
pub const ROOTS: std::ops::RangeInclusive<u32> = 2..=24;

/// Coefficients of a polynomial, the lowest first: one more than the most roots.
type Polynomial = [u8; 25];

/// What makes parity, and mends with it; it may be used by several threads.
#[derive(Clone)]
pub struct ReedSolomon {
    roots: usize,
    rows: Rows,
    /// The product of each two.
    products: Vec<[u8; 256]>,
    /// What a byte at each place of a word stands for, and its inverse: the last stands for one.
    powers: Vec<(u8, u8)>,
}

/// What a byte that is pushed out of the register adds to it, in words of eight bytes.
#[derive(Clone)]
enum Rows {
    One(Vec<[u64; 1]>),
    Two(Vec<[u64; 2]>),
    Three(Vec<[u64; 3]>),
}

/// More of a code word is wrong than its parity can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl ReedSolomon {
    /// For so many bytes of parity; `None` for none that the kernel takes.
    #[must_use]
    pub fn new(roots: u32) -> Option<Self> {
        let roots = usize::try_from(roots).ok().filter(|_| ROOTS.contains(&roots))?;
        let rows = match roots {
            ..=8 => Rows::One(rows(roots)),
            9..=16 => Rows::Two(rows(roots)),
            _ => Rows::Three(rows(roots)),
        };
        let row = |a| std::array::from_fn(|b| multiply(a, u8::try_from(b).unwrap_or(0)));
        let products = (0..=255).map(row).collect();
        let power = |place| (place..WORD - 1).fold(1, |power, _| double(power));
        let powers = (0..WORD).map(power).map(|power| (power, inverse(power))).collect();
        Some(Self { roots, rows, products, powers })
    }

    /// Bytes of parity in a code word.
    #[must_use]
    pub fn roots(&self) -> usize {
        self.roots
    }

    /// 64-bit words of a register.
    #[must_use]
    pub fn register(&self) -> usize {
        match self.rows {
            Rows::One(_) => 1,
            Rows::Two(_) => 2,
            Rows::Three(_) => 3,
        }
    }

    /// Takes the next byte of as many code words as there are registers, one beside the other. A register begins with
    /// zeros.
    pub fn feed(&self, registers: &mut [u64], bytes: &[u8]) {
        match &self.rows {
            Rows::One(rows) => feed(rows, registers, bytes),
            Rows::Two(rows) => feed(rows, registers, bytes),
            Rows::Three(rows) => feed(rows, registers, bytes),
        }
    }

    /// The parity of code words whose bytes were all fed, one behind the other.
    pub fn parity(&self, registers: &[u64], to: &mut [u8]) {
        for (register, to) in registers.chunks(self.register()).zip(to.chunks_mut(self.roots)) {
            let bytes = register.iter().flat_map(|word| word.to_be_bytes());
            to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        }
    }

    /// Mends a code word, of which the bytes at `erasures` are not to be relied on: how many were wrong. Twice as many as
    /// are wrong elsewhere and the erasures together may be as many as there are roots. Where it fails, and sometimes
    /// where more is wrong than that, the word is another one: only a digest can tell.
    pub fn mend(&self, word: &mut [u8; WORD], erasures: &[usize]) -> Result<usize, Lost> {
        let Some(syndromes) = self.syndromes(word) else { return Ok(0) };
        if erasures.len() > self.roots {
            return Err(Lost);
        }
        let locator = self.locator(&syndromes, erasures);
        let degree = locator.iter().rposition(|coefficient| *coefficient != 0).unwrap_or(0);
        let mut evaluator = Polynomial::default();
        for (power, to) in evaluator.iter_mut().enumerate().take(self.roots) {
            *to = self.convolved(&locator, &syndromes, power);
        }
        // The derivative, over a field of characteristic 2.
        let mut slope = Polynomial::default();
        for (to, pair) in slope.chunks_mut(2).zip(locator.chunks(2)) {
            to.iter_mut().zip(pair.get(1)).for_each(|(to, odd)| *to = *odd);
        }
        let known = locator.get(..=degree).unwrap_or_default();
        let (mut found, mut wrong) = (0, 0);
        for (byte, (power, at)) in word.iter_mut().zip(self.powers.iter().copied()) {
            if self.value(known, at) != 0 {
                continue;
            }
            found += 1;
            let slope = self.value(&slope, at);
            if slope == 0 {
                return Err(Lost);
            }
            let error = self.product(self.value(&evaluator, at), inverse(slope));
            let error = self.product(error, power);
            wrong += usize::from(error != 0);
            *byte ^= error;
        }
        if found == degree && self.syndromes(word).is_none() { Ok(wrong) } else { Err(Lost) }
    }

    /// The word's values at the generator's roots; `None` where all are zero, and nothing is wrong.
    fn syndromes(&self, word: &[u8; WORD]) -> Option<Polynomial> {
        let mut syndromes = Polynomial::default();
        let mut root = 1;
        for to in syndromes.iter_mut().take(self.roots) {
            let times = self.products.get(usize::from(root))?;
            *to = word.iter().fold(0, |sum, byte| entry(times, sum) ^ byte);
            root = double(root);
        }
        syndromes.iter().any(|value| *value != 0).then_some(syndromes)
    }

    /// The polynomial whose roots say where errors are (Berlekamp and Massey, begun with what erasures say).
    fn locator(&self, syndromes: &Polynomial, erasures: &[usize]) -> Polynomial {
        let mut locator = Polynomial::default();
        locator.iter_mut().take(1).for_each(|one| *one = 1);
        for place in erasures {
            let power = self.powers.get(*place).map_or(0, |(power, _)| *power);
            let shifted = self.scaled(&shift(&locator), power);
            locator = sum(&locator, &shifted);
        }
        let (mut before, mut errors) = (locator, erasures.len());
        for step in erasures.len()..self.roots {
            let discrepancy = self.convolved(&locator, syndromes, step);
            before = shift(&before);
            if discrepancy == 0 {
                continue;
            }
            let next = sum(&locator, &self.scaled(&before, discrepancy));
            if 2 * errors <= step + erasures.len() {
                errors = step + 1 + erasures.len() - errors;
                before = self.scaled(&locator, inverse(discrepancy));
            }
            locator = next;
        }
        locator
    }

    /// A coefficient of the product of two polynomials.
    fn convolved(&self, one: &Polynomial, other: &Polynomial, power: usize) -> u8 {
        let other = other.iter().take(power + 1).rev();
        one.iter().zip(other).fold(0, |sum, (a, b)| sum ^ self.product(*a, *b))
    }

    fn scaled(&self, polynomial: &Polynomial, by: u8) -> Polynomial {
        polynomial.map(|coefficient| self.product(coefficient, by))
    }

    fn value(&self, polynomial: &[u8], at: u8) -> u8 {
        polynomial.iter().rev().fold(0, |sum, coefficient| self.product(sum, at) ^ coefficient)
    }

    fn product(&self, a: u8, b: u8) -> u8 {
        self.products.get(usize::from(a)).map_or(0, |row| entry(row, b))
    }
}

impl std::fmt::Debug for ReedSolomon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReedSolomon({})", self.roots)
    }
}

/// For each byte, its product with the generator, whose highest coefficient is left out: it is one.
fn rows<const W: usize>(roots: usize) -> Vec<[u64; W]> {
    let mut generator = vec![1];
    let mut root = 1;
    for _ in 0..roots {
        let shifted = generator.iter().copied().chain([0]);
        let scaled = [0].into_iter().chain(generator.iter().map(|coefficient| multiply(*coefficient, root)));
        generator = shifted.zip(scaled).map(|(a, b)| a ^ b).collect();
        root = double(root);
    }
    let row = |byte| {
        let mut bytes = [[0; 8]; W];
        let products = generator.iter().skip(1).map(|coefficient| multiply(*coefficient, byte));
        bytes.as_flattened_mut().iter_mut().zip(products).for_each(|(to, product)| *to = product);
        bytes.map(u64::from_be_bytes)
    };
    (0..=255).map(row).collect()
}

fn feed<const W: usize>(rows: &[[u64; W]], registers: &mut [u64], bytes: &[u8]) {
    let (registers, _) = registers.as_chunks_mut::<W>();
    let Some(rows) = rows.first_chunk::<256>() else { return };
    for (register, byte) in registers.iter_mut().zip(bytes) {
        let [first, ..] = register.first().copied().unwrap_or(0).to_be_bytes();
        let row = rows.get(usize::from(first ^ byte)).copied().unwrap_or([0; W]);
        let mut carried = 0;
        for (word, add) in register.iter_mut().zip(row).rev() {
            let out = *word >> 56;
            *word = ((*word << 8) | carried) ^ add;
            carried = out;
        }
    }
}

fn entry(row: &[u8; 256], of: u8) -> u8 {
    row.get(usize::from(of)).copied().unwrap_or(0)
}

fn sum(one: &Polynomial, other: &Polynomial) -> Polynomial {
    let mut sum = *one;
    sum.iter_mut().zip(other).for_each(|(a, b)| *a ^= b);
    sum
}

/// Times the variable; what would be too high is lost, and is of no word that can be mended.
fn shift(polynomial: &Polynomial) -> Polynomial {
    let mut shifted = Polynomial::default();
    shifted.iter_mut().skip(1).zip(polynomial).for_each(|(to, from)| *to = *from);
    shifted
}

fn double(a: u8) -> u8 {
    (a << 1) ^ if a & 0x80 == 0 { 0 } else { 0x1d }
}

fn multiply(a: u8, b: u8) -> u8 {
    let mut sum = 0;
    let mut power = a;
    for bit in 0..8 {
        if (b >> bit) & 1 == 1 {
            sum ^= power;
        }
        power = double(power);
    }
    sum
}

/// By Fermat: the 254th power. None of zero.
fn inverse(a: u8) -> u8 {
    (0..253).fold(a, |power, _| multiply(power, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random (a linear congruential generator).
    fn word(code: &ReedSolomon, mut state: u64) -> [u8; WORD] {
        let mut word = [0; WORD];
        let data = WORD - code.roots();
        let mut registers = vec![0; code.register()];
        for byte in &mut word[..data] {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
            code.feed(&mut registers, &[*byte]);
        }
        code.parity(&registers, &mut word[data..]);
        word
    }

    #[test]
    fn as_many_roots_as_the_kernel_takes() {
        for (roots, taken) in [(0, false), (1, false), (2, true), (24, true), (25, false), (255, false)] {
            assert_eq!(ReedSolomon::new(roots).is_some(), taken, "{roots}");
        }
    }

    /// Worked out by hand: the generator for two roots is x^2 + 3x + 2, so that is what a one in the last place gives.
    #[test]
    fn the_generator() {
        let code = ReedSolomon::new(2).unwrap();
        let mut registers = [0, 0];
        code.feed(&mut registers, &[1, 0]);
        let mut parity = [0xff; 4];
        code.parity(&registers, &mut parity);
        assert_eq!(parity, [3, 2, 0, 0]);
    }

    #[test]
    fn what_can_be_mended() {
        for roots in ROOTS {
            let code = ReedSolomon::new(roots).unwrap();
            let whole = word(&code, u64::from(roots));
            let most = roots as usize;
            for (errors, erasures) in
                [(0, 0), (1, 0), (most / 2, 0), (0, 1), (0, most), ((most - 1) / 2, 1), (most / 4, most / 2)]
            {
                let mut damaged = whole;
                // From both ends, so that parity is hit, too.
                let place = |n: usize| if n.is_multiple_of(2) { n * 5 } else { WORD - n };
                let places: Vec<usize> = (0..errors + erasures).map(place).collect();
                places.iter().for_each(|place| damaged[*place] ^= 0x5a);
                let found = code.mend(&mut damaged, &places[..erasures]);
                assert_eq!(found, Ok(errors + erasures), "{roots} {errors} {erasures}");
                assert_eq!(damaged, whole);
            }
        }
    }

    /// What is no erasure after all counts as none that was wrong.
    #[test]
    fn erasures_that_are_right() {
        let code = ReedSolomon::new(4).unwrap();
        let whole = word(&code, 7);
        let mut damaged = whole;
        damaged[9] ^= 1;
        assert_eq!(code.mend(&mut damaged, &[100, 9, 200]), Ok(1));
        assert_eq!(damaged, whole);
    }

    #[test]
    fn what_cannot_be_mended() {
        for roots in [2, 3, 8, 24] {
            let code = ReedSolomon::new(roots).unwrap();
            let whole = word(&code, 3);
            let mut damaged = whole;
            (0..roots as usize).for_each(|n| damaged[n * 10] ^= 0x77);
            // Another word may lie nearer; that it is none of ours shows in the bytes.
            assert!(code.mend(&mut damaged, &[]).is_err() || damaged != whole, "{roots}");
            let many: Vec<usize> = (0..=roots as usize).collect();
            let mut damaged = whole;
            many.iter().for_each(|n| damaged[*n] ^= 1);
            assert_eq!(code.mend(&mut damaged, &many), Err(Lost), "{roots}");
        }
    }
}
