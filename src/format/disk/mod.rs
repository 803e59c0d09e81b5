//! What disks hold: partition tables, the Discoverable Partitions Specification's types, file system superblocks.

pub mod discoverable;
pub mod gpt;
pub mod guid;
pub mod mbr;
pub mod superblock;
