//! Scenarios: data, one file a subject, in qemu/scenarios/.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::{Outcome, image::Fault};

/// A scenario: one or more boots, each of which has to go as said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Number and subject.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) shows: String,
    /// Its boots, one after another.
    pub(crate) boot: Vec<Boot>,
    /// Where it is one for each systemd: on which of them `make test` runs it; the others are for
    /// `make test-full`. `{system}` and `{systemd}` are filled in with the tree and the version.
    #[serde(default)]
    pub(crate) systemd: Option<Vec<String>>,
    /// On which of them it cannot be, by what they are, or need not, where nothing of it is systemd's.
    #[serde(default)]
    pub(crate) except: Vec<String>,
    /// How often it does what it repeats, `{rounds}` in its script; `run --rounds` takes another number.
    #[serde(default)]
    pub(crate) rounds: Option<u64>,
    /// Whether only `make test-full` runs it. Where it is one for each systemd, `systemd` says it.
    #[serde(default, rename = "only-full")]
    pub(crate) only_full: bool,
}

/// What people call the systemd of a whole userspace, its tree, and how it calls itself.
const SYSTEMS: [(&str, &str, &str); 3] =
    [("254", "bookworm", "254"), ("257", "trixie", "257"), ("newest", "forky", "2[6-9][0-9]")];

impl Scenario {
    /// The same, with what it repeats done that often: `rounds`, or as its file says.
    pub(crate) fn repeating(mut self, rounds: Option<u64>) -> Outcome<Self> {
        let (stored, rounds) = match (self.rounds, rounds) {
            (None, None) => return Ok(self),
            (None, Some(_)) => return Err(format!("{}: it repeats nothing", self.name).into()),
            (Some(stored), rounds) => (stored.max(1), rounds.unwrap_or(stored)),
        };
        for boot in &mut self.boot {
            boot.limit = boot.limit.max(boot.limit.saturating_mul(rounds) / stored);
            let script = boot.script.iter_mut();
            script.for_each(|script| *script = script.replace("{rounds}", &rounds.to_string()));
        }
        Ok(self)
    }

    /// With each boot that is cut off as many boots as there are cuts.
    fn cut(mut self) -> Self {
        self.boot = self.boot.into_iter().flat_map(Boot::cut).collect();
        self
    }

    /// Itself, or one for each systemd.
    fn spread(self) -> Outcome<Vec<Self>> {
        let Some(chosen) = &self.systemd else { return Ok(vec![self]) };
        if let Some(unknown) = chosen.iter().find(|name| !SYSTEMS.iter().any(|(known, ..)| known == name)) {
            return Err(format!("{}: no systemd is called {unknown}", self.name).into());
        }
        let one = |(name, system, systemd): &(&str, &str, &str)| {
            let mut one = self.clone();
            one.name = format!("{}-{name}", self.name);
            one.only_full = !chosen.iter().any(|other| other == name);
            let fill =
                |text: &mut String| *text = text.replace("{system}", system).replace("{systemd}", systemd);
            for boot in &mut one.boot {
                if one.only_full {
                    // What is stored was measured on those that make test runs.
                    boot.took.clear();
                }
                boot.disks.iter_mut().for_each(|disk| fill(&mut disk.image));
                boot.script.iter_mut().for_each(fill);
                boot.patterns().for_each(fill);
            }
            one
        };
        let fits = |(name, ..): &&(&str, &str, &str)| !self.except.iter().any(|except| except == name);
        Ok(SYSTEMS.iter().filter(fits).map(one).collect())
    }
}

/// A boot, and how it has to go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Boot {
    /// The kernel's tree.
    #[serde(default = "cloud")]
    pub(crate) kernel: String,
    /// Added to the kernel command line, with `{...}` filled in from the image.
    #[serde(default)]
    pub(crate) cmdline: String,
    /// What the guest does, as a shell script: see qemu/guest/main.sh for its words.
    #[serde(default)]
    pub(crate) script: Option<String>,
    /// Whether the Debian package lies beside its script, as nextroot.deb.
    #[serde(default)]
    pub(crate) package: bool,
    /// Disks in order.
    #[serde(deserialize_with = "disks")]
    pub(crate) disks: Vec<Disk>,
    /// Files put into the initramfs's configuration.
    #[serde(default)]
    pub(crate) config: Option<String>,
    /// Files of the system that the initramfs is made for, by their paths. What ends in .p7s is a signature, written here in
    /// base64 or as a partition holds it, and in DER there.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Whether it boots by UEFI and the boot loader on the first disk's ESP.
    #[serde(default)]
    pub(crate) uefi: bool,
    /// Whether its firmware has Secure Boot on, with the certificate of the first disk's image as PK, KEK and db. With `uefi`
    /// it boots a UKI from the ESP, else a signed kernel that is handed over.
    #[serde(default)]
    pub(crate) secure_boot: bool,
    /// Whether the guest's clock counts instructions (one CPU): its times can be compared, whatever the host does.
    #[serde(default)]
    pub(crate) icount: bool,
    /// Whether it has a hardware watchdog (Intel 6300ESB): where that bites, the machine restarts.
    #[serde(default)]
    pub(crate) watchdog: bool,
    /// Its memory, in MiB.
    #[serde(default = "memory")]
    pub(crate) memory: u64,
    /// Whether it goes on with the disks as the boot before left them.
    #[serde(default)]
    pub(crate) goes_on: bool,
    /// Where power is cut: as soon as the console shows, or the guest says, such a thing. It is booted once for each, one
    /// after another on the same disks; `{cut}` in what is expected counts from 0.
    #[serde(default)]
    pub(crate) cuts: Vec<String>,
    /// What is done to the machine while it runs.
    #[serde(default)]
    pub(crate) inject: Vec<Injection>,
    /// Random bytes added to the initramfs, in MiB.
    #[serde(default)]
    pub(crate) ballast: usize,
    /// Whether it has to be refused: the guest must not run, and nextroot must say why.
    #[serde(default)]
    pub(crate) refused: bool,
    /// Whether the kernel has to panic or restart instead of the guest reaching its end.
    #[serde(default)]
    pub(crate) dies: bool,
    /// What the console must show, in this order: regular expressions.
    #[serde(default)]
    pub(crate) console: Vec<String>,
    /// What the guest must say, in any order.
    #[serde(default)]
    pub(crate) guest: Vec<String>,
    /// What the guest must say of these names is the same in every life that says it.
    #[serde(default)]
    pub(crate) same: Vec<String>,
    /// Names of what it says that is printed, and kept with the results, also where all went well.
    #[serde(default)]
    pub(crate) tells: Vec<String>,
    /// What neither may show.
    #[serde(default)]
    pub(crate) never: Vec<String>,
    /// What may not cost more than it did, where the guest's clock counts instructions.
    #[serde(default)]
    pub(crate) took: Vec<Took>,
    /// Seconds that it may take.
    #[serde(default = "limit")]
    pub(crate) limit: u64,
}

impl Boot {
    fn cut(mut self) -> Vec<Self> {
        let cuts = std::mem::take(&mut self.cuts);
        if cuts.is_empty() {
            return vec![self];
        }
        let one = |(number, when): (usize, String)| {
            let mut one = self.clone();
            one.inject.push(Injection { when, what: Event::PowerCut });
            (one.dies, one.goes_on) = (true, self.goes_on || number > 0);
            let number = number.to_string();
            one.patterns().for_each(|pattern| *pattern = pattern.replace("{cut}", &number));
            one
        };
        cuts.into_iter().enumerate().map(one).collect()
    }

    /// Every pattern that is looked for in what it says.
    pub(crate) fn patterns(&mut self) -> impl Iterator<Item = &mut String> {
        let when = self.inject.iter_mut().map(|injection| &mut injection.when);
        let took = self.took.iter_mut().flat_map(|took| match took {
            Took::Lines { from, to, .. } => vec![from, to],
            Took::Said { .. } => Vec::new(),
        });
        [&mut self.console, &mut self.guest, &mut self.never].into_iter().flatten().chain(when).chain(took)
    }
}

/// How many milliseconds something took when that was last looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Took {
    /// From a line of the console to a later one, both with the kernel's stamp: regular expressions.
    Lines { from: String, to: String, ms: f64 },
    /// What the guest says of a name.
    Said { said: String, ms: f64 },
}

/// A disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Disk {
    /// What is on it.
    pub(crate) image: String,
    /// How it is attached.
    #[serde(default)]
    pub(crate) bus: Bus,
    /// Damage.
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
    /// Attached so many seconds after nextroot began.
    #[serde(default)]
    pub(crate) late: Option<u64>,
    /// Sectors that fail: the device answers a request that touches one with an I/O error.
    #[serde(default)]
    pub(crate) errors: Vec<BadSector>,
    /// Bytes a second that it reads or writes at most.
    #[serde(default)]
    pub(crate) rate: Option<u64>,
    /// How many there are of it, one after another.
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

fn disks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Disk>, D::Error> {
    let written = Vec::<Disk>::deserialize(deserializer)?;
    Ok(written.into_iter().flat_map(|disk| std::iter::repeat_n(disk.clone(), disk.times)).collect())
}

/// A sector that fails, or a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BadSector {
    /// The label of its partition; without it, the whole disk.
    #[serde(default)]
    pub(crate) partition: Option<String>,
    /// Bytes from the start of that.
    #[serde(default)]
    pub(crate) at: u64,
    /// A text in the partition: bytes count from there.
    #[serde(default)]
    pub(crate) marker: Option<String>,
    /// What fails there.
    #[serde(default)]
    pub(crate) access: Access,
    /// Whether only the first such request fails.
    #[serde(default)]
    pub(crate) once: bool,
    /// Not a sector, but this one of all requests to the disk, from 1.
    #[serde(default)]
    pub(crate) nth: Option<u64>,
}

/// What is done to a sector.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    #[default]
    Read,
    Write,
}

/// What is done to a machine, once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Injection {
    /// As soon as the console shows, or the guest says, this: a regular expression.
    pub(crate) when: String,
    /// What happens.
    pub(crate) what: Event,
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// Power is cut. What its disks were given is on them: they have no cache of their own.
    PowerCut,
    /// The disk with this number is pulled. One on USB is gone at once; on any other bus the guest is asked first.
    Pull(usize),
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bus {
    #[default]
    Virtio,
    Scsi,
    Nvme,
    Ahci,
    Usb,
}

fn cloud() -> String {
    "kernel-cloud".to_owned()
}

fn memory() -> u64 {
    1024
}

fn limit() -> u64 {
    120
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

const FILES: [(&str, &str); 26] = [
    ("names.toml", include_str!("../scenarios/names.toml")),
    ("machines.toml", include_str!("../scenarios/machines.toml")),
    ("faults.toml", include_str!("../scenarios/faults.toml")),
    ("policy.toml", include_str!("../scenarios/policy.toml")),
    ("systems.toml", include_str!("../scenarios/systems.toml")),
    ("soft.toml", include_str!("../scenarios/soft.toml")),
    ("survivors.toml", include_str!("../scenarios/survivors.toml")),
    ("stage.toml", include_str!("../scenarios/stage.toml")),
    ("hook.toml", include_str!("../scenarios/hook.toml")),
    ("signed.toml", include_str!("../scenarios/signed.toml")),
    ("uefi.toml", include_str!("../scenarios/uefi.toml")),
    ("verity.toml", include_str!("../scenarios/verity.toml")),
    ("back.toml", include_str!("../scenarios/back.toml")),
    ("trial.toml", include_str!("../scenarios/trial.toml")),
    ("ends.toml", include_str!("../scenarios/ends.toml")),
    ("entries.toml", include_str!("../scenarios/entries.toml")),
    ("exit.toml", include_str!("../scenarios/exit.toml")),
    ("injected.toml", include_str!("../scenarios/injected.toml")),
    ("interrupted.toml", include_str!("../scenarios/interrupted.toml")),
    ("prewarm.toml", include_str!("../scenarios/prewarm.toml")),
    ("report.toml", include_str!("../scenarios/report.toml")),
    ("critical.toml", include_str!("../scenarios/critical.toml")),
    ("package.toml", include_str!("../scenarios/package.toml")),
    ("fleet.toml", include_str!("../scenarios/fleet.toml")),
    ("late.toml", include_str!("../scenarios/late.toml")),
    ("demo.toml", include_str!("../scenarios/demo.toml")),
];

/// All scenarios, by name.
pub(crate) fn all() -> Outcome<Vec<Scenario>> {
    let mut all = Vec::new();
    for (name, text) in FILES {
        all.extend(read(text, &format!("qemu/scenarios/{name}"))?);
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// The scenarios of a file.
pub(crate) fn read(text: &str, name: &str) -> Outcome<Vec<Scenario>> {
    let file: File = toml::from_str(text).map_err(|e| format!("{name}: {e}"))?;
    let mut all = Vec::new();
    for scenario in file.scenario {
        all.extend(scenario.cut().spread()?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_take_their_time() {
        let text = "[[scenario]]\nname = \"1\"\nshows = \"\"\nrounds = 5\n\
            [[scenario.boot]]\ndisks = []\nlimit = 100\nscript = \"do {rounds}\"\n";
        let repeating = |text: &str, rounds| read(text, "").unwrap().remove(0).repeating(rounds);
        for (rounds, script, limit) in
            [(None, "do 5", 100), (Some(2), "do 2", 100), (Some(50), "do 50", 1000)]
        {
            let boot = repeating(text, rounds).unwrap().boot.remove(0);
            assert_eq!((boot.script.as_deref(), boot.limit), (Some(script), limit));
        }
        let once = text.replace("rounds = 5\n", "");
        assert_eq!(repeating(&once, Some(2)).unwrap_err().to_string(), "1: it repeats nothing");
    }

    /// A script asked which systemd it is on, and was told nothing: it looked at less than it said.
    #[test]
    fn which_systemd_it_is_stands_in_every_text() {
        for mut scenario in all().unwrap() {
            for boot in &mut scenario.boot {
                let texts: Vec<String> = boot.patterns().map(|text| text.clone()).collect();
                for text in boot.script.iter().chain(&texts) {
                    assert!(!text.contains("{system"), "{}: {text}", scenario.name);
                }
            }
        }
    }

    #[test]
    fn each_cut_is_a_boot_on_the_disks_of_the_one_before() {
        let text = "[[scenario]]\nname = \"1\"\nshows = \"\"\n[[scenario.boot]]\ndisks = []\n\
            cuts = [\"a\", \"b\"]\nguest = [\"count={cut}\"]\n";
        let boots = read(text, "").unwrap().remove(0).boot;
        let seen = |boot: &Boot| {
            let cut = boot.inject.iter().map(|injection| (injection.when.clone(), injection.what)).collect();
            (boot.goes_on, boot.dies, boot.guest.concat(), cut)
        };
        let expected = |goes_on, guest: &str, when: &str| {
            (goes_on, true, guest.to_owned(), vec![(when.to_owned(), Event::PowerCut)])
        };
        let seen: Vec<_> = boots.iter().map(seen).collect();
        assert_eq!(seen, [expected(false, "count=0", "a"), expected(true, "count=1", "b")]);
    }

    #[test]
    fn every_scenario_can_fail() {
        let all = all().unwrap();
        let place = regex::Regex::new(crate::boot::PLACE).unwrap();
        for mut scenario in all.clone() {
            assert!(scenario.boot.first().is_some_and(|boot| !boot.goes_on), "{}", scenario.name);
            for boot in &mut scenario.boot {
                assert!(!boot.console.is_empty(), "{}: nothing is expected of the console", scenario.name);
                assert!(
                    boot.refused || boot.dies || !boot.guest.is_empty(),
                    "{}: nothing is expected of the guest",
                    scenario.name
                );
                let cut = boot.inject.iter().any(|injection| injection.what == Event::PowerCut);
                assert!(!cut || boot.dies, "{}: a guest without power does not reach its end", scenario.name);
                assert!(boot.took.is_empty() || boot.icount, "{}: its clock counts nothing", scenario.name);
                for pattern in boot.patterns() {
                    let filled = place.replace_all(pattern, "x");
                    regex::Regex::new(&filled).unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
                }
            }
        }
        let mut names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        names.dedup();
        assert_eq!(names.len(), all.len(), "two scenarios have one name");
    }
}
