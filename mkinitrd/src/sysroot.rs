//! The system that modules are taken from: its kernel, and what depmod wrote about its modules.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use nextroot::format::modules::{self, Dependencies, Softdep};

use crate::compress::{self, Compression};

/// A kernel's modules.
#[derive(Debug)]
pub(crate) struct Sysroot {
    /// The root directory.
    pub(crate) root: PathBuf,
    /// The kernel's release.
    pub(crate) release: String,
    /// Its modules.
    pub(crate) dependencies: Dependencies,
    /// What they would like to have beside them.
    pub(crate) softdeps: BTreeMap<String, Softdep>,
    /// What it has built in.
    pub(crate) builtin: Vec<String>,
    /// modules.alias, as it is.
    pub(crate) aliases: String,
    directory: PathBuf,
}

/// A kernel that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no kernel modules in {0}: install a kernel there, or name another --sysroot")]
    NoKernel(String),
    #[error("{wanted} is not a kernel in {directory}; there are: {there}")]
    NotThere { wanted: String, directory: String, there: String },
    #[error("several kernels in {directory}: {there}; name one with --kernel")]
    Several { directory: String, there: String },
    #[error("read {path}: run depmod for this kernel first")]
    Depmod {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("read {path}")]
    Parse {
        path: String,
        #[source]
        source: modules::Error,
    },
    #[error("read module {path}")]
    Module {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("this kernel cannot unpack {wanted} ({option} is not set in {file}); it can: {can}")]
    Compression { wanted: Compression, option: &'static str, file: String, can: String },
}

impl Sysroot {
    /// Opens the modules of a kernel; without a release, those of the only one or of the running one.
    pub(crate) fn open(root: &Path, release: Option<&str>) -> Result<Self, Error> {
        let all = ["usr/lib/modules", "lib/modules"].map(|directory| root.join(directory));
        let [merged, split] = &all;
        let modules = if merged.is_dir() { merged } else { split };
        let release = choose(modules, release, root)?;
        let directory = modules.join(&release);
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path)
                .map_err(|source| Error::Depmod { path: path.display().to_string(), source })
        };
        let parsed = |name: &'static str| move |source| Error::Parse { path: name.to_owned(), source };
        Ok(Self {
            dependencies: Dependencies::parse(&read("modules.dep")?).map_err(parsed("modules.dep"))?,
            softdeps: modules::softdeps(&read("modules.softdep")?).map_err(parsed("modules.softdep"))?,
            builtin: modules::builtin(&read("modules.builtin")?),
            aliases: read("modules.alias")?,
            root: root.to_owned(),
            release,
            directory,
        })
    }

    /// A module's file as the kernel takes it, decompressed.
    pub(crate) fn module(&self, path: &str) -> Result<Vec<u8>, Error> {
        let path = self.directory.join(path);
        let read = || compress::decompress(&path.to_string_lossy(), fs::read(&path)?);
        read().map_err(|source| Error::Module { path: path.display().to_string(), source })
    }

    /// A module's place in the initramfs.
    pub(crate) fn place(&self, path: &str) -> String {
        let plain = path.split_once(".ko").map_or(path, |(stem, _)| stem);
        format!("/usr/lib/modules/{}/{plain}.ko", self.release)
    }

    /// A firmware file, decompressed; `None` where it is not there in any form.
    pub(crate) fn firmware(&self, name: &str) -> Option<io::Result<Vec<u8>>> {
        let directories = ["usr/lib/firmware", "lib/firmware"].map(|directory| self.root.join(directory));
        let places = directories.iter().flat_map(|directory| {
            [
                directory.join("updates").join(name),
                directory.join(&self.release).join(name),
                directory.join(name),
            ]
        });
        let mut forms = places.flat_map(|place| {
            ["", ".xz", ".zst"].map(|suffix| PathBuf::from(format!("{}{suffix}", place.display())))
        });
        let found = forms.find(|path| path.is_file())?;
        Some(fs::read(&found).and_then(|bytes| compress::decompress(&found.to_string_lossy(), bytes)))
    }

    /// Refuses a compression that the kernel cannot unpack, where its configuration is at hand.
    pub(crate) fn check_compression(&self, wanted: Compression) -> Result<(), Error> {
        let Some(option) = wanted.kernel_option() else { return Ok(()) };
        let file = self.root.join("boot").join(format!("config-{}", self.release));
        let Ok(config) = fs::read_to_string(&file) else { return Ok(()) };
        let is_set = |option: &str| config.lines().any(|line| line.strip_prefix(option) == Some("=y"));
        if is_set(option) {
            return Ok(());
        }
        let can: Vec<String> = Compression::ALL
            .into_iter()
            .filter(|other| other.kernel_option().is_none_or(is_set))
            .map(|other| other.to_string())
            .collect();
        Err(Error::Compression { wanted, option, file: file.display().to_string(), can: can.join(", ") })
    }
}

fn choose(modules: &Path, wanted: Option<&str>, root: &Path) -> Result<String, Error> {
    let directory = modules.display().to_string();
    let mut there: Vec<String> = fs::read_dir(modules)
        .map(|entries| {
            entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()).collect::<Vec<_>>()
        })
        .unwrap_or_default()
        .into_iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    let running = || (root == Path::new("/")).then(nextroot::sys::kernel::release);
    match (wanted, there.as_slice()) {
        (_, []) => Err(Error::NoKernel(directory)),
        (Some(wanted), _) if there.iter().any(|one| one == wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => {
            Err(Error::NotThere { wanted: wanted.to_owned(), directory, there: there.join(", ") })
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => running()
            .filter(|running| there.contains(running))
            .ok_or_else(|| Error::Several { directory, there: there.join(", ") }),
    }
}
