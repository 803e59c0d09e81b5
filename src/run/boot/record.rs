//! What a boot leaves behind for those who ask later: /run/nextroot-state/boot.json.

use std::{io, path::Path, time::Duration};

use serde::Serialize;

use crate::{
    plan::{signed::CheckedBy, state::Verity, step::OpenVerity},
    run::whole,
};

/// Where records and the state live; /run outlives every soft reboot.
pub const DIRECTORY: &str = "/run/nextroot-state";

/// Version of the file's layout: raised whenever a field changes its meaning or goes away.
const VERSION: u32 = 1;

/// Records are shorter.
#[cfg(feature = "cli")]
const LONGEST: crate::units::Bytes = crate::units::Bytes(1 << 20);

/// A boot, step by step.
#[derive(Debug, Serialize)]
pub struct Boot {
    version: u32,
    nextroot: &'static str,
    /// CLOCK_BOOTTIME at the first instruction, in microseconds: what the kernel took.
    kernel_us: u128,
    steps: Vec<Done>,
    notes: Vec<String>,
    /// The dm-verity devices that were opened: what their root hashes prove is seen here only.
    verity: Vec<Verity>,
}

#[derive(Debug, Serialize)]
struct Done {
    /// The step as the plan prints it.
    step: String,
    /// Microseconds from the first instruction to its begin and to its end.
    begin_us: u128,
    end_us: u128,
}

impl Boot {
    /// A record without steps.
    #[must_use]
    pub fn new(kernel: Duration, notes: Vec<String>) -> Self {
        Self {
            version: VERSION,
            nextroot: env!("CARGO_PKG_VERSION"),
            kernel_us: kernel.as_micros(),
            steps: Vec::new(),
            notes,
            verity: Vec::new(),
        }
    }

    /// Adds a step that was done.
    pub fn add(&mut self, step: String, begin: Duration, end: Duration) {
        self.steps.push(Done { step, begin_us: begin.as_micros(), end_us: end.as_micros() });
    }

    /// Adds what is to be told of it.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds a dm-verity device that was opened, and what the signature of its root hash holds by.
    pub fn opened(&mut self, open: &OpenVerity, signed_by: Option<&CheckedBy>) {
        let mut verity = Verity::of(open.name.clone(), &open.table, open.root_hash_from, None);
        if let Some(by) = signed_by {
            verity.is_signed_by(by.clone());
        }
        self.verity.push(verity);
    }

    /// Writes it to `directory`/boot.json, whole or not at all.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self).map_err(io::Error::from)?;
        text.push(b'\n');
        whole::write(&directory.join("boot.json"), &text)
    }
}

/// The dm-verity devices that the boot opened, as it wrote them down; none where there is no record that can be read.
#[cfg(feature = "cli")]
#[must_use]
pub fn opened(directory: &Path) -> Vec<Verity> {
    #[derive(serde::Deserialize)]
    struct Read {
        version: u32,
        verity: Vec<Verity>,
    }
    let bytes = crate::sys::file::whole_at(&directory.join("boot.json"), LONGEST).unwrap_or_default();
    let read = serde_json::from_slice(&bytes).ok();
    // In a newer layout a field may mean something else.
    read.filter(|read: &Read| read.version <= VERSION).map(|read| read.verity).unwrap_or_default()
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use std::fs;

    use super::*;
    use crate::plan::step::HashOrigin;

    #[test]
    fn what_was_opened_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut boot = Boot::new(Duration::from_secs(1), vec!["a note".to_owned()]);
        let signed = Verity {
            name: "root".to_owned(),
            root_hash: "ab".repeat(32),
            root_hash_from: HashOrigin::Signature,
            signed_by: Some(CheckedBy::Certificate("/etc/verity.d/a.crt".to_owned())),
        };
        let named = Verity {
            name: "usr".to_owned(),
            root_hash_from: HashOrigin::Config,
            signed_by: None,
            ..signed.clone()
        };
        boot.verity = vec![signed.clone(), named.clone()];
        boot.write(directory.path()).unwrap();
        assert_eq!(opened(directory.path()), [signed, named]);
        // Of a newer layout, of an init that did not tell, cut off, and none at all
        let text = fs::read_to_string(directory.path().join("boot.json")).unwrap();
        for text in [
            text.replace("\"version\":1", "\"version\":2").as_str(),
            "{\"version\":1,\"steps\":[]}",
            "{\"verity\":[{\"name\"",
            "",
        ] {
            fs::write(directory.path().join("boot.json"), text).unwrap();
            assert_eq!(opened(directory.path()), []);
        }
        assert_eq!(opened(&directory.path().join("nowhere")), []);
    }
}
