//! Things that take long to make, kept under target/rig by the hash of their recipe.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::Outcome;

/// Where all of it is: target/rig beside this package's workspace.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/rig")
}

/// What `make` makes at a path that is not there yet, or what it made before for the same recipe.
///
/// It works under another name, which is changed when all is done: what is there is whole. A lock keeps two
/// rigs from making the same thing.
pub(crate) fn get(
    kind: &str,
    name: &str,
    recipe: &str,
    make: impl FnOnce(&Path) -> Outcome<()>,
) -> Outcome<PathBuf> {
    let hash: String = hex(&Sha256::digest(recipe)).chars().take(12).collect();
    let directory = directory().join(kind);
    fs::create_dir_all(&directory)?;
    let path = fs::canonicalize(&directory)?.join(format!("{name}-{hash}"));
    let lock = File::create(path.with_extension("lock"))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    if path.exists() {
        return Ok(path);
    }
    let unfinished = path.with_extension("new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    match make(&unfinished) {
        Ok(()) => {
            fs::rename(&unfinished, &path)?;
            forget_superseded(&directory, name, &path)?;
            Ok(path)
        }
        Err(error) => {
            // The error is what matters; what is left is removed at the next try, too.
            let _ = fs::remove_dir_all(&unfinished);
            Err(error)
        }
    }
}

/// How long what nobody uses is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Removes what older recipes of the same name made, and nobody took for a day. Its lock says when somebody did: who takes
/// it opens that anew.
fn forget_superseded(directory: &Path, name: &str, newest: &Path) -> Outcome<()> {
    for entry in fs::read_dir(directory)? {
        let lock = entry?.path();
        let hash = lock.file_stem().and_then(|stem| stem.to_str()?.strip_prefix(name)?.strip_prefix('-'));
        let is_older = hash.is_some_and(|hash| hash.len() == 12 && !hash.contains('-'))
            && lock.extension().is_some_and(|extension| extension == "lock")
            && lock.with_extension("").file_name() != newest.file_name();
        if is_older && is_unused(&lock)? {
            let old = lock.with_extension("");
            if old.exists() {
                fs::remove_dir_all(&old)?;
            }
            fs::remove_file(&lock)?;
        }
    }
    Ok(())
}

/// Removes the logs of runs that nothing was added to for a day; one that was killed leaves its machines' disks.
pub(crate) fn forget_logs(logs: &Path) -> Outcome<()> {
    for entry in fs::read_dir(logs)? {
        let run = entry?.path();
        if is_unused(&run)? {
            fs::remove_dir_all(&run)?;
        }
    }
    Ok(())
}

fn is_unused(path: &Path) -> Outcome<bool> {
    let changed = fs::metadata(path)?.modified()?;
    Ok(SystemTime::now().duration_since(changed).is_ok_and(|since| since > KEPT))
}

/// The hash of a file's content, as part of a recipe.
pub(crate) fn hash_file(path: &Path) -> Outcome<String> {
    let bytes =
        fs::read(path).map_err(|e| format!("read {}: {e}: run \"make build\" first", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_superseded_and_unused_goes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let old = SystemTime::now() - KEPT - Duration::from_secs(60);
        for (name, used) in [
            ("mini-000000000001", old),
            ("mini-000000000002", SystemTime::now()),
            ("mini-000000000003", old),
            ("mini-x-00000000001", old),
            ("other-000000000001", old),
        ] {
            fs::create_dir(at(name)).unwrap();
            let lock = File::create(at(name).with_extension("lock")).unwrap();
            lock.set_modified(used).unwrap();
        }
        forget_superseded(directory.path(), "mini", &at("mini-000000000003")).unwrap();
        let mut left: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        left.sort();
        let kept = ["mini-000000000002", "mini-000000000003", "mini-x-00000000001", "other-000000000001"];
        assert_eq!(left, kept);
        assert!(!at("mini-000000000001.lock").exists() && at("mini-000000000002.lock").exists());
    }
}
