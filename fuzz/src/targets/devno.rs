//! `format/kernel/devno.rs`: numbers are within the kernel's bounds, and what is printed reads back.

use nextroot::format::kernel::devno::Devno;

pub(super) fn run(data: &[u8]) {
    let Ok(devno) = super::text(data).parse::<Devno>() else { return };
    assert!(devno.major < 1 << 12 && devno.minor < 1 << 20, "{devno}");
    assert_eq!(devno.to_string().parse(), Ok(devno));
}
