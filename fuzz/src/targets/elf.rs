//! `format/system/elf.rs`: an interpreter is a path that stands in the bytes, of PATH_MAX at most and without a zero;
//! reading costs the same however many headers are claimed.

use nextroot::format::system::elf::{PREFIX, Program};

pub(super) fn run(data: &[u8]) {
    check(data);
    if let Some(repeats) = data.first().filter(|_| data.starts_with(b"\x7fELF")) {
        // As read from a file that goes on: an interpreter may stand behind what was read.
        let mut long = data.to_vec();
        long.resize(PREFIX, *repeats);
        check(&long);
    }
}

fn check(data: &[u8]) {
    let interpreter = match Program::parse(data) {
        Ok(Program::Elf(elf)) => {
            assert!(data.starts_with(b"\x7fELF") && matches!(elf.bits, 32 | 64));
            assert!(!elf.machine_name().is_empty());
            let _ = elf.runs_here();
            elf.interpreter.inspect(|path| assert!(path.len() < 4096 && contains(data, path.as_bytes())))
        }
        Ok(Program::Script { interpreter }) => {
            assert!(data.starts_with(b"#!") && !interpreter.contains(char::is_whitespace));
            Some(interpreter)
        }
        Err(_) => None,
    };
    assert!(interpreter.is_none_or(|path| !path.is_empty()));
}

fn contains(data: &[u8], wanted: &[u8]) -> bool {
    data.windows(wanted.len()).any(|window| window == wanted)
}
