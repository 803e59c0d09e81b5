//! `nextroot status --metrics`: the same for Prometheus, as the textfile collector of node_exporter reads it.
//!
//! Names and units: <https://prometheus.io/docs/practices/naming/>; the format: its text-based exposition format 0.0.4.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::plan::state::Root;

use super::{Question, Status};

/// Every number there is a floating-point one.
type Number = Gauge<f64, AtomicU64>;

/// Which root. A label is empty where nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    role: &'static str,
    source: String,
    system: Option<String>,
    version: Option<String>,
    root_hash: Option<String>,
}

impl Labels {
    fn of(role: &'static str, root: &Root) -> Self {
        Self {
            role,
            source: root.source.clone(),
            system: root.system.clone(),
            version: root.version.clone(),
            root_hash: root.verity().map(|verity| verity.root_hash.clone()),
        }
    }
}

/// All of it as text.
pub(super) fn print(status: &Status) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("nextroot");
    let staged = status.staged.as_ref().filter(|staged| staged.complete).map(|staged| &staged.root);
    let roots = Family::<Labels, Number>::default();
    for (role, root) in
        [("current", status.current.as_ref()), ("staged", staged), ("previous", status.previous.as_ref())]
    {
        if let Some(root) = root {
            roots.get_or_create(&Labels::of(role, root)).set(1.0);
        }
    }
    registry.register("root_info", "Which root runs, is staged, and ran before", roots);

    let mut gauge = |name: &str, help: &str, value: f64| {
        let number = Number::default();
        number.set(value);
        registry.register(name, help, number);
    };
    let truth = |so: bool| f64::from(u8::from(so));
    let stays = status.trial.as_ref().is_some_and(|trial| trial.stays.is_some());
    gauge("generation", "Lives of userspace since the machine was started", status.generation as f64);
    gauge("staged", "Whether a root is staged for the next soft reboot", truth(staged.is_some()));
    gauge("root_blessed", "Whether the running root was found healthy", truth(status.blessed));
    gauge(
        "root_unhealthy",
        "Whether the running root is not healthy, and stays: somebody has to look",
        truth(stays),
    );
    gauge("failed_images", "Images that failed, and are passed over", status.failed.len() as f64);
    if let Some(blessing) = &status.blessing {
        let help = "When the running root was found healthy, in seconds since 1970";
        gauge("root_blessed_timestamp_seconds", help, blessing.at as f64);
    }
    let restored = truth(status.is(Question::Restored));
    gauge("root_restored", "Whether the last switch was taken back", restored);
    if let Some(relay) = &status.relay {
        let took = Duration::from_micros(relay.took_us).as_secs_f64();
        gauge("relay_duration_seconds", "How long the last pass of the relay took", took);
    }
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::state::{Blessing, OnTrial, Pass, Staged, State};

    fn root(fields: serde_json::Value) -> Root {
        serde_json::from_value(fields).unwrap()
    }

    /// As it stands in tests/golden/metrics.txt.
    #[test]
    fn all_that_there_is() {
        let verified = |source: &str, root_hash: &str, version: Option<&str>| {
            root(serde_json::json!({
                "source": source, "name": format!("{root_hash}-verity"), "root_hash": root_hash,
                "root_hash_from": "signature", "system": "An \"OS\" \\ 1", "version": version,
            }))
        };
        let plain = root(serde_json::json!({
            "source": "/dev/vda2", "unreachable": "it is overlay", "system": null, "version": null,
        }));
        let staged: Staged = serde_json::from_value(serde_json::json!({
            "root": verified("/srv/a\nb.raw", "0c0d", Some("13")), "direct": false, "complete": true,
            "begun": { "steps": [] }, "mounts": [], "gives_up": null,
        }))
        .unwrap();
        let trial = OnTrial {
            rules: crate::format::config::trial::Trial::default(),
            since_us: None,
            came_back: true,
            asked_back: false,
            stays: Some("a.service failed".to_owned()),
        };
        let state = State {
            generation: 4,
            current: Some(verified("slot:other", "0a0b", Some("12"))),
            previous: Some(plain),
            staged: Some(staged),
            restored: true,
            trial: Some(trial),
            blessing: Some(Blessing { at: 1_795_537_000, root_hash: None }),
            relay: Some(Pass {
                switched: true,
                begun_us: None,
                took_us: 31_123,
                error: None,
                blames_image: false,
            }),
            ..State::default()
        };
        let text = Status::of(state).metrics().unwrap();
        // In whatever order: a set of labels has none.
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&text), sorted(include_str!("../../../tests/golden/metrics.txt")), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        let text = Status::of(State::default()).metrics().unwrap();
        assert!(text.contains("\nnextroot_root_blessed 1.0\n"), "{text}");
        for name in ["root_info{", "relay_duration", "blessed_timestamp"] {
            assert!(!text.contains(name), "{name}: {text}");
        }
    }
}
