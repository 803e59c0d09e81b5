//! `nextroot plan` as a command, against a golden file: what it prints for facts that were written down, and how it ends.
//! A case is a title, the arguments after `$`, and what comes of them in tests/golden.
//! `NEXTROOT_BLESS=1 cargo test --test plan` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Arguments are parted by spaces, but for what stands between double quotes.
fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nextroot"));
    command.current_dir(golden());
    for (index, part) in arguments.split('"').enumerate() {
        match index % 2 {
            0 => command.args(part.split_whitespace()),
            _ => command.arg(part),
        };
    }
    command
}

/// What it printed, and its exit code where that is not 0.
fn told(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    match output.status.code() {
        Some(0) => format!("{out}{error}"),
        code => format!("{out}{error}exit code {}\n", code.unwrap()),
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the facts have partition types of x86-64")]
fn commands() {
    let path = golden().join("commands.txt");
    let text = fs::read_to_string(&path).unwrap();
    let (mut blessed, mut count) = (String::new(), 0);
    for case in text.split("---\n").filter(|case| !case.trim().is_empty()) {
        let head: String =
            case.lines().take_while(|line| line.starts_with(['#', '$'])).map(|l| format!("{l}\n")).collect();
        let arguments = head.lines().find_map(|line| line.strip_prefix('$')).expect("a case without $");
        blessed += &format!("{head}{}---\n", told(&command(arguments).output().unwrap()));
        count += 1;
    }
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(&path, &blessed).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), blessed, "NEXTROOT_BLESS=1 writes it anew");
    assert!(count >= 15, "only {count} cases");
}

/// Facts that a plan was made of give the same plan, wherever they came from.
#[test]
fn facts_read_back() {
    let shown = told(&command("plan previous --facts stage/configured.json --show-facts").output().unwrap());
    let again = tempfile::NamedTempFile::new().unwrap();
    fs::write(&again, &shown).unwrap();
    let again = again.path().display();
    let output = command(&format!("plan previous --facts {again} --show-facts")).output().unwrap();
    assert_eq!(told(&output), shown);
    assert!(shown.contains("\"verity_required\": true"), "{shown}");
}

/// Looks at what it is planned from with no more rights than anybody has.
#[test]
fn facts_need_no_privilege() {
    let facts = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    fs::write(&facts, fs::read(golden().join("stage/system.json")).unwrap()).unwrap();
    let everybody: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&facts, everybody).unwrap();
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    for (arguments, expected) in [
        (format!("plan previous --facts {}", facts.path().display()), "now, while the old system serves:"),
        ("plan previous".to_owned(), "nextroot: this needs root"),
    ] {
        let mut command = command(&arguments);
        command.current_dir("/");
        if is_root {
            command.uid(65534).gid(65534);
        }
        match command.output() {
            Ok(output) => assert!(told(&output).starts_with(expected), "{}", told(&output)),
            Err(error) if is_root && error.kind() == ErrorKind::PermissionDenied => {
                eprintln!("the program is where only root may look: skipped");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The boot loader was once asked for on every machine, and machines without EFI have none.
#[test]
fn a_boot_from_a_named_root_asks_no_boot_loader() {
    let output =
        command("plan --cmdline root=PARTUUID=6b5d9a0e-0000-4000-8000-000000000000").output().unwrap();
    let told = told(&output);
    assert!(
        told.contains("PARTUUID=6b5d9a0e-0000-4000-8000-000000000000") && !told.contains("EFI"),
        "{told}"
    );
}
