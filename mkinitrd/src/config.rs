//! The configuration that is baked in: checked as the init will read it, and asked what it needs.

use std::{
    io,
    path::{Path, PathBuf},
};

use nextroot::{
    format::{
        config::initramfs::{self, Config},
        kernel::cmdline::same_name,
    },
    sys::file::{LONGEST_TEXT, named},
};

use crate::select::Wishes;

/// A configuration that the init would refuse.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read the configuration {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Parse(#[from] initramfs::Error),
}

/// Parameters that name modules, separated by commas.
const MODULES: [&str; 4] = ["modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post"];
/// Parameters that name types of file systems, separated by commas.
const TYPES: [&str; 2] = ["rootfstype", "mount.usrfstype"];

/// Values that need a module.
const NEED: [(&str, &str, &str); 3] = [
    ("root", "dissect", "efivarfs"),
    ("root", "gpt-auto", "efivarfs"),
    ("systemd.volatile", "overlay", "overlay"),
];

/// Reads a configuration: its text, and what it says.
pub(crate) fn read(path: &Path) -> Result<(String, Config), Error> {
    let text = named(path, LONGEST_TEXT).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let config = Config::parse(&text, &path.display().to_string())?;
    Ok((text, config))
}

/// What the parameters of a configuration need in the initramfs.
pub(crate) fn wishes(config: &Config) -> Wishes {
    let mut wishes = Wishes::default();
    for parameter in config.defaults.parameters.iter().chain(&config.fixed.parameters) {
        let is = |name: &&str| same_name(name, &parameter.name);
        let needs =
            NEED.iter().filter(|(name, value, _)| is(name) && parameter.value.as_deref() == Some(*value));
        wishes.configured.extend(needs.map(|(_, _, module)| (*module).to_owned()));
        let list = if MODULES.iter().any(is) {
            &mut wishes.configured
        } else if TYPES.iter().any(is) {
            &mut wishes.file_systems
        } else {
            continue;
        };
        let words = parameter.value.iter().flat_map(|value| value.split(','));
        list.extend(words.filter(|word| !matches!(*word, "" | "auto" | "tmpfs")).map(str::to_owned));
    }
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parameters_need() {
        for (text, modules, types) in [
            ("", &[] as &[&str], &[] as &[&str]),
            (
                "[Boot]\nCommandLine=quiet rd.modules_load=a,b-c rootfstype=zonefs\n",
                &["a", "b-c"],
                &["zonefs"],
            ),
            ("[Boot]\nCommandLine=root=dissect systemd.volatile=overlay\n", &["efivarfs", "overlay"], &[]),
            ("[Policy]\nCommandLine=rd.driver.pre=d mount.usrfstype=auto rootfstype\n", &["d"], &[]),
        ] {
            let wishes = wishes(&Config::parse(text, "f").unwrap());
            assert_eq!(
                (wishes.configured.as_slice(), wishes.file_systems.as_slice()),
                (
                    modules.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().as_slice(),
                    types.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().as_slice(),
                ),
                "{text}"
            );
        }
    }
}
