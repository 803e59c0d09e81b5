//! Hostile input for every parser: a target is a function that takes any bytes, and panics where what a parser made
//! of them breaks the invariant that its first lines state.
//!
//! The same functions are driven twice: by libFuzzer (`main.rs`, `make fuzz`), which looks for new input, and by
//! `tests/corpus.rs`, which gives them what is stored.

// A finding is a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod targets;

pub use targets::ALL;

/// A parser and its invariant.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its file, and of its folder of the corpus.
    pub name: &'static str,
    /// Gives it any bytes. Panics where the invariant is broken.
    pub run: fn(&[u8]),
}

/// The target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
