//! Chooses the role, runs it, prints the error chain.
fn main() {}
