//! Plans of stage and of the relay against golden files: the facts of `tests/golden/facts.json`, the mounts below,
//! and for each case what is asked for, after `$`. `NEXTROOT_BLESS=1 cargo test --test stage` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use nextroot::{
    format::{kernel::mountinfo::Mount, system::fstab},
    plan::{
        Step,
        boot::{self, Decision},
        carry::{self, Wanted},
        choose::{self, Written},
        facts::{Facts, OpenVerity},
        new_mounts::NewMounts,
        stage::{self, Intent, Way},
        state::{Root, State},
        step::HashOrigin,
    },
};

const MOUNTS: &str = "\
20 1 253:0 / / ro shared:1 - erofs /dev/mapper/root ro
21 20 0:21 / /proc rw shared:2 - proc proc rw
22 20 0:22 / /sys rw shared:3 - sysfs sysfs rw
23 20 0:5 / /dev rw shared:4 - devtmpfs devtmpfs rw
24 20 0:23 / /run rw shared:5 - tmpfs tmpfs rw
25 24 0:24 / /run/keep rw shared:6 - tmpfs tmpfs rw
26 24 0:25 / /run/user/1000 rw shared:7 - tmpfs tmpfs rw
27 20 8:1 / /var rw shared:8 - ext4 /dev/sda1 rw
28 27 0:26 / /var/tmp rw shared:9 - tmpfs tmpfs rw
29 20 8:16 / /srv rw shared:10 - ext4 /dev/sdb rw
";
const FSTAB: &str = "/dev/sda1 /var ext4 defaults 0 2\n/dev/sdc /srv btrfs\n";
const RUNNING: &str = "aabbccddeeffaabbccddeeffaabbccddeeffaabbccddeeffaabbccddeeffaabb";

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn root(name: &str, root_hash: &str) -> Root {
    Root {
        source: name.to_owned(),
        name: name.to_owned(),
        root_hash: root_hash.to_owned(),
        root_hash_from: HashOrigin::CommandLine,
        system: None,
        version: None,
    }
}

fn outcome(asked: &str, facts: &Facts, state: &State) -> String {
    let (mut way, mut wanted, mut source, mut root_hash) = (Way::Relay, Wanted::default(), "", None);
    let mut words = asked.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "--direct" => way = Way::Direct,
            "--carry" => wanted.carry.extend(words.next().map(str::to_owned)),
            "--no-carry" => wanted.leave.extend(words.next().map(str::to_owned)),
            "--roothash" => root_hash = words.next().map(|text| text.parse().unwrap()),
            word => source = word,
        }
    }
    let written = Written { source: source.parse().unwrap(), root_hash, hash_device: None };
    let root = match choose::choose(&written, state, facts) {
        Ok(chosen) => chosen.root,
        Err(error) => return format!("refused: {error}\n"),
    };
    let intent = Intent { root, way };
    let mounting = match stage::mounting(&intent, facts) {
        Decision::Go(plan) => plan,
        Decision::Read(reads) => return reads.iter().map(|read| format!("read {read}\n")).collect(),
        Decision::Wait(wants) => return boot::missing(&wants, facts) + "\n",
        Decision::Refuse(error) => return format!("refused: {error}\n"),
    };
    let mounts = Mount::parse_all(MOUNTS.as_bytes()).unwrap();
    let new = NewMounts { fstab: fstab::parse(FSTAB), ..NewMounts::default() };
    let rows = match carry::decide(&mounts, facts, &new, &wanted) {
        Ok(rows) => rows,
        Err(error) => return format!("refused: {error}\n"),
    };
    let carrying = stage::carrying(&intent, &rows, &stage::VERITY_UNITS);
    let mut text = mounting.to_string() + &carrying.to_string();
    if let Some(Step::Publish { relay, .. }) = carrying.steps.last() {
        text += &format!("relay:\n{}back:\n{}", relay.forward, relay.back);
    }
    text
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the facts have partition types of x86-64")]
fn plans() {
    let facts: Facts = serde_json::from_str(&fs::read_to_string(golden("facts.json")).unwrap()).unwrap();
    let table = format!("1 8:5 8:6 4096 4096 1000 1 sha256 {RUNNING} -").parse().unwrap();
    let devno = "253:0".parse().unwrap();
    let open = OpenVerity { name: "root".to_owned(), devno, table, leaving: false };
    let facts = Facts { verity: vec![open], ..facts };
    let state = State {
        current: Some(root("other-verity", RUNNING)),
        previous: Some(root("root", RUNNING)),
        ..State::default()
    };
    let path = golden("stage/cases.txt");
    let text = fs::read_to_string(&path).unwrap();
    let (mut blessed, mut count) = (String::new(), 0);
    for case in text.split("---\n").filter(|case| !case.trim().is_empty()) {
        let head: String =
            case.lines().take_while(|line| line.starts_with(['#', '$'])).map(|l| format!("{l}\n")).collect();
        let asked = head.lines().find_map(|line| line.strip_prefix('$')).expect("a case without $");
        blessed += &format!("{head}{}---\n", outcome(asked, &facts, &state));
        count += 1;
    }
    if std::env::var_os("NEXTROOT_BLESS").is_some() {
        fs::write(&path, &blessed).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), blessed, "NEXTROOT_BLESS=1 writes it anew");
    assert!(count >= 8, "only {count} cases");
}
