//! What a program is: the ELF header and its interpreter, or a script (elf(5), execve(2)).

use crate::format::bytes::{le16, le32, le64};

/// How many bytes from the start of a file are looked at: linkers put all that is of interest into the first
/// page, patchelf behind what was there.
pub const PREFIX: usize = 64 << 10;

/// Something that can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Machine code.
    Elf(Elf),
    /// Text for an interpreter.
    Script {
        /// The interpreter's path.
        interpreter: String,
    },
}

/// Machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// `e_machine`
    pub machine: u16,
    /// 64 or 32.
    pub bits: u8,
    /// The dynamic loader, where one is needed and its path stands in the first [`PREFIX`] bytes.
    pub interpreter: Option<String>,
}

/// A file that cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither ELF nor `#!`.
    #[error("it is neither an ELF program nor a script")]
    Unknown,
    /// An ELF header that cannot be believed, or a big-endian one.
    #[error("its ELF header is damaged or of another kind of machine ({0})")]
    Header(&'static str),
}

impl Program {
    /// Reads the first [`PREFIX`] bytes of a file.
    pub fn parse(start: &[u8]) -> Result<Self, Error> {
        if let Some(line) = start.strip_prefix(b"#!") {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let interpreter = line.split_whitespace().next().ok_or(Error::Unknown)?;
            return Ok(Self::Script { interpreter: interpreter.to_owned() });
        }
        if !start.starts_with(b"\x7fELF") {
            return Err(Error::Unknown);
        }
        elf(start).map(Self::Elf)
    }
}

impl Elf {
    /// Whether the machine that this was built for executes it.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        let (machine, bits) = match std::env::consts::ARCH {
            "x86_64" => (62, 64),
            "aarch64" => (183, 64),
            "riscv64" => (243, 64),
            "x86" => (3, 32),
            "arm" => (40, 32),
            _ => return true, // no table, no objection: the kernel has the last word
        };
        (self.machine, self.bits) == (machine, bits)
    }

    /// The machine's usual name.
    #[must_use]
    pub fn machine_name(&self) -> String {
        match self.machine {
            3 => "x86".to_owned(),
            40 => "arm".to_owned(),
            62 => "x86_64".to_owned(),
            183 => "aarch64".to_owned(),
            243 => "riscv".to_owned(),
            other => format!("machine {other}"),
        }
    }
}

/// The checks are the kernel's (fs/binfmt_elf.c, `load_elf_phdrs` and `load_elf_binary`).
fn elf(start: &[u8]) -> Result<Elf, Error> {
    const INTERP: u32 = 3;
    /// Programs at a fixed address and anywhere.
    const EXECUTABLE: [u16; 2] = [2, 3];
    /// Program headers of a real program are a dozen or so.
    const MOST_HEADERS: u16 = 256;
    let bits = match start.get(4) {
        Some(1) => 32,
        Some(2) => 64,
        _ => return Err(Error::Header("class")),
    };
    if start.get(5) != Some(&1) {
        return Err(Error::Header("big-endian"));
    }
    if !le16(start, 16).is_some_and(|kind| EXECUTABLE.contains(&kind)) {
        return Err(Error::Header("not a program"));
    }
    let machine = le16(start, 18).ok_or(Error::Header("machine"))?;
    let wide = bits == 64;
    let word = |at| if wide { le64(start, at) } else { le32(start, at).map(u64::from) };
    let damaged = Error::Header("program headers");
    let table = word(if wide { 32 } else { 28 }).ok_or(damaged.clone())?;
    let (size_at, count_at) = if wide { (54, 56) } else { (42, 44) };
    let size = le16(start, size_at).filter(|size| *size == if wide { 56 } else { 32 });
    let size = u64::from(size.ok_or(damaged.clone())?);
    let count = le16(start, count_at).ok_or(damaged.clone())?.min(MOST_HEADERS);
    let mut interpreter = None;
    for index in 0..u64::from(count) {
        let at =
            index.checked_mul(size).and_then(|offset| table.checked_add(offset)).ok_or(damaged.clone())?;
        let Ok(at) = usize::try_from(at) else { return Err(damaged) };
        // A table past what was read is none that a linker writes: the program is not looked into further.
        let Some(INTERP) = le32(start, at) else { continue };
        let (offset, length) =
            if wide { (word(at + 8), word(at + 32)) } else { (word(at + 4), word(at + 16)) };
        let (offset, length) = offset.zip(length).ok_or(damaged.clone())?;
        interpreter = path(start, offset, length)?;
    }
    Ok(Elf { machine, bits, interpreter })
}

/// The path at `offset`, ended by a zero; `None` where it stands behind the bytes that were read.
fn path(start: &[u8], offset: u64, length: u64) -> Result<Option<String>, Error> {
    /// PATH_MAX, include/uapi/linux/limits.h
    const LONGEST: u64 = 4096;
    let damaged = Error::Header("interpreter");
    let end =
        offset.checked_add(length).filter(|_| (2..=LONGEST).contains(&length)).ok_or(damaged.clone())?;
    if end > start.len() as u64 && start.len() >= PREFIX {
        return Ok(None);
    }
    let place = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    let field = place.and_then(|(offset, end)| start.get(offset..end)).ok_or(damaged.clone())?;
    let path = std::ffi::CStr::from_bytes_until_nul(field).map_err(|_| damaged.clone())?;
    path.to_str().ok().filter(|path| !path.is_empty()).map(|path| Some(path.to_owned())).ok_or(damaged)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A program of 64 bits for this machine, which names an interpreter.
    pub(crate) fn program(machine: u16, interpreter: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 3;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 3;
        bytes[72..80].copy_from_slice(&120_u64.to_le_bytes());
        bytes[96..104].copy_from_slice(&(interpreter.len() as u64).to_le_bytes());
        bytes.extend_from_slice(interpreter);
        bytes
    }

    #[test]
    fn programs() {
        let elf = |machine, interpreter: Option<&str>| {
            Ok(Program::Elf(Elf { machine, bits: 64, interpreter: interpreter.map(str::to_owned) }))
        };
        let changed = |at: usize, new: &[u8]| {
            let mut bytes = program(62, b"/lib64/ld.so\0");
            bytes[at..at + new.len()].copy_from_slice(new);
            bytes
        };
        let mut patched = changed(72, &(PREFIX as u64 + 1).to_le_bytes());
        patched.resize(PREFIX, 0);
        let mut endless = patched.clone();
        endless[96..104].copy_from_slice(&4097_u64.to_le_bytes());
        let mut narrow = vec![0; 52 + 32];
        narrow[..6].copy_from_slice(b"\x7fELF\x01\x01");
        for (at, byte) in [(16, 2), (18, 3), (28, 52), (42, 32), (44, 1), (52, 3), (56, 84), (68, 6)] {
            narrow[at] = byte;
        }
        narrow.extend_from_slice(b"/ld.2\0");
        let narrow_elf = Elf { machine: 3, bits: 32, interpreter: Some("/ld.2".to_owned()) };
        let mut without = program(62, b"");
        without[64] = 1;
        let script = |path: &str| Ok(Program::Script { interpreter: path.to_owned() });
        for (bytes, expected) in [
            (program(62, b"/lib64/ld.so\0"), elf(62, Some("/lib64/ld.so"))),
            (program(183, b"/lib/ld.so\0"), elf(183, Some("/lib/ld.so"))),
            (without, elf(62, None)),
            (narrow, Ok(Program::Elf(narrow_elf))),
            (patched, elf(62, None)),
            (endless, Err(Error::Header("interpreter"))),
            (changed(72, &(PREFIX as u64 + 1).to_le_bytes()), Err(Error::Header("interpreter"))),
            (changed(72, &[0xff; 8]), Err(Error::Header("interpreter"))),
            (changed(96, &[0xff; 8]), Err(Error::Header("interpreter"))),
            (changed(96, &[1]), Err(Error::Header("interpreter"))),
            (program(62, b"/lib64/ld.so"), Err(Error::Header("interpreter"))),
            (program(62, b"\0\0"), Err(Error::Header("interpreter"))),
            (changed(16, &[1]), Err(Error::Header("not a program"))),
            (changed(54, &[57]), Err(Error::Header("program headers"))),
            (changed(32, &[0xff; 8]), elf(62, None)),
            (b"#! /bin/sh -e\nexit\n".to_vec(), script("/bin/sh")),
            (b"#!\n".to_vec(), Err(Error::Unknown)),
            (b"".to_vec(), Err(Error::Unknown)),
            (b"\x7fELF".to_vec(), Err(Error::Header("class"))),
            (b"\x7fELF\x02\x02".to_vec(), Err(Error::Header("big-endian"))),
            (b"\x7fELF\x02\x01\x01".to_vec(), Err(Error::Header("not a program"))),
            (program(62, b"")[..18].to_vec(), Err(Error::Header("machine"))),
            (program(62, b"")[..40].to_vec(), Err(Error::Header("program headers"))),
            (b"text".to_vec(), Err(Error::Unknown)),
        ] {
            assert_eq!(Program::parse(&bytes), expected);
        }
    }

    #[test]
    fn our_own_kind_runs_here() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let Ok(Program::Elf(elf)) = Program::parse(&own[..own.len().min(PREFIX)]) else { panic!("no ELF") };
        assert!(elf.runs_here());
    }
}
