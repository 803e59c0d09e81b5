//! `format/system/inhibitor.rs`: texts are no longer than the file, and escapes that are written again read back.

use nextroot::format::system::inhibitor::Inhibitor;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let inhibitor = Inhibitor::parse(&text);
    // What an escape makes of bytes may be no UTF-8, and is replaced by three bytes for one that was four.
    let texts = [&inhibitor.who, &inhibitor.why, &inhibitor.mode];
    assert!(texts.iter().map(|text| text.len()).max() <= Some(text.len()));
    let escape = |text: &str| -> String { text.bytes().map(|byte| format!("\\x{byte:02x}")).collect() };
    let written = format!(
        "WHO=\"{}\"\nWHY=\"{}\"\nMODE={}\n",
        escape(&inhibitor.who),
        escape(&inhibitor.why),
        escape(&inhibitor.mode)
    );
    let again = Inhibitor::parse(&written);
    assert_eq!((&again.who, &again.why, &again.mode), (&inhibitor.who, &inhibitor.why, &inhibitor.mode));
    assert!(!inhibitor.is_about_shutdown() || inhibitor.what.iter().any(|what| what == "shutdown"));
}
