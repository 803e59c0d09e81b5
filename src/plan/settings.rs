//! What the command line says beside the root: times, failure, modules, what is forgotten.

use std::time::Duration;

use crate::format::config::ini::boolean;

use super::{
    intent::{Emergency, EmergencyAction, Modules, Verbosity, Volatile},
    invalid::{Error, value_error},
    request::{Given, Request},
};

/// systemd's own for a device (systemd-system.conf(5), DefaultDeviceTimeoutSec=).
const TIMEOUT: Duration = Duration::from_secs(90);

/// A switch, `default` where nobody set it.
pub(super) fn truth(given: Option<&Given>, default: bool) -> Result<bool, Error> {
    given.map_or(Ok(default), |given| {
        boolean(&given.value).ok_or_else(|| value_error(given, "write yes or no"))
    })
}

pub(super) fn seconds(given: &Given) -> Result<Duration, Error> {
    let digits = given.value.bytes().all(|b| b.is_ascii_digit());
    let number: Option<u32> = given.value.parse().ok().filter(|_| digits);
    number
        .map(|number| Duration::from_secs(number.into()))
        .ok_or_else(|| value_error(given, "write a number of seconds, 4294967295 at most"))
}

pub(super) fn volatile(given: Option<&Given>) -> Result<Volatile, Error> {
    let Some(given) = given else { return Ok(Volatile::No) };
    match (given.value.as_str(), boolean(&given.value)) {
        ("overlay", _) => Ok(Volatile::Overlay),
        ("state", _) | (_, Some(false)) => Ok(Volatile::No),
        (_, Some(true)) => Ok(Volatile::Yes),
        (_, None) => Err(value_error(given, "write yes, no, state or overlay")),
    }
}

pub(super) fn init(given: Option<&Given>) -> Result<Option<String>, Error> {
    match given {
        Some(given) if !given.value.starts_with('/') => {
            Err(value_error(given, "write an absolute path on the new root"))
        }
        given => Ok(given.map(|given| given.value.clone())),
    }
}

pub(super) fn timeout(request: &Request) -> Result<Option<Duration>, Error> {
    let wait = match &request.rootwait {
        None => Some(TIMEOUT),
        Some(None) => None,
        Some(Some(given)) => Some(seconds(given)?),
    };
    match &request.timeout {
        None => Ok(wait),
        Some(given) => Ok(Some(seconds(given)?).filter(|time| !time.is_zero())),
    }
}

pub(super) fn emergency(request: &Request) -> Result<Emergency, Error> {
    let mut emergency = Emergency::default();
    if let Some(given) = &request.emergency {
        emergency.action = match given.value.as_str() {
            "reboot" => EmergencyAction::Reboot,
            "poweroff" => EmergencyAction::Poweroff,
            "halt" => EmergencyAction::Halt,
            _ => return Err(value_error(given, "write reboot, poweroff or halt")),
        };
    }
    // As for the kernel: seconds until the restart, none for a negative number; 0 leaves it to us.
    if let Some(given) = &request.panic {
        match given.value.parse::<i32>() {
            Ok(0) => {}
            Ok(time) => emergency.pause = Duration::from_secs(u64::try_from(time).unwrap_or(0)),
            Err(_) => return Err(value_error(given, "write a number of seconds")),
        }
    }
    Ok(emergency)
}

pub(super) fn verbosity(request: &Request) -> Result<Verbosity, Error> {
    let debug = request.debug || truth(request.rd_debug.as_ref(), false)?;
    Ok(if debug { Verbosity::Debug } else { Verbosity::Normal })
}

pub(super) fn modules(request: Request) -> Modules {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{config::initramfs::Config, kernel::cmdline::CommandLine},
        plan::intent::Intent,
    };

    fn intent(line: &str) -> Intent {
        let line = CommandLine::parse(&format!("root=/dev/vda1 {line}"));
        Intent::resolve(&line, &Config::default()).unwrap()
    }

    #[test]
    fn timeouts() {
        for (line, expected) in [
            ("", Some(90)),
            ("rootwait", None),
            ("rootwait=7", Some(7)),
            ("rootwait=7 rootwait", None),
            ("rd.timeout=5", Some(5)),
            ("rd.timeout=0", None),
            ("rootwait rd.timeout=5", Some(5)),
            ("rootwait=7 rd.timeout=0", None),
            ("rd.timeout=5 rd.timeout=6", Some(6)),
        ] {
            assert_eq!(intent(line).timeout, expected.map(Duration::from_secs), "{line}");
        }
        assert_eq!(intent("rootdelay=3").delay, Duration::from_secs(3));
    }

    #[test]
    fn failures() {
        use EmergencyAction::{Halt, Poweroff, Reboot};
        for (line, action, pause) in [
            ("", Reboot, 10),
            ("rd.emergency=halt", Halt, 10),
            ("rd.emergency=halt rd.emergency=poweroff panic=3", Poweroff, 3),
            ("panic=0", Reboot, 10),
            ("panic=-1", Reboot, 0),
        ] {
            let expected = Emergency { action, pause: Duration::from_secs(pause) };
            assert_eq!(intent(line).emergency, expected, "{line}");
        }
        // Also where nothing else of the command line can be meant.
        let line = CommandLine::parse("root= rd.emergency=poweroff systemd.image_policy=x");
        let expected = Emergency { action: Poweroff, ..Emergency::default() };
        assert_eq!(Emergency::of(&line, &Config::default()), expected);
    }

    #[test]
    fn what_is_logged() {
        for (line, expected) in [
            ("quiet rd.info", Verbosity::Normal),
            ("debug", Verbosity::Debug),
            ("rd.debug", Verbosity::Debug),
            ("rd.debug=1 rd.debug=0", Verbosity::Normal),
        ] {
            assert_eq!(intent(line).verbosity, expected, "{line}");
        }
    }

    #[test]
    fn volatile_roots() {
        for (line, expected) in [
            ("systemd.volatile", Volatile::Yes),
            ("systemd.volatile=on", Volatile::Yes),
            ("systemd.volatile=overlay", Volatile::Overlay),
            ("systemd.volatile=overlay systemd.volatile=no", Volatile::No),
            ("systemd.volatile=state", Volatile::No),
        ] {
            assert_eq!(intent(line).volatile, expected, "{line}");
        }
    }

    #[test]
    fn kernel_modules() {
        let modules = intent(
            "rd.driver.pre=a,b-c rd.driver.pre=d modules-load=e rd.modules_load=f rd.driver.post=g \
             module_blacklist=h,i modprobe.blacklist=j rd.driver.blacklist=k-l virtio-blk.queue_depth=64 \
             virtio_blk.names=\"x y\" dm_mod.flag systemd.unit=x.target rd.shell=0",
        )
        .modules;
        assert_eq!(modules.first, ["a", "b_c", "d"]);
        assert_eq!(modules.load, ["e", "f"]);
        assert_eq!(modules.last, ["g"]);
        assert_eq!(modules.blacklist, ["h", "i", "j", "k_l"]);
        let parameters: Vec<_> = modules.parameters.iter().map(|(m, p)| (m.as_str(), p.join(" "))).collect();
        let expected =
            [("dm_mod", "flag".to_owned()), ("virtio_blk", "queue_depth=64 names=\"x y\"".to_owned())];
        assert_eq!(parameters, expected);
    }

    /// The modprobe role once knew nothing of the configuration.
    #[test]
    fn modules_that_the_configuration_forbids() {
        let config = "[Policy]\nCommandLine=module_blacklist=overlay\n";
        let config = Config::parse(config, "nextroot.conf").unwrap();
        let line = CommandLine::parse("root=/dev/vda1 module_blacklist=a");
        assert_eq!(Intent::resolve(&line, &config).unwrap().modules.blacklist, ["a", "overlay"]);
    }
}
