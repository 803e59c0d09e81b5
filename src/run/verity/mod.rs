//! What replaces veritysetup(8) for images: hash trees and their parity are made and checked, without the kernel's help;
//! devices are opened and closed, with it.

mod correction;
pub mod device;
mod digests;
pub mod failure;
pub mod header;
pub mod image;
mod levels;
mod opened;
mod parallel;
pub mod parameters;
mod parity;
pub mod progress;
mod repair;
pub mod report;
pub mod status;
