//! Signatures against openssl, where it is installed: what it makes now holds here, and what it refuses does not.
//! tests/signatures has what it made once.

#![cfg(feature = "signatures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path, process::Command};

use nextroot::format::verity::{
    root_hash::RootHash,
    signature::{Signature, certificate::Certificate, check::check},
};

mod left_out;

const HASH: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";

fn openssl(directory: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    let output = command.current_dir(directory).args(arguments.split(' ')).output().unwrap();
    output.status.success()
}

fn is_installed() -> bool {
    Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn openssl_agrees() {
    if !is_installed() {
        left_out::left_out("openssl is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let run = |arguments: &str| openssl(directory.path(), arguments);
    fs::write(path("hash"), HASH).unwrap();
    fs::write(path("other"), HASH.replace('0', "1")).unwrap();
    for (key, name) in [("rsa:2048", "rsa"), ("ec -pkeyopt ec_paramgen_curve:P-256", "p256")] {
        assert!(run(&format!(
            "req -batch -x509 -newkey {key} -nodes -keyout {name}.key -out {name}.crt -subj /CN={name}"
        )));
        let certificate = Certificate::parse(name, &fs::read(path(&format!("{name}.crt"))).unwrap()).unwrap();
        for options in ["-noattr", "-noattr -md sha512", "-md sha384", "-noattr -outform PEM"] {
            for signed in ["hash", "other"] {
                assert!(run(&format!(
                    "smime -sign -nocerts -binary -in {signed} -inkey {name}.key -signer {name}.crt -outform DER {options} -out p7s"
                )));
                let form = if options.contains("PEM") { "PEM" } else { "DER" };
                // As systemd calls it: PKCS7_NOINTERN | PKCS7_NOVERIFY.
                let theirs = run(&format!(
                    "smime -verify -nointern -noverify -binary -inform {form} -in p7s -content hash -certfile {name}.crt"
                ));
                let signature = Signature::read(&fs::read(path("p7s")).unwrap()).unwrap();
                let root_hash: RootHash = HASH.parse().unwrap();
                let ours = check(&signature, &root_hash, std::slice::from_ref(&certificate));
                assert_eq!((theirs, ours.is_ok()), (signed == "hash", signed == "hash"), "{name} {options}");
            }
        }
    }
}
