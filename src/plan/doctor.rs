//! Whether a machine could soft-reboot into another root at all: what was found of it, held against what that needs, with what
//! mends it where it lacks something.

use serde::{Deserialize, Serialize};

use crate::format::config::prewarm::Prewarm;

use super::{
    preflight::{self, Asked, Check, System, Verdict},
    state::{On, Root},
};

/// What was found of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// Whether who asks may look at everything.
    pub is_root: bool,
    /// Whether systemd is PID 1 (sd_booted(3)), whether it answers or not.
    pub booted: bool,
    /// The running system, as preflight looks at it.
    pub system: System,
    /// Whether PID 1 sees other mounts than whoever asks.
    pub own_mounts: bool,
    /// How the kernel has dm-verity; `None` where it has none.
    pub verity: Option<Verity>,
    /// The root that is running.
    pub root: Option<Root>,
    /// What nextroot.conf cannot be read for.
    pub unusable: Option<String>,
    /// What it warns of.
    pub warnings: Vec<String>,
    /// `Source=`
    pub configured: Option<String>,
    /// `AutomaticReturn=no`
    pub unwatched: bool,
    /// `Direct=`
    pub direct: bool,
    /// What is read ahead.
    pub prewarm: Prewarm,
    /// What the source leads to, the one that was asked for, the configured one, or `slot:other`.
    pub next: Option<Next>,
}

impl Machine {
    /// Whether systemd does not answer whoever asks, as without root on a machine without D-Bus: of what it says nothing is known.
    fn is_deaf(&self) -> bool {
        self.booted && !self.is_root && self.system.systemd.is_none()
    }
}

/// How the kernel has dm-verity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verity {
    /// It is there.
    Loaded,
    /// Its module is.
    Module,
}

/// What a source leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// The source, as written.
    pub source: String,
    /// What it is.
    pub is: Leads,
    /// A line for each slot or file that was passed over.
    pub skipped: Vec<String>,
}

/// Where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leads {
    /// To this root.
    To(String),
    /// To nothing that is newer, which is no fault.
    Nowhere(String),
    /// It cannot be told, or used, for this reason.
    Wrong(String),
}

/// The source that nobody has to name.
pub const OTHER: &str = "slot:other";
/// What systemd-soft-reboot is asked through.
const HOOK: &str = "nextroot-soft-reboot.service";
/// Since when systemd has soft reboots.
const OLDEST: u32 = 254;
/// Since when `systemctl reboot` is one where something is staged.
const AUTOMATIC: u32 = 257;

/// Holds it against the table.
#[must_use]
pub fn examine(machine: &Machine) -> Vec<Check> {
    let own = TABLE.iter().map(|(name, why, look)| {
        let (result, found, advice) = look(machine);
        Check { name, result, found, advice: advice.map(str::to_owned), why }
    });
    let (unwatched, direct, prewarm) = (machine.unwatched, machine.direct, machine.prewarm);
    let asked = Asked { unwatched, direct, prewarm, ..Asked::default() };
    let of_system = || preflight::of_system(&asked, &machine.system);
    own.chain((!machine.is_deaf()).then(of_system).into_iter().flatten()).collect()
}

type Found = (Verdict, String, Option<&'static str>);
type Row = (&'static str, &'static str, fn(&Machine) -> Found);

/// What it needs beside what preflight asks of a running system, in the order in which it is printed.
const TABLE: [Row; 7] = [
    ("systemd", "soft reboot came with systemd 254", systemd),
    ("mounts", "what is mounted for the next root has to be seen by systemd", mounts),
    ("dm-verity", "the next root is verified by the kernel", verity),
    ("root", "it is what a root that is not healthy is left for", root),
    ("configuration", "what stands in nextroot.conf counts where nobody says otherwise", configuration),
    ("next-root", "there has to be another root", next),
    ("hook", "systemctl soft-reboot comes to nextroot by it", hook),
];

fn ok(found: impl Into<String>) -> Found {
    (Verdict::Ok, found.into(), None)
}

fn warn(found: impl Into<String>, advice: &'static str) -> Found {
    (Verdict::Warn, found.into(), Some(advice))
}

fn fail(found: impl Into<String>, advice: &'static str) -> Found {
    (Verdict::Fail, found.into(), Some(advice))
}

fn systemd(machine: &Machine) -> Found {
    match &machine.system.systemd {
        None if machine.is_deaf() => warn("not looked at: systemctl gets no answer", "ask as root"),
        None => fail("PID 1 is no systemd, or does not tell its version", "boot with systemd 254 or newer"),
        Some(systemd) if systemd.number < OLDEST => {
            fail(format!("{systemd} has no soft reboot"), "install systemd 254 or newer")
        }
        Some(systemd) if systemd.number < AUTOMATIC => {
            ok(format!("{systemd}: systemctl soft-reboot, systemctl reboot goes through the firmware"))
        }
        Some(systemd) => ok(format!("{systemd}: systemctl reboot is a soft one where something is staged")),
    }
}

fn mounts(machine: &Machine) -> Found {
    match machine.own_mounts {
        true => fail(
            "this runs in a mount namespace of its own",
            "run it without PrivateTmp=, RootDirectory= and the like, or by nsenter --mount --target 1",
        ),
        false => ok("as systemd sees them"),
    }
}

fn verity(machine: &Machine) -> Found {
    let release = &machine.system.kernel_release;
    match machine.verity {
        Some(Verity::Loaded) => ok(format!("{release} has it")),
        Some(Verity::Module) => ok(format!("{release} has a module for it")),
        None => fail(
            format!("{release} has none, neither built in nor as a module"),
            "use a kernel with CONFIG_DM_VERITY=m, with its modules installed",
        ),
    }
}

fn root(machine: &Machine) -> Found {
    match machine.root.as_ref().map(|root| (root, &root.on)) {
        Some((root, On::Verity(_))) => ok(root.to_string()),
        Some((root, On::Plain { .. })) => warn(
            root.to_string(),
            "put the root on dm-verity (nextroot verity format) to be sure of what runs",
        ),
        Some((root, On::Else { .. })) => {
            warn(root.to_string(), "boot from a block device, or from dm-verity, to have a way back")
        }
        None if machine.is_root => warn("nobody can tell", "see what / is on: findmnt /"),
        None => warn("not looked at", "ask as root"),
    }
}

fn configuration(machine: &Machine) -> Found {
    const SOURCE: &str =
        "write Source=slot:other below [Stage] in /etc/nextroot/nextroot.conf, or name a SOURCE each time";
    match (&machine.unusable, machine.warnings.as_slice(), &machine.configured) {
        (Some(why), ..) => fail(why.clone(), "correct the line that it names: nothing is staged meanwhile"),
        (None, [], Some(source)) => ok(format!("Source={source}")),
        (None, [], None) => warn("no Source=: the hook stages nothing by itself", SOURCE),
        (None, warnings, _) => warn(warnings.join("; "), "see nextroot.conf(5)"),
    }
}

fn next(machine: &Machine) -> Found {
    let Some(Next { source, is, skipped }) = &machine.next else {
        return warn("not looked at", "ask as root");
    };
    let skipped = skipped.iter().map(|line| format!("; {line}")).collect::<String>();
    match is {
        Leads::To(root) => ok(format!("{source} leads to {root}{skipped}")),
        Leads::Nowhere(why) => warn(
            format!("{why}{skipped}"),
            "write an image into the other slot, as systemd-sysupdate does (sysupdate.d(5))",
        ),
        Leads::Wrong(why) => fail(format!("{why}{skipped}"), mend_source(source, machine.root.as_ref())),
    }
}

/// What to do about a source that leads nowhere.
fn mend_source(source: &str, root: Option<&Root>) -> &'static str {
    let is_verified = root.and_then(Root::verity).is_some();
    match source {
        OTHER if is_verified => {
            "make room for a second root: a partition of type root and one of type root-verity (repart.d(5)), or name an image file in Source="
        }
        OTHER => {
            "name the first verified root otherwise, in Source= or with the command: /images/os.raw, or roothash:HEX; slot:other works once such a root runs"
        }
        _ => "see that it is written as it is called: SOURCES in nextroot(8)",
    }
}

fn hook(machine: &Machine) -> Found {
    let unit = machine.system.units.iter().find(|unit| unit.id == HOOK);
    match unit {
        None if machine.is_deaf() => warn("not looked at", "ask as root"),
        Some(unit) if unit.is_up() => ok(format!("{HOOK} is there")),
        _ => warn(
            format!(
                "{HOOK} is not active: systemctl soft-reboot stages nothing by itself, and what is staged is looked at late"
            ),
            "systemctl enable --now nextroot-soft-reboot.service; nextroot reboot goes without",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(machine: &Machine) -> Vec<String> {
        let checks = examine(machine);
        let own = checks.iter().take(TABLE.len());
        own.map(|check| format!("{} {}: {}", check.result, check.name, check.found)).collect()
    }

    fn well() -> Machine {
        let text = r#"{
            "is_root": true,
            "system": {"kernel_release": "6.12", "systemd": "257.9-1", "units": [{"id": "nextroot-soft-reboot.service", "active": "active"}]},
            "verity": "module",
            "root": {"source": "a", "name": "root", "root_hash": "0a0f", "root_hash_from": "command-line", "system": "Debian", "version": "1"},
            "configured": "slot:other",
            "next": {"source": "slot:other", "is": {"to": "vda3"}, "skipped": ["vda5 was passed over"]}
        }"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_found() {
        let expected = [
            "ok systemd: 257.9-1: systemctl reboot is a soft one where something is staged",
            "ok mounts: as systemd sees them",
            "ok dm-verity: 6.12 has a module for it",
            "ok root: Debian 1, dm-verity root, root hash 0a0f",
            "ok configuration: Source=slot:other",
            "ok next-root: slot:other leads to vda3; vda5 was passed over",
            "ok hook: nextroot-soft-reboot.service is there",
        ];
        assert_eq!(told(&well()), expected);
        let nothing = [
            "fail systemd: PID 1 is no systemd, or does not tell its version",
            "ok mounts: as systemd sees them",
            "fail dm-verity:  has none, neither built in nor as a module",
            "warn root: not looked at",
            "warn configuration: no Source=: the hook stages nothing by itself",
            "warn next-root: not looked at",
            "warn hook: nextroot-soft-reboot.service is not active: systemctl soft-reboot stages nothing by itself, and what is staged is looked at late",
        ];
        assert_eq!(told(&Machine::default()), nothing);
        for (change, expected) in [
            (
                (|machine| machine.system.systemd = "253.1".parse().ok()) as fn(&mut Machine),
                "fail systemd: 253.1 has no soft reboot",
            ),
            (
                |machine| machine.system.systemd = "254.26-1".parse().ok(),
                "ok systemd: 254.26-1: systemctl soft-reboot, systemctl reboot goes through the firmware",
            ),
            (|machine| machine.own_mounts = true, "fail mounts: this runs in a mount namespace of its own"),
            (|machine| machine.root = None, "warn root: nobody can tell"),
            (|machine| machine.unusable = Some("bad".to_owned()), "fail configuration: bad"),
            (|machine| machine.warnings = vec!["odd".to_owned()], "warn configuration: odd"),
            (
                |machine| {
                    let is = Leads::Nowhere("nothing is newer".to_owned());
                    machine.next = Some(Next { source: "slot:other".to_owned(), is, skipped: Vec::new() });
                },
                "warn next-root: nothing is newer",
            ),
            (
                |machine| {
                    let is = Leads::Wrong("there is no other slot".to_owned());
                    machine.next = Some(Next { source: "slot:other".to_owned(), is, skipped: Vec::new() });
                },
                "fail next-root: there is no other slot",
            ),
        ] {
            let mut machine = well();
            change(&mut machine);
            let told = told(&machine);
            assert!(told.iter().any(|line| line == expected), "{expected}: {told:#?}");
            assert_eq!(
                told.iter().filter(|line| !line.starts_with("ok ")).count(),
                usize::from(!expected.starts_with("ok "))
            );
        }
        // An ordinary user got no answer of systemd, and was told that there is none.
        let deaf = Machine { booted: true, verity: Some(Verity::Loaded), ..Machine::default() };
        let checks = examine(&deaf);
        assert!(checks.iter().all(|check| check.result != Verdict::Fail), "{:#?}", told(&deaf));
        assert_eq!((checks.len(), &checks[0].name), (TABLE.len(), &"systemd"));
        let deaf = Machine { is_root: true, ..deaf };
        assert!(told(&deaf)[0].starts_with("fail systemd"));
        // What preflight asks of a running system comes with it.
        assert!(examine(&well()).iter().any(|check| check.name == "watcher"));
        let mut checks = examine(&Machine::default()).into_iter();
        assert!(checks.all(|check| (check.result == Verdict::Ok) == check.advice.is_none()));
    }
}
