//! Image policies and versions against what systemd says of them.
//!
//! `tests/golden/image-policies.txt` has a policy after `$`, and what `systemd-analyze image-policy` of systemd 262 prints for
//! it: the short form, the long form, and for each partition its flags, read-only, growfs and file systems. The program that
//! SYSTEMD_ANALYZE names, or an installed one, is asked again where it is new enough.
//! `SYSTEMD_ANALYZE=... NEXTROOT_BLESS=1 cargo test --test systemd_analyze` writes what it says.
//! `versions.txt` has what `systemd-analyze compare-versions` says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nextroot::{
    format::{
        config::image_policy::{Designator, ImagePolicy},
        system::version,
    },
    plan::preflight::{self, Unit},
    run::soft_reboot::unit_order,
};

mod left_out;

/// The oldest systemd that is asked; and the first whose words are all that are known here.
const OLDEST: u32 = 257;
const NEWEST: u32 = 262;
/// What came after [`OLDEST`].
const NEW: [&str; 8] =
    ["encryptedwithintegrity", "btrfs", "erofs", "ext4", "f2fs", "squashfs", "vfat", "xfs"];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn golden() -> PathBuf {
    file("image-policies.txt")
}

/// The policies, each with what systemd says of it.
fn cases() -> Vec<(String, String)> {
    let text = fs::read_to_string(golden()).unwrap();
    let mut cases = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('$') {
            Some(policy) => cases.push((policy.to_owned(), String::new())),
            None => cases.last_mut().unwrap().1 += &format!("{line}\n"),
        }
    }
    cases
}

fn mark(said: Option<bool>) -> &'static str {
    said.map_or("-", |said| if said { "yes" } else { "no" })
}

fn ours(policy: &str) -> String {
    let policy: ImagePolicy = match policy.parse() {
        Ok(policy) => policy,
        Err(_) => return "refused\n".to_owned(),
    };
    let mut told = format!("{}\n{policy}\n", policy.short());
    for designator in Designator::all() {
        let flags = policy.flags(designator);
        let types = flags.file_systems().join("+");
        let types = if types.is_empty() { "-" } else { &types };
        let (read_only, growfs) = (mark(flags.read_only()), mark(flags.growfs()));
        told += &format!("{designator} {} {read_only} {growfs} {types}\n", flags.usage());
    }
    told
}

/// systemd's program, and its version.
fn analyze() -> Option<(String, u32)> {
    let program = std::env::var("SYSTEMD_ANALYZE");
    let is_named = program.is_ok();
    let program = program.unwrap_or_else(|_| "systemd-analyze".to_owned());
    let version = command(&program).arg("--version").output().ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.split_whitespace().nth(1)?.parse().ok()
    });
    assert!(!is_named || version.is_some(), "SYSTEMD_ANALYZE={program} cannot be asked");
    let version = version.filter(|version| *version >= OLDEST);
    assert!(!is_named || version.is_some(), "SYSTEMD_ANALYZE={program} is older than {OLDEST}");
    version.map(|version| (program, version))
}

/// The program's own words first: a loader and where its libraries are, say.
fn command(program: &str) -> Command {
    let mut words = program.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

fn theirs(program: &str, policy: &str) -> String {
    let output = command(program)
        .args(["image-policy", "--no-pager", policy])
        .envs([("SYSTEMD_COLORS", "0"), ("LC_ALL", "C.UTF-8"), ("COLUMNS", "500")])
        .output()
        .unwrap();
    if !output.status.success() {
        return "refused\n".to_owned();
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let after = |mark: &str| {
        text.lines().find_map(|line| line.trim_start().strip_prefix(mark)).map(|form| form.trim().to_owned())
    };
    let short = after("Analyzing policy:").unwrap();
    let mut told = format!("{short}\n{}\n", after("Long form:").unwrap_or_else(|| short.clone()));
    let rows = text.lines().skip_while(|line| !line.starts_with("PARTITION")).skip(1);
    for row in rows.filter(|row| !row.is_empty() && !row.starts_with("default ")) {
        let mut cells: Vec<&str> = row.split_whitespace().collect();
        cells.resize(5, "-");
        told += &format!("{}\n", cells.join(" "));
    }
    told
}

#[test]
fn policies_as_systemd_said() {
    let cases = cases();
    for (policy, said) in &cases {
        assert_eq!(ours(policy), *said, "{policy}");
    }
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    assert!(cases.iter().filter(|(_, said)| said == "refused\n").count() >= 15);
}

#[test]
fn policies_as_systemd_says_here() {
    let Some((program, version)) = analyze() else {
        let why = format!("no systemd-analyze of {OLDEST} or newer is here (SYSTEMD_ANALYZE names one)");
        left_out::left_to("make matrix", &why);
        return;
    };
    if version >= NEWEST {
        let text = fs::read_to_string(golden()).unwrap();
        let head = text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n"));
        let said: String =
            cases().iter().map(|(policy, _)| format!("${policy}\n{}", theirs(&program, policy))).collect();
        let said = head.collect::<String>() + &said;
        if std::env::var_os("NEXTROOT_BLESS").is_some() {
            fs::write(golden(), &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(golden()).unwrap());
        return;
    }
    for (policy, said) in cases() {
        if NEW.iter().any(|word| policy.contains(word)) {
            continue;
        }
        let (old, new) = (theirs(&program, &policy), said);
        assert_eq!(rows(&old), rows(&new), "{policy}");
    }
}

/// The partitions' rows, with the flags as a set and without what is new: `open` and `ignore` stand for others in each version.
fn rows(told: &str) -> Vec<(String, BTreeSet<String>, String)> {
    let words = |usage: &str| -> BTreeSet<String> {
        let usage = match usage {
            "open" => "verity+signed+encrypted+unprotected+unused+absent",
            "ignore" => "unused+absent",
            usage => usage,
        };
        usage.split('+').filter(|word| !NEW.contains(word)).map(str::to_owned).collect()
    };
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(' ').collect();
        (cells[0].to_owned(), words(cells[1]), cells[2..4].join(" "))
    };
    told.lines().skip(2).map(row).collect()
}

#[test]
fn policies_that_are_printed_read_back() {
    for (policy, _) in cases() {
        let Ok(parsed) = policy.parse::<ImagePolicy>() else { continue };
        assert_eq!(parsed.to_string().parse(), Ok(parsed.clone()), "{policy}");
        let json = serde_json::to_string(&parsed).unwrap();
        assert_eq!(serde_json::from_str::<ImagePolicy>(&json).unwrap(), parsed, "{policy}");
    }
    // Every rule of up to three words, and what follows from it.
    let words: Vec<String> =
        "verity signed encrypted encryptedwithintegrity unprotected unused absent read-only-on \
                              read-only-off growfs-on growfs-off erofs xfs open ignore"
            .split(' ')
            .map(str::to_owned)
            .collect();
    for one in &words {
        for two in &words {
            for three in &words {
                let policy = format!("root={one}+{two}:usr-verity={three}:={two}");
                let parsed: ImagePolicy = policy.parse().unwrap();
                assert_eq!(parsed.to_string().parse(), Ok(parsed.clone()), "{policy}");
                let short: ImagePolicy = parsed.short().parse().unwrap();
                for designator in
                    [Designator::Root, Designator::Usr, Designator::Home, Designator::RootVerity]
                {
                    assert_eq!(short.flags(designator), parsed.flags(designator), "{policy} {designator}");
                }
            }
        }
    }
}

#[test]
fn malformed_policies() {
    let flags = "verity, signed, encrypted, encryptedwithintegrity, unprotected, unused, absent, read-only-on, read-only-off, \
                 growfs-off, growfs-on, btrfs, erofs, ext4, f2fs, squashfs, vfat, xfs, open, ignore";
    let partitions = "root, usr, home, srv, esp, xbootldr, swap, root-verity, usr-verity, root-verity-sig, usr-verity-sig, tmp, \
                      var, or nothing for all others";
    let rule = "write PARTITION=FLAG+FLAG, rules parted by \":\", or one of * - ~ alone";
    for (policy, message) in [
        ("root", format!("character 1: \"root\" is no rule: {rule}")),
        (" ", format!("character 1: \" \" is no rule: {rule}")),
        ("root=verity:", format!("character 13: \"\" is no rule: {rule}")),
        (":root=verity", format!("character 1: \"\" is no rule: {rule}")),
        ("root=verity::usr=verity", format!("character 13: \"\" is no rule: {rule}")),
        ("root=verity:*", format!("character 13: \"*\" is no rule: {rule}")),
        ("rot=verity", format!("character 1: \"rot\" is no partition: write {partitions}")),
        ("root=verity: Usr =open", format!("character 14: \"Usr\" is no partition: write {partitions}")),
        ("root=verify", format!("character 6: \"verify\" is no flag: write {flags}")),
        ("root=verity+", format!("character 13: \"\" is no flag: write {flags}")),
        ("root=verity+ sighned", format!("character 14: \"sighned\" is no flag: write {flags}")),
        ("usr=open:root=verity,signed", format!("character 15: \"verity,signed\" is no flag: write {flags}")),
        ("root=a=b", format!("character 6: \"a=b\" is no flag: write {flags}")),
        ("root=\u{e9}", format!("character 6: \"\u{e9}\" is no flag: write {flags}")),
        ("root=verity+\u{e9}+x", format!("character 13: \"\u{e9}\" is no flag: write {flags}")),
        ("ro\\ot=verity", format!("character 1: \"ro\\ot\" is no partition: write {partitions}")),
        (
            "root=verity:root=signed",
            "character 13: there is a rule for root before this one: leave one of them out".to_owned(),
        ),
        (
            "=open: =open",
            "character 8: there is a rule for all others before this one: leave one of them out".to_owned(),
        ),
    ] {
        assert_eq!(policy.parse::<ImagePolicy>().unwrap_err().to_string(), message, "{policy}");
    }
}

#[test]
fn versions() {
    let text = fs::read_to_string(file("versions.txt")).unwrap();
    let analyze = analyze();
    let mut count = 0;
    for row in text.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = row.split('\t').collect();
        let [one, said, other] = cells.as_slice() else { panic!("{row}") };
        let order = match *said {
            "<" => Ordering::Less,
            "==" => Ordering::Equal,
            ">" => Ordering::Greater,
            _ => panic!("{row}"),
        };
        assert_eq!(version::compare(one, other), order, "{row}");
        assert_eq!(version::compare(other, one), order.reverse(), "{row}");
        if let Some((program, _)) = &analyze {
            let status =
                command(program).args(["compare-versions", "--", one, other]).output().unwrap().status;
            // systemd-analyze(1), "compare-versions"
            let code = match order {
                Ordering::Equal => 0,
                Ordering::Greater => 11,
                Ordering::Less => 12,
            };
            assert_eq!(status.code(), Some(code), "{row}");
        }
        count += 1;
    }
    assert!(count >= 80, "only {count} rows");
}

/// Services of a root, two hundred, each after some of those before it in `order`: as files.
fn write_services(root: &Path, order: &[usize], seed: u32) -> Vec<(String, BTreeSet<String>)> {
    let directory = root.join("usr/lib/systemd/system");
    fs::create_dir_all(directory.join("default.target.wants")).unwrap();
    fs::write(directory.join("default.target"), "[Unit]\nDescription=all of them\n").unwrap();
    let mut number = seed;
    let mut next = move |below: usize| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (number >> 8) as usize % below.max(1)
    };
    let name = |number: usize| format!("u{number}.service");
    let mut all = Vec::new();
    for (place, unit) in order.iter().enumerate() {
        let after: BTreeSet<String> =
            (0..next(3)).map(|_| name(order[next(place)])).filter(|_| place > 0).collect();
        let list: Vec<&str> = after.iter().map(String::as_str).collect();
        let text = format!(
            "[Unit]\nDescription=one\nDefaultDependencies=no\nAfter={}\n[Service]\nExecStart=/bin/true\n",
            list.join(" ")
        );
        fs::write(directory.join(name(*unit)), text).unwrap();
        std::os::unix::fs::symlink(
            format!("../{}", name(*unit)),
            directory.join("default.target.wants").join(name(*unit)),
        )
        .unwrap();
        all.push((name(*unit), after));
    }
    all
}

/// What systemd finds wrong with the order of a root's services.
fn circles(program: &str, root: &Path) -> String {
    let output = command(program)
        .args(["verify", "--man=no", "--generators=no", "default.target"])
        .env("SYSTEMD_UNIT_PATH", root.join("usr/lib/systemd/system"))
        .env("SYSTEMD_LOG_LEVEL", "warning")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().filter(|line| line.contains("cycl")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn no_order_of_critical_units_makes_a_circle_here() {
    let Some((program, _)) = analyze() else {
        let why = format!("no systemd-analyze of {OLDEST} or newer is here (SYSTEMD_ANALYZE names one)");
        left_out::left_to("make matrix", &why);
        return;
    };
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let forward: Vec<usize> = (0..200).collect();
    let mixed: Vec<usize> = (0..200).map(|number| number * 77 % 200).collect();
    let services = write_services(old.path(), &forward, 1);
    write_services(new.path(), &mixed, 2);
    let running: Vec<Unit> = services
        .into_iter()
        .map(|(id, after)| Unit {
            id,
            after,
            active: "active".to_owned(),
            sub: "running".to_owned(),
            conflicts: BTreeSet::from(["shutdown.target".to_owned()]),
            ..Unit::default()
        })
        .collect();
    // Of files alone that say DefaultDependencies=no it would be thought that they have their place.
    let (mut files, unread) = unit_order::look(new.path());
    files.iter_mut().for_each(|told| told.special = false);
    assert_eq!(unread, [""; 0]);
    let critical: Vec<String> = ["u3.service", "u140.service", "u77.service"].map(str::to_owned).to_vec();
    let orders = preflight::orders(&critical, &running, &files);
    assert!(orders.len() == 3 && orders[0].before.len() > 50, "{orders:?}");
    for root in [old.path(), new.path()] {
        for order in &orders {
            let directory = root.join("usr/lib/systemd/system").join(format!("{}.d", order.unit));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("50-nextroot.conf"), order.to_string()).unwrap();
        }
        assert_eq!(circles(&program, root), "", "{}", root.display());
    }
    // One that is there is found.
    let directory = new.path().join("usr/lib/systemd/system").join(format!("{}.d", orders[0].before[0]));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("x.conf"), "[Unit]\nBefore=u3.service u140.service u77.service\n").unwrap();
    assert_ne!(circles(&program, new.path()), "");
}
