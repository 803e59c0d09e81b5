//! Decides how to boot: intent and facts to a plan, or to what is still missing.

use crate::format::{
    config::{image_policy::Designator, ini::Placed},
    disk::superblock::Kind,
    system::os_release,
};

pub use super::decision::{Decision, Error, Read, Want};
use super::{
    Plan, Step,
    facts::{BlockDevice, Facts},
    hold::{hold, hold_labels},
    intent::{From, Intent, Volatile},
    look::{Look, Resolved},
    step::Volume,
};

/// Where the new root is put together.
const SYSROOT: &str = "/sysroot";
/// What is looked for where `init=` says nothing: systemd as it looks for itself (src/shared/switch-root.c),
/// then the kernel's places (init/main.c), without its shell.
const INITS: [&str; 4] = ["/usr/lib/systemd/systemd", "/sbin/init", "/etc/init", "/bin/init"];
/// Modules that any plan for this intent loads: they can be begun with before devices are known.
#[must_use]
pub fn modules(intent: &Intent) -> Vec<String> {
    let all = [Some(&intent.root), intent.usr.as_ref()];
    let mut names: Vec<&str> = Vec::new();
    for fs in all.into_iter().flatten() {
        names.extend(matches!(fs.from, From::Verity(_) | From::Dissect(_)).then_some("dm_verity"));
        // Of several, one will do: the kernel asks for each when it is tried.
        names.extend(fs.fstype.iter().filter_map(|name| name.parse().ok()).filter_map(Kind::module));
    }
    names.extend((intent.volatile == Volatile::Overlay).then_some("overlay"));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}

/// Decides.
#[must_use]
pub fn decide(intent: &Intent, facts: &Facts) -> Decision {
    let mut look = Look::new(facts, &intent.filters, &intent.demands, modules(intent));
    let root = look.file_system(&intent.root, "root", SYSROOT);
    let usr = intent.usr.as_ref().map(|usr| look.file_system(usr, "usr", "/sysroot/usr"));
    let (root, usr) = match (root, usr.transpose()) {
        (Ok(root), Ok(usr)) => (root, usr.flatten()),
        (Err(error), _) | (_, Err(error)) => return Decision::Refuse(error),
    };
    if !look.reads.is_empty() {
        return Decision::Read(look.reads);
    }
    match (root, usr, intent.usr.is_some()) {
        (Some(mut root), mut usr, wanted) if usr.is_some() == wanted => {
            let held =
                hold(&intent.demands, (Designator::Root, !wanted), &mut root.steps, facts).and_then(|()| {
                    match &mut usr {
                        Some(usr) => hold(&intent.demands, (Designator::Usr, true), &mut usr.steps, facts),
                        None => Ok(()),
                    }
                });
            let held = held.and_then(|()| {
                hold_labels(&intent.filters, Designator::Root, &root.steps, facts)?;
                let usr = usr.as_ref().map_or(&[][..], |usr| &usr.steps);
                hold_labels(&intent.filters, Designator::Usr, usr, facts)
            });
            match held {
                Ok(()) => Decision::Go(plan(intent, look.modules, root, usr)),
                Err(refusal) => Decision::Refuse(refusal.into()),
            }
        }
        _ => Decision::Wait(look.wants),
    }
}

/// What is not there on a running system, where nobody waits, and what is.
#[must_use]
pub fn missing(wants: &[Want], facts: &Facts) -> String {
    let wants: Vec<String> = wants.iter().map(Want::to_string).collect();
    let seen: Vec<String> = facts.devices.iter().map(BlockDevice::to_string).collect();
    format!("there is no {}; seen: {}", wants.join(" and no "), seen.join(", "))
}

/// What is awaited, what was seen so far, and which drivers could not be loaded.
#[must_use]
pub fn waiting(wants: &[Want], facts: &Facts, failures: &[String]) -> String {
    let wants: Vec<String> = wants.iter().map(Want::to_string).collect();
    let seen: Vec<String> = facts.devices.iter().map(BlockDevice::to_string).collect();
    let seen = if seen.is_empty() { "no block device".to_owned() } else { seen.join(", ") };
    let failures = match failures {
        [] => String::new(),
        failures => format!("; drivers that could not be loaded: {}", failures.join(", ")),
    };
    format!("waiting for {}; seen: {seen}{failures}", wants.join(" and "))
}

fn plan(intent: &Intent, modules: Vec<String>, root: Resolved, usr: Option<Resolved>) -> Plan {
    let mut steps = Vec::new();
    if !modules.is_empty() {
        steps.push(Step::LoadModules { names: modules });
    }
    steps.extend(root.steps);
    let mut origin = root.origin;
    let at = SYSROOT.to_owned();
    let tmpfs = intent.root.from == From::Tmpfs;
    match intent.volatile {
        Volatile::No => {}
        Volatile::Yes => {
            let store = "/run/systemd/volatile-sysroot".to_owned();
            steps.push(volatile_tmpfs(&store));
            steps.push(Step::VolatileUsr { at: at.clone(), store });
        }
        Volatile::Overlay => {
            let store = "/run/systemd/overlay-sysroot".to_owned();
            steps.push(volatile_tmpfs(&store));
            steps.push(Step::Overlay { at: at.clone(), store });
        }
    }
    // Above all that: an overlay shows nothing of what is mounted on the root below it.
    let has_usr = usr.is_some();
    if let Some(usr) = usr {
        steps.extend(usr.steps);
        origin = origin.or(usr.origin);
    }
    if let Some(at_least) = &intent.demands.minimum_version {
        steps.push(check_version(at_least, has_usr));
    }
    if tmpfs || intent.volatile == Volatile::Yes {
        steps.push(Step::BaseFileSystem { root: at.clone() });
    }
    if let Some(what) = origin.filter(|_| tmpfs || intent.volatile != Volatile::No) {
        steps.push(Step::NameVolatileRoot { what: Volume::Device(what) });
    }
    let candidates = match &intent.init {
        Some(init) => vec![init.clone()],
        None => INITS.map(str::to_owned).to_vec(),
    };
    steps.push(Step::FindInit { root: at.clone(), candidates });
    steps.extend(intent.exitrd.then_some(Step::LeaveExitrd));
    steps.extend([Step::MoveApi { root: at.clone() }, Step::SwitchRoot { root: at }, Step::Exec]);
    Plan { steps }
}

/// The system is in /usr: where that is an image of its own, /etc of the root says nothing of it.
fn check_version(at_least: &Placed<String>, has_usr: bool) -> Step {
    let files = if has_usr { &[os_release::IN_USR][..] } else { &os_release::PLACES };
    Step::CheckVersion {
        root: SYSROOT.to_owned(),
        files: files.iter().map(|name| (*name).to_owned()).collect(),
        at_least: at_least.clone(),
    }
}

/// As systemd mounts it (src/volatile-root/volatile-root.c), with its limits.
fn volatile_tmpfs(at: &str) -> Step {
    let options = "mode=0755,strictatime,size=25%,nr_inodes=1m".to_owned();
    Step::Tmpfs { at: at.to_owned(), options }
}
