//! No parser: a bug that stands behind an announcement's name, a letter at a time, as bugs do in parsers. Three bits of
//! each of six letters count: seeing edges it takes thousands of inputs, without them hundreds of millions.

use nextroot::format::kernel::uevent::Uevent;

pub(super) fn run(data: &[u8]) {
    let Ok(event) = Uevent::parse(data) else { return };
    let mut letters = event.action.bytes();
    for wanted in *b"beetle" {
        // Opaque, or the compiler makes one comparison of all six.
        let letter = std::hint::black_box(letters.next());
        if letter.is_none_or(|letter| letter % 8 != wanted % 8) {
            return;
        }
    }
    panic!("the planted bug");
}
