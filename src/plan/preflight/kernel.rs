//! Checks of modules and of the kernel that the new root brings.

use std::cmp::Ordering;

use crate::format::{kernel::modindex::normalise, system::version};

use super::{Finding, Given};

pub(super) fn modules(given: &Given<'_>) -> Finding {
    let (release, loaded) = (&given.system.kernel_release, &given.system.loaded_modules);
    let advice = format!(
        "put the modules of {release} into the image, or reboot in full; --force goes on, and what is missing cannot be loaded any more"
    );
    let there = match &given.new.modules {
        Some(Ok(there)) => there,
        Some(Err(why)) => return Finding::fail(why.clone(), "run depmod in the image for this kernel"),
        None if loaded.is_empty() && !given.system.has_modules => {
            return Finding::ok(format!("{release} has none, in neither root"));
        }
        None if loaded.is_empty() => {
            return Finding::warn(
                format!("no modules for {release}, and none is loaded now"),
                "nothing can be loaded after the switch: check that nothing needs it",
            );
        }
        None => {
            return Finding::fail(
                format!("no modules for {release}; loaded now: {}", loaded.join(", ")),
                advice,
            );
        }
    };
    let missing: Vec<&str> =
        loaded.iter().map(String::as_str).filter(|name| !there.contains(&normalise(name))).collect();
    if !missing.is_empty() {
        return Finding::fail(format!("loaded, and missing in the new root: {}", missing.join(", ")), advice);
    }
    Finding::ok(match loaded.len() {
        0 => format!("{release}: {} are there, none is loaded", there.len()),
        count => format!("{release}: all {count} that are loaded are there"),
    })
}

pub(super) fn modules_load(given: &Given<'_>) -> Finding {
    let (new, system) = (given.new, given.system);
    let there = new.modules.as_ref().and_then(|modules| modules.as_ref().ok());
    let missing: Vec<&str> = new
        .wanted_modules
        .iter()
        .filter(|name| {
            !there.is_some_and(|there| there.contains(*name)) && !system.loaded_modules.contains(name)
        })
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Finding::ok(match new.wanted_modules.len() {
            0 => "the new root asks for none".to_owned(),
            count => format!("all {count} that the new root asks for are there"),
        });
    }
    Finding::warn(
        format!(
            "asked for by modules-load.d, and not there for {}: {}",
            system.kernel_release,
            missing.join(", ")
        ),
        "systemd-modules-load.service will fail: add the modules, or take the names out of modules-load.d",
    )
}

pub(super) fn newer(given: &Given<'_>) -> Finding {
    let running = &given.system.kernel_release;
    let newest = given.new.kernels.iter().max_by(|one, other| version::compare(one, other));
    match newest.map(|newest| (newest, version::compare(newest, running))) {
        Some((newest, Ordering::Greater)) => Finding::warn(
            format!("{newest} is in the new root, {running} keeps running"),
            "a full reboot is needed to get the newer kernel",
        ),
        _ => Finding::ok(format!("{running} keeps running, the new root has none that is newer")),
    }
}
