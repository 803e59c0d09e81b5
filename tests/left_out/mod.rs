//! Tests that need what not every machine has: root, loop devices, other programs. What did not run is said, past the
//! harness, which keeps to itself what a test that passed has printed. Where `CI=true` is in the environment everything
//! has to run.

#![allow(dead_code, reason = "each test needs some of it")]

use std::{
    io::{self, Write},
    panic::Location,
};

/// Says that the test that calls it did not run, and fails where it has to.
#[track_caller]
pub(crate) fn left_out(why: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "with CI=true nothing is left out: {why}");
    say(why);
}

/// The same for what is not looked at here by itself, as `make matrix` does.
#[track_caller]
pub(crate) fn left_to(who: &str, why: &str) {
    say(&format!("{why}: {who} has it"));
}

#[track_caller]
fn say(why: &str) {
    let here = Location::caller();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("left out: {name} ({}:{}): {why}\n", here.file(), here.line());
    // Not by a macro of the harness's. Where nobody can be told, the test is left out all the same.
    let _ = io::stderr().write_all(line.as_bytes());
}
