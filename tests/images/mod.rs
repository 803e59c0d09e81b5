//! Images in a directory of their own, and the commands that make and check their hash trees.

use std::{
    fs,
    process::{Command, Output},
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

use crate::left_out::left_to;

pub(crate) const UUID: &str = "--uuid=6f2d5a60-6b7a-4a1f-9f6f-0d6e1c5d2b11";

/// 300 blocks that look random, four of them zeros (a linear congruential generator).
pub(crate) fn data() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let mut bytes: Vec<u8> = (0..300 * 4096).map(|_| next()).collect();
    bytes[5 * 4096..9 * 4096].fill(0);
    bytes
}

pub(crate) struct Images(tempfile::TempDir);

impl Images {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("data"), data()).unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub(crate) fn run_as(&self, program: &[&str], command: &str, files: &[&str], more: &str) -> Output {
        let files = files.iter().map(|name| self.path(name));
        let (program, first) = program.split_first().unwrap();
        let mut run = Command::new(program);
        run.args(first).arg(command).args(files).args(more.split_whitespace());
        run.output().unwrap()
    }

    pub(crate) fn run(&self, command: &str, files: &[&str], more: &str) -> Output {
        self.run_as(&[env!("CARGO_BIN_EXE_nextroot"), "verity"], command, files, more)
    }

    pub(crate) fn damage(&self, name: &str, at: usize) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        bytes[at] ^= 1;
        fs::write(self.path(name), bytes).unwrap();
    }
}

/// The command line that starts veritysetup, its words apart: the one that VERITYSETUP names, or the one that is
/// installed, if it is.
#[track_caller]
pub(crate) fn veritysetup() -> Option<&'static [&'static str]> {
    static WORDS: OnceLock<Option<Vec<&str>>> = OnceLock::new();
    let look = || match std::env::var("VERITYSETUP") {
        Ok(named) => {
            let words: Vec<&str> = named.leak().split_whitespace().collect();
            let version = version(&words);
            // The one that trees are compared with byte for byte, and whose options are ours.
            assert!(
                version.is_some_and(|it| it >= (2, 8)),
                "VERITYSETUP={words:?} is of {version:?}, not 2.8 or newer"
            );
            Some(words)
        }
        Err(_) => version(&["veritysetup"]).is_some().then(|| vec!["veritysetup"]),
    };
    let words = WORDS.get_or_init(look).as_deref();
    if words.is_none() {
        left_to("make matrix", "no veritysetup is here (VERITYSETUP names one)");
    }
    words
}

/// What it says of itself: `veritysetup 2.8.8 flags: ...`.
fn version(words: &[&str]) -> Option<(u32, u32)> {
    let (program, first) = words.split_first()?;
    let output = Command::new(program).args(first).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
