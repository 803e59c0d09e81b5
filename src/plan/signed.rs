//! The signature of a root hash: where it stands, what hangs on it, and what it was found to hold by.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::{
    config::ini::boolean,
    kernel::cmdline::{CommandLine, same_name},
    verity::signature::Signature,
};

use super::{demands::Proof, device::Device, intent::Verity, step::HashOrigin};

/// A signature that goes with a root hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Where it stands.
    pub at: Place,
    /// Whether the root is opened only where it holds. Where it is not required, one that nobody here has a key for
    /// counts for nothing, and that is told; one that is wrong is refused all the same.
    pub required: bool,
    /// Whether certificates in verity.d count where the kernel has no key for it (`systemd.allow_userspace_verity=`).
    pub userspace: bool,
}

/// Where a signature stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Here: it was read when the image was looked into, or written out.
    Here {
        /// The signature, in base64.
        signature: Signature,
        /// Where it was read.
        from: String,
    },
    /// In a file, as PKCS#7.
    File(String),
    /// In a partition, as JSON (UAPI.2).
    Partition(Device),
}

/// A signature as the kernel is given it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The signature.
    #[serde(flatten)]
    pub signed: Signed,
    /// The description of the key that holds it meanwhile.
    pub key: String,
}

/// What a signature was found to hold by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckedBy {
    /// A key in the kernel's keyrings.
    Keyring,
    /// A certificate in this file.
    Certificate(String),
}

/// Whether a running system's kernel command line lets certificates vouch for signatures. A value that is neither yes nor
/// no is taken for no.
#[must_use]
pub fn allows_userspace(line: &CommandLine) -> bool {
    let given =
        line.parameters.iter().rfind(|given| same_name(&given.name, "systemd.allow_userspace_verity"));
    let value = given.and_then(|given| given.value.as_deref());
    given.is_none() || value.is_none_or(|value| boolean(value) == Some(true))
}

impl Signed {
    /// One that was found beside what it is of, and that nothing hangs on yet.
    #[must_use]
    pub fn found(at: Place) -> Self {
        Self { at, required: false, userspace: true }
    }
}

impl Verity {
    /// What is proven of it once it is open.
    #[must_use]
    pub fn proof(&self) -> Proof {
        let signed = self.signature.as_ref().is_some_and(|signed| signed.required);
        if signed { Proof::Signed } else { self.root_hash_from.proof() }
    }

    /// Makes its signature, where it has one, show whose the root hash is: it has to hold then.
    pub fn rely_on_signature(&mut self) {
        if let Some(signed) = &mut self.signature {
            signed.required = true;
            self.root_hash_from = HashOrigin::Signature;
        }
    }
}

impl fmt::Display for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signed { at, required, userspace } = &self.signed;
        let by = if *userspace { "the kernel or a certificate in verity.d" } else { "the kernel" };
        write!(f, "its signature from {at} checked by {by}")?;
        if *required { Ok(()) } else { f.write_str(" if there is a key for it") }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { from, .. } => f.write_str(from),
            Self::File(path) => f.write_str(path),
            Self::Partition(device) => device.fmt(f),
        }
    }
}

impl fmt::Display for CheckedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring => f.write_str("the kernel's keyrings"),
            Self::Certificate(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_vouch() {
        for (line, allowed) in [
            ("", true),
            ("quiet systemd.allow_userspace_verity", true),
            ("systemd.allow_userspace_verity=yes", true),
            ("systemd.allow_userspace_verity=no", false),
            ("systemd.allow-userspace-verity=0", false),
            ("systemd.allow_userspace_verity=no systemd.allow_userspace_verity=1", true),
            ("systemd.allow_userspace_verity=maybe", false),
        ] {
            assert_eq!(allows_userspace(&CommandLine::parse(line)), allowed, "{line}");
        }
    }
}
