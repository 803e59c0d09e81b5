//! Gives every target what is stored for it, without libFuzzer: what was once found stays found on every machine that
//! runs the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use nextroot_fuzz::ALL;

/// Seeds are read by people, too; what fuzzing collects stays under target/.
const LARGEST: usize = 8 << 10;

#[test]
fn every_stored_input_keeps_its_invariant() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in ALL {
        let folder = corpus.join(target.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut count = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            assert!(data.len() <= LARGEST, "{} has {} bytes", path.display(), data.len());
            // Each beginning of it as well: what is cut off must end in an error, not in a panic.
            for end in (0..=data.len()).rev().step_by(data.len() / 64 + 1) {
                let outcome = std::panic::catch_unwind(|| (target.run)(&data[..end]));
                assert!(outcome.is_ok(), "the first {end} bytes of {}", path.display());
            }
            count += 1;
        }
        assert!(count > 0, "{} has no input", folder.display());
    }
}

#[test]
fn every_folder_has_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in fs::read_dir(corpus).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let planted = name == "planted";
        assert!(planted || nextroot_fuzz::find(&name).is_some(), "corpus/{name} has no target");
    }
}

/// A word that is misspelt there, or missing, would not be noticed.
#[test]
fn every_dictionary_has_the_words_of_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dictionary");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(nextroot_fuzz::find(name).is_some(), "{name} is no target");
        let text = fs::read_to_string(&path).unwrap();
        let words = text.lines().filter(|line| !line.starts_with('#'));
        let words: Vec<&str> = words.map(|line| line.trim_matches('"')).collect();
        for parameter in nextroot::plan::request::known_parameters() {
            let there = words.iter().any(|word| word.trim_end_matches('=') == parameter);
            assert!(there, "{} lacks {parameter}", path.display());
        }
    }
}
