//! Kernel releases, as uname(2) gives them.

/// The first two numbers of a release: (6, 12) of `6.12.48+deb13-amd64`.
#[must_use]
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        for (release, expected) in [
            ("6.12.48+deb13-amd64", Some((6, 12))),
            ("6.1-rc1", Some((6, 1))),
            ("6", None),
            ("", None),
            ("x.y", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
        assert!(version("6.9.1") < version("6.12"));
    }
}
