//! `format/system/mount_unit.rs`: a unit's name is that of a file, one for one place however it is written; a mount that
//! is read mounts something there; directories of drop-ins are no more than dashes.

use nextroot::format::system::mount_unit::{drop_in_directories, parse, unit_name};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let (at, file) = text.split_once('\n').unwrap_or((&text, ""));
    let name = unit_name(at);
    assert!(name.ends_with(".mount") && !name.contains('/') && !name.starts_with('.'), "{name}");
    assert_eq!(unit_name(&format!("//{at}/.//")), name);
    let directories = drop_in_directories(&name);
    assert!(directories.len() <= 1 + name.matches('-').count());
    assert!(directories.iter().all(|directory| directory.ends_with(".mount.d")));
    if let Ok(mount) = parse(at, &[file]) {
        assert!(!mount.what.is_empty());
        assert_eq!(mount.at, at);
        let twice = parse(at, &[file, file]);
        assert_eq!(twice, Ok(mount));
    }
}
