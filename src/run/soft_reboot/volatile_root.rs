//! /run/systemd/volatile-root: the device under a root that is an overlay or a tmpfs (systemd's
//! src/volatile-root). It outlives the switch as all of /run does, and a verified root is none of these.

use std::{
    fs,
    io::{self, ErrorKind},
};

const LINK: &str = "/run/systemd/volatile-root";
const ASIDE: &str = "/run/nextroot-state/volatile-root";

/// Puts the old root's link aside; whether there was one.
pub(super) fn put_aside() -> io::Result<bool> {
    match fs::rename(LINK, ASIDE) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts it back.
pub(super) fn put_back() -> io::Result<()> {
    fs::rename(ASIDE, LINK)
}
