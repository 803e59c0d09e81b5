//! `plan/facts.rs`, `plan/boot.rs` and what it asks: facts that are read are written, and read back; whatever they are,
//! a command line gets a plan, a question, a wait or a refusal, and each has a text. (The first line is the command
//! line, the rest are facts as JSON.)

use nextroot::{
    format::{config::initramfs::Config, kernel::cmdline::CommandLine},
    plan::{
        boot::{self, Decision},
        facts::Facts,
        intent::Intent,
    },
};

pub(super) fn run(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, json) = data.split_at(at);
    let Ok(facts) = serde_json::from_slice::<Facts>(json) else { return };
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    let config = Config::default();
    let Ok(intent) = Intent::resolve(&CommandLine::parse(&super::text(line)), &config) else { return };
    match boot::decide(&intent, &facts) {
        Decision::Go(plan) => assert!(!plan.steps.is_empty() && !plan.to_string().is_empty()),
        Decision::Read(wanted) => assert!(!wanted.is_empty()),
        Decision::Wait(wants) => assert!(!boot::waiting(&wants, &facts, &[]).is_empty()),
        Decision::Refuse(error) => assert!(!error.to_string().is_empty()),
    }
}
