//! Decides what of a new root is read before the switch to it, so that it is in memory when its systemd and its services
//! start: what is in memory of the same files of the root that runs, and what systemd reads first whatever it is.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    format::config::prewarm::Prewarm,
    units::{Bytes, PAGE_SIZE},
};

/// What a new systemd reads first, by directories and programs below the root, each with the reason. What of it the
/// running one read when it started may be gone from memory since.
pub const FIRST: [(&str, &str); 9] = [
    ("/usr/lib/systemd", "systemd itself, its libraries and helpers"),
    ("/usr/lib/systemd/system", "units, which are all loaded before one is started"),
    ("/etc/systemd/system", "units of the machine"),
    ("/usr/lib/systemd/system-generators", "each is executed before one unit is loaded"),
    ("/usr/lib/systemd/system-preset", "presets, where the machine is new"),
    ("/usr/lib/tmpfiles.d", "systemd-tmpfiles-setup.service reads them all"),
    ("/usr/lib/sysusers.d", "systemd-sysusers.service reads them all"),
    ("/usr/lib/udev/rules.d", "systemd-udevd reads them all"),
    ("/usr/lib/modules-load.d", "systemd-modules-load.service reads them all"),
];

/// Between stretches that are nearer to each other, the rest is read, too: that costs less than another request.
const GAP: u64 = 64 << 10;
/// What is asked for at once.
const REQUEST: u64 = 1 << 20;

/// Where less is available, nothing is read ahead: systemd and its services may not start beside what survives.
pub const LEAST: Bytes = Bytes(64 << 20);

/// What was read, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prewarmed {
    /// How many files.
    pub files: u64,
    /// How much of them.
    pub bytes: Bytes,
    /// How much more there was to read.
    pub left_out: Bytes,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// Why not all of it was read, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// Why not all of it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The share of memory that it may take was less.
    Share,
    /// Memory got scarce meanwhile.
    Memory,
    /// The time was up.
    Time,
}

/// A stretch of a file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<F> {
    /// The file.
    pub file: F,
    /// The stretch, in bytes.
    pub stretch: Range<u64>,
    /// Where it lies on the device, where that is known.
    pub place: Option<Bytes>,
}

/// How much of the memory that is available may be taken.
#[must_use]
pub fn share(available: Bytes, limits: Prewarm) -> Bytes {
    // A percentage of a count of bytes fits where the count does.
    Bytes(available.0 / 100 * u64::from(limits.memory_percent.min(100)))
}

/// What of a file is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InMemory {
    /// All of it.
    Whole,
    /// These stretches, in bytes; none where nothing is.
    Parts(Vec<Range<u64>>),
}

impl InMemory {
    /// By whether each page is.
    #[must_use]
    pub fn of(pages: &[bool], size: Bytes) -> Self {
        // Of a long file only the beginning is known.
        let all = pages.len() as u64 >= size.0.div_ceil(PAGE_SIZE);
        if all && pages.iter().all(|resident| *resident) {
            return Self::Whole;
        }
        let mut parts: Vec<Range<u64>> = Vec::new();
        let starts = pages.iter().zip((0..).step_by(PAGE_SIZE as usize)).filter(|(resident, _)| **resident);
        for (_, at) in starts {
            let end = size.0.min(at + PAGE_SIZE);
            match parts.last_mut() {
                Some(last) if at - last.end < GAP => last.end = end,
                _ => parts.push(at..end),
            }
        }
        Self::Parts(parts)
    }

    /// What is read of a file of this size in the place of that one. For one that is in memory whole, all of it.
    #[must_use]
    pub fn counterpart(&self, size: Bytes) -> Vec<Range<u64>> {
        match self {
            Self::Whole => cut(0..size.0),
            Self::Parts(parts) => {
                let within = parts.iter().map(|part| part.start..part.end.min(size.0));
                within.filter(|part| part.start < part.end).flat_map(cut).collect()
            }
        }
    }
}

/// In requests.
fn cut(stretch: Range<u64>) -> Vec<Range<u64>> {
    let starts = (stretch.start..stretch.end).step_by(REQUEST as usize);
    starts.map(|start| start..stretch.end.min(start + REQUEST)).collect()
}

/// The stretches that are read, in the order of their places on the device, of those that are given in the order in which they
/// matter; and how much is left out because it would take more memory.
#[must_use]
pub fn order<F: Ord>(mut reads: Vec<Read<F>>, most: Bytes) -> (Vec<Read<F>>, Bytes) {
    let mut sum = 0_u64;
    let fitting = reads.iter().take_while(|read| {
        sum = sum.saturating_add(read.length().0);
        sum <= most.0
    });
    let left_out = reads.split_off(fitting.count());
    reads.sort_by(|one, other| {
        (one.place.is_none(), one.place, &one.file, one.stretch.start).cmp(&(
            other.place.is_none(),
            other.place,
            &other.file,
            other.stretch.start,
        ))
    });
    (reads, Bytes(left_out.iter().map(|read| read.length().0).sum()))
}

impl<F> Read<F> {
    /// How much it is.
    #[must_use]
    pub fn length(&self) -> Bytes {
        Bytes(self.stretch.end - self.stretch.start)
    }
}

impl fmt::Display for Prewarmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, left_out, milliseconds, limit } = self;
        let (seconds, tenths) = (milliseconds / 1000, milliseconds % 1000 / 100);
        write!(f, "read ahead {bytes} of {files} files in {seconds}.{tenths} s")?;
        let why = match limit {
            None => return Ok(()),
            Some(Limit::Share) => "that is the share of memory that it may take",
            Some(Limit::Memory) => "memory got scarce",
            Some(Limit::Time) => "the time was up",
        };
        write!(f, "; {left_out} more are read when they are needed: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1024;

    fn parts(kilobytes: &[(u64, u64)]) -> InMemory {
        InMemory::Parts(ranges(kilobytes))
    }

    fn ranges(kilobytes: &[(u64, u64)]) -> Vec<Range<u64>> {
        kilobytes.iter().map(|(start, end)| start * K..end * K).collect()
    }

    #[test]
    fn pages() {
        let far = [&[true][..], &[false; 16], &[true]].concat();
        let near = [&[true][..], &[false; 15], &[true]].concat();
        for (pages, size, expected) in [
            (&[false, false][..], 8, parts(&[])),
            (&[true, true], 8, InMemory::Whole),
            // Longer than what was looked at.
            (&[true, true], 12, parts(&[(0, 8)])),
            (&[false, true, false], 12, parts(&[(4, 8)])),
            // The end of the file is the end of its last page.
            (&[false, true], 5, parts(&[(4, 5)])),
            (&near, 68, parts(&[(0, 68)])),
            (&far, 72, parts(&[(0, 4), (68, 72)])),
        ] {
            assert_eq!(InMemory::of(pages, Bytes(size * K)), expected, "{pages:?}");
        }
    }

    #[test]
    fn counterparts() {
        for (resident, size, expected) in [
            (parts(&[]), 8, &[][..]),
            (InMemory::Whole, 8, &[(0, 8)]),
            (InMemory::Whole, 0, &[]),
            (InMemory::Whole, 2100, &[(0, 1024), (1024, 2048), (2048, 2100)]),
            (parts(&[(0, 4), (80, 84)]), 82, &[(0, 4), (80, 82)]),
            (parts(&[(0, 4), (80, 84)]), 80, &[(0, 4)]),
            (parts(&[(8, 1100)]), 1200, &[(8, 1032), (1032, 1100)]),
        ] {
            assert_eq!(resident.counterpart(Bytes(size * K)), ranges(expected), "{resident:?} {size}");
        }
    }

    #[test]
    fn order_of_places() {
        let read = |file, start, end, place: Option<u64>| Read {
            file,
            stretch: start..end,
            place: place.map(Bytes),
        };
        let all = || {
            vec![
                read(1, 0, 10, Some(300)),
                read(2, 0, 10, None),
                read(3, 5, 15, Some(100)),
                read(2, 20, 30, Some(5)),
            ]
        };
        for (most, expected, left_out) in [
            (0, vec![], 40),
            (9, vec![], 40),
            (10, vec![1], 30),
            (30, vec![3, 1, 2], 10),
            (100, vec![2, 3, 1, 2], 0),
        ] {
            let (reads, left) = order(all(), Bytes(most));
            let files: Vec<i32> = reads.iter().map(|read| read.file).collect();
            assert_eq!((files, left), (expected, Bytes(left_out)), "{most}");
        }
    }

    #[test]
    fn what_is_told() {
        let done = Prewarmed { files: 7, bytes: Bytes(3 << 20), milliseconds: 1_250, ..Prewarmed::default() };
        assert_eq!(done.to_string(), "read ahead 3.0 MiB of 7 files in 1.2 s");
        let done = Prewarmed { left_out: Bytes(1 << 20), limit: Some(Limit::Time), ..done };
        assert_eq!(
            done.to_string(),
            "read ahead 3.0 MiB of 7 files in 1.2 s; 1.0 MiB more are read when they are needed: the time was up"
        );
    }
}
