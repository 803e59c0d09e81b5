//! What a system with a web server and a database has more than others: both answer whoever asks with their own clock.

use std::{fs, path::Path};

use crate::{Outcome, sandbox};

/// The tree.
pub(crate) const TREE: &str = "serving";
pub(crate) const PACKAGES: &[&str] = &["nginx", "postgresql"];

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
