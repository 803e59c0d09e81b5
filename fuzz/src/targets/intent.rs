//! `plan/request.rs`, `plan/resolve.rs`, `plan/settings.rs`: a command line means something or is refused, within what
//! the configuration allows: what demands a verified root gets no other, or one that is found and held to that then. (The
//! first line is the command line, the others the configuration.)

use nextroot::{
    format::{config::initramfs::Config, kernel::cmdline::CommandLine},
    plan::{
        boot,
        facts::Facts,
        intent::{Emergency, FileSystem, From, Intent},
    },
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let (line, config) = text.split_once('\n').unwrap_or((&text, ""));
    let line = CommandLine::parse(line);
    let Ok(config) = Config::parse(config, "f") else { return };
    let _ = Emergency::of(&line, &config);
    let Ok(intent) = Intent::resolve(&line, &config) else { return };
    let is_verified = |fs: &FileSystem| match &fs.from {
        From::Verity(_) => true,
        From::Dissect(dissect) => dissect.required.is_some(),
        From::Device(_) | From::GptAuto | From::Tmpfs | From::Bind(_) => false,
    };
    if config.verity_required {
        assert!(is_verified(&intent.root), "{intent:?}");
    }
    if config.usr_verity_required.unwrap_or(config.verity_required) {
        assert!(is_verified(intent.usr.as_ref().unwrap_or(&intent.root)), "{intent:?}");
    }
    let modules = boot::modules(&intent);
    assert!(modules.iter().all(|name| !name.is_empty()));
    // A machine without devices has no root: it is refused or awaited.
    if let boot::Decision::Go(plan) = boot::decide(&intent, &Facts::default()) {
        assert!(!plan.to_string().contains("dm-verity"), "{plan}");
    }
}
