//! Drop-ins of critical units in /run, which outlive the soft reboot.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    plan::order::{OURS, Order},
    run::{
        bounded::{self, Ended},
        failure::Error,
        whole,
    },
};

use super::staging::{UNITS, write_error};

/// How long systemd may take to read its units: it runs its generators for that.
const PATIENCE: Duration = Duration::from_secs(90);

fn place(units: &Path, unit: &str) -> PathBuf {
    units.join(format!("{unit}.d")).join("50-nextroot.conf")
}

/// Leaves them, each whole or not at all, and has systemd read them.
pub(in crate::run) fn leave(orders: &[Order]) -> Result<(), Error> {
    for order in orders {
        let place = place(Path::new(UNITS), &order.unit);
        whole::write(&place, order.to_string().as_bytes()).map_err(|e| write_error(&place, e))?;
    }
    reload()
}

/// Removes those of these units, and has systemd read them again where one was there.
pub fn remove(units: &[String]) -> Result<(), Error> {
    let mut was_there = false;
    for unit in units {
        let place = place(Path::new(UNITS), unit);
        was_there |= take_away(&place).map_err(|e| write_error(&place, e))?;
    }
    if was_there { reload() } else { Ok(()) }
}

/// Whether it was there; one that somebody else wrote stays.
fn take_away(place: &Path) -> io::Result<bool> {
    let is_ours = |place: &Path| fs::read_to_string(place).is_ok_and(|text| text.starts_with(OURS));
    let was_there = whole::take_away(place, is_ours)?;
    // The directory is somebody else's, too, where anything is in it, ignoring.
    place.parent().into_iter().for_each(|directory| drop(fs::remove_dir(directory)));
    Ok(was_there)
}

fn reload() -> Result<(), Error> {
    let failed = |why| Err(Error::Reload { why });
    match bounded::last_words("systemctl", &["--no-ask-password", "daemon-reload"], PATIENCE) {
        Ok((Ended::Exit(Some(0)), _)) => Ok(()),
        Ok((Ended::Exit(_), Some(last))) => failed(format!("systemctl daemon-reload: {last}")),
        Ok((ended @ Ended::Exit(_), None)) => failed(format!("systemctl daemon-reload {ended}")),
        Ok((Ended::Killed, _)) => failed(format!("PID 1 has not answered for {} s", PATIENCE.as_secs())),
        Err(error) => failed(format!("run systemctl: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_ours_or_stay() {
        let units = tempfile::tempdir().unwrap();
        let place = place(units.path(), "a@b.service");
        let order = Order { unit: "a@b.service".to_owned(), before: vec!["c.service".to_owned()] };
        let write = |text: &str| whole::write(&place, text.as_bytes()).unwrap();
        write(&order.to_string());
        assert_eq!(fs::read_to_string(&place).unwrap(), format!("{OURS}\n[Unit]\nBefore=c.service\n"));
        assert!(take_away(&place).unwrap());
        assert!(!place.parent().unwrap().exists());
        assert!(!take_away(&place).unwrap());
        // It was killed in between.
        write("");
        fs::rename(&place, whole::unfinished(&place)).unwrap();
        assert!(!take_away(&place).unwrap());
        assert!(!place.parent().unwrap().exists());
        write("[Unit]\n");
        assert!(!take_away(&place).unwrap());
        assert!(place.exists());
    }
}
