//! What a system with a web server and a database has more than others: both answer whoever asks with their own clock.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::{Outcome, sandbox, tree::Tree};

/// The tree, and the same with other versions of the libraries.
pub(crate) const TREE: &str = "serving";
pub(crate) const UPDATED: &str = "serving-updated";
pub(crate) const PACKAGES: &[&str] = &["nginx", "postgresql"];

/// The tree that these versions come from, file by file: no solver finds a system of packages from both.
pub(crate) const NEWER: &str = "forky";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// What nearly every program maps. Those of glibc go together.
const UPDATED_LIBRARIES: [&str; 19] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libm.so.6",
    "libmvec.so.1",
    "libresolv.so.2",
    "libnss_compat.so.2",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libcrypt.so.1",
    "libssl.so.3",
    "libcrypto.so.3",
    "libzstd.so.1",
    "liblzma.so.5",
    "libz.so.1",
    "libpcre2-8.so.0",
    "libseccomp.so.2",
    "libacl.so.1",
];

/// All that is written below.
pub(crate) const FURNITURE: &str = include_str!("serving.rs");

/// What nginx answers: seconds since the epoch (`$msec` of ngx_http_core_module).
const SITE: &str = "server {\n\tlisten 80;\n\tlocation / {\n\t\treturn 200 \"$msec\\n\";\n\t}\n}\n";
/// Whoever reaches the guest may ask the database.
const ALLOWED: &str = "host all all all trust\n";
const LISTENS: &str = "listen_addresses = '*'\n";
/// The address that QEMU's network expects a guest to have (qemu(1), `-netdev user`).
const NETWORK: &str = "[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\n";

/// Furnishes its tree.
pub(crate) fn furnish(path: &Path) -> Outcome<()> {
    fs::write(path.join("etc/nginx/sites-available/default"), SITE)?;
    fs::write(path.join("usr/lib/systemd/network/10-guest.network"), NETWORK)?;
    for version in fs::read_dir(path.join("etc/postgresql"))? {
        let cluster = version?.path().join("main");
        fs::write(cluster.join("conf.d/serving.conf"), LISTENS)?;
        let allowed = cluster.join("pg_hba.conf");
        fs::write(&allowed, fs::read_to_string(&allowed)? + ALLOWED)?;
    }
    let work = tempfile::tempdir()?;
    sandbox::run(path, work.path(), None, "systemctl", &["enable", "systemd-networkd.service"])?;
    Ok(())
}

/// Gives the tree in `path` the libraries of a newer one.
pub(crate) fn update(path: &Path, newer: &Tree) -> Outcome<()> {
    let (ours, theirs) = (path.join(LIBRARIES), newer.0.join(LIBRARIES));
    for name in UPDATED_LIBRARIES {
        let new = fs::canonicalize(theirs.join(name))?;
        let file = new.file_name().ok_or("a library without a name")?;
        for old in [fs::canonicalize(ours.join(name))?, ours.join(name)] {
            if old.symlink_metadata().is_ok() {
                fs::remove_file(old)?;
            }
        }
        fs::copy(&new, ours.join(file))?;
        if file != name {
            symlink(file, ours.join(name))?;
        }
    }
    Ok(())
}
