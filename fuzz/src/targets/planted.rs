//! No parser: a bug that stands behind an announcement's name, a letter at a time, as bugs do in parsers. Nobody finds
//! it who does not see which edges an input reaches, so a set-up that finds it works.

use nextroot::format::kernel::uevent::Uevent;

pub(super) fn run(data: &[u8]) {
    let Ok(event) = Uevent::parse(data) else { return };
    let mut rest = event.action.as_str();
    for letter in ['b', 'u', 'g'] {
        // Opaque, or the compiler makes one comparison of all three.
        match std::hint::black_box(rest).strip_prefix(letter) {
            Some(after) => rest = after,
            None => return,
        }
    }
    panic!("the planted bug");
}
