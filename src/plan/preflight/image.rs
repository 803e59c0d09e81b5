//! Checks of what the new root says that it is, and of what it would execute first.

use std::cmp::Ordering;

use crate::format::system::{os_release::OsRelease, version};

use super::{Finding, Given};

/// The oldest systemd that knows soft reboot.
const OLDEST: u32 = 254;

pub(super) fn os_release(given: &Given<'_>) -> Finding {
    let new = match &given.new.os_release {
        None => {
            return Finding::fail(
                "neither /etc/os-release nor /usr/lib/os-release",
                "check that this is a root file system, and give it an os-release (os-release(5))",
            );
        }
        Some(Err(why)) => return Finding::fail(why.clone(), "mend os-release in the image (os-release(5))"),
        Some(Ok(new)) => new,
    };
    let found = format!("{}{}", new.name(), image(new));
    let Some(new_version) = &new.image_version else {
        return Finding::warn(
            found,
            "set IMAGE_ID= and IMAGE_VERSION= in the image's os-release, so that images can be told apart",
        );
    };
    let running = given.system.os_release.as_ref();
    let same = running.filter(|running| running.image_id == new.image_id);
    let Some(running) = same.and_then(|running| running.image_version.as_deref()) else {
        return Finding::ok(found);
    };
    match version::compare(new_version, running) {
        Ordering::Greater => Finding::ok(format!("{found}, newer than the running {running}")),
        Ordering::Equal => Finding::ok(format!("{found}, the version that runs now")),
        Ordering::Less if given.asked.newest => Finding::fail(
            format!("{found}, older than the running {running}, although its label says that it is newer"),
            "find out who wrote that label; nextroot stage roothash:HEX goes back to an older image that is meant",
        ),
        Ordering::Less => Finding::warn(
            format!("{found}, older than the running {running}"),
            "check that going back is meant",
        ),
    }
}

/// `, image kiosk 1.2`, as far as it is known.
fn image(release: &OsRelease) -> String {
    let words: Vec<&str> =
        [&release.image_id, &release.image_version].into_iter().flatten().map(String::as_str).collect();
    if words.is_empty() {
        ", image without a name".to_owned()
    } else {
        format!(", image {}", words.join(" "))
    }
}

pub(super) fn initrd_release(given: &Given<'_>) -> Finding {
    if given.new.initrd_release {
        return Finding::fail(
            "/etc/initrd-release is there: this is an initrd, or systemd would take it for one",
            "remove /etc/initrd-release from the image",
        );
    }
    Finding::ok("no /etc/initrd-release")
}

pub(super) fn init(given: &Given<'_>) -> Finding {
    match &given.new.init {
        Some(Ok(path)) => {
            Finding::ok(format!("{path}, for {}, with its interpreter", std::env::consts::ARCH))
        }
        Some(Err(why)) => {
            Finding::fail(why.clone(), "build the image for this machine, with systemd and its libraries")
        }
        None => Finding::fail("not looked for", "mount the new root first"),
    }
}

pub(super) fn systemd(given: &Given<'_>) -> Finding {
    let Some(new) = &given.new.systemd else {
        return Finding::warn(
            "the new root's init does not tell its version",
            format!("check that it is a systemd of {OLDEST} or newer"),
        );
    };
    if new.number < OLDEST {
        return Finding::fail(
            format!("{new}, which cannot take over from a soft reboot"),
            format!("put systemd {OLDEST} or newer into the image"),
        );
    }
    match &given.system.systemd {
        Some(running) if running.number < OLDEST => Finding::fail(
            format!("{new}, but {running} runs now, which has no soft reboot"),
            "reboot in full",
        ),
        Some(running) if new.number < running.number => Finding::warn(
            format!("{new}, older than the running {running}, whose state it has to read"),
            "try this pair of versions before relying on it",
        ),
        Some(running) => Finding::ok(format!("{new}; {running} runs now")),
        None => Finding::warn(
            format!("{new}; which one runs now is not known"),
            "check that PID 1 is systemd and answers: systemctl show -p Version",
        ),
    }
}
