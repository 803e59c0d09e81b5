//! The man page of mkinitrd, held to what the program knows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path, process::Command};

#[test]
fn every_option_is_described() {
    let output = Command::new(env!("CARGO_BIN_EXE_mkinitrd")).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/man/mkinitrd.8")).unwrap();
    let below =
        text.lines().skip_while(|line| *line != "Options:").skip(1).take_while(|line| !line.is_empty());
    let options = below.filter_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("--")));
    let mut count = 0;
    for option in options.map(|option| option.trim_end_matches(',')) {
        assert!(page.contains(&format!("Fl -{option}")), "mkinitrd.8 lacks --{option}");
        count += 1;
    }
    assert!(count >= 12, "{text}");
    assert_eq!(text.lines().find(|line| line.chars().count() > 80), None);
}
