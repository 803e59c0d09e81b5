//! `format/verity/signature/certificate.rs`: a certificate that is read has a fingerprint, nothing behind it changes it,
//! and no signature that others made holds by it for a root hash that nobody signed.

use nextroot::format::verity::signature::{
    certificate::{Certificate, LONGEST},
    check::check,
};

use super::signature_check::{STORED, unsigned};

pub(super) fn run(data: &[u8]) {
    let Ok(certificate) = Certificate::parse("fuzz.crt", data) else { return };
    assert!(data.len() <= LONGEST && certificate.path == "fuzz.crt");
    let print = &certificate.fingerprint;
    assert!(print.len() == 64 && print.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    const BEHIND: &[u8] = b"\nbehind\n";
    let again = Certificate::parse("again.crt", &[data, BEHIND].concat());
    assert!(data.len() + BEHIND.len() > LONGEST || again.is_ok_and(|again| again.fingerprint == *print));
    let trusted = [certificate];
    for stored in STORED.iter() {
        let held = check(&stored.signature, unsigned(), &trusted);
        assert!(held.is_err(), "{} holds for a root hash that nobody signed", stored.name);
    }
}
