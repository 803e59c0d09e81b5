//! From what was written to what is meant: one root, one /usr at most, and nothing weaker than policy.

use std::time::Duration;

use crate::format::{cmdline::CommandLine, config::Config, verity::options::boolean};

use super::{
    intent::{Emergency, EmergencyAction, FileSystem, From, Intent, Modules, Verbosity, Volatile},
    invalid::{Error, value_error},
    request::{Given, Request},
    step::HashOrigin,
    tag::{Name, device},
    verified::{ROOT, USR, Verified},
};

/// systemd's own for a device (systemd-system.conf(5), DefaultDeviceTimeoutSec=).
const TIMEOUT: Duration = Duration::from_secs(90);

impl Emergency {
    /// What a command line says of failures, even if the rest of it cannot be meant.
    #[must_use]
    pub fn of(line: &CommandLine, config: &Config) -> Self {
        let mut request = Request::default();
        for (line, origin) in [
            (&config.defaults, HashOrigin::Config),
            (line, HashOrigin::CommandLine),
            (&config.fixed, HashOrigin::Config),
        ] {
            // Reported by whoever resolves the whole.
            let _ = request.apply(line, origin);
        }
        emergency(&request).unwrap_or_default()
    }
}

impl Intent {
    /// What the command line asks for, within what the configuration allows.
    pub fn resolve(line: &CommandLine, config: &Config) -> Result<Self, Error> {
        let mut request = Request::default();
        request.apply(&config.defaults, HashOrigin::Config)?;
        request.apply(line, HashOrigin::CommandLine)?;
        request.apply(&config.fixed, HashOrigin::Config)?;
        let verity_on = both("systemd.verity", request.verity.as_ref(), request.rd_verity.as_ref())?;
        let usr = usr(&request, verity_on)?;
        let root = root(&request, verity_on, usr.is_some())?;
        let verified = |fs: &FileSystem| matches!(fs.from, From::Verity(_));
        if config.verity_required && !verified(&root) {
            return Err(forbidden(config, &request, verity_on, "root", "Verity", "roothash=", &root.from));
        }
        if let Some(usr) = usr.as_ref().filter(|usr| config.usr_verity_required && !verified(usr)) {
            return Err(forbidden(config, &request, verity_on, "/usr", "UsrVerity", "usrhash=", &usr.from));
        }
        if let Some(fallback) = &request.rootfallback {
            return Err(Error::Contradiction(format!(
                "rootfallback={}: there is no falling back to another root: name the one to boot",
                fallback.value
            )));
        }
        let mut notes: Vec<String> =
            config.unknown.iter().map(|key| format!("{key} is not known, ignoring")).collect();
        notes.append(&mut request.notes);
        if request.write && verified(&root) {
            notes.push("rw has no effect: a verified root is always read-only".to_owned());
        }
        Ok(Self {
            volatile: volatile(request.volatile.as_ref())?,
            init: init(request.init.as_ref())?,
            timeout: timeout(&request)?,
            delay: request
                .rootdelay
                .as_ref()
                .map_or(Ok(Duration::ZERO), |given| seconds("rootdelay", given))?,
            emergency: emergency(&request)?,
            verbosity: if request.debug { Verbosity::Debug } else { Verbosity::Normal },
            modules: modules(request),
            root,
            usr,
            notes,
        })
    }
}

fn forbidden(
    config: &Config,
    request: &Request,
    verity_on: bool,
    which: &'static str,
    key: &'static str,
    parameter: &str,
    from: &From,
) -> Error {
    let off = request.rd_verity.as_ref().filter(|given| boolean(&given.value) == Some(false));
    let what = match (verity_on, off) {
        (false, Some(off)) => format!("rd.systemd.verity={} asks for an unverified {which}", off.value),
        (false, None) => format!(
            "systemd.verity={} asks for an unverified {which}",
            request.verity.as_ref().map_or("no", |given| given.value.as_str())
        ),
        (true, _) => format!("{} is no verified {which}", describe(from)),
    };
    Error::Policy {
        what,
        file: config.file.clone(),
        which,
        key,
        instead: format!("name the image by {parameter}"),
    }
}

fn describe(from: &From) -> String {
    match from {
        From::Device(tag) => tag.to_string(),
        From::Verity(verity) => format!("dm-verity {}", verity.name),
        From::GptAuto => "a root by partition type".to_owned(),
        From::Tmpfs => "an empty tmpfs".to_owned(),
        From::Bind(path) => format!("{path} of the initramfs"),
    }
}

fn truth(parameter: &'static str, given: Option<&Given>) -> Result<bool, Error> {
    given.map_or(Ok(true), |given| {
        boolean(&given.value).ok_or_else(|| value_error(parameter, &given.value, "write yes or no"))
    })
}

/// A switch that the `rd.` form can turn off, too.
fn both(parameter: &'static str, plain: Option<&Given>, rd: Option<&Given>) -> Result<bool, Error> {
    let rd_name = if parameter == "systemd.verity" { "rd.systemd.verity" } else { "rd.systemd.gpt_auto" };
    Ok(truth(parameter, plain)? && truth(rd_name, rd)?)
}

fn seconds(parameter: &'static str, given: &Given) -> Result<Duration, Error> {
    let number = given.value.parse().ok().filter(|_| given.value.bytes().all(|b| b.is_ascii_digit()));
    let number: Option<u32> = number;
    number
        .map(|number| Duration::from_secs(number.into()))
        .ok_or_else(|| value_error(parameter, &given.value, "write a number of seconds"))
}

fn root(request: &Request, verity_on: bool, has_usr: bool) -> Result<FileSystem, Error> {
    let given = request.root.as_ref();
    let verified = Verified {
        names: &ROOT,
        mount: given,
        hash: request.roothash.as_ref(),
        data_device: request.root_data.as_ref(),
        hash_device: request.root_hash.as_ref(),
        options: request.root_options.as_ref(),
    };
    let from = match (verified.resolve(verity_on)?, given) {
        (Some(verity), _) => From::Verity(Box::new(verity)),
        (None, Some(given)) => unverified_root(given, has_usr)?,
        (None, None) => From::GptAuto,
    };
    let auto = both("systemd.gpt_auto", request.gpt_auto.as_ref(), request.rd_gpt_auto.as_ref())?;
    if from == From::GptAuto && !auto {
        return Err(Error::Contradiction(
            "systemd.gpt_auto=no, and nothing else names a root: write root= or roothash=".to_owned(),
        ));
    }
    let text = |given: Option<&Given>| given.map(|given| given.value.clone());
    let read_only = matches!(from, From::Verity(_)) || !request.write;
    let flags = text(request.rootflags.as_ref()).unwrap_or_default();
    Ok(FileSystem { from, fstype: text(request.rootfstype.as_ref()), flags, read_only })
}

fn unverified_root(given: &Given, has_usr: bool) -> Result<From, Error> {
    match given.value.as_str() {
        "gpt-auto" => Ok(From::GptAuto),
        "tmpfs" if has_usr => Ok(From::Tmpfs),
        "tmpfs" => {
            Err(value_error("root", "tmpfs", "an empty root needs a /usr: add usrhash= or mount.usr="))
        }
        "dissect" => {
            Err(value_error("root", "dissect", "not available in this version: use roothash= or gpt-auto"))
        }
        value => match value.strip_prefix("bind:") {
            Some(path) if path.starts_with('/') => Ok(From::Bind(path.to_owned())),
            Some(_) => Err(value_error("root", value, "write bind: and an absolute path of the initramfs")),
            None => match device("root", given)? {
                Name::Tag(tag) => Ok(From::Device(tag)),
                Name::Mapper(name) => Err(value_error(
                    "root",
                    value,
                    format!("nothing here makes /dev/mapper/{name}: a verified root is named by roothash="),
                )),
            },
        },
    }
}

fn usr(request: &Request, verity_on: bool) -> Result<Option<FileSystem>, Error> {
    let given = request.usr.as_ref();
    let verified = Verified {
        names: &USR,
        mount: given,
        hash: request.usrhash.as_ref(),
        data_device: request.usr_data.as_ref(),
        hash_device: request.usr_hash.as_ref(),
        options: request.usr_options.as_ref(),
    };
    let from = match (verified.resolve(verity_on)?, given) {
        (Some(verity), _) => From::Verity(Box::new(verity)),
        (None, None) => return Ok(None),
        (None, Some(given)) => match device("mount.usr", given)? {
            Name::Tag(tag) => From::Device(tag),
            Name::Mapper(name) => {
                let why =
                    format!("nothing here makes /dev/mapper/{name}: a verified /usr is named by usrhash=");
                return Err(value_error("mount.usr", &given.value, why));
            }
        },
    };
    let text = |given: Option<&Given>| given.map(|given| given.value.clone());
    let flags = text(request.usrflags.as_ref()).unwrap_or_default();
    // As systemd does it: what the root is, /usr is too, unless its flags say other.
    let write = request.write && !matches!(from, From::Verity(_));
    Ok(Some(FileSystem { from, fstype: text(request.usrfstype.as_ref()), flags, read_only: !write }))
}

fn volatile(given: Option<&Given>) -> Result<Volatile, Error> {
    let Some(given) = given else { return Ok(Volatile::No) };
    match (given.value.as_str(), boolean(&given.value)) {
        ("overlay", _) => Ok(Volatile::Overlay),
        ("state", _) | (_, Some(false)) => Ok(Volatile::No),
        (_, Some(true)) => Ok(Volatile::Yes),
        (value, None) => Err(value_error("systemd.volatile", value, "write yes, no, state or overlay")),
    }
}

fn init(given: Option<&Given>) -> Result<Option<String>, Error> {
    match given {
        Some(given) if !given.value.starts_with('/') => {
            Err(value_error("init", &given.value, "write an absolute path on the new root"))
        }
        given => Ok(given.map(|given| given.value.clone())),
    }
}

fn timeout(request: &Request) -> Result<Option<Duration>, Error> {
    let wait = match &request.rootwait {
        None => Some(TIMEOUT),
        Some(None) => None,
        Some(Some(given)) => Some(seconds("rootwait", given)?),
    };
    match &request.timeout {
        None => Ok(wait),
        Some(given) => Ok(Some(seconds("rd.timeout", given)?).filter(|time| !time.is_zero())),
    }
}

fn emergency(request: &Request) -> Result<Emergency, Error> {
    let mut emergency = Emergency::default();
    if let Some(given) = &request.emergency {
        emergency.action = match given.value.as_str() {
            "reboot" => EmergencyAction::Reboot,
            "poweroff" => EmergencyAction::Poweroff,
            "halt" => EmergencyAction::Halt,
            value => return Err(value_error("rd.emergency", value, "write reboot, poweroff or halt")),
        };
    }
    // As for the kernel: seconds until the restart, none for a negative number; 0 leaves it to us.
    if let Some(given) = &request.panic {
        match given.value.parse::<i32>() {
            Ok(0) => {}
            Ok(time) => emergency.pause = Duration::from_secs(u64::try_from(time).unwrap_or(0)),
            Err(_) => return Err(value_error("panic", &given.value, "write a number of seconds")),
        }
    }
    Ok(emergency)
}

fn modules(request: Request) -> Modules {
    let mut modules = Modules {
        first: request.first,
        load: request.load,
        last: request.last,
        blacklist: request.blacklist,
        ..Modules::default()
    };
    for (module, parameter) in request.module_parameters {
        modules.parameters.entry(module).or_default().push(parameter);
    }
    modules
}
