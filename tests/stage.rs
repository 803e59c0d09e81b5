//! Plans of stage and of the relay against golden files: the facts of `tests/golden/stage/system.json`, and for each case
//! what is asked for, after `$`. `NEXTROOT_BLESS=1 cargo test --test stage` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use nextroot::plan::{
    carry::Wanted,
    soft_reboot::{self, Answer, Asked},
    stage::Way,
    system_facts::SystemFacts,
};

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/stage").join(name)
}

fn outcome(asked: &str, facts: &SystemFacts) -> String {
    let (mut way, mut wanted, mut source, mut root_hash) = (Way::Relay, Wanted::default(), "", None);
    let mut words = asked.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "--direct" => way = Way::Direct,
            "--carry" => wanted.carry.extend(words.next().map(str::to_owned)),
            "--no-carry" => wanted.leave.extend(words.next().map(str::to_owned)),
            "--roothash" => root_hash = words.next(),
            word => source = word,
        }
    }
    let asked = Asked::parse(source, root_hash, None).map(|asked| Asked { way, wanted, ..asked });
    match asked.and_then(|asked| soft_reboot::decide(&asked, None, facts)) {
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
