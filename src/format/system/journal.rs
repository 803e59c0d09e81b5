//! Entries for systemd's journal, in its native protocol (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md).

/// An entry: its fields in order. Names are upper-case letters, digits and underscores, which do not come first.
#[must_use]
pub fn entry(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.extend_from_slice(name.as_bytes());
        // What has lines of its own goes with its length in front.
        if value.contains('\n') {
            bytes.push(b'\n');
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        for (fields, expected) in [
            (&[][..], &b""[..]),
            (&[("MESSAGE", "a=b"), ("PRIORITY", "3")], b"MESSAGE=a=b\nPRIORITY=3\n"),
            (&[("A", "x\ny"), ("B", "")], b"A\n\x03\0\0\0\0\0\0\0x\ny\nB=\n"),
        ] {
            assert_eq!(entry(fields), expected, "{fields:?}");
        }
    }
}
