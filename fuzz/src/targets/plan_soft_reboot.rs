//! `plan/system_facts.rs`, `plan/soft_reboot.rs` and what it asks: facts that are read are written, and read back;
//! whatever they are, a source gets a plan, a question or a refusal, and each has a text. (The first line is the source,
//! the rest are facts as JSON.)

use nextroot::plan::{
    soft_reboot::{self, Answer, Asked},
    system_facts::SystemFacts,
};

pub(super) fn run(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (source, json) = data.split_at(at);
    let Ok(facts) = serde_json::from_slice::<SystemFacts>(json) else { return };
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<SystemFacts>(&text).unwrap(), facts);
    let Ok(asked) = Asked::parse(&super::text(source), None, None) else { return };
    match soft_reboot::decide(&asked, None, &facts) {
        Ok(Answer::Known(planned)) => assert!(!planned.to_string().is_empty()),
        Ok(Answer::Read(wanted)) => assert!(!wanted.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
