//! `format/verity/table.rs`: a line that is read is printed, and reads back; a status is one of two.

use nextroot::format::verity::table::{VerityStatus, VerityTable};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    if let Ok(table) = text.parse::<VerityTable>() {
        assert_eq!(table.to_string().parse().as_ref(), Ok(&table));
        assert!(table.options.len() < text.len());
        let bytes = table.data_block_size.times(table.data_blocks);
        assert!(bytes.is_none_or(|bytes| bytes.to_sectors() == table.sectors()));
    }
    if let Ok(status) = VerityStatus::parse(&text) {
        assert_eq!(status == VerityStatus::Verified, text.starts_with('V'));
    }
}
