//! Between decisions and the kernel: [`probe`] looks and waits, and gives facts; [`execute`] does a step
//! by a call or two. Nothing here decides policy.

pub mod boot;
#[cfg(feature = "cli")]
pub mod bounded;
#[cfg(feature = "signatures")]
pub mod certificates;
#[cfg(feature = "cli")]
pub mod closing;
#[cfg(any(feature = "cli", feature = "signatures"))]
pub mod configuration;
pub mod execute;
mod failure;
#[cfg(feature = "cli")]
pub mod journal;
pub mod log;
pub mod machine;
mod own_copy;
pub mod probe;
pub mod shutdown;
mod signed;
#[cfg(feature = "cli")]
pub mod soft_reboot;
mod table;
#[cfg(feature = "cli")]
mod tree;
#[cfg(feature = "cli")]
pub mod verity;
mod whole;
