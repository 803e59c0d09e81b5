//! The examples of the man pages: what can be done here is done, and what needs a machine of its own is in a scenario's script.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nextroot::format::config::host_config::HostConfig;

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What stands in the displays below EXAMPLES, a text each.
fn examples(page: &str) -> Vec<String> {
    let text = fs::read_to_string(own("dist/man").join(page)).unwrap();
    let section = text.split(".Sh EXAMPLES\n").nth(1).unwrap().split(".Sh ").next().unwrap();
    let displays = section.split(".Bd -literal -offset indent\n").skip(1);
    let found: Vec<String> = displays.map(|rest| rest.split(".Ed").next().unwrap().to_owned()).collect();
    assert!(!found.is_empty(), "{page} has no examples");
    found
}

#[test]
fn configurations_are_read_without_a_warning() {
    for text in examples("nextroot.conf.5") {
        let mut config = HostConfig::default();
        config.read(&text, "nextroot.conf").unwrap();
        assert_ne!(config, HostConfig::default(), "{text}");
        assert_eq!(config.warnings, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn commands_of_verity_do_what_they_say() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["os.erofs", "os.raw"] {
        // As long as the numbers in the examples say.
        let content: Vec<u8> = (0..16_u32 << 20).map(|at| (at / 4096 % 251) as u8).collect();
        fs::write(directory.path().join(name), content).unwrap();
    }
    let mut count = 0;
    for line in examples("nextroot-verity.8").iter().flat_map(|text| text.lines()) {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("nextroot"), "{line}");
        let program = env!("CARGO_BIN_EXE_nextroot");
        let output = Command::new(program).args(words).current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        count += 1;
    }
    assert!(count >= 5);
    // The tree behind the data left that as it was, and the parity the tree.
    let length = |name: &str| fs::metadata(directory.path().join(name)).unwrap().len();
    assert!(length("os.raw") > 16 << 20 && length("os.verity") > 139_264);
}

/// A path and a root hash are of whoever types it; options and the order of words are not.
fn shape(line: &str) -> Vec<String> {
    let words = line.split_ascii_whitespace().map(|word| match word {
        path if path.starts_with('/') => "PATH".to_owned(),
        hash if hash.starts_with("{roothash:") || hash.ends_with("...") => "HASH".to_owned(),
        other => other.to_owned(),
    });
    words.collect()
}

#[test]
fn commands_that_need_a_machine_are_typed_in_scenarios() {
    let mut scripts = String::new();
    for entry in fs::read_dir(own("qemu/scenarios")).unwrap() {
        scripts += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    let typed: Vec<Vec<String>> = scripts.lines().map(shape).collect();
    for line in examples("nextroot.8").iter().flat_map(|text| text.lines()) {
        let wanted = shape(line);
        let is_typed = |words: &Vec<String>| words.windows(wanted.len()).any(|some| some == wanted);
        assert!(typed.iter().any(is_typed), "no scenario has: {line}");
    }
}
