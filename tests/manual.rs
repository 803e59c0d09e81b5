//! Man pages, completions and the configuration that is installed: held to what the program knows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use nextroot::format::config::host_config::{HostConfig, KEYS};

mod left_out;

const PAGES: [&str; 4] = ["man/nextroot.8", "man/nextroot-verity.8", "man/nextroot.conf.5", "man/mkinitrd.8"];
const COMPLETIONS: [&str; 3] =
    ["completions/nextroot.bash", "completions/_nextroot", "completions/nextroot.fish"];

fn dist(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn help(arguments: &[&str]) -> String {
    let program = Command::new(env!("CARGO_BIN_EXE_nextroot")).args(arguments).arg("--help").output();
    String::from_utf8(program.unwrap().stdout).unwrap()
}

/// As in `-h, --help`.
fn is_short(word: &str) -> bool {
    word.len() == 3 && word.starts_with('-') && word.ends_with(',')
}

/// The first words of the indented lines below a heading of `nextroot ARGUMENTS --help`.
fn listed(arguments: &[&str], heading: &str) -> Vec<String> {
    let text = help(arguments);
    let below = text.lines().skip_while(|line| *line != heading).skip(1);
    below
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().find(|word| !is_short(word)))
        .map(|word| word.trim_end_matches(',').to_owned())
        .collect()
}

#[test]
fn every_key_is_described_in_its_section() {
    let page = dist("man/nextroot.conf.5");
    for (section, key) in KEYS {
        let heading = format!(".Sh [{}] SECTION\n", section.to_uppercase());
        let (_, after) = page.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
        let section = after.split(".Sh ").next().unwrap();
        assert!(section.contains(&format!(".It Va {key}=\n")), "{heading} lacks {key}=");
    }
    let described = page.matches(".It Va ").count();
    assert_eq!(described, KEYS.len(), "a key is described that is not there");
}

#[test]
fn the_installed_configuration_shows_the_defaults() {
    let text = dist("nextroot.conf");
    let shown: Vec<&str> = text.lines().filter(|line| !line.starts_with("# ")).collect();
    let mut config = HostConfig::default();
    config.read(&shown.join("\n").replace('#', ""), "nextroot.conf").unwrap();
    assert_eq!(config, HostConfig::default());
    let mut section = "";
    let mut keys = Vec::new();
    for line in shown {
        match line.strip_prefix('#').and_then(|line| line.split_once('=')) {
            Some((key, _)) => keys.push((section, key)),
            None if line.starts_with('[') => section = line.trim_matches(['[', ']']),
            None => {}
        }
    }
    assert_eq!(keys, KEYS);
    let mut as_installed = HostConfig::default();
    as_installed.read(&text, "nextroot.conf").unwrap();
    assert_eq!(as_installed, HostConfig::default());
}

#[test]
fn every_command_and_option_is_described() {
    let page = dist("man/nextroot.8");
    let completions = COMPLETIONS.map(dist);
    let typed = listed(&[], "Commands:");
    assert!(typed.contains(&"plan".to_owned()), "{typed:?}");
    // Those of units are in the man page, and not among the completions.
    let internal = listed(&[], "Commands that only units run:");
    assert!(internal.contains(&"hook".to_owned()), "{internal:?}");
    for command in typed.iter().chain(&internal) {
        assert!(page.contains(&format!(".It Cm {command}")), "nextroot.8 lacks the command {command}");
        for option in listed(&[command], "Options:") {
            let name = option.trim_start_matches("--");
            assert!(page.contains(&format!("Fl -{name}")), "nextroot.8 lacks {command} {option}");
            for (file, text) in COMPLETIONS.iter().zip(&completions).filter(|_| typed.contains(command)) {
                assert!(text.contains(name), "{file} lacks {command} {option}");
            }
        }
        for (file, text) in COMPLETIONS.iter().zip(&completions).filter(|_| typed.contains(command)) {
            assert!(text.contains(command.as_str()), "{file}: {command}");
        }
    }
}

#[test]
fn help_fits_a_terminal() {
    let internal = listed(&[], "Commands that only units run:");
    let commands = listed(&[], "Commands:").into_iter().chain(internal).map(|command| vec![command]);
    let of_verity =
        listed(&["verity"], "Commands:").into_iter().map(|command| vec!["verity".into(), command]);
    for command in commands.chain(of_verity).chain([vec![]]) {
        let text = help(&command.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(text.starts_with("Usage: nextroot"), "{command:?}: {text}");
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{command:?}");
    }
}

#[test]
fn every_command_of_verity_is_described() {
    let page = dist("man/nextroot-verity.8");
    let completions = COMPLETIONS.map(dist);
    let commands = listed(&["verity"], "Commands:");
    assert!(commands.contains(&"format".to_owned()), "{commands:?}");
    for command in &commands {
        assert!(page.contains(&format!(".It Cm {command}\n")), "nextroot-verity.8 lacks {command}");
        for option in listed(&["verity", command], "Options:").iter().filter(|option| *option != "--help") {
            let name = option.trim_start_matches("--");
            assert!(page.contains(&format!(".It Fl -{name}")), "nextroot-verity.8 lacks {command} {option}");
            for (file, text) in COMPLETIONS.iter().zip(&completions) {
                assert!(text.contains(name) && text.contains(command.as_str()), "{file}: {command} {option}");
            }
        }
    }
}

/// Without groff the pages are not looked at: nothing else here needs it.
#[test]
fn man_pages_have_no_warnings() {
    if Command::new("groff").arg("--version").stdout(Stdio::null()).status().is_err() {
        left_out::left_out("groff is not installed");
        return;
    }
    for page in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(page);
        let output = Command::new("groff").args(["-mdoc", "-Tutf8", "-ww"]).arg(&path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
        assert!(output.status.success(), "{page}");
    }
}
