//! What systemd-sysupdate writes into partition tables: labels (sysupdate.d(5), UAPI.2 "Partition Names"),
//! and the types of partitions that are not finished (systemd's src/sysupdate/sysupdate-partition.c, 262).

use std::fmt;

use sha2::{Digest, Sha256};

use crate::format::disk::{
    discoverable::{EMPTY_LABEL, Purpose, own_types},
    guid::Guid,
};

/// What a label says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// `_empty`: it holds nothing.
    Empty,
    /// It is being written, or waits.
    Unfinished(Unfinished),
    /// `NAME_VERSION`.
    Image(Image<'a>),
    /// Anything else.
    Other,
}

/// A version of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// The image's name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// How far an update came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It is being written.
    Partial,
    /// It is written whole, and not installed yet.
    Pending,
}

/// Words that tell the partitions of one version apart, after the version (`os_1.2_verity`) or after the name
/// (`os-verity_1.2`): those of sysupdate.d(5), mkosi and what its users write. The longest come first.
const WORDS: [(Purpose, &[&str]); 6] = [
    (Purpose::Root, &["root", "r"]),
    (Purpose::RootVerity, &["root_verity", "root-verity", "verity", "v"]),
    (
        Purpose::RootVeritySig,
        &["root_verity_sig", "root-verity-sig", "verity_sig", "verity-sig", "sig", "vs", "s"],
    ),
    (Purpose::Usr, &["usr", "u"]),
    (Purpose::UsrVerity, &["usr_verity", "usr-verity", "verity", "v"]),
    (
        Purpose::UsrVeritySig,
        &["usr_verity_sig", "usr-verity-sig", "verity_sig", "verity-sig", "sig", "vs", "s"],
    ),
];

/// The application IDs that partition types are derived by.
const DERIVED: [(Unfinished, Guid); 2] = [
    (Unfinished::Partial, Guid::from_bytes(0xaccf_a0c2_da24_460a_9fc9_0bb8_fc78_5219_u128.to_be_bytes())),
    (Unfinished::Pending, Guid::from_bytes(0x80f3_d61e_2383_43b9_81f5_ce37_93f4_7d4c_u128.to_be_bytes())),
];

impl<'a> Label<'a> {
    /// Reads the label of a partition that is for `purpose`.
    ///
    /// A version has a digit, so that `root_a` and `root_b` are no versions of one image.
    #[must_use]
    pub fn parse(label: &'a str, purpose: Purpose) -> Self {
        if label == EMPTY_LABEL {
            return Self::Empty;
        }
        for (prefix, state) in [("PRT#", Unfinished::Partial), ("PND#", Unfinished::Pending)] {
            if label.starts_with(prefix) {
                return Self::Unfinished(state);
            }
        }
        let words = WORDS.iter().find(|(of, _)| *of == purpose).map_or(&[][..], |(_, words)| words);
        let (name, version) = match without_word(label, words, "_").rsplit_once('_') {
            Some((name, version)) => (without_word(name, words, "-_"), version),
            None => return Self::Other,
        };
        let is_version = version.bytes().any(|b| b.is_ascii_digit()) && is_version(version);
        if is_version && !name.is_empty() { Self::Image(Image { name, version }) } else { Self::Other }
    }
}

/// Whether all characters of a text are some that versions are written with: those of UAPI.10, and those that
/// systemd takes in file names besides (version_is_valid).
#[must_use]
pub fn is_version(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.~^,_+".contains(&b))
}

/// What a partition is for whose type says that it is not finished, by the types that systemd 262 and later
/// derive (systemd#40718): HMAC-SHA256 of an application ID by the type, as sd_id128_get_app_specific(3) has it.
#[must_use]
pub fn unfinished(type_uuid: Guid) -> Option<(Purpose, Unfinished)> {
    own_types().find_map(|(base, purpose)| {
        let (state, _) = DERIVED.iter().find(|(_, id)| derive(base, *id) == type_uuid)?;
        Some((purpose, *state))
    })
}

/// `sd_id128_get_app_specific(base, application)`
fn derive(base: Guid, application: Guid) -> Guid {
    const BLOCK: usize = 64;
    let keyed = |pad: u8| {
        let mut key = [pad; BLOCK];
        key.iter_mut().zip(base.bytes()).for_each(|(byte, of_key)| *byte ^= of_key);
        Sha256::new_with_prefix(key)
    };
    let inner = keyed(0x36).chain_update(application.bytes()).finalize();
    let digest = keyed(0x5c).chain_update(inner).finalize();
    let mut id = digest.first_chunk::<16>().copied().unwrap_or_default();
    // A UUID of version 4, variant 1 (RFC 9562, 4.1 and 4.2).
    for (at, keep, set) in [(6, 0x0f, 0x40), (8, 0x3f, 0x80)] {
        if let Some(byte) = id.get_mut(at) {
            *byte = *byte & keep | set;
        }
    }
    Guid::from_bytes(id)
}

/// A text without the word at its end, and the separator before it.
fn without_word<'a>(text: &'a str, words: &[&str], separators: &str) -> &'a str {
    let cut = |word: &&str| {
        let rest = text.strip_suffix(*word)?;
        rest.strip_suffix(|c| separators.contains(c)).filter(|rest| !rest.is_empty())
    };
    words.iter().find_map(cut).unwrap_or(text)
}

impl fmt::Display for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.name, self.version)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partial => "only partly written (systemd-sysupdate has not finished it)",
            Self::Pending => "pending (written by systemd-sysupdate, and not installed yet)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        use Purpose::{Root, RootVerity, RootVeritySig, Usr};
        let image = |name, version| Label::Image(Image { name, version });
        for (label, purpose, expected) in [
            ("_empty", Root, Label::Empty),
            ("PRT#os_1.2", Root, Label::Unfinished(Unfinished::Partial)),
            ("PND#os_1.2_verity", RootVerity, Label::Unfinished(Unfinished::Pending)),
            ("prt#os_1.2", Root, image("prt#os", "1.2")),
            ("os_1.2", Root, image("os", "1.2")),
            ("os_1.2_root", Root, image("os", "1.2")),
            ("os_1.2_r", Root, image("os", "1.2")),
            ("os_1.2", RootVerity, image("os", "1.2")),
            ("os_1.2_verity", RootVerity, image("os", "1.2")),
            ("os_1.2_root_verity", RootVerity, image("os", "1.2")),
            ("os_1.2_v", RootVerity, image("os", "1.2")),
            ("os-verity_1.2", RootVerity, image("os", "1.2")),
            ("os_verity_1.2", RootVerity, image("os", "1.2")),
            ("os_1.2_verity_sig", RootVeritySig, image("os", "1.2")),
            ("os-verity-sig_1.2", RootVeritySig, image("os", "1.2")),
            ("ParticleOS_20260212142816_verity_sig", RootVeritySig, image("ParticleOS", "20260212142816")),
            ("my_os_v1.2~rc1", Root, image("my_os", "v1.2~rc1")),
            ("os_usr_12", Usr, image("os", "12")),
            // A word of another purpose is none here.
            ("os_1.2_verity", Root, Label::Other),
            ("root_a", Root, Label::Other),
            ("root_verity", RootVerity, Label::Other),
            ("root-x86-64", Root, Label::Other),
            ("_1.2", Root, Label::Other),
            ("os_", Root, Label::Other),
            ("os_1 2", Root, Label::Other),
            ("", Root, Label::Other),
        ] {
            assert_eq!(Label::parse(label, purpose), expected, "{label}");
        }
    }

    /// By Python's hmac module, of the application IDs that systemd-sysupdate 262 has in its binary.
    #[test]
    fn derived_types() {
        let guid = |text: &str| text.parse::<Guid>().unwrap();
        let root = guid("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
        let verity = guid("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5");
        for (base, state, derived) in [
            (root, Unfinished::Partial, "7a01d3c6-92ac-43e9-bd77-5726b602ad9d"),
            (root, Unfinished::Pending, "64362e66-88a7-463b-b325-7af60c81be06"),
            (verity, Unfinished::Partial, "8c9d831f-549b-4672-8816-6c435759bb75"),
            (verity, Unfinished::Pending, "a0527bff-640d-406c-93e1-3059b3853391"),
        ] {
            let (_, application) = DERIVED.iter().find(|(of, _)| *of == state).unwrap();
            assert_eq!(derive(base, *application), guid(derived));
        }
        for (base, purpose) in own_types() {
            assert_eq!(unfinished(base), None);
            for (state, application) in DERIVED {
                assert_eq!(unfinished(derive(base, application)), Some((purpose, state)));
            }
        }
    }
}
