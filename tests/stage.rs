//! Plans of stage and of the relay against golden files: the facts of `tests/golden/stage/system.json`, and for each case
//! what is asked for, after `$`. `NEXTROOT_BLESS=1 cargo test --test stage` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use nextroot::{
    format::{
        config::{ini::Placed, trial::Trial},
        kernel::mountinfo::Mount,
    },
    plan::{
        carry::Wanted,
        choose::Written,
        demands::Demands,
        facts::Content,
        plain::Plain,
        soft_reboot::{self, Answer, Asked},
        stage::Way,
        state::{On, Root},
        system_facts::SystemFacts,
        watchdog::Watchdog,
    },
};

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/stage").join(name)
}

/// The plain root that the kernel lists so.
fn plain(mountinfo: &str, facts: &SystemFacts) -> Root {
    let mounts = Mount::parse_all(mountinfo.as_bytes()).unwrap();
    let (number, source) = (mounts[0].devno, mounts[0].source.to_str().unwrap());
    let mut devices = facts.machine.devices.iter();
    let device = devices
        .find(|device| device.devno == number || Some(device.name.as_str()) == source.strip_prefix("/dev/"));
    let on = match Plain::of(&mounts, device) {
        Ok(plain) => On::Plain { plain },
        Err(why) => On::Else { unreachable: why.to_string() },
    };
    Root { source: "/".to_owned(), on, system: None, version: None }
}

fn outcome(asked: &str, facts: &SystemFacts) -> String {
    let (mut way, mut wanted, mut source, mut root_hash) = (Way::Relay, Wanted::default(), "", None);
    let mut seen = facts.clone();
    let (mut demands, mut filters) = (Demands::default(), Vec::new());
    let (mut trial, mut exitrd) = (Trial::default(), false);
    let mut words = asked.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "--direct" => way = Way::Direct,
            "--carry" => wanted.carry.extend(words.next().map(str::to_owned)),
            "--no-carry" => wanted.leave.extend(words.next().map(str::to_owned)),
            // What ran before, by mountinfo, and what became of its partition since
            "--ran" => {
                let line: Vec<&str> = words.by_ref().take(10).collect();
                seen.previous = Some(plain(&line.join(" "), facts));
            }
            "--now-uuid" => {
                let (name, uuid) = (words.next().unwrap(), words.next().unwrap());
                let mut devices = seen.machine.devices.iter_mut();
                let device = devices.find(|device| device.name == name).unwrap();
                let Content::Found(superblock) = &mut device.content else { panic!("{name} holds nothing") };
                superblock.uuid = Some(uuid.to_owned());
            }
            "--now-gone" => {
                let name = words.next().unwrap();
                seen.machine.devices.retain(|device| device.name != name);
            }
            "--policy" => {
                let value = words.next().unwrap();
                let place = format!("nextroot.conf:2 (ImagePolicy={value})");
                demands.image_policies.push(Placed { value: value.parse().unwrap(), place });
            }
            "--at-least" => {
                let value = words.next().unwrap().to_owned();
                let place = format!("nextroot.conf:3 (MinimumVersion={value})");
                demands.minimum_version = Some(Placed { value, place });
            }
            "--filter" => {
                let value = words.next().unwrap();
                let place = format!("nextroot.conf:4 (ImageFilter={value})");
                filters.push(Placed { value: value.parse().unwrap(), place });
            }
            "--feeds" => {
                let device = words.next().unwrap().to_owned();
                seen.watchdog = Some(Watchdog { device, timeout_sec: Some(20), runs_on: true });
            }
            "--armed-by" => seen.arms_watchdog = words.next().map(str::to_owned),
            "--systemd" => seen.systemd = words.next().map(|version| version.parse().unwrap()),
            "--restricted-by" => seen.restrict_execution = words.next().map(str::to_owned),
            "--program" => seen.program = words.next().map(str::to_owned),
            "--unwatched" => trial.automatic_return = false,
            "--exitrd" => {
                exitrd = true;
                let there = serde_json::from_value(words.next().unwrap().into());
                seen.exitrd = there.unwrap();
            }
            "--roothash" => root_hash = words.next(),
            word => source = word,
        }
    }
    let asked = Asked::parse(source, root_hash, None).map(|asked| {
        let written = Written { filters, ..asked.written };
        Asked { way, wanted, demands, trial, exitrd, written, ..asked }
    });
    match asked.and_then(|asked| soft_reboot::decide(&asked, None, &seen)) {
        Ok(Answer::Known(planned)) => planned.to_string(),
        Ok(Answer::Read(reads)) => reads.iter().map(|read| format!("read {read}\n")).collect(),
        Err(error) => format!("refused: {error}\n"),
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the facts have partition types of x86-64")]
fn plans() {
    let facts = serde_json::from_str(&fs::read_to_string(golden("system.json")).unwrap()).unwrap();
    let path = golden("cases.txt");
    let text = fs::read_to_string(&path).unwrap();
    let (mut blessed, mut count) = (String::new(), 0);
    for case in text.split("---\n").filter(|case| !case.trim().is_empty()) {
        let head: String =
            case.lines().take_while(|line| line.starts_with(['#', '$'])).map(|l| format!("{l}\n")).collect();
        let asked = head.lines().find_map(|line| line.strip_prefix('$')).expect("a case without $");
        blessed += &format!("{head}{}---\n", outcome(asked, &facts));
        count += 1;
    }
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(&path, &blessed).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), blessed, "NEXTROOT_BLESS=1 writes it anew");
    assert!(count >= 10, "only {count} cases");
}
