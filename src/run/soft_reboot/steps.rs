//! The steps that only a soft reboot has: what they do to the running system, and the relay to two.

use std::path::Path;

use super::{boot_entries, exitrd, image, orders, prewarm, staging, watcher};
use crate::{
    format::{kernel::devno::Devno, verity::table::VerityTable},
    plan::{Step, plain::Plain},
    run::{
        execute::{Error, Executor},
        probe,
    },
    sys::{
        block::Entry,
        dm::Control,
        mount::{self, Propagation},
        root,
    },
};

impl Executor<'_> {
    /// Does a step that a cold boot never has: the init is built without it.
    pub(in crate::run) fn execute_in_running_system(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::AttachLoop { part, stands_for } => {
                self.loops.insert(*stands_for, image::attach(part)?);
                Ok(())
            }
            Step::CheckPlain { plain } => check_plain(plain),
            Step::ReuseVerity { name, devno, table } => self.reuse_verity(name, *devno, table),
            Step::Isolate { at } => Ok(mount::propagate(Path::new(at), Propagation::Private)?),
            Step::Follow { at } => Ok(mount::propagate(Path::new(at), Propagation::Shared)?),
            Step::FurnishRelay { at } => staging::furnish(Path::new(at)),
            Step::Carry { from, at } => staging::carry(Path::new(from), Path::new(at)),
            Step::Prewarm { at, limits } => {
                let done = prewarm::run(Path::new("/"), Path::new(at), *limits, self.progress)?;
                self.notes.push(done.to_string());
                self.prewarmed = Some(done);
                Ok(())
            }
            Step::KeepExitrd => exitrd::keep_aside(),
            Step::LeaveUnits { names } => staging::leave_units(names),
            Step::Order { orders } => orders::leave(orders),
            Step::MarkEntryBad(renaming) => Ok(boot_entries::mark_bad(renaming)?),
            Step::Watch { program, .. } => watcher::leave(program.as_deref()),
            Step::Publish { at, relay } => staging::publish(Path::new(at), relay),
            Step::Move { from, to } => Ok(mount::move_to(Path::new(from), Path::new(to))?),
            Step::Pivot { root } => Ok(root::pivot(Path::new(root))?),
            // `execute` has the others.
            _ => Err(Error::Plan { what: format!("the step to {step}") }),
        }
    }

    fn reuse_verity(&mut self, name: &str, devno: Devno, table: &VerityTable) -> Result<(), Error> {
        let loaded = Control::open()?.table(name)?;
        let number = Entry { name: format!("dm-{}", devno.minor) }.attribute("dm/name");
        still(name, table, &loaded.text, number.as_deref())?;
        self.verity.insert(name.to_owned(), devno);
        self.reused.insert(name.to_owned());
        Ok(())
    }
}

/// Whether the device that is open by this name has this table, and the number that was seen of it is still its.
fn still(name: &str, table: &VerityTable, loaded: &str, numbered: Option<&str>) -> Result<(), Error> {
    if loaded.parse().as_ref() == Ok(table) && numbered == Some(name) {
        return Ok(());
    }
    Err(Error::Replaced { name: name.to_owned() })
}

/// What was decided by may have changed since: a partition that was written anew is another root.
fn check_plain(plain: &Plain) -> Result<(), Error> {
    let changed = |why: String| Error::Changed { device: plain.device.clone(), why };
    let entry = Entry { name: plain.device.name.clone() };
    let seen = probe::look_at(&entry).ok_or_else(|| changed("it is gone".to_owned()))?;
    plain.is_on(&seen).map_err(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_are_still_the_same() {
        let hash = "ab".repeat(32);
        let text = format!("1 254:2 254:3 4096 4096 1302 1 sha256 {hash} 01020304 1 ignore_zero_blocks");
        let table: VerityTable = text.parse().unwrap();
        let signed = table.signed("k").to_string();
        for (loaded, numbered, is_still) in [
            (text.as_str(), Some("a"), true),
            // Another table, root hash or signature; another device has the number, or none.
            (&text.replace("254:2", "254:4"), Some("a"), false),
            (&text.replace("254:3", "254:4"), Some("a"), false),
            (&text.replace("1302", "1303"), Some("a"), false),
            (&text.replace("ignore_zero_blocks", "ignore_corruption"), Some("a"), false),
            (&text.replace("abab", "abac"), Some("a"), false),
            (&signed, Some("a"), false),
            (&text, Some("b"), false),
            (&text, None, false),
            ("", Some("a"), false),
            ("0 4096 linear 8:1 0", Some("a"), false),
        ] {
            let found = still("a", &table, loaded, numbered);
            assert_eq!(found.is_ok(), is_still, "{loaded} {numbered:?}");
            let told = found.err().map(|error| error.to_string());
            assert!(told.is_none_or(|told| told.contains("go on with dm-verity a: its table is not that")));
        }
        assert!(still("a", &table.signed("k"), &text, Some("a")).is_err());
    }
}
