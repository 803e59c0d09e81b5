//! The command line as it was written: each parameter that we know, and who gave its last value.

use crate::format::{
    config::{ini::boolean, initramfs::Config},
    kernel::cmdline::{CommandLine, same_name},
};

use super::step::HashOrigin;

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The parameter that gave it; `rd.systemd.verity`, say, sets what `systemd.verity` sets.
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: Source,
}

/// Who wrote a parameter. Later ones override earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `[Boot] CommandLine=` of the configuration.
    Defaults,
    /// Whoever wrote the kernel command line.
    CommandLine,
    /// `[Policy] CommandLine=` of the configuration.
    Policy,
}

/// Last values, and lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) root: Option<Given>,
    pub(super) rootfstype: Option<Given>,
    pub(super) rootflags: Option<Given>,
    pub(super) write: Option<bool>,
    pub(super) init: Option<Given>,
    pub(super) rootwait: Option<Option<Given>>,
    pub(super) rootdelay: Option<Given>,
    pub(super) rootfallback: Option<Given>,
    pub(super) usr: Option<Given>,
    pub(super) usrfstype: Option<Given>,
    pub(super) usrflags: Option<Given>,
    pub(super) roothash: Option<Given>,
    pub(super) usrhash: Option<Given>,
    pub(super) root_data: Option<Given>,
    pub(super) root_hash: Option<Given>,
    pub(super) root_options: Option<Given>,
    pub(super) usr_data: Option<Given>,
    pub(super) usr_hash: Option<Given>,
    pub(super) usr_options: Option<Given>,
    pub(super) verity: Option<Given>,
    pub(super) userspace_verity: Option<Given>,
    pub(super) gpt_auto: Option<Given>,
    pub(super) image_policies: Vec<Given>,
    pub(super) image_filters: Vec<Given>,
    pub(super) volatile: Option<Given>,
    pub(super) timeout: Option<Given>,
    pub(super) emergency: Option<Given>,
    pub(super) panic: Option<Given>,
    pub(super) debug: bool,
    pub(super) rd_debug: Option<Given>,
    pub(super) first: Vec<String>,
    pub(super) load: Vec<String>,
    pub(super) last: Vec<String>,
    pub(super) blacklist: Vec<String>,
    pub(super) module_parameters: Vec<(String, String)>,
    pub(super) notes: Vec<String>,
}

/// What a parameter does to the request.
enum Meaning {
    /// Its last value counts.
    Last(fn(&mut Request) -> &mut Option<Given>),
    /// What [`Source::Policy`] says and what the kernel command line says count both, of each the last value.
    Both(fn(&mut Request) -> &mut Vec<Given>),
    /// As the first; the word alone stands for yes.
    Switch(fn(&mut Request) -> &mut Option<Given>),
    /// Its values are joined with commas, as systemd does it with mount options.
    Joined(fn(&mut Request) -> &mut Option<Given>),
    /// Comma-separated values are collected.
    List(fn(&mut Request) -> &mut Vec<String>),
    /// It is a word.
    Word(fn(&mut Request)),
    /// It takes a value or none.
    Rootwait,
    /// It is understood and there is nothing to do about it.
    Nothing,
    /// It asks for what is not done here, with the reason.
    Without(&'static str),
}

use Meaning::{Both, Joined, Last, List, Nothing, Rootwait, Switch, Without, Word};

/// Every parameter that is known. docs/cmdline.md has a row for each; a test compares both.
const PARAMETERS: [(&str, Meaning); 49] = [
    ("root", Last(|r| &mut r.root)),
    ("rootfstype", Last(|r| &mut r.rootfstype)),
    ("rootflags", Joined(|r| &mut r.rootflags)),
    ("ro", Word(|r| r.write = Some(false))),
    ("rw", Word(|r| r.write = Some(true))),
    ("init", Last(|r| &mut r.init)),
    ("rootwait", Rootwait),
    ("rootdelay", Last(|r| &mut r.rootdelay)),
    ("rootfallback", Last(|r| &mut r.rootfallback)),
    ("mount.usr", Last(|r| &mut r.usr)),
    ("mount.usrfstype", Last(|r| &mut r.usrfstype)),
    ("mount.usrflags", Joined(|r| &mut r.usrflags)),
    ("roothash", Last(|r| &mut r.roothash)),
    ("usrhash", Last(|r| &mut r.usrhash)),
    ("systemd.verity_root_data", Last(|r| &mut r.root_data)),
    ("systemd.verity_root_hash", Last(|r| &mut r.root_hash)),
    ("systemd.verity_root_options", Last(|r| &mut r.root_options)),
    ("systemd.verity_usr_data", Last(|r| &mut r.usr_data)),
    ("systemd.verity_usr_hash", Last(|r| &mut r.usr_hash)),
    ("systemd.verity_usr_options", Last(|r| &mut r.usr_options)),
    ("systemd.verity", Switch(|r| &mut r.verity)),
    ("rd.systemd.verity", Switch(|r| &mut r.verity)),
    ("systemd.gpt_auto", Switch(|r| &mut r.gpt_auto)),
    ("rd.systemd.gpt_auto", Switch(|r| &mut r.gpt_auto)),
    ("systemd.volatile", Switch(|r| &mut r.volatile)),
    ("systemd.image_policy", Both(|r| &mut r.image_policies)),
    ("systemd.image_filter", Both(|r| &mut r.image_filters)),
    ("systemd.allow_userspace_verity", Switch(|r| &mut r.userspace_verity)),
    ("rd.timeout", Last(|r| &mut r.timeout)),
    ("rd.retry", Without("devices are waited for, not tried again")),
    ("rd.emergency", Last(|r| &mut r.emergency)),
    ("panic", Last(|r| &mut r.panic)),
    ("rd.shell", Without("this initramfs has no shell")),
    ("rd.break", Without("this initramfs has no shell")),
    ("rd.debug", Switch(|r| &mut r.rd_debug)),
    ("debug", Word(|r| r.debug = true)),
    ("rd.info", Nothing),
    ("quiet", Nothing),
    ("rd.driver.blacklist", List(|r| &mut r.blacklist)),
    ("module_blacklist", List(|r| &mut r.blacklist)),
    ("modprobe.blacklist", List(|r| &mut r.blacklist)),
    ("modules_load", List(|r| &mut r.load)),
    ("rd.modules_load", List(|r| &mut r.load)),
    ("rd.driver.pre", List(|r| &mut r.first)),
    ("rd.driver.post", List(|r| &mut r.last)),
    ("rd.luks", Without("encrypted volumes are not opened here")),
    ("rd.lvm", Without("logical volumes are not activated here")),
    ("rd.md", Without("RAID arrays are not assembled here")),
    ("rd.plymouth", Without("there is no splash screen here")),
];

/// First parts of dotted names that are no modules.
const NOT_MODULES: [&str; 10] =
    ["rd", "systemd", "udev", "nextroot", "mount", "luks", "fsck", "quotacheck", "printk", "sysctl"];

/// A parameter in a form that it does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No value.
    #[error("{0}= needs a value: write one, or leave it out")]
    NoValue(String),
}

/// Names of all parameters that are known.
pub fn known_parameters() -> impl Iterator<Item = &'static str> {
    PARAMETERS.iter().map(|(name, _)| *name)
}

impl Source {
    pub(super) fn hash_origin(self) -> HashOrigin {
        match self {
            Self::CommandLine => HashOrigin::CommandLine,
            Self::Defaults | Self::Policy => HashOrigin::Config,
        }
    }
}

impl Request {
    /// Takes in the kernel command line and the configuration around it. What is wrong is left out, and the
    /// first of it returned beside the rest.
    pub(super) fn read(line: &CommandLine, config: &Config) -> (Self, Result<(), Error>) {
        let mut request = Self::default();
        let mut outcome = Ok(());
        for (line, source) in [
            (&config.defaults, Source::Defaults),
            (line, Source::CommandLine),
            (&config.fixed, Source::Policy),
        ] {
            outcome = outcome.and(request.apply(line, source));
        }
        (request, outcome)
    }

    fn apply(&mut self, line: &CommandLine, source: Source) -> Result<(), Error> {
        let mut outcome = Ok(());
        for parameter in &line.parameters {
            let known = PARAMETERS.iter().find(|(name, _)| same_name(name, &parameter.name));
            match known {
                Some((name, meaning)) => {
                    outcome = outcome.and(self.apply_one(name, meaning, parameter.value.as_deref(), source));
                }
                None => self.unknown(&parameter.name, parameter.value.as_deref()),
            }
        }
        outcome
    }

    fn apply_one(
        &mut self,
        name: &'static str,
        meaning: &Meaning,
        value: Option<&str>,
        source: Source,
    ) -> Result<(), Error> {
        let given = |value: &str| Given { name, value: value.to_owned(), source };
        match (meaning, value) {
            (Last(_) | Switch(_) | Joined(_) | List(_) | Both(_), Some(""))
            | (Last(_) | Joined(_) | List(_) | Both(_), None) => {
                return Err(Error::NoValue(name.to_owned()));
            }
            (Last(place), Some(value)) => *place(self) = Some(given(value)),
            (Both(place), Some(value)) => {
                let counts = |before: &Given| source == Source::Policy && before.source != Source::Policy;
                place(self).retain(counts);
                place(self).push(given(value));
            }
            (Switch(place), value) => *place(self) = Some(given(value.unwrap_or("yes"))),
            (Joined(place), Some(value)) => {
                let before = place(self).take().map(|before| before.value + ",").unwrap_or_default();
                *place(self) = Some(given(&(before + value)));
            }
            (List(place), Some(value)) => {
                let names = value.split(',').filter(|name| !name.is_empty());
                place(self).extend(names.map(|name| name.replace('-', "_")));
            }
            (Word(set), None) => set(self),
            (Word(_), Some(value)) => {
                self.notes.push(format!("{name}={value}: {name} takes no value, ignoring"));
            }
            (Rootwait, value) => self.rootwait = Some(value.map(given)),
            (Without(_), Some(value)) if boolean(value) == Some(false) => {}
            (Without(why), _) => self.notes.push(format!("{name} has no effect: {why}")),
            (Nothing, _) => {}
        }
        Ok(())
    }

    fn unknown(&mut self, name: &str, value: Option<&str>) {
        match name.split_once('.') {
            Some(("rd", _)) => self.notes.push(format!("{name} is not known, ignoring")),
            Some((module, _)) if NOT_MODULES.contains(&module) => {}
            Some((module, key)) => {
                let value = value.map_or_else(|| key.to_owned(), |value| format!("{key}={}", quoted(value)));
                self.module_parameters.push((module.replace('-', "_"), value));
            }
            None => {}
        }
    }
}

/// A value as the kernel splits module parameters: quoted where it has spaces.
fn quoted(value: &str) -> String {
    if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() }
}
