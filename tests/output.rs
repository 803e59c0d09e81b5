//! What the commands do where nobody reads what they write.

use std::{
    fs::OpenOptions,
    io,
    process::{Command, Stdio},
};

/// println! panics there, and a panic in the middle of stage leaves it half done.
#[test]
fn a_reader_that_is_gone_is_no_panic() {
    for arguments in [&["--version"][..], &["plan", "--cmdline", "root=/dev/x", "--facts", "/nowhere"], &[]] {
        let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_nextroot"));
        let status = command.args(arguments).stdout(full()).stderr(full()).status().unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{arguments:?}: {status}");
    }
}

/// `nextroot status | head -n 1` said "Broken pipe" below its line.
#[test]
fn a_reader_that_has_enough_is_no_failure_to_tell_of() {
    for arguments in [&["status"][..], &["status", "--json"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output =
            Command::new(env!("CARGO_BIN_EXE_nextroot")).args(arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("Broken pipe"), "{arguments:?}: {said}");
    }
}
