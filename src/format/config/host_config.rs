//! The nextroot.conf of a running system: what is staged where nobody says otherwise, what is carried, and
//! what the hook does. nextroot.conf(5) describes it.

use std::time::Duration;

use crate::format::{
    config::{
        demands,
        image_filter::ImageFilter,
        image_policy::ImagePolicy,
        ini::{self, Assignment, Placed, boolean, words},
        prewarm::Prewarm,
        probe::Probe,
        time_span,
        trial::Trial,
    },
    system::unit_file::is_unit,
    verity::root_hash::RootHash,
};

/// Sections and their keys: all that there is.
pub const KEYS: [(&str, &str); 26] = [
    ("Stage", "Source"),
    ("Stage", "RootHash"),
    ("Stage", "ImageFilter"),
    ("Stage", "Direct"),
    ("Stage", "Prewarm"),
    ("Stage", "PrewarmMemory"),
    ("Stage", "PrewarmTimeoutSec"),
    ("Stage", "Exitrd"),
    ("Stage", "Critical"),
    ("Carry", "Carry"),
    ("Carry", "NoCarry"),
    ("Hook", "TimeoutSec"),
    ("Hook", "WhenNothingStaged"),
    ("Trial", "AutomaticReturn"),
    ("Trial", "Timeout"),
    ("Trial", "Units"),
    ("Trial", "Command"),
    ("Trial", "WithoutFailuresSec"),
    ("Trial", "Keep"),
    ("Probe", "Address"),
    ("Probe", "Interval"),
    ("Probe", "TimeoutSec"),
    ("Probe", "Slow"),
    ("Policy", "Verity"),
    ("Policy", "ImagePolicy"),
    ("Policy", "MinimumVersion"),
];

/// The configuration of a running system: the defaults, with one file read over the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `[Stage]`
    pub stage: Stage,
    /// `[Carry]`
    pub carry: Carry,
    /// `[Hook]`
    pub hook: Hook,
    /// `[Trial]`
    pub trial: Trial,
    /// `[Trial] Keep=0`: no root before the running one stays open once that is blessed. It is read then, and is none of the rules
    /// that go along with a staged root.
    pub keeps_none: bool,
    /// `[Probe]`
    pub probe: Probe,
    /// `[Policy] Verity=required`: only a root whose root hash comes from a trusted place is staged.
    pub verity_required: bool,
    /// `[Policy] ImagePolicy=`: what a root has to be.
    pub image_policy: Option<Placed<ImagePolicy>>,
    /// `[Policy] MinimumVersion=`: the oldest version of an image that is staged.
    pub minimum_version: Option<Placed<String>>,
    /// What was passed over, each with its place.
    pub warnings: Vec<String>,
}

/// `[Stage]`: what the arguments of `nextroot stage` say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// `Source=`: the root image, as it is written for `nextroot stage`.
    pub source: Option<String>,
    /// `RootHash=`: the root hash of the image that `Source=` names.
    pub root_hash: Option<RootHash>,
    /// `ImageFilter=`: which partitions are taken, by their labels.
    pub image_filter: Option<Placed<ImageFilter>>,
    /// `Direct=`: systemd switches into the new root itself, without the relay.
    pub direct: bool,
    /// `Prewarm=` and its like: what is in the page cache of the old root is read from the new one.
    pub prewarm: Prewarm,
    /// `Exitrd=`: this program is left for the end of the machine's run.
    pub exitrd: bool,
    /// `Critical=`: services that must not be away for long.
    pub critical: Vec<String>,
}

/// `[Carry]`: what differs from the mounts that are carried anyway. No path is in both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carry {
    /// `Carry=`: mount points that are carried.
    pub paths: Vec<String>,
    /// `NoCarry=`: mount points that are not.
    pub not: Vec<String>,
}

/// `[Hook]`: what happens when a soft reboot is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `TimeoutSec=`: how long it may take to check or to stage. Over it, the soft reboot is called off.
    pub timeout: Duration,
    /// `WhenNothingStaged=`
    pub when_nothing_staged: WhenNothingStaged,
}

/// What the hook does when nothing is staged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenNothingStaged {
    /// `stage`: it stages `Source=`, if there is one.
    #[default]
    Stage,
    /// `pass`: the soft reboot goes its own way, into the root that runs.
    Pass,
}

/// A file that cannot be read as configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line or a value.
    #[error(transparent)]
    Ini(#[from] ini::Error),
    /// A policy that is not known here: going on without it could allow what it forbids.
    #[error("{file}:{line}: [Policy] has no {key}=: write Verity=, ImagePolicy= or MinimumVersion=")]
    Policy {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
    },
}

/// The unit's own limit is above the longest, and so is what systemd grants a soft reboot.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

impl Default for Hook {
    fn default() -> Self {
        Self { timeout: DEFAULT_TIMEOUT, when_nothing_staged: WhenNothingStaged::default() }
    }
}

impl HostConfig {
    /// Reads a file's text over what was read before; `file` is its name for messages. An empty assignment
    /// takes back what was assigned before.
    pub fn read(&mut self, text: &str, file: &str) -> Result<(), Error> {
        for assignment in ini::parse(text, file)? {
            let known = match assignment.section.as_str() {
                "Stage" => self.stage.assign(&assignment, file)?,
                "Carry" => self.carry.assign(&assignment, file)?,
                "Hook" => self.hook.assign(&assignment, file)?,
                "Trial" if assignment.key == "Keep" => {
                    self.keeps_none = match assignment.value.as_str() {
                        "0" => true,
                        "1" | "" => false,
                        _ => return Err(assignment.impossible(file, "0 or 1").into()),
                    };
                    true
                }
                "Trial" => self.trial.assign(&assignment, file)?,
                "Probe" => self.probe.assign(&assignment, file)?,
                "Policy" => self.policy(&assignment, file)?,
                _ => false,
            };
            if !known {
                self.warnings.push(passed_over(&assignment, file));
            }
        }
        Ok(())
    }

    /// What no single line shows: a line for each thing that cannot be as it is set.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        let Trial { automatic_return, timeout_sec, without_failures_sec, .. } = self.trial;
        let never = automatic_return && without_failures_sec >= timeout_sec;
        let told = || {
            format!(
                "[Trial] WithoutFailuresSec={without_failures_sec} s is not shorter than Timeout={timeout_sec} s: no root would be found healthy, and each is left again"
            )
        };
        never.then(told).into_iter().collect()
    }

    fn policy(&mut self, assignment: &Assignment, file: &str) -> Result<bool, Error> {
        match assignment.key.as_str() {
            "Verity" => self.verity_required = verity_required(assignment, file)?,
            "ImagePolicy" => self.image_policy = demands::image_policy(assignment, file)?,
            "MinimumVersion" => self.minimum_version = demands::minimum_version(assignment, file)?,
            key => {
                let (file, line, key) = (file.to_owned(), assignment.line, key.to_owned());
                return Err(Error::Policy { file, line, key });
            }
        }
        Ok(true)
    }
}

fn verity_required(assignment: &Assignment, file: &str) -> Result<bool, ini::Error> {
    match assignment.value.as_str() {
        "required" => Ok(true),
        "allowed" | "" => Ok(false),
        "signed" => {
            Err(assignment
                .impossible(file, "required or allowed (signed is written ImagePolicy=root=signed)"))
        }
        _ => Err(assignment.impossible(file, "required or allowed")),
    }
}

fn passed_over(assignment: &Assignment, file: &str) -> String {
    let Assignment { line, section, key, .. } = assignment;
    match section.as_str() {
        "" => format!("{file}:{line}: {key}= stands in front of the first [Section], ignoring"),
        _ => format!("{file}:{line}: [{section}] {key}= is not known, ignoring"),
    }
}

/// Each `assign` says whether the key is known.
impl Stage {
    fn assign(&mut self, assignment: &Assignment, file: &str) -> Result<bool, ini::Error> {
        let value = assignment.value.as_str();
        let switch = |default| match value {
            "" => Ok(default),
            _ => boolean(value).ok_or_else(|| assignment.impossible(file, "yes or no")),
        };
        match assignment.key.as_str() {
            "Source" => self.source = Some(value.to_owned()).filter(|value| !value.is_empty()),
            "RootHash" if value.is_empty() => self.root_hash = None,
            "RootHash" => {
                let hash = value.parse();
                let allowed = "an even number of hexadecimal digits, 32 to 128 (64 for sha256),";
                self.root_hash = Some(hash.map_err(|_| assignment.impossible(file, allowed))?);
            }
            "ImageFilter" => self.image_filter = demands::image_filter(assignment, file)?,
            "Direct" => self.direct = switch(Self::default().direct)?,
            "Exitrd" => self.exitrd = switch(Self::default().exitrd)?,
            "Critical" if value.is_empty() => self.critical.clear(),
            "Critical" => {
                let units: Option<Vec<String>> = value.split_whitespace().map(service).collect();
                let units = units.ok_or_else(|| assignment.impossible(file, SERVICES))?;
                let new = units.into_iter().filter(|unit| !self.critical.contains(unit));
                self.critical.extend(new.collect::<Vec<_>>());
            }
            _ => return self.prewarm.assign(assignment, file),
        }
        Ok(true)
    }
}

impl Carry {
    fn assign(&mut self, assignment: &Assignment, file: &str) -> Result<bool, ini::Error> {
        let (list, other) = match assignment.key.as_str() {
            "Carry" => (&mut self.paths, &mut self.not),
            "NoCarry" => (&mut self.not, &mut self.paths),
            _ => return Ok(false),
        };
        if assignment.value.is_empty() {
            list.clear();
            return Ok(true);
        }
        let allowed = "a list of absolute paths below /, without \"..\", blanks quoted,";
        let paths = words(&assignment.value).and_then(|words| words.iter().map(|word| path(word)).collect());
        let paths: Vec<String> = paths.ok_or_else(|| assignment.impossible(file, allowed))?;
        for path in paths {
            // Of a path in both lists, what is read later counts.
            other.retain(|before| *before != path);
            if !list.contains(&path) {
                list.push(path);
            }
        }
        Ok(true)
    }
}

impl Hook {
    fn assign(&mut self, assignment: &Assignment, file: &str) -> Result<bool, ini::Error> {
        let value = assignment.value.as_str();
        match assignment.key.as_str() {
            "TimeoutSec" if value.is_empty() => self.timeout = DEFAULT_TIMEOUT,
            "TimeoutSec" => {
                let timeout = time_span::parse(value).filter(|timeout| TIMEOUTS.contains(timeout));
                self.timeout =
                    timeout.ok_or_else(|| assignment.impossible(file, "a time from 1s to 10min"))?;
            }
            "WhenNothingStaged" => {
                self.when_nothing_staged = match value {
                    "stage" | "" => WhenNothingStaged::Stage,
                    "pass" => WhenNothingStaged::Pass,
                    _ => return Err(assignment.impossible(file, "stage or pass")),
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

const SERVICES: &str = "a list of services, as nginx.service,";

/// The name of a service (systemd.unit(5)); no template, which is nothing that runs.
#[must_use]
pub fn service(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".service")?;
    let usable = is_unit(name) && !stem.ends_with('@') && !stem.starts_with(['.', '@']);
    usable.then(|| name.to_owned())
}

/// A mount point as /proc/self/mountinfo has it: without double and trailing slashes.
fn path(word: &str) -> Option<String> {
    let names: Vec<&str> =
        word.strip_prefix('/')?.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    let usable = !names.is_empty() && !names.contains(&"..");
    usable.then(|| format!("/{}", names.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(files: &[&str]) -> HostConfig {
        let mut config = HostConfig::default();
        for text in files {
            config.read(text, "f").unwrap();
        }
        config
    }

    #[test]
    fn a_file() {
        let hash = "0a".repeat(32);
        let config = config(&[&format!(
            "# c\n[Stage]\nSource=slot:other\nRootHash={hash}\nImageFilter=root=os_*:root-verity=os_*\nDirect=on\nPrewarm=no\nPrewarmMemory=25%\nPrewarmTimeoutSec=1min 30s\nExitrd=yes\nCritical=b.service a@x.service\n\
             [Carry]\nCarry=/srv//data/ '/mnt/a b' \\\n  /home\nNoCarry=/boot\n\
             [Hook]\nTimeoutSec=1min 30s\nWhenNothingStaged=pass\n[Trial]\nTimeout=1min\nKeep=0\n[Probe]\nInterval=50ms\n[Policy]\nVerity=required\n\
             ImagePolicy=root=verity+signed\nMinimumVersion=7\n"
        )]);
        let expected = HostConfig {
            stage: Stage {
                source: Some("slot:other".to_owned()),
                root_hash: hash.parse().ok(),
                image_filter: Some(Placed {
                    value: "root=os_*:root-verity=os_*".parse().unwrap(),
                    place: "f:5 (ImageFilter=root=os_*:root-verity=os_*)".to_owned(),
                }),
                direct: true,
                prewarm: Prewarm { wanted: false, memory_percent: 25, timeout_sec: 90 },
                exitrd: true,
                critical: vec!["b.service".to_owned(), "a@x.service".to_owned()],
            },
            carry: Carry {
                paths: ["/srv/data", "/mnt/a b", "/home"].map(str::to_owned).to_vec(),
                not: vec!["/boot".to_owned()],
            },
            hook: Hook { timeout: Duration::from_secs(90), when_nothing_staged: WhenNothingStaged::Pass },
            trial: Trial { timeout_sec: 60, ..Trial::default() },
            keeps_none: true,
            probe: Probe { interval: Duration::from_millis(50), ..Probe::default() },
            verity_required: true,
            image_policy: Some(Placed {
                value: "root=verity+signed".parse().unwrap(),
                place: "f:26 (ImagePolicy=root=verity+signed)".to_owned(),
            }),
            minimum_version: Some(Placed {
                value: "7".to_owned(),
                place: "f:27 (MinimumVersion=7)".to_owned(),
            }),
            warnings: vec![],
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn what_contradicts_itself() {
        for (text, expected) in [
            ("[Trial]\nTimeout=60s\nWithoutFailuresSec=59s\n", 0),
            ("[Trial]\nTimeout=60s\nWithoutFailuresSec=60s\n", 1),
            ("[Trial]\nTimeout=60s\nWithoutFailuresSec=60s\nAutomaticReturn=no\n", 0),
            ("", 0),
        ] {
            assert_eq!(config(&[text]).contradictions().len(), expected, "{text}");
        }
    }

    #[test]
    fn files_over_files() {
        let first = "[Stage]\nSource=/a\nRootHash=00112233445566778899aabbccddeeff\nImageFilter=root=a\nDirect=1\nPrewarm=0\nPrewarmMemory=1%\nPrewarmTimeoutSec=1\nExitrd=1\n\
                     [Carry]\nCarry=/a /b\nNoCarry=/c\n[Hook]\nTimeoutSec=5\nWhenNothingStaged=pass\n\
                     [Policy]\nVerity=required\nImagePolicy=root=signed\nMinimumVersion=1\n";
        let second = "[Stage]\nSource=\nRootHash=\nImageFilter=\nDirect=\nPrewarm=\nPrewarmMemory=\nPrewarmTimeoutSec=\nExitrd=\n[Carry]\nCarry=\nNoCarry=\n\
                      [Hook]\nTimeoutSec=\nWhenNothingStaged=\n[Policy]\nVerity=\nImagePolicy=\nMinimumVersion=\n";
        assert_eq!(config(&[first, second]), HostConfig::default());
        for (second, carried, not) in [
            ("Carry=/d", &["/a", "/b", "/d"][..], &["/c"][..]),
            ("Carry=/a", &["/a", "/b"], &["/c"]),
            ("NoCarry=/a", &["/b"], &["/c", "/a"]),
            ("Carry=/c", &["/a", "/b", "/c"], &[]),
            ("Carry=\nCarry=/x", &["/x"], &["/c"]),
        ] {
            let carry = config(&[first, &format!("[Carry]\n{second}\n")]).carry;
            assert_eq!((carry.paths, carry.not), (strings(carried), strings(not)), "{second}");
        }
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn passed_over() {
        let text = "Source=/a\n[Stage]\nSorce=/a\n[Boot]\nCommandLine=ro\n[Hook]\nSource=/a\n";
        assert_eq!(
            config(&[text]).warnings,
            [
                "f:1: Source= stands in front of the first [Section], ignoring",
                "f:3: [Stage] Sorce= is not known, ignoring",
                "f:5: [Boot] CommandLine= is not known, ignoring",
                "f:7: [Hook] Source= is not known, ignoring",
            ]
        );
    }

    #[test]
    fn every_key_is_known() {
        for (section, key) in KEYS {
            assert_eq!(config(&[&format!("[{section}]\n{key}=\n")]), HostConfig::default(), "{key}");
        }
    }

    #[test]
    fn malformed() {
        const PATHS: &str = "a list of absolute paths below /, without \"..\", blanks quoted, is needed";
        for (text, message) in [
            ("[Stage]\nDirect=maybe", "f:2: Direct=maybe: yes or no is needed".to_owned()),
            (
                "[Stage]\nImageFilter=root=[a",
                "f:2: ImageFilter=root=[a: character 6: the pattern [a has a [ without its ]: write text, *, ?, and [abc], \
                 [a-c] or [!abc]"
                    .to_owned(),
            ),
            ("[Stage]\nPrewarm=2", "f:2: Prewarm=2: yes or no is needed".to_owned()),
            ("[Stage]\nPrewarmMemory=50", "f:2: PrewarmMemory=50: a share from 1% to 90% is needed".to_owned()),
            ("[Stage]\nPrewarmMemory=91%", "f:2: PrewarmMemory=91%: a share from 1% to 90% is needed".to_owned()),
            (
                "[Stage]\nPrewarmTimeoutSec=0",
                "f:2: PrewarmTimeoutSec=0: a time from 1s to 1h is needed".to_owned(),
            ),
            ("[Trial]\nKeep=2", "f:2: Keep=2: 0 or 1 is needed".to_owned()),
            (
                "[Stage]\nRootHash=0x",
                "f:2: RootHash=0x: an even number of hexadecimal digits, 32 to 128 (64 for sha256), is needed"
                    .to_owned(),
            ),
            ("[Carry]\nCarry=home", format!("f:2: Carry=home: {PATHS}")),
            ("[Carry]\nCarry=/", format!("f:2: Carry=/: {PATHS}")),
            ("[Carry]\nNoCarry=/a /b/../c", format!("f:2: NoCarry=/a /b/../c: {PATHS}")),
            ("[Carry]\nNoCarry=\"/a", format!("f:2: NoCarry=\"/a: {PATHS}")),
            ("[Hook]\nTimeoutSec=0", "f:2: TimeoutSec=0: a time from 1s to 10min is needed".to_owned()),
            (
                "[Hook]\nTimeoutSec=infinity",
                "f:2: TimeoutSec=infinity: a time from 1s to 10min is needed".to_owned(),
            ),
            ("[Hook]\nTimeoutSec=11min", "f:2: TimeoutSec=11min: a time from 1s to 10min is needed".to_owned()),
            (
                "[Hook]\nWhenNothingStaged=no",
                "f:2: WhenNothingStaged=no: stage or pass is needed".to_owned(),
            ),
            ("[Policy]\nVerity=maybe", "f:2: Verity=maybe: required or allowed is needed".to_owned()),
            (
                "[Policy]\nVerity=signed",
                "f:2: Verity=signed: required or allowed (signed is written ImagePolicy=root=signed) is needed"
                    .to_owned(),
            ),
            ("[Policy]\nVerify=required", "f:2: [Policy] has no Verify=: write Verity=, ImagePolicy= or MinimumVersion=".to_owned()),
            (
                "[Policy]\nMinimumVersion=1 2",
                "f:2: MinimumVersion=1 2: a version of letters, digits and - . ~ ^ _ + , is needed".to_owned(),
            ),
            (
                "[Policy]\nImagePolicy=root",
                "f:2: ImagePolicy=root: character 1: \"root\" is no rule: write PARTITION=FLAG+FLAG, rules parted by \":\", \
                 or one of * - ~ alone"
                    .to_owned(),
            ),
            ("Stage\n", "f:1: \"Stage\" is neither [Section] nor Key=value".to_owned()),
        ] {
            assert_eq!(HostConfig::default().read(text, "f").unwrap_err().to_string(), message);
        }
    }
}
