//! What replaces veritysetup(8) for images: hash trees are made and checked, without the kernel's help.

pub mod failure;
pub mod header;
pub mod image;
mod levels;
mod opened;
pub mod parameters;
