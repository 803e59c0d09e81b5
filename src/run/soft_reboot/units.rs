//! Asks systemd for its units, by `systemctl show` and `list-units`: docs/decisions/0011-asking-systemd.md says why.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    format::system::{
        job_list::{self, Job},
        systemd_version::SystemdVersion,
        unit_list::{self, Listed},
        unit_properties::UnitProperties,
    },
    plan::{
        health::{self, Told},
        preflight::unit::{PROPERTIES, Unit},
        report,
        watchdog::{self, Watchdog},
    },
};

use super::asking::{Error, ask};

/// Who is asked.
#[derive(Clone, Debug)]
pub struct Systemctl {
    program: String,
}

impl Default for Systemctl {
    fn default() -> Self {
        Self::at("systemctl")
    }
}

/// Types of units (systemd.unit(5)). PID 1 takes milliseconds to tell of one, most of a machine's are devices, and these do not stop.
const ALL_BUT_DEVICES: [&str; 10] = [
    "*.service",
    "*.socket",
    "*.target",
    "*.mount",
    "*.automount",
    "*.swap",
    "*.timer",
    "*.path",
    "*.slice",
    "*.scope",
];

impl Systemctl {
    /// A program that answers as systemctl does.
    #[must_use]
    pub fn at(program: &str) -> Self {
        Self { program: program.to_owned() }
    }

    /// The version of PID 1; `None` where it tells none.
    pub fn version(&self) -> Result<Option<SystemdVersion>, Error> {
        let answers = self.show(&["--property=Version"])?;
        Ok(answers.iter().find_map(|manager| manager.get("Version")?.parse().ok()))
    }

    /// Every unit that PID 1 has in memory, but for devices.
    pub fn units(&self) -> Result<Vec<Unit>, Error> {
        let properties = format!("--property={}", PROPERTIES.join(","));
        let arguments: Vec<&str> = [properties.as_str()].into_iter().chain(ALL_BUT_DEVICES).collect();
        Ok(self.show(&arguments)?.iter().filter_map(Unit::of).collect())
    }

    /// What PID 1 says of itself.
    pub fn manager(&self) -> Result<Told, Error> {
        let properties = format!("--property={}", health::MANAGER_PROPERTIES.join(","));
        Ok(self.show(&[&properties])?.first().map(Told::of).unwrap_or_default())
    }

    /// The hardware watchdog that PID 1 feeds, where it does.
    pub fn watchdog(&self) -> Result<Option<Watchdog>, Error> {
        let properties = format!("--property={}", watchdog::PROPERTIES.join(","));
        Ok(self.show(&[&properties])?.iter().find_map(Watchdog::of))
    }

    /// Units by their names or patterns of them, as far as the health depends on them of a system that runs `since` then, by
    /// CLOCK_MONOTONIC. A pattern stands for what PID 1 has in memory.
    pub fn health(&self, names: &[String], since: Duration) -> Result<Vec<health::Unit>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let properties = format!("--property={}", health::UNIT_PROPERTIES.join(","));
        // Without --all a pattern leaves out what is not active, such as a target that was not reached.
        let names = names.iter().map(String::as_str);
        let arguments: Vec<&str> = ["--all", &properties, "--"].into_iter().chain(names).collect();
        Ok(self.show(&arguments)?.iter().filter_map(|unit| health::Unit::of(unit, since)).collect())
    }

    /// The time stamps of PID 1.
    pub fn stamps(&self) -> Result<report::Manager, Error> {
        let properties = format!("--property={}", report::MANAGER_PROPERTIES.join(","));
        Ok(self
            .show(&["--timestamp=unix", &properties])?
            .first()
            .map(report::Manager::of)
            .unwrap_or_default())
    }

    /// Every active service and socket with its time stamps.
    pub fn active(&self) -> Result<Vec<report::Active>, Error> {
        let properties = format!("--property={}", report::UNIT_PROPERTIES.join(","));
        Ok(self
            .show(&[&properties, "*.service", "*.socket"])?
            .iter()
            .filter_map(report::Active::of)
            .collect())
    }

    /// `Type=` of these units, also of those that PID 1 has to read first.
    pub fn types(&self, names: &[&str]) -> Result<BTreeMap<String, String>, Error> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let arguments: Vec<&str> =
            ["--property=Id,Type", "--"].into_iter().chain(names.iter().copied()).collect();
        let types = self.show(&arguments)?.into_iter().filter_map(|unit| {
            Some((unit.get("Id")?.to_owned(), unit.get("Type").filter(|of| !of.is_empty())?.to_owned()))
        });
        Ok(types.collect())
    }

    /// The units that PID 1 has in memory, with their states only.
    pub fn listed(&self) -> Result<Vec<Listed>, Error> {
        let (text, command) = self.ask("list-units", &["--all", "--output=json"])?;
        unit_list::parse(&text).map_err(|source| Error::Answer { command, source: source.into() })
    }

    /// The jobs that PID 1 has.
    pub fn jobs(&self) -> Result<Vec<Job>, Error> {
        let (text, command) = self.ask("list-jobs", &["--no-legend", "--plain"])?;
        job_list::parse(&text).map_err(|source| Error::Answer { command, source: source.into() })
    }

    fn show(&self, arguments: &[&str]) -> Result<Vec<UnitProperties>, Error> {
        let (text, command) = self.ask("show", arguments)?;
        UnitProperties::parse_all(&text).map_err(|source| Error::Answer { command, source: source.into() })
    }

    /// What it answers, and how it was asked, for errors.
    fn ask(&self, verb: &str, arguments: &[&str]) -> Result<(String, String), Error> {
        let whose = arguments.iter().filter(|argument| !argument.starts_with('-'));
        let whose: Vec<String> = whose.map(|argument| format!(" '{argument}'")).collect();
        let command = format!("{} {verb}{}", self.program, whose.concat());
        let arguments: Vec<&str> = [verb].into_iter().chain(arguments.iter().copied()).collect();
        Ok((ask(&self.program, &arguments, &command)?, command))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A program that a child of another thread still has open for writing cannot be executed (ETXTBSY).
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    fn answers(script: &str) -> (Result<Option<SystemdVersion>, Error>, Result<Vec<Unit>, Error>) {
        asked(script, |systemctl| (systemctl.version(), systemctl.units()))
    }

    fn asked<T>(script: &str, what: impl FnOnce(&Systemctl) -> T) -> T {
        let _alone = ONE_AT_A_TIME.lock();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("systemctl");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        what(&Systemctl::at(path.to_str().unwrap()))
    }

    #[test]
    fn answers_of_systemd() {
        let script = r#"case "$*" in
            "--no-pager show --property=Version") echo Version=257.13-1~deb13u1;;
            "--no-pager show --property=Id,"*" *.service *.socket *.target "*" *.scope") printf 'Id=a.service\nActiveState=active\n\nId=b.socket\n';;
            *) echo "what is $*?" >&2; exit 3;;
        esac"#;
        let (version, units) = answers(script);
        assert_eq!(version.unwrap().unwrap().number, 257);
        let ids: Vec<String> = units.unwrap().into_iter().map(|unit| unit.id).collect();
        assert_eq!(ids, ["a.service", "b.socket"]);
    }

    #[test]
    fn lists_of_systemd() {
        let list = r#"[ "$*" = "--no-pager list-units --all --output=json" ] && echo '[{"unit":"a","active":"b","sub":"c"}]'"#;
        let listed = asked(list, Systemctl::listed).unwrap();
        assert_eq!(listed, [Listed { unit: "a".to_owned(), active: "b".to_owned(), sub: "c".to_owned() }]);
        let message = asked("echo nonsense", Systemctl::listed).unwrap_err().to_string();
        assert!(message.ends_with("/systemctl list-units wrote"), "{message}");
    }

    #[test]
    fn jobs_of_systemd() {
        let list =
            r#"[ "$*" = "--no-pager list-jobs --no-legend --plain" ] && echo "88 a.service start running""#;
        let jobs = asked(list, Systemctl::jobs).unwrap();
        assert_eq!(jobs, [Job { unit: "a.service".to_owned(), state: "running".to_owned() }]);
        assert!(asked("echo No jobs running.", Systemctl::jobs).is_err());
    }

    #[test]
    fn failures() {
        let (version, units) = answers("echo 'no bus' >&2; exit 1");
        let message = version.unwrap_err().to_string();
        assert!(message.ends_with("/systemctl show failed (exit status: 1): no bus"), "{message}");
        let message = units.unwrap_err().to_string();
        assert!(message.contains("/systemctl show '*.service' '*.socket' "), "{message}");
        assert!(message.ends_with(" '*.scope' failed (exit status: 1): no bus"), "{message}");
        assert!(matches!(answers("echo nonsense").1, Err(Error::Answer { .. })));
        assert!(matches!(answers("true").0, Ok(None)));
        let endless = answers("trap '' PIPE; exec yes Id=a.service").0.unwrap_err();
        assert!(matches!(endless, Error::Read { .. }), "{endless}");
        let missing = Systemctl::at("/nowhere/systemctl").version();
        assert!(matches!(missing, Err(Error::Start { .. })), "{missing:?}");
    }
}
