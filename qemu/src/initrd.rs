//! The initramfs under test, made by the mkinitrd under test.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use nextroot::format::verity::signature::{Signature, partition};

use crate::{Outcome, scenario::Boot, tree::Tree};

/// Makes the initramfs of a boot, `initrd` in `work`, for the kernel of a tree.
pub(crate) fn make(dist: &Path, kernel: &Tree, boot: &Boot, work: &Path) -> Outcome<()> {
    let mut command = Command::new(dist.join("mkinitrd"));
    command.arg("-o").arg(work.join("initrd")).arg("--kernel").arg(kernel.kernel_release()?);
    // It goes when it was read: what is in it stands in the scenario.
    let sysroot = (!boot.files.is_empty()).then(tempfile::tempdir).transpose()?;
    if let Some(sysroot) = &sysroot {
        lay(kernel, &boot.files, sysroot.path())?;
    }
    command.arg("--sysroot").arg(sysroot.as_ref().map_or(kernel.0.as_path(), tempfile::TempDir::path));
    if let Some(config) = &boot.config {
        let file = work.join("initrd.conf");
        fs::write(&file, config)?;
        command.arg("--config").arg(file);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The kernel as it is packed, for firmware.
pub(crate) fn kernel_image(kernel: &Tree) -> Outcome<PathBuf> {
    Ok(kernel.0.join("boot").join(format!("vmlinuz-{}", kernel.kernel_release()?)))
}

/// The kernel as QEMU starts it by itself: unpacked, which a guest takes more than a second for.
pub(crate) fn unpacked_kernel(kernel: &Tree) -> PathBuf {
    kernel.0.join("boot/vmlinux")
}

/// Unpacks a kernel (Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`, `payload_length`).
pub(crate) fn unpack_kernel(kernel: &Tree) -> Outcome<()> {
    let image = fs::read(kernel_image(kernel)?)?;
    let sectors = image.get(0x1f1).copied().ok_or("a kernel is longer")?;
    let number = |at: usize| -> Outcome<usize> {
        let bytes =
            image.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).ok_or("a kernel is longer")?;
        Ok(usize::try_from(u32::from_le_bytes(*bytes))?)
    };
    let begin = (usize::from(if sectors == 0 { 4 } else { sectors }) + 1) * 512 + number(0x248)?;
    let payload = image.get(begin..begin + number(0x24c)?).ok_or("the kernel's payload is cut short")?;
    let mut unpacked = Vec::new();
    // Behind it stands its length.
    zstd::Decoder::new(payload)?.single_frame().read_to_end(&mut unpacked)?;
    Ok(fs::write(unpacked_kernel(kernel), unpacked)?)
}

/// A system with the modules of a tree, and files of its own.
fn lay(kernel: &Tree, files: &BTreeMap<String, String>, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to.join("usr/lib"))?;
    for shared in ["boot", "usr/lib/modules", "usr/lib/firmware"] {
        symlink(kernel.0.join(shared), to.join(shared))?;
    }
    for (path, text) in files {
        let file = to.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().ok_or("a file has a directory")?)?;
        let bytes = match path.ends_with(".p7s") {
            true => signature(text)?.der().to_vec(),
            false => text.clone().into_bytes(),
        };
        fs::write(file, bytes)?;
    }
    Ok(())
}

fn signature(text: &str) -> Outcome<Signature> {
    match text.starts_with('{') {
        true => Ok(partition::Signed::parse(text.as_bytes())?.signature),
        false => Ok(text.parse()?),
    }
}
