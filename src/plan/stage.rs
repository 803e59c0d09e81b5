//! Decides how to stage a root for the next soft reboot: what is done while the old system serves, and
//! what is left for the relay, which only moves mounts.

use serde::{Deserialize, Serialize};

use crate::format::{
    config::{
        image_filter::ImageFilter, image_policy::Designator, ini::Placed, prewarm::Prewarm, trial::Trial,
    },
    kernel::devno::Devno,
    system::os_release,
    verity::{
        setup::LONGEST_NAME,
        table::{FEC_DEVICE, VerityTable},
    },
};

use super::{
    Plan, Step,
    boot_entry::Renaming,
    carry::Row,
    decision::{Decision, Error, Read},
    demands::Demands,
    device::Device,
    facts::{Content, Facts, OpenVerity as OpenedVerity},
    hold::{hold, hold_labels},
    intent::{FileSystem, From, Verity},
    look::Look,
    order::Order,
    plain::Plain,
    step::{FilePart, Fstype, Relay, Volume},
    watchdog::{Rearming, Watchdog},
};

/// Where systemd looks for the root of a soft reboot (systemd-soft-reboot.service(8)).
pub const NEXT: &str = "/run/nextroot";
/// Where the relay finds the new root, inside of its tmpfs.
pub const NEW: &str = "/sysroot";
/// Where it finds the way back.
pub const OLD: &str = "/previous";
/// Where carried mounts wait, inside of the tmpfs.
pub const CARRY: &str = "/carry";
/// What it is executed by in the new root; systemd's own first choice (src/core/main.c).
pub const INIT: &str = "/usr/lib/systemd/systemd";
/// What belongs to a root where it is a mount of its own: systemd neither unmounts it for a soft reboot nor mounts it
/// again (src/shared/fstab-util.c, fstab_is_extrinsic).
const KEPT: [&str; 2] = ["/usr", "/etc"];
/// Moved by the relay, in this order.
const API: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// Where a generator of the new system would set up again what the kernel command line names; the dm names
/// are those that systemd uses.
pub const VERITY_UNITS: [&str; 2] = ["systemd-veritysetup@root.service", "systemd-veritysetup@usr.service"];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The root.
    pub root: Root,
    /// How the switch to it is made.
    pub way: Way,
    /// What is demanded of it.
    pub demands: Demands,
    /// Which partitions are taken for it, by their labels.
    pub filters: Vec<Placed<ImageFilter>>,
}

/// How the switch to a root is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// By the relay.
    #[default]
    Relay,
    /// By systemd itself.
    Direct,
    /// Not at all: it is only looked at.
    Look,
}

/// Where a root is mounted that is only looked at.
const LOOK: &str = "/run/nextroot-state/look";

/// The root to stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// One to be opened.
    Closed(Box<Verity>),
    /// One in files, whose stretches become loop devices; the numbers stand for them until then.
    InFiles(Box<Verity>, Vec<(Devno, FilePart)>),
    /// One that is open still, from when it was running.
    Open(OpenedVerity),
    /// A plain file system that ran before: not verified.
    Plain(Box<Plain>),
}

impl Intent {
    /// Where the new root is mounted.
    #[must_use]
    pub fn mounted_at(&self) -> String {
        match self.way {
            Way::Relay => format!("{NEXT}{NEW}"),
            Way::Direct => NEXT.to_owned(),
            Way::Look => LOOK.to_owned(),
        }
    }
}

/// Decides how to open and mount the root. What is carried into it is decided after that, by what the new
/// root says ([`carrying`]).
#[must_use]
pub fn mounting(intent: &Intent, facts: &Facts) -> Decision {
    let at = intent.mounted_at();
    let opening = match &intent.root {
        Root::Closed(verity) => opening(verity, &at, facts),
        Root::InFiles(verity, parts) => opening(verity, &at, facts).map(|steps| {
            let attach = |(number, part): &(Devno, FilePart)| Step::AttachLoop {
                part: part.clone(),
                stands_for: *number,
            };
            parts.iter().map(attach).chain(steps).collect()
        }),
        Root::Open(open) => Ok(again(open, &at)),
        Root::Plain(plain) => plainly(plain, &at, facts),
    };
    let mut steps = match opening {
        Ok(steps) => steps,
        Err(decision) => return decision,
    };
    let held = hold(&intent.demands, (Designator::Root, true), &mut steps, facts);
    // What ran before was taken then.
    let is_taken = matches!(intent.root, Root::Open(_) | Root::Plain(_));
    let filters = if is_taken { &[] } else { intent.filters.as_slice() };
    if let Err(refusal) = held.and_then(|()| hold_labels(filters, Designator::Root, &steps, facts)) {
        return Decision::Refuse(refusal.into());
    }
    // What is checked last is mounted next.
    let is_mounting = |step: &Step| matches!(step, Step::CheckPlain { .. } | Step::Mount { .. });
    let mount = steps.split_off(steps.iter().position(is_mounting).unwrap_or(steps.len()));
    let next = || NEXT.to_owned();
    if intent.way == Way::Relay {
        let options = "mode=0755,nosuid,nodev,size=64M,nr_inodes=64k".to_owned();
        steps.push(Step::Tmpfs { at: next(), options });
        steps.push(Step::Isolate { at: next() });
        steps.push(Step::FurnishRelay { at: next() });
    }
    steps.extend(mount);
    if intent.way != Way::Relay {
        steps.push(Step::Isolate { at: at.clone() });
    }
    // Where it is only looked at, the report says what is wrong with it.
    if let Some(at_least) = intent.demands.minimum_version.as_ref().filter(|_| intent.way != Way::Look) {
        let files = os_release::PLACES.map(str::to_owned).to_vec();
        steps.push(Step::CheckVersion { root: at.clone(), files, at_least: at_least.clone() });
    }
    steps.push(Step::FindInit { root: at, candidates: vec![INIT.to_owned()] });
    Decision::Go(Plan { steps })
}

/// Mounts a plain root as it was, if it is still there.
fn plainly(before: &Plain, at: &str, facts: &Facts) -> Result<Vec<Step>, Decision> {
    let gone = |why| Decision::Refuse(Error::Gone { root: before.to_string(), why });
    let found = before.find(facts).map_err(gone)?;
    if found.content == Content::Unread && before.filesystem_uuid.is_some() {
        return Err(Decision::Read(vec![Read::Superblock(found.devno)]));
    }
    let device = Device::from(found);
    // It is written down, and the disk's own number does not outlive the machine's run.
    let plain = Plain { device: Device { diskseq: None, ..device.clone() }, ..before.clone() };
    plain.is_on(found).map_err(gone)?;
    let fstype = plain.fstype.parse().map_or_else(|_| Fstype::Named(plain.fstype.clone()), Fstype::Known);
    let (read_only, options) = (plain.read_only, plain.options.clone());
    Ok(vec![
        Step::CheckPlain { plain: Box::new(plain) },
        Step::Mount {
            what: Volume::Device(device),
            fstype: Some(fstype),
            at: at.to_owned(),
            read_only,
            options,
        },
    ])
}

/// Opens and mounts a root, or goes on with the device where the same is open already.
fn opening(verity: &Verity, at: &str, facts: &Facts) -> Result<Vec<Step>, Decision> {
    let verity = &free_name(verity, facts).map_err(Decision::Refuse)?;
    let fs = FileSystem {
        from: From::Verity(Box::new(verity.clone())),
        fstype: None,
        flags: String::new(),
        read_only: true,
    };
    // What is demanded of it, and of its labels, is held against the whole plan.
    let demands = Demands::default();
    let mut look = Look::new(facts, &[], &demands, Vec::new());
    let resolved = look.file_system(&fs, "root", at).map_err(Decision::Refuse)?;
    if !look.reads.is_empty() {
        return Err(Decision::Read(look.reads));
    }
    let Some(resolved) = resolved else { return Err(Decision::Wait(look.wants)) };
    let table = resolved.steps.iter().find_map(|step| match step {
        Step::OpenVerity(open) => Some(&open.table),
        _ => None,
    });
    let same = |open: &&OpenedVerity| {
        !open.leaving
            && is_as_signed(verity, &open.table)
            && table.is_some_and(|table| equal(table, &open.table.without_signature()))
    };
    if let Some(open) = facts.verity.iter().find(same) {
        return Ok(again(open, at));
    }
    Ok(resolved.steps)
}

/// With a dm name that is free. Where the same image is open on other devices, it gets a second name; a name
/// that anything else has is refused.
fn free_name(verity: &Verity, facts: &Facts) -> Result<Verity, Error> {
    let names = std::iter::once(verity.name.clone()).chain((2..10).map(|number| {
        let mut name = verity.name.clone();
        name.truncate(LONGEST_NAME - 2);
        format!("{name}-{number}")
    }));
    let mut refusal = None;
    for name in names {
        let Some(taken) = facts.devices.iter().find(|device| device.dm_name.as_ref() == Some(&name)) else {
            return Ok(Verity { name, ..verity.clone() });
        };
        let same =
            facts.verity.iter().any(|open| open.name == name && open.table.root_hash == verity.root_hash);
        refusal = Some(Error::Taken { name, device: taken.to_string() });
        if !same {
            break;
        }
    }
    refusal.map_or_else(|| Ok(verity.clone()), Err)
}

/// Mounts a root whose device is open.
fn again(open: &OpenedVerity, at: &str) -> Vec<Step> {
    let name = || open.name.clone();
    let corruption_ignored = open.table.options.iter().any(|word| word == "ignore_corruption");
    vec![
        Step::ReuseVerity { name: name(), devno: open.devno, table: open.table.clone() },
        Step::CheckVerity {
            name: name(),
            corruption_ignored,
            repaired: open.table.value(FEC_DEVICE).is_some(),
        },
        Step::Mount {
            what: Volume::Verity(name()),
            fstype: None,
            at: at.to_owned(),
            read_only: true,
            options: String::new(),
        },
    ]
}

/// What sees the new root come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// A copy of this program in /run, which needs no root.
    Copy,
    /// This program itself, where it lies in the running root: for systems that forbid programs on a tmpfs.
    InRoot(String),
}

/// What is there for the end of the machine's run, before this program is left for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exitrd {
    /// Nothing.
    #[default]
    None,
    /// This program.
    Same,
    /// Another program, or an older copy of this one.
    Other,
}

/// What is left in /run for the new system.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// Units that do nothing, as far as an earlier stage has not left them yet.
    pub units: &'a [&'a str],
    /// What the watcher asks of the new root.
    pub trial: &'a Trial,
    /// What the watcher is; `None` where there is none.
    pub watcher: Option<&'a Watcher>,
    /// What is read ahead.
    pub prewarm: Prewarm,
    /// What is in the place of this program, where that is left for the end of the machine's run.
    pub exitrd: Option<Exitrd>,
    /// The watchdog that PID 1 feeds, where there is one.
    pub watchdog: Option<&'a Rearming>,
    /// What is put behind critical units.
    pub orders: &'a [Order],
    /// Entries of the boot loader that start a root which is given up.
    pub bad_entries: &'a [Renaming],
}

/// What is left of staging once the new root is mounted.
#[must_use]
pub fn carrying(intent: &Intent, mounts: &[Row], left: &Left<'_>) -> Plan {
    let Left { units, trial, watcher, prewarm, exitrd, watchdog, orders, bad_entries } = *left;
    let carried: Vec<&Row> = mounts.iter().filter(|row| row.carried).collect();
    let mut steps = Vec::new();
    // Before anything else is mounted in it, whose server may not answer.
    if prewarm.wanted {
        steps.push(Step::Prewarm { at: intent.mounted_at(), limits: prewarm });
    }
    let direct = intent.way == Way::Direct;
    if direct {
        // systemd skips what is a mount point already, and would bring /run without what is mounted below.
        if carried.iter().any(|row| row.at.starts_with("/run/")) {
            steps.push(Step::Carry { from: "/run".to_owned(), at: format!("{NEXT}/run") });
        }
        steps.extend(
            carried.iter().map(|row| Step::Carry { from: row.at.clone(), at: format!("{NEXT}{}", row.at) }),
        );
    } else {
        steps.push(Step::Carry { from: "/".to_owned(), at: format!("{NEXT}{OLD}") });
        for at in KEPT.iter().filter(|at| mounts.iter().any(|row| row.at == **at && !row.carried)) {
            steps.push(Step::Carry { from: (*at).to_owned(), at: format!("{NEXT}{OLD}{at}") });
        }
        steps.extend(carried.iter().enumerate().map(|(number, row)| Step::Carry {
            from: row.at.clone(),
            at: format!("{NEXT}{}", held(number)),
        }));
    }
    if !units.is_empty() {
        steps.push(Step::LeaveUnits { names: units.iter().map(|name| (*name).to_owned()).collect() });
    }
    if !orders.is_empty() {
        steps.push(Step::Order { orders: orders.to_vec() });
    }
    steps.extend((exitrd == Some(Exitrd::Other)).then_some(Step::KeepExitrd));
    steps.extend(exitrd.filter(|there| *there != Exitrd::Same).map(|_| Step::LeaveExitrd));
    if let Some(watcher) = watcher {
        let program = match watcher {
            Watcher::Copy => None,
            Watcher::InRoot(program) => Some(program.clone()),
        };
        steps.push(Step::Watch { trial: trial.clone(), program });
    }
    steps.extend(bad_entries.iter().cloned().map(Step::MarkEntryBad));
    steps.push(Step::Follow { at: NEXT.to_owned() });
    if !direct {
        let back = watchdog.map(|it| &it.watchdog);
        let forward = watchdog.filter(|it| it.forward).map(|it| &it.watchdog);
        let (forward, back) = (handing_over(mounts, NEW, forward), handing_over(mounts, OLD, back));
        let relay = Box::new(Relay { init: INIT.to_owned(), forward, back });
        steps.push(Step::Publish { at: NEXT.to_owned(), relay });
    }
    Plan { steps }
}

/// What the relay does: into the new root, or back to the old one.
fn handing_over(mounts: &[Row], root: &str, watchdog: Option<&Watchdog>) -> Plan {
    let arm = watchdog.cloned().map(Step::ArmWatchdog);
    let api = API.iter().map(|at| Step::Move { from: (*at).to_owned(), to: format!("{root}{at}") });
    let carried = mounts.iter().filter(|row| row.carried).enumerate();
    let carried =
        carried.map(|(number, row)| Step::Move { from: held(number), to: format!("{root}{}", row.at) });
    let end = [Step::Pivot { root: root.to_owned() }, Step::Exec];
    Plan { steps: arm.into_iter().chain(api).chain(carried).chain(end).collect() }
}

/// The way back of a relay that cannot read its own plan: what the old system mounts itself, it mounts anew.
#[must_use]
pub fn way_back() -> Plan {
    handing_over(&[], OLD, None)
}

/// Where a carried mount waits in the tmpfs of the relay.
fn held(number: usize) -> String {
    format!("{CARRY}/{number}")
}

/// Whether a device is open with what is known of signatures. Where there is one, the kernel has to have checked one when it
/// made the device; one that a certificate vouched for does not tell, and is opened anew: it is checked then, whether
/// anything hangs on it or not.
fn is_as_signed(verity: &Verity, open: &VerityTable) -> bool {
    verity.signature.is_some() == open.is_signed()
}

/// The kernel writes the optional words in an order of its own.
fn equal(one: &VerityTable, other: &VerityTable) -> bool {
    let sorted = |table: &VerityTable| {
        let mut table = table.clone();
        table.options.sort();
        table
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An old root came back without its /etc, where that was an overlay of the initramfs.
    #[test]
    fn the_way_back_has_what_systemd_does_not_mount() {
        let row = |at: &str, carried| {
            let (what, reason) = (String::new(), String::new());
            Row { at: at.to_owned(), what, carried, reason }
        };
        let devno = Devno { major: 254, minor: 1 };
        let table = format!("1 254:1 254:2 4096 4096 2048 1 sha256 {} -", "ab".repeat(32)).parse().unwrap();
        let open = OpenedVerity { name: "a".to_owned(), devno, table, leaving: false };
        let intent = Intent {
            root: Root::Open(open),
            way: Way::Relay,
            demands: Demands::default(),
            filters: Vec::new(),
        };
        for (mounts, expected) in [
            (vec![row("/", false)], vec!["/previous"]),
            (vec![row("/", false), row("/etc", false)], vec!["/previous", "/previous/etc"]),
            (vec![row("/etc", true), row("/usr", false)], vec!["/previous", "/previous/usr", "/carry/0"]),
        ] {
            let left = Left {
                units: &[],
                trial: &Trial::default(),
                watcher: Some(&Watcher::Copy),
                prewarm: Prewarm::default(),
                exitrd: None,
                watchdog: None,
                orders: &[],
                bad_entries: &[],
            };
            let steps = carrying(&intent, &mounts, &left).steps;
            let shown: Vec<_> = steps
                .iter()
                .filter_map(|step| match step {
                    Step::Carry { at, .. } => at.strip_prefix(NEXT),
                    _ => None,
                })
                .collect();
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn devices_that_are_open_with_what_is_asked_of_signatures() {
        use super::super::{
            choose,
            intent::Tag,
            signed::{Place, Signed},
            step::HashOrigin,
        };
        let tag = || Tag::Name("vda1".to_owned());
        let root_hash: crate::format::verity::root_hash::RootHash = "ab".repeat(32).parse().unwrap();
        let open: VerityTable = format!("1 7:1 7:2 4096 4096 2048 1 sha256 {root_hash} -").parse().unwrap();
        let at = || Place::File("/p7s".to_owned());
        for (signed, required, expected) in [
            // Not signed, signed by the kernel.
            (false, false, [true, false]),
            (true, false, [false, true]),
            (true, true, [false, true]),
        ] {
            let mut verity = choose::verity(&root_hash, HashOrigin::File, tag(), tag());
            verity.signature = signed.then(|| Signed { required, ..Signed::found(at()) });
            let found = [open.clone(), open.signed("k")].map(|open| is_as_signed(&verity, &open));
            assert_eq!(found, expected, "{signed} {required}");
        }
    }

    /// A device that goes when its last user does was reused, and was gone as the previous root.
    #[test]
    fn an_image_that_is_open_elsewhere_gets_a_second_name() {
        let root_hash = "ab".repeat(32);
        let name = format!("{root_hash}-verity");
        let table = format!("1 7:1 7:2 4096 4096 2048 1 sha256 {root_hash} -").parse().unwrap();
        let devno = Devno { major: 254, minor: 1 };
        let open = OpenedVerity { name: name.clone(), devno, table, leaving: true };
        let device = serde_json::json!({
            "name": "dm-1", "devno": "254:1", "size": 4096, "logical_block_size": 512, "dm_name": name,
            "table_error": null, "partition": null,
        });
        let facts = |verity| Facts {
            devices: vec![serde_json::from_value(device.clone()).unwrap()],
            verity,
            ..Facts::default()
        };
        let tag = || super::super::intent::Tag::Name("vda1".to_owned());
        let wanted = super::super::choose::verity(
            &root_hash.parse().unwrap(),
            super::super::step::HashOrigin::Arguments,
            tag(),
            tag(),
        );
        assert_eq!(free_name(&wanted, &Facts::default()).unwrap().name, name);
        assert_eq!(free_name(&wanted, &facts(vec![open])).unwrap().name, format!("{name}-2"));
        assert!(matches!(free_name(&wanted, &facts(Vec::new())), Err(Error::Taken { .. })));
    }

    /// What is open, beside a root hash whose partitions are there; and what comes of it: the name of the device that is
    /// gone on with, or of the one that is opened.
    #[test]
    fn devices_that_are_gone_on_with() {
        use super::super::{
            choose,
            intent::Tag,
            signed::{Place, Signed},
            step::HashOrigin,
            system_facts::SystemFacts,
        };
        const HASH: &str = "00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100";
        let own = format!("{HASH}-verity");
        let facts: SystemFacts =
            serde_json::from_str(include_str!("../../tests/golden/stage/system.json")).unwrap();
        let table = format!("1 254:2 254:3 4096 4096 1302 1 sha256 {HASH} 01020304");
        let outcome = |name: &str, table: &str, leaving: bool, signed: Option<bool>| {
            let root_hash: crate::format::verity::root_hash::RootHash = HASH.parse().unwrap();
            let (data, hash) = root_hash.partition_uuids();
            let tag = |uuid: crate::format::disk::guid::Guid| Tag::PartUuid(uuid.to_string());
            let mut verity = choose::verity(&root_hash, HashOrigin::Arguments, tag(data), tag(hash));
            verity.signature =
                signed.map(|required| Signed { required, ..Signed::found(Place::File("/p7s".to_owned())) });
            let devno = Devno { major: 253, minor: 9 };
            let mut facts = facts.machine.clone();
            let open = OpenedVerity { name: name.to_owned(), devno, table: table.parse().unwrap(), leaving };
            facts.verity.push(open);
            let device = serde_json::json!({
                "name": "dm-9", "devno": "253:9", "size": 4096, "logical_block_size": 512, "dm_name": name,
                "table_error": null, "partition": null,
            });
            facts.devices.push(serde_json::from_value(device).unwrap());
            match opening(&verity, "/at", &facts).map(|steps| steps.into_iter().next()) {
                Ok(Some(Step::ReuseVerity { name, .. })) => format!("goes on with {name}"),
                Ok(Some(Step::OpenVerity(open))) => format!("opens {}", open.name),
                Err(Decision::Refuse(error)) => error.to_string(),
                other => panic!("{other:?}"),
            }
        };
        let (goes_on, second) = (format!("goes on with {own}"), format!("opens {own}-2"));
        let taken = format!("{own} is taken");
        let changed = |from: &str, to: &str| table.replace(from, to);
        for (open, leaving, signed, expected) in [
            (table.clone(), false, None, &goes_on),
            (table.clone(), true, None, &second),
            // Of another table.
            (changed("254:2", "254:9"), false, None, &second),
            (changed("254:3", "254:9"), false, None, &second),
            (changed(" 1302 ", " 1301 "), false, None, &second),
            (changed(" 1 sha256", " 2 sha256"), false, None, &second),
            (changed("01020304", "01020305"), false, None, &second),
            (format!("{table} 1 check_at_most_once"), false, None, &second),
            // Of another root hash.
            (changed("7766", "7767"), false, None, &taken),
            // The kernel checked a signature, or did not.
            (format!("{table} 2 root_hash_sig_key_desc k"), false, None, &second),
            (format!("{table} 2 root_hash_sig_key_desc k"), false, Some(false), &goes_on),
            (format!("{table} 2 root_hash_sig_key_desc k"), false, Some(true), &goes_on),
            // One that is found is read and checked, whether it has to hold or not.
            (table.clone(), false, Some(false), &second),
            (table.clone(), false, Some(true), &second),
        ] {
            let found = outcome(&own, &open, leaving, signed);
            assert!(
                found.contains(expected.as_str()),
                "{open} {leaving} {signed:?}: {found}, not {expected}"
            );
        }
        // Under any name.
        assert_eq!(outcome("root", &table, false, None), "goes on with root");
    }
}
