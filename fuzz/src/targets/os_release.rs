//! `format/system/os_release.rs`: no field is empty or longer than the file, and a field that is asked for by its name is
//! the same.

use nextroot::format::system::os_release::{OsRelease, variable};

pub(super) fn run(data: &[u8]) {
    let Ok(release) = OsRelease::parse(data) else { return };
    assert!(!release.name().is_empty());
    for (name, value) in [
        ("PRETTY_NAME", &release.pretty_name),
        ("ID", &release.id),
        ("VERSION_ID", &release.version_id),
        ("IMAGE_ID", &release.image_id),
        ("IMAGE_VERSION", &release.image_version),
    ] {
        assert!(value.as_ref().is_none_or(|value| !value.is_empty() && value.len() < data.len()));
        assert_eq!(&variable(data, name), value, "{name}");
        let Some(value) = value else { continue };
        let escape = |c: char| if "$\"`\\".contains(c) { format!("\\{c}") } else { c.to_string() };
        let quoted: String = value.chars().map(escape).collect();
        assert_eq!(variable(format!("{name}=\"{quoted}\"").as_bytes(), name).as_ref(), Some(value));
    }
}
