//! `format/config/drop_ins.rs`: what counts is there, once for each name, in the order of names, and never one that a
//! directory of higher priority has masked. (A line is a directory: a name for a file, one that begins with `!` for a mask.)

use nextroot::format::config::drop_ins::{Entry, Kind, Listing, drop_ins, main_file};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let entry = |word: &str| match word.strip_prefix('!') {
        Some(name) => Entry { name: name.to_owned(), kind: Kind::Mask },
        None => Entry { name: word.to_owned(), kind: Kind::File },
    };
    let listing = |(number, line): (usize, &str)| Listing {
        directory: format!("/{number}"),
        entries: line.split_whitespace().map(entry).collect(),
    };
    let listings: Vec<Listing> = text.lines().take(4).enumerate().map(listing).collect();
    let paths = drop_ins(&listings);
    let split =
        |path: &str| path.trim_start_matches('/').split_once('/').map(|(d, n)| (d.to_owned(), n.to_owned()));
    let found: Vec<(String, String)> = paths.iter().filter_map(|path| split(path)).collect();
    assert_eq!(found.len(), paths.len());
    assert!(found.is_sorted_by(|one, next| one.1 < next.1));
    for (directory, name) in found {
        assert!(name.ends_with(".conf") && !name.starts_with('.'));
        let first = listings.iter().find(|listing| listing.entries.iter().any(|entry| entry.name == name));
        let first = first.expect("a file that counts is in a directory");
        assert_eq!(first.directory, format!("/{directory}"));
        assert_eq!(main_file(&listings, &name), Some(format!("/{directory}/{name}")));
    }
}
