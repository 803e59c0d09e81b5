//! What replaces veritysetup(8) for images: hash trees are made and checked, without the kernel's help; devices are opened and
//! closed, with it.

pub mod device;
mod digests;
pub mod failure;
pub mod header;
pub mod image;
mod levels;
mod opened;
pub mod parameters;
pub mod progress;
pub mod status;
