//! `format/kernel/uki.rs`: command lines are no longer than the file, and have no zero and no space around them.

use nextroot::format::kernel::uki::Uki;

pub(super) fn run(data: &[u8]) {
    let Ok(uki) = Uki::parse(data) else { return };
    for line in &uki.command_lines {
        // What is not UTF-8 is replaced, by three bytes for one.
        assert!(line.len() <= 3 * data.len() && !line.contains('\0') && line.trim() == line);
    }
}
