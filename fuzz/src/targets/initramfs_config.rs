//! `format/config/initramfs.rs`: a file that is read has its policy from a line of its own; what is not known is told
//! with its line.

use nextroot::format::config::initramfs::Config;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(config) = Config::parse(&text, "f") else { return };
    assert!(!config.verity_required || text.contains("required"));
    assert!(config.usr_verity_required.is_none() || text.contains("UsrVerity"));
    assert!(config.unknown.iter().all(|place| place.starts_with("f:")));
    assert!(config.unknown.len() <= text.lines().count());
    // The empty line ends what a backslash continues, also over comments.
    let twice = Config::parse(&format!("{text}\n\n[Policy]\nVerity=required\n"), "f");
    assert!(twice.is_ok_and(|config| config.verity_required));
}
