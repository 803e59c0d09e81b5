//! `format/cpio.rs`: an archive that was read is written, and reads back as it was; contents are no more than the
//! archive has.

use nextroot::format::cpio::{read, write};

pub(super) fn run(data: &[u8]) {
    let Ok(entries) = read(data) else { return };
    let length: usize = entries.iter().map(|entry| entry.path.len() + entry.data.len()).sum();
    assert!(length <= data.len());
    assert!(entries.len() <= data.len() / 110);
    let written = write(&entries, 1).unwrap();
    assert_eq!(written.len() % 512, 0);
    assert_eq!(read(&written), Ok(entries));
}
