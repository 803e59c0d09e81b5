//! Secure Boot: a machine's variables with a certificate of ours in them, and kernels that are signed for it.

use std::{fs, path::Path};

use crate::{Outcome, image::Image, keys, sandbox, tree::Tree};

/// The tree with what signs and enrols.
pub(crate) const TREE: &str = "secure-boot";
/// The firmware's variables, in an image's directory and in a machine's.
pub(crate) const VARIABLES: &str = "variables.fd";
/// A kernel that the firmware may start: alone, or with its initramfs and command line.
pub(crate) const SIGNED: &str = "kernel.signed";

/// Whose the certificate is: a GUID is needed, any will do.
const OWNER: &str = "6f2d5a60-6b7a-4a1f-9f6f-0d6e1c5d2b13";
const EMPTY: &str = "usr/share/OVMF/OVMF_VARS_4M.fd";

/// Makes variables with the certificate of `signer` as PK, KEK and db, where its image is made.
pub(crate) fn enroll(tree: &Tree, tools: &Tree, path: &Path) -> Outcome<()> {
    fs::copy(tools.0.join(EMPTY), path.join(VARIABLES))?;
    let (variables, certificate) = (format!("/mnt/{VARIABLES}"), format!("/mnt/{}", keys::CERTIFICATE));
    let mut arguments = vec!["--inplace", variables.as_str(), "--secure-boot"];
    for option in ["--set-pk", "--add-kek", "--add-db"] {
        arguments.extend([option, OWNER, certificate.as_str()]);
    }
    sandbox::run(&tree.0, path, None, "virt-fw-vars", &arguments).map(drop)
}

/// Puts an image's variables and its signed kernel into a machine's directory. With a command line the kernel is one
/// file with it and the initramfs, a UKI.
pub(crate) fn prepare(tree: &Tree, image: &Image, work: &Path, command_line: Option<&str>) -> Outcome<()> {
    for file in [VARIABLES, keys::KEY, keys::CERTIFICATE] {
        let from = image.directory().join(file);
        let none = |e| format!("{}: {e}: this image is not made for Secure Boot", from.display());
        fs::copy(&from, work.join(file)).map_err(none)?;
    }
    let (key, certificate) = (format!("/mnt/{}", keys::KEY), format!("/mnt/{}", keys::CERTIFICATE));
    let signed = format!("/mnt/{SIGNED}");
    let run = |program: &str, arguments: &[&str]| sandbox::run(&tree.0, work, None, program, arguments);
    match command_line {
        None => run("sbsign", &["--key", &key, "--cert", &certificate, "--output", &signed, "/mnt/kernel"])?,
        Some(command_line) => {
            fs::write(work.join("command-line"), command_line)?;
            let (key, certificate) = (
                format!("--secureboot-private-key={key}"),
                format!("--secureboot-certificate={certificate}"),
            );
            let output = format!("--output={signed}");
            let parts =
                ["build", "--linux=/mnt/kernel", "--initrd=/mnt/initrd", "--cmdline=@/mnt/command-line"];
            run("ukify", &[&parts[..], &[&key, &certificate, &output]].concat())?
        }
    };
    Ok(())
}
