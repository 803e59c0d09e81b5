//! The configuration that is baked in: checked as the init will read it, and asked what it needs.

use std::{
    io,
    path::{Path, PathBuf},
};

use nextroot::{
    format::{
        config::initramfs::{self, Config},
        kernel::cmdline::{Parameter, same_name},
    },
    sys::file::{LONGEST_TEXT, named},
};

use crate::select::{Need, Wishes};

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
const NEEDS: [Need; 3] = [
    Need { parameter: "root", value: "dissect", module: "efivarfs" },
    Need { parameter: "root", value: "gpt-auto", module: "efivarfs" },
    Need { parameter: "systemd.volatile", value: "overlay", module: "overlay" },
];

/// Reads a configuration: its text, and what it says.
pub(crate) fn read(path: &Path) -> Result<(String, Config), Error> {
    let text = named(path, LONGEST_TEXT).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let config = Config::parse(&text, &path.display().to_string())?;
    Ok((text, config))
}

/// All parameters of a configuration, what cannot be changed after what can.
fn parameters(config: &Config) -> impl DoubleEndedIterator<Item = &Parameter> {
    config.defaults.parameters.iter().chain(&config.fixed.parameters)
}

/// The value of a parameter that holds in the end.
pub(crate) fn last<'a>(config: &'a Config, parameter: &str) -> Option<&'a str> {
    parameters(config).rfind(|given| same_name(&given.name, parameter))?.value.as_deref()
}

/// What the parameters of a configuration need in the initramfs.
pub(crate) fn wishes(config: &Config) -> Wishes {
    let words = |value: &str| {
        let words = value.split(',').filter(|word| !matches!(*word, "" | "auto" | "tmpfs"));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    // These add up; of all others the last value holds.
    let named = parameters(config).filter(|given| MODULES.iter().any(|name| same_name(name, &given.name)));
    // What a root hash names is not looked for by its type.
    let by_hash = last(config, "roothash").is_some();
    let needed = |need: &Need| {
        last(config, need.parameter) == Some(need.value) && !(by_hash && need.value == "gpt-auto")
    };
    Wishes {
        configured: named.filter_map(|given| given.value.as_deref()).flat_map(words).collect(),
        needs: NEEDS.into_iter().filter(needed).collect(),
        file_systems: TYPES.into_iter().filter_map(|name| last(config, name)).flat_map(words).collect(),
        ..Wishes::default()
    }
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

    /// Each value counted, whatever came after it.
    #[test]
    fn the_value_that_holds_in_the_end() {
        for (text, modules, types) in [
            ("[Boot]\nCommandLine=root=dissect systemd.volatile=overlay\n", "efivarfs overlay", ""),
            ("[Boot]\nCommandLine=root=gpt-auto\n", "efivarfs", ""),
            ("[Boot]\nCommandLine=root=gpt-auto root=/dev/vda1\n", "", ""),
            ("[Boot]\nCommandLine=root=gpt-auto\n[Policy]\nCommandLine=root=/dev/vda1\n", "", ""),
            ("[Policy]\nCommandLine=root=gpt-auto\n[Boot]\nCommandLine=root=/dev/vda1\n", "efivarfs", ""),
            ("[Boot]\nCommandLine=root=gpt-auto roothash=00\n", "", ""),
            (
                "[Boot]\nCommandLine=systemd.volatile=overlay\n[Policy]\nCommandLine=systemd.volatile\n",
                "",
                "",
            ),
            (
                "[Boot]\nCommandLine=rootfstype=zonefs mount.usrfstype=erofs\n[Policy]\nCommandLine=rootfstype=ext4\n",
                "",
                "ext4 erofs",
            ),
        ] {
            let wishes = wishes(&Config::parse(text, "f").unwrap());
            let needs: Vec<&str> = wishes.needs.iter().map(|need| need.module).collect();
            assert_eq!(
                (needs.join(" "), wishes.file_systems.join(" ")),
                (modules.into(), types.into()),
                "{text}"
            );
            assert!(wishes.configured.is_empty(), "{text}: {wishes:?}");
        }
    }
}
