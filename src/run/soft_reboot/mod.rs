//! What only a soft reboot does: looking at the running system, image files, staging, the relay, and the state of it all.

pub mod asking;
pub mod boot_entries;
pub mod client;
pub mod client_unit;
pub mod exitrd;
pub mod handover;
pub mod holders;
pub mod image;
pub mod in_files;
pub mod inspect;
pub mod journalctl;
pub mod lock_holders;
pub mod manager_conf;
pub mod mount_units;
pub mod orders;
mod prewarm;
pub mod running;
pub mod staging;
pub mod state;
mod steps;
mod survivor;
pub mod system;
pub mod unit_order;
pub mod units;
mod volatile_root;
pub mod watcher;
