//! What only an initramfs does: its API file systems, modules, the switch, and the record of how it went.

pub mod api;
pub mod modules;
pub mod new_root;
pub mod record;
