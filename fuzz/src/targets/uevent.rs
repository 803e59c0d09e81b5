//! `format/kernel/uevent.rs`: what is kept stands in the message, and numbers are within their bounds.

use nextroot::format::kernel::uevent::Uevent;

pub(super) fn run(data: &[u8]) {
    if let Ok(event) = Uevent::parse_udev(data) {
        let stands = |value: &str| data.windows(value.len()).any(|window| window == value.as_bytes());
        assert!(event.action.is_empty() || stands(&format!("ACTION={}", event.action)));
        assert!(event.devpath.is_empty() || stands(&format!("DEVPATH={}", event.devpath)));
    }
    let Ok(event) = Uevent::parse(data) else { return };
    let text = std::str::from_utf8(data).unwrap();
    assert!(text.starts_with(&format!("{}@{}", event.action, event.devpath)));
    assert!(!event.devpath.contains('\0') && !event.action.contains(['@', '\0']));
    let fields = [
        ("SUBSYSTEM", &event.subsystem),
        ("DEVNAME", &event.devname),
        ("DEVTYPE", &event.devtype),
        ("MODALIAS", &event.modalias),
    ];
    for (key, value) in fields {
        let Some(value) = value else { continue };
        assert!(!value.contains('\0'));
        assert!(text.contains(&format!("\0{key}={value}")), "{key}={value}");
    }
    assert!(event.devno.is_none_or(|devno| devno.major < 1 << 12 && devno.minor < 1 << 20));
}
