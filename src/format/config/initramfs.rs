//! The nextroot.conf that is baked into an initramfs.

use crate::format::{
    config::{
        demands,
        image_policy::ImagePolicy,
        ini::{self, Assignment, Placed, boolean},
    },
    kernel::cmdline::CommandLine,
};

/// The configuration of an initramfs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The file, for messages.
    pub file: String,
    /// `[Boot] CommandLine=`: parameters that the kernel command line may override.
    pub defaults: CommandLine,
    /// `[Boot] Exitrd=`: whether this program is left for the end of the machine's run.
    pub exitrd: bool,
    /// `[Policy] CommandLine=`: parameters that override the kernel command line.
    pub fixed: CommandLine,
    /// `[Policy] Verity=required`: only a verified root is mounted.
    pub verity_required: bool,
    /// `[Policy] UsrVerity=`: whether /usr has to be verified; where it is silent, what holds for the root.
    pub usr_verity_required: Option<bool>,
    /// `[Policy] ImagePolicy=`: what root and /usr have to be.
    pub image_policy: Option<Placed<ImagePolicy>>,
    /// `[Policy] MinimumVersion=`: the oldest version of an image that is booted.
    pub minimum_version: Option<Placed<String>>,
    /// Sections and keys that mean nothing, with their places.
    pub unknown: Vec<String>,
}

/// A file that cannot be read as configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line or a value.
    #[error(transparent)]
    Ini(#[from] ini::Error),
    /// A policy that is not known here: going on without it could allow what it forbids.
    #[error(
        "{file}:{line}: [Policy] has no {key}=: write CommandLine=, Verity=, UsrVerity=, ImagePolicy= or MinimumVersion="
    )]
    Policy {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
    },
}

impl Config {
    /// Reads a file's text; an empty assignment takes back what was assigned before.
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let mut config = Self { file: file.to_owned(), ..Self::default() };
        for assignment in ini::parse(text, file)? {
            config.assign(&assignment)?;
        }
        Ok(config)
    }

    fn assign(&mut self, assignment: &Assignment) -> Result<(), Error> {
        let Assignment { line, section, key, value } = assignment;
        let required = || match value.as_str() {
            "required" => Ok(Some(true)),
            "allowed" => Ok(Some(false)),
            "" => Ok(None),
            _ => Err(assignment.impossible(&self.file, "required or allowed")),
        };
        match (section.as_str(), key.as_str()) {
            ("Boot", "CommandLine") => extend(&mut self.defaults, value),
            ("Boot", "Exitrd") if value.is_empty() => self.exitrd = false,
            ("Boot", "Exitrd") => {
                self.exitrd = boolean(value).ok_or_else(|| assignment.impossible(&self.file, "yes or no"))?;
            }
            ("Policy", "CommandLine") => extend(&mut self.fixed, value),
            ("Policy", "Verity") => self.verity_required = required()?.unwrap_or(false),
            ("Policy", "UsrVerity") => self.usr_verity_required = required()?,
            ("Policy", "ImagePolicy") => self.image_policy = demands::image_policy(assignment, &self.file)?,
            ("Policy", "MinimumVersion") => {
                self.minimum_version = demands::minimum_version(assignment, &self.file)?;
            }
            ("Policy", _) => {
                return Err(Error::Policy { file: self.file.clone(), line: *line, key: key.clone() });
            }
            _ => self.unknown.push(format!("{}:{line}: [{section}] {key}=", self.file)),
        }
        Ok(())
    }
}

fn extend(line: &mut CommandLine, value: &str) {
    match value {
        "" => line.parameters.clear(),
        value => line.parameters.extend(CommandLine::parse(value).parameters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file() {
        let text = "# c\n[Boot]\nCommandLine=quiet \\\n  # inside\n  rd.timeout=5\n[Policy]\nVerity = required\n[Paint]\nColour=blue\n[Boot]\nCommandLine=ro\n";
        let config = Config::parse(text, "f").unwrap();
        assert_eq!(config.defaults, CommandLine::parse("quiet rd.timeout=5 ro"));
        assert_eq!((config.verity_required, config.usr_verity_required), (true, None));
        assert_eq!(config.unknown, ["f:9: [Paint] Colour="]);
        let config =
            Config::parse("[Boot]\nCommandLine=a\\\\\nCommandLine=b\\\n\nCommandLine=c\n", "f").unwrap();
        assert_eq!(config.defaults, CommandLine::parse("a\\\\ b c"));
        let config = Config::parse("[Policy]\nCommandLine=ro\nUsrVerity=allowed\n", "f").unwrap();
        assert_eq!((config.fixed, config.usr_verity_required), (CommandLine::parse("ro"), Some(false)));
        let config =
            Config::parse("[Boot]\nCommandLine=a\nCommandLine=\n[Policy]\nVerity=required\nVerity=\n", "f")
                .unwrap();
        assert_eq!((config.defaults, config.verity_required), (CommandLine::default(), false));
        let text = "[Policy]\nImagePolicy=root=signed : usr=absent\nMinimumVersion=1.2~rc1\n";
        let config = Config::parse(text, "f").unwrap();
        let policy = config.image_policy.unwrap();
        assert_eq!(policy.value.short(), "root=signed:usr=absent");
        assert_eq!(policy.place, "f:2 (ImagePolicy=root=signed : usr=absent)");
        let version =
            Placed { value: "1.2~rc1".to_owned(), place: "f:3 (MinimumVersion=1.2~rc1)".to_owned() };
        assert_eq!(config.minimum_version, Some(version));
        let config = Config::parse(&format!("{text}ImagePolicy=\nMinimumVersion=\n"), "f").unwrap();
        assert_eq!((config.image_policy, config.minimum_version), (None, None));
        for (text, expected) in [("Exitrd=yes", true), ("Exitrd=1\nExitrd=", false), ("", false)] {
            assert_eq!(Config::parse(&format!("[Boot]\n{text}\n"), "f").unwrap().exitrd, expected, "{text}");
        }
    }

    #[test]
    fn malformed() {
        for (text, message) in [
            ("[Policy]\nVerity=maybe\n", "f:2: Verity=maybe: required or allowed is needed"),
            ("[Boot]\nExitrd=maybe\n", "f:2: Exitrd=maybe: yes or no is needed"),
            (
                "[Policy]\nVerify=required\n",
                "f:2: [Policy] has no Verify=: write CommandLine=, Verity=, UsrVerity=, ImagePolicy= or MinimumVersion=",
            ),
            (
                "[Policy]\nImagePolicy=root=signed:rot=verity\n",
                "f:2: ImagePolicy=root=signed:rot=verity: character 13: \"rot\" is no partition: write root, usr, home, srv, \
                 esp, xbootldr, swap, root-verity, usr-verity, root-verity-sig, usr-verity-sig, tmp, var, or nothing for \
                 all others",
            ),
            (
                "[Policy]\nMinimumVersion=1 2\n",
                "f:2: MinimumVersion=1 2: a version of letters, digits and - . ~ ^ _ + , is needed",
            ),
            ("\nnonsense\n", "f:2: \"nonsense\" is neither [Section] nor Key=value"),
            ("[Policy\n", "f:1: \"[Policy\" is neither [Section] nor Key=value"),
        ] {
            assert_eq!(Config::parse(text, "f").unwrap_err().to_string(), message);
        }
    }
}
