//! The certificates that are trusted: verity.d, as systemd has it (src/shared/dissect-image.c).

use std::path::Path;

use crate::{
    format::{
        config::drop_ins,
        verity::signature::certificate::{self, Certificate},
    },
    run::configuration::{Error, listings},
    sys::file::{LastLink, RegularFile},
};

/// Where they lie, highest priority first: a file hides those of its name in the directories behind, and so does an empty
/// one or a link to /dev/null.
pub const DIRECTORIES: [&str; 4] =
    ["/etc/verity.d", "/run/verity.d", "/usr/local/lib/verity.d", "/usr/lib/verity.d"];
/// What their names end with.
pub const SUFFIX: &str = ".crt";
/// More than any machine trusts; each takes memory.
const MOST: usize = 256;

/// What was found.
#[derive(Debug, Default)]
pub struct Trusted {
    /// The certificates, by the names of their files.
    pub certificates: Vec<Certificate>,
    /// A line for each file that is none.
    pub skipped: Vec<String>,
}

/// Reads the certificates of this system, or of the tree at `root`. As for systemd, one that cannot be read is passed
/// over: it is nobody that is trusted.
pub fn trusted(root: Option<&Path>) -> Result<Trusted, Error> {
    let paths = drop_ins::of_suffix(&listings(root, &DIRECTORIES, "")?, SUFFIX);
    let mut found = Trusted::default();
    if let Some(more) = paths.len().checked_sub(MOST).filter(|more| *more > 0) {
        found.skipped.push(format!("{more} certificates more than {MOST} are not read"));
    }
    for path in paths.iter().take(MOST) {
        match read(path) {
            Ok(certificate) => found.certificates.push(certificate),
            Err(why) => found.skipped.push(format!("{path}: {why}")),
        }
    }
    Ok(found)
}

fn read(path: &str) -> Result<Certificate, String> {
    let file = RegularFile::open(Path::new(path), LastLink::Follow).map_err(|e| e.in_one_line())?;
    // One byte more, so that what is too long is seen to be.
    let bytes = file.read(0, certificate::LONGEST + 1).map_err(|e| e.in_one_line())?;
    Certificate::parse(path, &bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn directories_and_masks() {
        let tree = tempfile::tempdir().unwrap();
        let good = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/signatures/");
        for (path, content) in [
            ("etc/verity.d/b.crt", "p256.crt"),
            ("etc/verity.d/masked.crt", "/dev/null"),
            ("etc/verity.d/emptied.crt", ""),
            ("etc/verity.d/other.pem", "p384.crt"),
            ("etc/verity.d/signature.crt", "rsa2048.p7s"),
            ("etc/verity.d/.hidden.crt", "p384.crt"),
            ("run/verity.d/b.crt", "p384.crt"),
            ("run/verity.d/linked.crt", "p384.crt"),
            ("usr/local/lib/verity.d/c.crt", "rsa2048.crt"),
            ("usr/lib/verity.d/a.crt", "rsa3072.crt"),
            ("usr/lib/verity.d/masked.crt", "rsa4096.crt"),
            ("usr/lib/verity.d/emptied.crt", "rsa4096.crt"),
            ("usr/lib/verity.d/dangling.crt", "missing"),
        ] {
            let at = tree.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            match content {
                "" => fs::write(at, "").unwrap(),
                content if path.contains("linked") || content.starts_with('/') || content == "missing" => {
                    symlink(Path::new(good).join(content), at).unwrap();
                }
                content => drop(fs::copy(Path::new(good).join(content), at).unwrap()),
            }
        }
        fs::create_dir(tree.path().join("etc/verity.d/directory.crt")).unwrap();
        let found = trusted(Some(tree.path())).unwrap();
        let names: Vec<&str> = found
            .certificates
            .iter()
            .map(|certificate| certificate.path.strip_prefix(&*tree.path().to_string_lossy()).unwrap())
            .collect();
        let expected = [
            "/usr/lib/verity.d/a.crt",
            "/etc/verity.d/b.crt",
            "/usr/local/lib/verity.d/c.crt",
            "/run/verity.d/linked.crt",
        ];
        assert_eq!(names, expected);
        assert_eq!(found.skipped.len(), 1, "{:?}", found.skipped);
        assert!(found.skipped[0].contains("/etc/verity.d/signature.crt: it is no certificate in PEM"));
        assert!(trusted(Some(Path::new("/nowhere"))).unwrap().certificates.is_empty());
    }
}
