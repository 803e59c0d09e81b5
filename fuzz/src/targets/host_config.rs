//! `format/config/host_config.rs`, `format/config/demands.rs`, `format/config/trial.rs`, `format/config/prewarm.rs`,
//! `format/config/probe.rs`: paths are absolute, below `/`, without `..`, and in one list only; a time is within its bounds;
//! what is said of a file stands for a line of it; and reading it twice changes nothing but what is warned of.

use std::time::Duration;

use nextroot::format::config::host_config::HostConfig;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let mut config = HostConfig::default();
    if config.read(&text, "f").is_err() {
        return;
    }
    let carry = &config.carry;
    for path in carry.paths.iter().chain(&carry.not) {
        assert!(path.starts_with('/') && path.len() > 1 && !path.ends_with('/'), "{path}");
        assert!(path.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")), "{path}");
    }
    assert!(!carry.paths.iter().any(|path| carry.not.contains(path)));
    assert!((Duration::from_secs(1)..=Duration::from_secs(600)).contains(&config.hook.timeout));
    let prewarm = config.stage.prewarm;
    assert!((1..=90).contains(&prewarm.memory_percent) && (1..=3600).contains(&prewarm.timeout_sec));
    assert!((10..=86_400).contains(&config.trial.timeout_sec) && config.trial.without_failures_sec <= 86_400);
    assert!(config.trial.units.iter().all(|unit| unit.contains('.') && !unit.contains(['/', ' '])));
    assert!(config.trial.command.first().is_none_or(|program| program.starts_with('/')));
    let probe = &config.probe;
    assert!(probe.addresses.len() <= 16 && (1..=300).contains(&probe.timeout_sec));
    assert!(probe.addresses.iter().all(|address| address.to_string().parse().as_ref() == Ok(address)));
    assert!(config.warnings.len() <= text.lines().count());
    assert!(config.stage.source.as_ref().is_none_or(|source| !source.is_empty()));
    let mut again = config.clone();
    again.read(&text, "f").unwrap();
    assert_eq!((&again.stage, &again.hook, &again.trial), (&config.stage, &config.hook, &config.trial));
    assert_eq!(again.verity_required, config.verity_required);
}
