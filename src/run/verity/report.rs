//! What is told of an image whose blocks do not all match, and which parity may mend.

use std::{fmt, path::PathBuf};

/// What became of the blocks that do not match their digests. None of them was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Neighbours that share a fate.
    pub runs: Vec<Blocks>,
}

/// Neighbouring blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// `data` or `hash`.
    pub kind: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The first, counted from 0 from its file's start.
    pub first: u64,
    /// How many they are.
    pub count: u64,
    /// Where they begin, in bytes from the file's start.
    pub at: u64,
    /// What became of them.
    pub outcome: Outcome,
}

/// What became of blocks that do not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With so many bytes changed they match.
    Repaired(u64),
    /// Too much is wrong.
    Lost,
    /// They have not been looked at: the block with their digests is lost.
    Unknown,
}

impl Report {
    /// Whether parity gives every block back.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.runs.iter().all(|blocks| matches!(blocks.outcome, Outcome::Repaired(_)))
    }

    fn count(&self, which: fn(Outcome) -> bool) -> u64 {
        self.runs.iter().filter(|blocks| which(blocks.outcome)).map(|blocks| blocks.count).sum()
    }
}

impl fmt::Display for Report {
    /// A line for neighbours of one fate, and then a sum; nothing where all match.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runs.is_empty() {
            return Ok(());
        }
        for blocks in &self.runs {
            writeln!(f, "{blocks}")?;
        }
        let repaired = self.count(|outcome| matches!(outcome, Outcome::Repaired(_)));
        let (lost, unknown) = (
            self.count(|outcome| outcome == Outcome::Lost),
            self.count(|outcome| outcome == Outcome::Unknown),
        );
        writeln!(f, "Blocks that parity repairs: {repaired}; that it cannot: {lost}; not checked: {unknown}")
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, path, first, count, at, outcome } = self;
        match count {
            1 => write!(f, "{kind} block {first} of {}, at byte {at}", path.display())?,
            _ => write!(
                f,
                "{kind} blocks {first} to {} of {}, from byte {at} on",
                first + count.saturating_sub(1),
                path.display()
            )?,
        }
        match outcome {
            Outcome::Repaired(bytes) => write!(f, ": parity repairs {bytes} bytes"),
            Outcome::Lost => f.write_str(": parity cannot repair it"),
            Outcome::Unknown => f.write_str(": not checked, the digests are lost"),
        }
    }
}
