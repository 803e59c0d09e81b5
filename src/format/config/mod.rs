//! What people write for nextroot: the configuration that is baked into an initramfs ([`initramfs`]), and nextroot.conf of a running
//! system ([`host_config`]) with its drop-ins.

mod demands;
pub mod drop_ins;
pub mod host_config;
pub mod image_filter;
pub mod image_policy;
pub mod ini;
pub mod initramfs;
pub mod prewarm;
pub mod probe;
pub mod time_span;
pub mod trial;
