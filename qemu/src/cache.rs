//! Things that take long to make, kept under target/rig by the hash of their recipe.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
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
            Ok(path)
        }
        Err(error) => {
            // The error is what matters; what is left is removed at the next try, too.
            let _ = fs::remove_dir_all(&unfinished);
            Err(error)
        }
    }
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
