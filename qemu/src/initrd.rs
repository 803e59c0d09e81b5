//! The initramfs under test, made by the mkinitrd under test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Outcome, tree::Tree};

/// Makes an initramfs for the kernel of a tree.
pub(crate) fn make(dist: &Path, kernel: &Tree, config: Option<&str>, to: &Path) -> Outcome<()> {
    let mut command = Command::new(dist.join("mkinitrd"));
    command.arg("-o").arg(to).arg("--sysroot").arg(&kernel.0).arg("--kernel").arg(kernel.kernel_release()?);
    if let Some(config) = config {
        let file = to.with_extension("conf");
        fs::write(&file, config)?;
        command.arg("--config").arg(file);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The kernel itself.
pub(crate) fn kernel_image(kernel: &Tree) -> Outcome<PathBuf> {
    Ok(kernel.0.join("boot").join(format!("vmlinuz-{}", kernel.kernel_release()?)))
}
