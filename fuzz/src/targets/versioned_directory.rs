//! `format/system/versioned_directory.rs`: what is chosen is one of the files, of this name, and the same in whatever
//! order the directory was listed. (The first line is the path, the others are files.)

use nextroot::format::system::versioned_directory::Pattern;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let mut lines = text.lines();
    let Some(pattern) = lines.next().and_then(Pattern::of) else { return };
    assert!(!pattern.name.is_empty() && !pattern.name.contains('/') && !pattern.suffixes.is_empty());
    let mut files: Vec<&str> = lines.take(16).collect();
    files.sort_unstable();
    files.dedup();
    let forward = pattern.pick(files.iter().copied());
    let back = pattern.pick(files.iter().rev().copied());
    match (forward, back) {
        (Ok(forward), Ok(back)) => {
            assert_eq!(forward.chosen, back.chosen);
            assert!(forward.chosen.iter().all(|entry| files.contains(&entry.file)));
            assert!(forward.chosen.iter().all(|entry| entry.file.starts_with(&pattern.name)));
            assert_eq!(forward.skipped.len(), back.skipped.len());
        }
        (Err(_), Err(_)) => {}
        (forward, back) => panic!("{forward:?} and, from the other end, {back:?}"),
    }
}
