//! What was found on a running system, as far as the plan of a soft reboot depends on it: a value that people can
//! read, write and send to each other.

use serde::{Deserialize, Serialize};

use crate::format::{
    config::{image_filter::ImageFilter, ini::Placed, prewarm::Prewarm, trial::Trial},
    kernel::mountinfo::Mount,
    system::{fstab, systemd_version::SystemdVersion},
};

use super::{
    demands::Demands,
    facts::Facts,
    new_mounts::{DropIn, NewMounts, UnitFile},
    order::Order,
    preflight,
    stage::{Exitrd, VERITY_UNITS, Watcher},
    state::{Failed, Root, State},
    watchdog::{Rearming, Watchdog},
};

/// What is known of a running system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemFacts {
    /// What a boot would look at, too: block devices, and what is open.
    pub machine: Facts,
    /// The mounts: lines of /proc/self/mountinfo.
    pub mounts: Vec<Mount>,
    /// The lines of /etc/fstab. The new root is not mounted, so the running one's stands for its.
    #[serde(default)]
    pub fstab: Vec<String>,
    /// Files of mount units for places where something is mounted, also of the running root.
    #[serde(default)]
    pub mount_units: Vec<UnitFile>,
    /// Drop-ins of these places, in the order in which systemd reads them.
    #[serde(default)]
    pub mount_drop_ins: Vec<DropIn>,
    /// The root that is running.
    #[serde(default)]
    pub current: Option<Root>,
    /// The root that ran before.
    #[serde(default)]
    pub previous: Option<Root>,
    /// Images that failed.
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// Units that do nothing and that an earlier stage left in /run.
    #[serde(default)]
    pub units: Vec<String>,
    /// systemd's version, as PID 1 tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<SystemdVersion>,
    /// `RestrictFileSystemAccess=`, where it is on: the value, and where it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restrict_execution: Option<String>,
    /// Where this program lies in the running root, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The hardware watchdog that PID 1 feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
    /// What makes the next PID 1 feed it, by the running root's files, which stand for the new one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arms_watchdog: Option<String>,
    /// What is there for the end of the machine's run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exitrd: Exitrd,
    /// What is put behind critical units, by the running root's files, which stand for the new one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Order>,
    /// What nextroot.conf says.
    #[serde(default)]
    pub configured: Configured,
}

/// What nextroot.conf says beside the source: it counts where the arguments say nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configured {
    /// `Direct=`: systemd switches by itself, without the relay.
    pub direct: bool,
    /// `Carry=`: mount points to carry, whatever the rules say.
    pub carry: Vec<String>,
    /// `NoCarry=`: mount points to leave.
    pub no_carry: Vec<String>,
    /// `[Policy] Verity=required`: only root hashes that prove something against an attacker.
    pub verity_required: bool,
    /// `[Policy] ImagePolicy=` and `MinimumVersion=`; and `systemd.image_policy=` of the kernel command line.
    #[serde(skip_serializing_if = "Demands::is_empty")]
    pub demands: Demands,
    /// `ImageFilter=`: which partitions are taken, by their labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_filters: Vec<Placed<ImageFilter>>,
    /// `[Trial]`
    #[serde(skip_serializing_if = "is_default")]
    pub trial: Trial,
    /// `Prewarm=` and its like.
    #[serde(skip_serializing_if = "is_default")]
    pub prewarm: Prewarm,
    /// `Exitrd=`: whether this program is left for the end of the machine's run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exitrd: bool,
    /// `Critical=`: units that must not be away for long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl SystemFacts {
    /// The state, as far as a source is chosen by it.
    #[must_use]
    pub fn state(&self) -> State {
        let (current, previous) = (self.current.clone(), self.previous.clone());
        State { current, previous, failed: self.failed.clone(), ..State::default() }
    }

    /// What the new system is told of its mounts, as far as the running one stands for it.
    #[must_use]
    pub fn new_mounts(&self) -> NewMounts {
        let fstab = fstab::parse(&self.fstab.join("\n"));
        NewMounts { fstab, units: self.mount_units.clone(), drop_ins: self.mount_drop_ins.clone() }
    }

    /// What sees the new root come up.
    #[must_use]
    pub fn watcher(&self, trial: &Trial) -> Option<Watcher> {
        let asked = preflight::Asked { unwatched: !trial.automatic_return, ..preflight::Asked::default() };
        let system = preflight::System {
            systemd: self.systemd.clone(),
            restrict_execution: self.restrict_execution.clone(),
            program: self.program.clone(),
            ..preflight::System::default()
        };
        preflight::watcher(&asked, &system)
    }

    /// What becomes of the watchdog.
    #[must_use]
    pub fn rearming(&self) -> Option<Rearming> {
        let watchdog = self.watchdog.clone()?;
        Some(Rearming { watchdog, forward: self.arms_watchdog.is_some() })
    }

    /// Units that a stage would leave in /run.
    #[must_use]
    pub fn missing_units(&self) -> Vec<&'static str> {
        VERITY_UNITS.into_iter().filter(|name| !self.units.iter().any(|unit| unit == name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mount = |line: &str| line.parse::<Mount>().unwrap();
        let facts = SystemFacts {
            mounts: vec![mount(r"20 1 253:0 / /a\040b\377 ro shared:1 - erofs /dev/mapper/root ro")],
            fstab: vec!["# none".to_owned(), "/dev/sda1 /var ext4".to_owned()],
            units: vec![VERITY_UNITS[0].to_owned()],
            ..SystemFacts::default()
        };
        let text = serde_json::to_string(&facts).unwrap();
        assert!(text.contains(r#""20 1 253:0 / /a\\040b\\377 ro shared:1 - erofs /dev/mapper/root ro""#));
        assert_eq!(serde_json::from_str::<SystemFacts>(&text).unwrap(), facts);
        assert_eq!(facts.new_mounts().fstab.len(), 1);
        assert_eq!(facts.missing_units(), [VERITY_UNITS[1]]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let least = r#"{"machine": {"kernel_release": "6.12", "devices": []}, "mounts": []"#;
        assert!(serde_json::from_str::<SystemFacts>(&format!("{least}}}")).is_ok());
        for (more, expected) in [
            (r#""unheard": 1"#, "unknown field `unheard`"),
            (r#""configured": {"Direct": true}"#, "unknown field `Direct`"),
            (r#""mounts": []"#, "duplicate field `mounts`"),
        ] {
            let error = serde_json::from_str::<SystemFacts>(&format!("{least}, {more}}}")).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let error = serde_json::from_str::<SystemFacts>(&least.replace("[]", "[\"20 1\"]")).unwrap_err();
        assert!(error.to_string().contains("20 1"), "{error}");
    }
}
