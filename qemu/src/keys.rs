//! Keys, certificates and signatures of images, made by openssl: the right ones, and those that must not do.

use std::{collections::BTreeMap, fs, path::Path};

use base64ct::{Base64, Encoding};

use crate::{Outcome, image::Partition, sandbox, tree::Tree};

/// Whose keys there are. `foreign` has the name and the serial number of `signer`; `expired` was valid in 2020.
const SIGNERS: [(&str, &str, &[&str]); 3] = [
    ("signer", "1", &[]),
    ("foreign", "1", &[]),
    ("expired", "2", &["-not_before", "20200101000000Z", "-not_after", "20210101000000Z"]),
];

/// The file with the key of `signer`, while an image is made.
pub(crate) const KEY: &str = "signer.key";
/// The file with its certificate.
pub(crate) const CERTIFICATE: &str = "signer.crt";

/// What systemd-repart signs with, as its options have it.
pub(crate) const REPART: [&str; 2] = ["--private-key=/mnt/signer.key", "--certificate=/mnt/signer.crt"];

/// Makes keys and certificates, and puts the certificates among the values: `{crt:signer}`.
pub(crate) fn make(openssl: &Tree, path: &Path, values: &mut BTreeMap<String, String>) -> Outcome<()> {
    for (name, serial, validity) in SIGNERS {
        let (key, certificate) = (format!("/mnt/{name}.key"), format!("/mnt/{name}.crt"));
        let mut arguments =
            vec!["req", "-x509", "-batch", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rig"];
        arguments.extend(["-set_serial", serial, "-keyout", key.as_str(), "-out", certificate.as_str()]);
        arguments.extend(validity);
        sandbox::run(&openssl.0, path, None, "openssl", &arguments)?;
        let text = fs::read_to_string(path.join(format!("{name}.crt")))?;
        values.insert(format!("crt:{name}"), text.trim_end().to_owned());
    }
    Ok(())
}

/// Signs root hashes of an image that is laid out, in base64: `{sig:LABEL}` by `signer`, `{sig:foreign}` and `{sig:expired}` of os_1 by these,
/// `{sig:damaged}` of os_1 with its last bit flipped; `{json:expired}` and `{json:mixed}` as partitions of os_2 hold them, the
/// second with the signature of os_1. Then the keys go, but for that of `signer` where it is `kept`.
pub(crate) fn sign(
    openssl: &Tree,
    path: &Path,
    partitions: &[Partition],
    kept: bool,
    values: &mut BTreeMap<String, String>,
) -> Outcome<()> {
    let root_hash = |label: &str| {
        let found = partitions.iter().find(|partition| partition.label == label);
        found.and_then(|partition| partition.roothash.clone()).ok_or(format!("{label} has no root hash"))
    };
    let (first, second) = (root_hash("os_1")?, root_hash("os_2")?);
    let sign = |signer: &str, root_hash: &str| -> Outcome<String> {
        fs::write(path.join("hash"), root_hash)?;
        let (key, certificate) = (format!("/mnt/{signer}.key"), format!("/mnt/{signer}.crt"));
        let mut arguments = vec!["smime", "-sign", "-nocerts", "-noattr", "-binary", "-outform", "DER"];
        arguments.extend(["-in", "/mnt/hash", "-inkey", key.as_str(), "-signer", certificate.as_str()]);
        arguments.extend(["-out", "/mnt/p7s"]);
        sandbox::run(&openssl.0, path, None, "openssl", &arguments)?;
        sandbox::run(&openssl.0, path, None, "openssl", &["base64", "-A", "-in", "/mnt/p7s"])
    };
    let json =
        |signature: &str| format!("{{\"rootHash\":\"{second}\",\"signature\":\"{}\"}}", signature.trim());
    let of_first = sign("signer", &first)?;
    let mut damaged = fs::read(path.join("p7s"))?;
    damaged.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
    values.insert("sig:damaged".to_owned(), Base64::encode_string(&damaged));
    for signer in ["foreign", "expired"] {
        values.insert(format!("sig:{signer}"), sign(signer, &first)?.trim().to_owned());
    }
    values.insert("sig:os_2".to_owned(), sign("signer", &second)?.trim().to_owned());
    values.insert("json:mixed".to_owned(), json(&of_first));
    values.insert("json:expired".to_owned(), json(&sign("expired", &second)?));
    values.insert("sig:os_1".to_owned(), of_first.trim().to_owned());
    for (name, ..) in SIGNERS.iter().filter(|(name, ..)| !(kept && *name == "signer")) {
        fs::remove_file(path.join(format!("{name}.key")))?;
        fs::remove_file(path.join(format!("{name}.crt")))?;
    }
    ["hash", "p7s"].iter().try_for_each(|left| fs::remove_file(path.join(left)))?;
    Ok(())
}
