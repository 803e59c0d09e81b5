//! How much memory there is: /proc/meminfo (proc_meminfo(5)).

use crate::units::Bytes;

/// `MemAvailable`: what can be had without swapping.
#[must_use]
pub fn available(text: &str) -> Option<Bytes> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024).map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        for (text, expected) in [
            ("MemTotal:  9 kB\nMemAvailable:    2048 kB\n", Some(Bytes(2 << 20))),
            ("MemAvailable: x kB\n", None),
            ("MemAvailable: 1\n", None),
            ("MemAvailable: 18446744073709551615 kB\n", None),
            ("", None),
        ] {
            assert_eq!(available(text), expected, "{text}");
        }
    }
}
