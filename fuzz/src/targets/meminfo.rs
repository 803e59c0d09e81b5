//! `format/kernel/meminfo.rs`: what is available is whole KiB, of which the file has the number.

use nextroot::format::kernel::meminfo::available;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Some(bytes) = available(&text) else { return };
    assert_eq!(bytes.0 % 1024, 0);
    assert!(text.contains(&(bytes.0 / 1024).to_string()));
    assert_eq!(available(&format!("MemAvailable: {} kB", bytes.0 / 1024)), Some(bytes));
}
