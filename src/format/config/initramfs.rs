//! The nextroot.conf that is baked into an initramfs.

use crate::format::{
    config::ini::{self, Assignment},
    kernel::cmdline::CommandLine,
};

/// The configuration of an initramfs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The file, for messages.
    pub file: String,
    /// `[Boot] CommandLine=`: parameters that the kernel command line may override.
    pub defaults: CommandLine,
    /// `[Policy] CommandLine=`: parameters that override the kernel command line.
    pub fixed: CommandLine,
    /// `[Policy] Verity=required`: only a verified root is mounted.
    pub verity_required: bool,
    /// `[Policy] UsrVerity=`: whether /usr has to be verified; where it is silent, what holds for the root.
    pub usr_verity_required: Option<bool>,
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
    #[error("{file}:{line}: [Policy] has no {key}=: write CommandLine=, Verity= or UsrVerity=")]
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
            ("Policy", "CommandLine") => extend(&mut self.fixed, value),
            ("Policy", "Verity") => self.verity_required = required()?.unwrap_or(false),
            ("Policy", "UsrVerity") => self.usr_verity_required = required()?,
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
    }

    #[test]
    fn malformed() {
        for (text, message) in [
            ("[Policy]\nVerity=maybe\n", "f:2: Verity=maybe: required or allowed is needed"),
            (
                "[Policy]\nVerify=required\n",
                "f:2: [Policy] has no Verify=: write CommandLine=, Verity= or UsrVerity=",
            ),
            ("\nnonsense\n", "f:2: \"nonsense\" is neither [Section] nor Key=value"),
            ("[Policy\n", "f:1: \"[Policy\" is neither [Section] nor Key=value"),
        ] {
            assert_eq!(Config::parse(text, "f").unwrap_err().to_string(), message);
        }
    }
}
