//! What an initramfs holds: archives one after another, the last of them compressed (Documentation/driver-api/early-userspace/
//! buffer-format.rst).

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
};

use nextroot::format::cpio;

use crate::Outcome;

/// How much it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// How many regular files.
    pub(super) files: u64,
}

/// Counts what is in all of its archives.
pub(super) fn contents(file: &[u8]) -> Outcome<Contents> {
    let mut all = Contents::default();
    for archive in archives(file)? {
        for entry in cpio::read(&archive)?.iter().filter(|entry| entry.mode & 0o170_000 == cpio::FILE) {
            all.bytes += entry.data.len() as u64;
            all.files += 1;
        }
    }
    Ok(all)
}

/// The archive that is compressed, or the only one: unpacked.
pub(super) fn last(file: &[u8]) -> Outcome<Vec<u8>> {
    Ok(archives(file)?.pop().ok_or("an initramfs is empty")?)
}

/// All of them, the last unpacked.
fn archives(file: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    let (mut all, mut rest) = (Vec::new(), file);
    while rest.starts_with(b"070701") {
        let trailer = rest.windows(10).position(|bytes| bytes == b"TRAILER!!!");
        let end = trailer.map_or(rest.len(), |at| (at + 11).next_multiple_of(4));
        let (archive, others) = rest.split_at(end.min(rest.len()));
        all.push(archive.to_vec());
        let zeros = others.iter().take_while(|byte| **byte == 0).count();
        rest = others.get(zeros..).unwrap_or_default();
    }
    if !rest.is_empty() {
        all.push(unpack(rest)?);
    }
    Ok(all)
}

fn unpack(packed: &[u8]) -> Outcome<Vec<u8>> {
    let program = match packed {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0x1f, 0x8b, ..] => "gzip",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        _ => return Err("an initramfs is compressed in a way that is not known here".into()),
    };
    let mut child = Command::new(program).arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| format!("start {program}: {error}"))?;
    let (mut input, mut output) =
        (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
    let mut unpacked = Vec::new();
    thread::scope(|scope| -> Outcome<()> {
        // What follows the compressed archive is not read.
        scope.spawn(move || drop(input.write_all(packed)));
        output.read_to_end(&mut unpacked)?;
        Ok(())
    })?;
    child.wait()?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_one_after_another() {
        let file = |path: &str, length: usize| cpio::Entry {
            path: path.to_owned(),
            mode: cpio::FILE | 0o644,
            device: (0, 0),
            data: vec![1; length].into(),
        };
        let early = cpio::write(&[file("a", 3)], 0).unwrap();
        let main = cpio::write(&[file("b", 4), file("c", 5)], 0).unwrap();
        let both = [early.clone(), main.clone()].concat();
        assert_eq!(contents(&both).unwrap(), Contents { bytes: 12, files: 3 });
        assert_eq!(cpio::read(&last(&both).unwrap()).unwrap().len(), 2);
        assert!(contents(b"nonsense").is_err());
    }
}
