//! `format/kernel/mount_options.rs`: no flag stands twice, a file system gets no word that is empty or has a comma,
//! write access that was taken away stays away, and what is written again means the same.

use nextroot::format::kernel::mount_options::{Flag, MountOptions};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let mut options = MountOptions::parse(&text);
    for (place, flag) in options.flags.iter().enumerate() {
        assert!(!options.flags[..place].contains(flag), "{flag:?} stands twice");
    }
    let word = |(name, value): &(String, Option<String>)| {
        value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}"))
    };
    let words: Vec<String> = options.filesystem.iter().map(word).collect();
    assert!(words.iter().all(|word| !word.is_empty() && !word.contains(',')));
    assert_eq!(MountOptions::parse(&words.join(",")).filesystem, options.filesystem);
    options.read_only();
    assert!(options.flags.contains(&Flag::ReadOnly));
    assert!(!options.filesystem.iter().any(|(name, value)| name == "rw" && value.is_none()));
}
