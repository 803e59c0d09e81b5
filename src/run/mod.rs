//! Between decisions and the kernel: [`probe`] looks and waits, and gives facts; [`execute`] does a step
//! by a call or two. Nothing here decides policy.

pub mod api;
pub mod bounded;
pub mod configuration;
pub mod execute;
mod failure;
pub mod handover;
pub mod holders;
pub mod image;
pub mod in_files;
pub mod inspect;
pub mod log;
pub mod machine;
pub mod modules;
pub mod new_root;
pub mod probe;
pub mod record;
pub mod running;
pub mod staging;
pub mod state;
pub mod system;
mod table;
mod tree;
pub mod units;
mod volatile_root;
