//! `format/verity/reed_solomon.rs`: what has parity is right; with errors and erasures that its parity can tell it is
//! mended to what it was, and their number is told; with more, it is lost or is another right word. (The number of roots,
//! of errors and of erasures, then a place and a change for each, then data.)

use std::sync::OnceLock;

use nextroot::format::verity::reed_solomon::{ROOTS, ReedSolomon, WORD};

/// The codes: their tables take longer to make than a word takes.
static CODES: [OnceLock<ReedSolomon>; CHOICE] = [const { OnceLock::new() }; CHOICE];
const CHOICE: usize = (*ROOTS.end() - *ROOTS.start() + 1) as usize;

pub(super) fn run(data: &[u8]) {
    let [roots, errors, erasures, rest @ ..] = data else { return };
    let choice = usize::from(*roots) % CHOICE;
    let roots = ROOTS.start() + choice as u32;
    let code = CODES[choice].get_or_init(|| ReedSolomon::new(roots).expect("so many roots can be"));
    let (errors, erasures) = (usize::from(*errors) % 32, usize::from(*erasures) % 32);
    let (damage, rest) = rest.split_at((2 * (errors + erasures)).min(rest.len()));
    let mut word = [0; WORD];
    let of_data = WORD - code.roots();
    word[..of_data].iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let whole = with_parity(code, &word);
    assert_eq!(code.mend(&mut whole.clone(), &[]), Ok(0));

    let mut damaged = whole;
    let mut places: Vec<usize> = Vec::new();
    for [place, change] in damage.as_chunks::<2>().0 {
        let place = usize::from(*place) % WORD;
        if !places.contains(&place) {
            damaged[place] ^= change;
            places.push(place);
        }
    }
    let (erased, wrong) = places.split_at(erasures.min(places.len()));
    let changed = |place: &&usize| damaged[**place] != whole[**place];
    let (all, elsewhere) = (places.iter().filter(changed).count(), wrong.iter().filter(changed).count());
    let mut mended = damaged;
    let found = code.mend(&mut mended, erased);
    if 2 * elsewhere + erased.len() <= code.roots() {
        assert_eq!(found, Ok(all), "{roots} roots, errors at {wrong:?}, erasures at {erased:?}");
        assert_eq!(mended, whole);
    } else if found.is_ok() {
        assert_eq!(with_parity(code, &mended), mended, "what is mended is no word");
    }
}

/// The word with the parity of its data. It is made twice over, side by side: registers do not touch each other.
fn with_parity(code: &ReedSolomon, word: &[u8; WORD]) -> [u8; WORD] {
    let of_data = WORD - code.roots();
    let mut registers = vec![0; 2 * code.register()];
    word[..of_data].iter().for_each(|byte| code.feed(&mut registers, &[*byte, *byte]));
    let mut parity = vec![0; 2 * code.roots()];
    code.parity(&registers, &mut parity);
    let (one, other) = parity.split_at(code.roots());
    assert_eq!(one, other);
    let mut whole = *word;
    whole[of_data..].copy_from_slice(one);
    whole
}
