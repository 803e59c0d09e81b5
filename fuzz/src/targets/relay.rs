//! `plan/step.rs`, the relay's plan: what is read is written, and reads back, and every step has a text and an undoing.

use nextroot::plan::step::Relay;

pub(super) fn run(data: &[u8]) {
    let Ok(relay) = serde_json::from_slice::<Relay>(data) else { return };
    let text = serde_json::to_string(&relay).unwrap();
    assert_eq!(serde_json::from_str::<Relay>(&text).unwrap(), relay);
    let steps = relay.forward.steps.len() + relay.back.steps.len();
    let lines = relay.forward.to_string().lines().count() + relay.back.to_string().lines().count();
    assert!(lines >= steps);
}
