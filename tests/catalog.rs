//! The journal's messages, held to their catalog and to the guide for operators, both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{collections::BTreeSet, fs, path::Path};

use nextroot::plan::{event::Event, state::Root};

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// One of each.
fn events() -> Vec<Event> {
    let root = || -> Root {
        serde_json::from_value(serde_json::json!({
            "source": "slot:other", "name": "a", "root_hash": "0a0f", "root_hash_from": "arguments",
            "system": "Debian", "version": "7",
        }))
        .unwrap()
    };
    let why = || "web.service failed".to_owned();
    vec![
        Event::Staged(root()),
        Event::TookBack { source: "slot:other".to_owned() },
        Event::CalledOff { why: why() },
        Event::CameBack { why: why() },
        Event::OnTrial(root()),
        Event::Blessed(root()),
        Event::Leaving { root: root(), why: why() },
        Event::AskedToEnd { process: "process 812 (nextroot stage slot:other)".to_owned(), why: why() },
        Event::Staying { root: root(), why: why() },
        Event::Restarting { why: why() },
    ]
}

/// The entries: ID, subject, text.
fn entries(catalog: &str) -> Vec<(String, String, String)> {
    let entry = |part: &str| {
        let (id, rest) = part.split_once('\n').unwrap();
        let (head, text) = rest.split_once("\n\n").unwrap();
        let subject = head.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        assert!(head.contains("\nDefined-By: nextroot\n"), "{id}");
        (id.to_owned(), subject.to_owned(), text.to_owned())
    };
    catalog.split("\n-- ").skip(1).map(entry).collect()
}

#[test]
fn every_message_is_explained() {
    let entries = entries(&text("dist/nextroot.catalog"));
    let events = events();
    let ids: BTreeSet<&str> = events.iter().map(Event::id).collect();
    assert_eq!(ids.len(), events.len(), "an ID stands twice");
    assert_eq!(entries.iter().map(|(id, ..)| id.as_str()).collect::<BTreeSet<_>>(), ids);
    let source = text("src/plan/event.rs");
    let variants = source.split("pub fn id(").nth(1).unwrap().split("    }\n").next().unwrap();
    assert_eq!(variants.matches("=> \"").count(), events.len(), "an event is not tried here");
    let operations = text("docs/operations.md");
    for (id, subject, text) in entries {
        let event = events.iter().find(|event| event.id() == id).unwrap();
        let fields = event.fields();
        for named in text.split('@').skip(1).step_by(2) {
            assert!(
                fields.iter().any(|(name, value)| *name == named && !value.is_empty()),
                "{subject}: {named}"
            );
        }
        let long = text.lines().find(|line| line.len() > 80);
        assert_eq!(long, None, "{subject}: journalctl -x breaks no lines");
        assert!(operations.contains(&format!("### {subject}\n")), "docs/operations.md lacks: {subject}");
        assert!(operations.contains(&format!("`MESSAGE_ID={id}`")), "docs/operations.md lacks: {id}");
    }
}

#[test]
fn fields_can_be_told() {
    for event in events() {
        assert!(!event.to_string().is_empty() && !event.to_string().contains('\n'));
        for (name, value) in event.fields() {
            assert!(
                name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                    && name.starts_with("NEXTROOT_")
            );
            assert!(!value.is_empty());
        }
        assert!(event.id().len() == 32 && event.id().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
