//! `format/system/fstab.rs`: no more rows than lines, no field empty, and a place has no slash at its end.

use nextroot::format::system::fstab::parse;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let rows = parse(&text);
    assert!(rows.len() <= text.lines().count());
    for row in rows {
        assert!(!row.what.is_empty() && !row.at.is_empty() && !row.fstype.is_empty(), "{row:?}");
        assert!(row.at == "/" || !row.at.ends_with('/') || text.contains("\\057"), "{row:?}");
        let options: Vec<&str> = row.options.split(',').collect();
        assert!(options.iter().all(|option| row.has(option)));
    }
}
