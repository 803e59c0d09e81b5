//! Placeholder until the package is written.
fn main() {}
