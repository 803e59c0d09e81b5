//! The system that modules are taken from: its kernel, what depmod wrote about its modules, its firmware.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use nextroot::{
    format::kernel::{
        modindex::normalise,
        modules::{self, Dependencies, Softdep},
    },
    sys::file::{LONGEST_TEXT, text_at, whole_at},
};

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
    /// Names of what it has built in, sorted.
    pub(crate) builtin: Vec<String>,
    /// Aliases of what it has built in, normalised.
    pub(crate) builtin_aliases: BTreeSet<String>,
    /// modules.alias, as it is.
    pub(crate) aliases: String,
    /// Modules that are made for CPUs with some feature.
    for_cpus: BTreeSet<String>,
    /// Modules by those aliases that are plain names (`fs-erofs`, `crypto-sha256`), normalised.
    named: BTreeMap<String, Vec<String>>,
    directory: PathBuf,
}

/// What stands behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Modules: the one of that name, or all that have it as an alias.
    Modules(Vec<String>),
    /// It is built in.
    Builtin,
    /// Nothing.
    Absent,
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
    #[error("read {path}: run depmod for this kernel first (depmod -b SYSROOT KERNEL)")]
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
    #[error("read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("this kernel cannot unpack {wanted} ({option} is not set in {file}); it can: {can}")]
    Compression { wanted: Compression, option: &'static str, file: String, can: String },
}

/// Where modprobe.d(5) looks, the first to win.
const MODPROBE_D: [&str; 4] =
    ["etc/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"];

impl Sysroot {
    /// Opens the modules of a kernel; without a release, those of the running one where they are there, else
    /// of the only one. `running` is the running kernel's release.
    pub(crate) fn open(root: &Path, release: Option<&str>, running: &str) -> Result<Self, Error> {
        let all = ["usr/lib/modules", "lib/modules"].map(|directory| root.join(directory));
        let [merged, split] = &all;
        let modules = if merged.is_dir() { merged } else { split };
        let release = choose(modules, release, running)?;
        let directory = modules.join(&release);
        let depmod = |name: &str| {
            let path = directory.join(name);
            text_at(&path, LONGEST_TEXT)
                .map_err(|source| Error::Depmod { path: path.display().to_string(), source })
        };
        // A kernel may have none of these, or be older than they are.
        let optional = |name: &str| match whole_at(&directory.join(name), LONGEST_TEXT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|source| {
                let path = directory.join(name).display().to_string();
                Error::Read { path, source }
            }),
        };
        let parse = |name| {
            let path = directory.join(name).display().to_string();
            move |source| Error::Parse { path, source }
        };
        let dependencies = Dependencies::parse(&depmod("modules.dep")?).map_err(parse("modules.dep"))?;
        let softdeps = modules::softdeps(&String::from_utf8_lossy(&optional("modules.softdep")?))
            .map_err(parse("modules.softdep"))?;
        let aliases = depmod("modules.alias")?;
        let modinfo = optional("modules.builtin.modinfo")?;
        Ok(Self {
            for_cpus: modules::aliases(&aliases)
                .filter(|(alias, _)| alias.starts_with("cpu:"))
                .map(|(_, module)| normalise(module))
                .collect(),
            named: named(&aliases, &dependencies),
            builtin: modules::builtin(&String::from_utf8_lossy(&optional("modules.builtin")?)),
            builtin_aliases: modules::builtin_aliases(&modinfo).map(|(alias, _)| normalise(alias)).collect(),
            dependencies,
            softdeps,
            aliases,
            root: root.to_owned(),
            release,
            directory,
        })
    }

    /// What stands behind a module's name or alias.
    pub(crate) fn find(&self, name: &str) -> Found {
        let name = normalise(name);
        let is_builtin = || self.builtin.binary_search(&name).is_ok() || self.builtin_aliases.contains(&name);
        match self.named.get(&name) {
            _ if self.dependencies.0.contains_key(&name) => Found::Modules(vec![name]),
            Some(modules) => Found::Modules(modules.clone()),
            None if is_builtin() => Found::Builtin,
            None => Found::Absent,
        }
    }

    /// Of modules that answer to one name, those to try first: made for some CPU, where there are such. The
    /// kernel asks for the others when none of these would load, and each that is loaded in vain costs tens
    /// of millions of instructions.
    pub(crate) fn preferred(&self, mut modules: Vec<String>) -> Vec<String> {
        if modules.iter().any(|name| self.for_cpus.contains(name)) {
            modules.retain(|name| self.for_cpus.contains(name));
        }
        modules
    }

    /// A module's file as the kernel takes it, decompressed.
    pub(crate) fn module(&self, name: &str) -> Result<Vec<u8>, Error> {
        read(&self.module_file(name))
    }

    /// The size of a module's file in bytes, as it lies there.
    pub(crate) fn module_size(&self, name: &str) -> u64 {
        fs::metadata(self.module_file(name)).map_or(0, |metadata| metadata.len())
    }

    fn module_file(&self, name: &str) -> PathBuf {
        self.directory.join(self.dependencies.0.get(name).map_or(name, |dependency| &dependency.path))
    }

    /// A module's place in the initramfs, from its path in modules.dep.
    pub(crate) fn place(&self, path: &str) -> String {
        let plain = path.rsplit_once(".ko").map_or(path, |(stem, _)| stem);
        format!("/usr/lib/modules/{}/{plain}.ko", self.release)
    }

    /// A firmware file, decompressed, from where the kernel looks (drivers/base/firmware_loader/main.c,
    /// `fw_path`); `None` where it is not there in any form.
    pub(crate) fn firmware(&self, name: &str) -> Option<Result<Vec<u8>, Error>> {
        let directories = ["usr/lib/firmware", "lib/firmware"].map(|directory| self.root.join(directory));
        let release = &self.release;
        let places = directories.iter().flat_map(|directory| {
            [format!("updates/{release}"), "updates".to_owned(), release.clone(), String::new()]
                .map(|below| directory.join(below).join(name))
        });
        let mut forms = places.flat_map(|place| {
            ["", ".zst", ".xz"].map(|suffix| PathBuf::from(format!("{}{suffix}", place.display())))
        });
        forms.find(|path| path.is_file()).map(|path| read(&path))
    }

    /// Options of modules by modprobe.d(5), joined, those of later files last.
    pub(crate) fn options(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut files = BTreeMap::new();
        for directory in MODPROBE_D.map(|directory| self.root.join(directory)) {
            let Ok(entries) = fs::read_dir(directory) else { continue }; // most systems have not all of them
            for entry in entries
                .filter_map(Result::ok)
                .filter(|entry| entry.path().extension() == Some("conf".as_ref()))
            {
                files.entry(entry.file_name()).or_insert(entry.path());
            }
        }
        let mut options: BTreeMap<String, String> = BTreeMap::new();
        for path in files.values() {
            let text = whole_at(path, LONGEST_TEXT)
                .map_err(|source| Error::Read { path: path.display().to_string(), source })?;
            for (name, parameters) in modules::options(&String::from_utf8_lossy(&text)) {
                let all = options.entry(name).or_default();
                *all = [all.as_str(), &parameters].join(" ").trim_start().to_owned();
            }
        }
        Ok(options)
    }

    /// Refuses a compression that the kernel cannot unpack, where its configuration is at hand.
    pub(crate) fn check_compression(&self, wanted: Compression) -> Result<(), Error> {
        let Some(option) = wanted.kernel_option() else { return Ok(()) };
        let name = format!("config-{}", self.release);
        let places = [self.root.join("boot").join(name), self.directory.join("config")];
        let found = places.into_iter().find_map(|file| Some((text_at(&file, LONGEST_TEXT).ok()?, file)));
        let Some((config, file)) = found else { return Ok(()) };
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

/// Reads a file, decompressed as its name tells.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = whole_at(path, compress::LARGEST);
    let bytes =
        bytes.and_then(|bytes| compress::decompress(&path.to_string_lossy(), bytes, compress::LARGEST));
    bytes.map_err(|source| Error::Read { path: path.display().to_string(), source })
}

/// Modules by their aliases, as far as these are names and no patterns for devices.
fn named(aliases: &str, dependencies: &Dependencies) -> BTreeMap<String, Vec<String>> {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (alias, module) in
        modules::aliases(aliases).filter(|(alias, _)| !alias.contains([':', '*', '?', '[']))
    {
        let module = normalise(module);
        let modules = named.entry(normalise(alias)).or_default();
        if dependencies.0.contains_key(&module) && !modules.contains(&module) {
            modules.push(module);
        }
    }
    named.retain(|_, modules| !modules.is_empty());
    named
}

fn choose(modules: &Path, wanted: Option<&str>, running: &str) -> Result<String, Error> {
    let directory = modules.display().to_string();
    let entries = fs::read_dir(modules).into_iter().flatten().filter_map(Result::ok);
    let mut there: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    let is_there = |release: &str| there.iter().any(|one| one == release);
    match (wanted, there.as_slice()) {
        (_, []) => Err(Error::NoKernel(directory)),
        (Some(wanted), _) if is_there(wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => {
            Err(Error::NotThere { wanted: wanted.to_owned(), directory, there: there.join(", ") })
        }
        (None, _) if is_there(running) => Ok(running.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Error::Several { directory, there: there.join(", ") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sysroot with the given files.
    fn sysroot(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn which_kernel() {
        let one: &[_] = &[("6.1", "")];
        let two: &[_] = &[("6.1", ""), ("6.12", "")];
        for (there, wanted, running, expected) in [
            (one, None, "5.0", Ok("6.1")),
            (one, Some("6.1"), "5.0", Ok("6.1")),
            (one, Some("../6.1"), "5.0", Err("is not a kernel in")),
            (two, None, "6.1", Ok("6.1")),
            (two, None, "5.0", Err("several kernels")),
            (two, Some("6.12"), "6.1", Ok("6.12")),
            (two, Some("5.0"), "6.1", Err("there are: 6.1, 6.12")),
            (&[], None, "5.0", Err("no kernel modules in")),
        ] {
            let root = tempfile::tempdir().unwrap();
            there.iter().for_each(|(release, _)| fs::create_dir(root.path().join(release)).unwrap());
            match (choose(root.path(), wanted, running), expected) {
                (Ok(release), Ok(expected)) => assert_eq!(release, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (other, _) => panic!("{there:?} {wanted:?} {running}: {other:?}"),
            }
        }
    }

    #[test]
    fn names_and_aliases() {
        let root = sysroot(&[
            ("lib/modules/6/modules.dep", "kernel/a-b.ko:\nkernel/c1.ko.xz:\nkernel/c2.ko:\n"),
            (
                "lib/modules/6/modules.alias",
                "alias crypto-c c2\nalias crypto-c c1\nalias fs-gone gone\nalias pci:* c1\n",
            ),
            ("lib/modules/6/modules.builtin", "kernel/z-z.ko\n"),
            (
                "lib/modules/6/modules.builtin.modinfo",
                "z_z.alias=fs-z\0z_z.license=GPL\0z_z.alias=crypto-c\0",
            ),
        ]);
        let sysroot = Sysroot::open(root.path(), None, "5").unwrap();
        let modules = |names: &[&str]| Found::Modules(names.iter().map(|name| (*name).to_owned()).collect());
        for (name, found) in [
            ("a-b", modules(&["a_b"])),
            ("a_b", modules(&["a_b"])),
            ("crypto_c", modules(&["c2", "c1"])),
            ("z-z", Found::Builtin),
            ("fs-z", Found::Builtin),
            ("fs-gone", Found::Absent),
            ("pci:*", Found::Absent),
            ("c", Found::Absent),
        ] {
            assert_eq!(sysroot.find(name), found, "{name}");
        }
        assert_eq!(sysroot.place("kernel/a.kobold/c1.ko.xz"), "/usr/lib/modules/6/kernel/a.kobold/c1.ko");
    }

    #[test]
    fn firmware_in_the_kernels_order() {
        let root = sysroot(&[
            ("lib/modules/6/modules.dep", ""),
            ("lib/modules/6/modules.alias", ""),
            ("lib/firmware/a/x.bin", "plain"),
            ("lib/firmware/6/a/x.bin", "of the release"),
            ("lib/firmware/y.bin", "y"),
            ("lib/firmware/updates/y.bin", "y, newer"),
            ("lib/firmware/updates/6/y.bin", "y, newest"),
            ("usr/lib/firmware/z.bin.xz", "no xz"),
        ]);
        let sysroot = Sysroot::open(root.path(), None, "5").unwrap();
        for (name, expected) in
            [("a/x.bin", Some("of the release")), ("y.bin", Some("y, newest")), ("w.bin", None)]
        {
            let found = sysroot.firmware(name).map(|bytes| String::from_utf8(bytes.unwrap()).unwrap());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        assert!(sysroot.firmware("z.bin").unwrap().is_err());
    }

    #[test]
    fn options_of_modprobe_d() {
        let root = sysroot(&[
            ("lib/modules/6/modules.dep", ""),
            ("lib/modules/6/modules.alias", ""),
            ("etc/modprobe.d/b.conf", "options m y=2\n"),
            ("usr/lib/modprobe.d/a.conf", "options m x=1\noptions n z=3\n"),
            ("usr/lib/modprobe.d/b.conf", "options m masked=1\n"),
            ("usr/lib/modprobe.d/c.txt", "options m other=1\n"),
        ]);
        let options = Sysroot::open(root.path(), None, "5").unwrap().options().unwrap();
        let expected = [("m", "x=1 y=2"), ("n", "z=3")];
        assert_eq!(options, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    }
}
