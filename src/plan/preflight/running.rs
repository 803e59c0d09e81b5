//! Checks of the running system: what it has set up, and who may object.

use crate::{
    format::system::os_release::OsRelease,
    plan::{prewarm, stage::Watcher, watchdog::Rearming},
};

use super::{
    Asked, Finding, Given, System,
    new_root::NewRoot,
    system::{Extension, ExtensionKind, Link},
};

pub(super) fn extensions(given: &Given<'_>) -> Finding {
    let findings = given.system.extensions.iter().map(|extension| one_extension(given, extension));
    Finding::worst_of(findings.collect(), "none is merged")
}

fn one_extension(given: &Given<'_>, extension: &Extension) -> Finding {
    let (service, what) = match extension.kind {
        ExtensionKind::System => ("systemd-sysext.service", "system"),
        ExtensionKind::Configuration => ("systemd-confext.service", "configuration"),
    };
    let name = &extension.name;
    if !given.new.enabled.contains(service) {
        return Finding::warn(
            format!("{what} extension {name} is merged; the new root does not enable {service}"),
            format!("enable {service} in the image, or the extension is gone after the switch"),
        );
    }
    let place = extension.place.as_deref().unwrap_or("an unknown place");
    let carried = given.asked.carried.iter().any(|path| path == "/var");
    let comes_along = match place {
        place if place.starts_with("/run/") => true,
        place if place.starts_with("/var/") => carried || given.new.var_in_fstab.is_some(),
        _ => given.new.extensions.contains(name),
    };
    if !comes_along {
        return Finding::warn(
            format!("{what} extension {name} comes from {place}, which does not come along"),
            "put it into the new root, /run/extensions or a carried /var/lib/extensions",
        );
    }
    match given.new.os_release.as_ref().and_then(|release| release.as_ref().ok()) {
        Some(release) if !fits(extension, release, given.new) => Finding::warn(
            format!("{what} extension {name} is made for another version than {}", release.name()),
            "bring the extension that belongs to the new root",
        ),
        _ => Finding::ok(format!("{what} extension {name} from {place}")),
    }
}

/// As systemd compares them (src/shared/extension-util.c, `extension_release_validate`).
fn fits(extension: &Extension, release: &OsRelease, new: &NewRoot) -> bool {
    let id = extension.id.as_deref();
    if id == Some("_any") {
        return true;
    }
    let level = match extension.kind {
        ExtensionKind::System => &new.sysext_level,
        ExtensionKind::Configuration => &new.confext_level,
    };
    let version = match (&extension.level, level) {
        (Some(of_extension), Some(of_root)) => of_extension == of_root,
        _ => extension.version_id.is_none() || extension.version_id == release.version_id,
    };
    id == release.id.as_deref() && version
}

pub(super) fn network(given: &Given<'_>) -> Finding {
    let findings: Vec<Finding> = given.system.links.iter().map(|link| one_link(link, given.new)).collect();
    Finding::worst_of(findings, "systemd-networkd manages no link")
}

fn one_link(link: &Link, new: &NewRoot) -> Finding {
    let name = &link.name;
    let Some(file) = &link.file else { return Finding::ok(format!("{name}: no .network file")) };
    if !file.starts_with("/run/") && !new.networks.contains(file) {
        return Finding::warn(
            format!("{name}: {file} is not in the new root"),
            "put the .network file into the image or into /run/systemd/network, or the link stays unconfigured",
        );
    }
    match link.keep.as_deref() {
        Some(
            keep @ ("yes" | "true" | "static" | "dynamic" | "dynamic-on-stop" | "dhcp" | "dhcp-on-stop"),
        ) => Finding::ok(format!("{name}: {file}, KeepConfiguration={keep}")),
        _ => Finding::warn(
            format!("{name}: {file} keeps no addresses while networkd is down"),
            "set KeepConfiguration=yes in its [Network] section for connections that survive",
        ),
    }
}

/// Since when systemd knows RestrictFileSystemAccess=.
const RESTRICTS: u32 = 261;

fn knows_restriction(system: &System) -> bool {
    system.systemd.as_ref().is_none_or(|systemd| systemd.number >= RESTRICTS)
}

/// What sees the new root come up.
#[must_use]
pub fn watcher(asked: &Asked, system: &System) -> Option<Watcher> {
    match (asked.unwatched, &system.restrict_execution) {
        (true, _) => None,
        (false, Some(_)) if knows_restriction(system) => system.program.clone().map(Watcher::InRoot),
        (false, _) => Some(Watcher::Copy),
    }
}

pub(super) fn automatic_return(given: &Given<'_>) -> Finding {
    match (watcher(given.asked, given.system), &given.system.restrict_execution) {
        (Some(Watcher::Copy), _) => {
            Finding::ok("a copy of nextroot in /run leaves a root that is not healthy")
        }
        (Some(Watcher::InRoot(program)), _) => {
            Finding::ok(format!("{program} of the running root leaves one that is not healthy"))
        }
        (None, Some(place)) if !given.asked.unwatched => Finding::warn(
            format!(
                "nobody leaves a root that is not healthy: {place}, and this program is not the running root's"
            ),
            "put nextroot into the image, or see to the new root by hand and say nextroot bless",
        ),
        (None, _) => Finding::ok("AutomaticReturn=no: nobody leaves a root that is not healthy"),
    }
}

pub(super) fn execution(given: &Given<'_>) -> Finding {
    let known = knows_restriction(given.system);
    match (&given.system.restrict_execution, given.asked.direct) {
        (None, _) => Finding::ok("programs on tmpfs are allowed"),
        (Some(place), _) if !known => Finding::ok(format!("{place} means nothing to this systemd")),
        (Some(place), true) => Finding::ok(format!("restricted by {place}; --direct uses no tmpfs")),
        (Some(place), false) => Finding::fail(
            format!("programs on tmpfs are forbidden by {place}"),
            "use --direct, or write Direct=yes below [Stage] in nextroot.conf; nextroot itself has to come from a signed image, too",
        ),
    }
}

/// What becomes of the watchdog that PID 1 feeds.
pub(super) fn rearming(system: &System, new: &NewRoot) -> Option<Rearming> {
    let watchdog = system.watchdog.clone()?;
    Some(Rearming { watchdog, forward: new.arms_watchdog.is_some() })
}

pub(super) fn watchdog(given: &Given<'_>) -> Finding {
    match (&given.system.watchdog, &given.new.arms_watchdog) {
        (None, _) => Finding::ok("PID 1 feeds none"),
        (Some(watchdog), None) => Finding::warn(
            format!("{watchdog} is fed now; the new root feeds none"),
            "set RuntimeWatchdogSec= in the image, or nothing resets the machine where it hangs",
        ),
        (Some(watchdog), Some(place)) if given.asked.direct => {
            Finding::ok(format!("{watchdog} is armed again by {place}; until then nobody does"))
        }
        (Some(watchdog), Some(place)) if !watchdog.runs_on => Finding::ok(format!(
            "{watchdog} is armed by the relay, until that ends: its driver stops it then; {place} arms it again"
        )),
        (Some(watchdog), Some(place)) => {
            Finding::ok(format!("{watchdog} is armed by the relay, and fed by {place}"))
        }
    }
}

pub(super) fn inhibitors(given: &Given<'_>) -> Finding {
    let about = given.system.inhibitors.iter().filter(|inhibitor| inhibitor.is_about_shutdown());
    let findings = about.map(|inhibitor| {
        let pid = inhibitor.pid.map(|pid| format!(" (PID {pid})")).unwrap_or_default();
        let who = format!("{}{pid}: {}", inhibitor.who, inhibitor.why.trim_end());
        if inhibitor.blocks() {
            Finding::fail(
                format!("blocked by {who}"),
                "wait until it is done, or end it: systemd-inhibit --list",
            )
        } else {
            Finding::ok(format!("may be delayed by {who}"))
        }
    });
    Finding::worst_of(findings.collect(), "nobody holds the shutdown back")
}

pub(super) fn memory(given: &Given<'_>) -> Finding {
    let Some(available) = given.system.memory_available else {
        return Finding::warn("MemAvailable is not known", "use --no-prewarm");
    };
    if available < prewarm::LEAST {
        return Finding::warn(
            format!("{available} available"),
            "free some memory first: the new system needs some to start, and nothing is read ahead",
        );
    }
    let asked = given.asked.prewarm;
    if !asked.wanted {
        return Finding::ok(format!("{available} available; nothing is read ahead"));
    }
    let most = prewarm::share(available, asked);
    Finding::ok(format!("{available} available; {most} at most are read ahead"))
}

pub(super) fn facts(given: &Given<'_>) -> Finding {
    let unread = [&given.system.unread[..], &given.new.unread[..]].concat();
    if given.system.units.is_empty() {
        let why = if unread.is_empty() { "it named none".to_owned() } else { unread.join("; ") };
        return Finding::fail(
            format!("the units of systemd are not known: {why}"),
            "see that systemctl show works; without it nobody knows what survives and what stops",
        );
    }
    if unread.is_empty() {
        return Finding::ok("everything could be read");
    }
    Finding::warn(unread.join("; "), "run as root; what could not be read was not checked")
}
