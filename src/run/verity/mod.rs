//! What replaces veritysetup(8) for images: hash trees and their parity are made and checked, without the kernel's help.

mod correction;
pub mod failure;
pub mod header;
pub mod image;
mod levels;
mod opened;
mod parallel;
pub mod parameters;
mod parity;
mod repair;
pub mod report;
