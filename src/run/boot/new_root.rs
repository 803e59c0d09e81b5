//! Makes sure that a root can run before it becomes the root.

use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use crate::{
    format::{
        config::ini::Placed,
        system::{
            elf::{self, Program},
            os_release::OsRelease,
        },
    },
    plan::{demands::allow_version, refusal::Refusal},
    sys::{self, root::open_below},
};

/// A new root without an init that can be executed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of the candidates is there.
    #[error(
        "none of {candidates} can be opened in {root}: is this a root file system? Name its init with init="
    )]
    Missing {
        /// The root.
        root: String,
        /// What was looked for.
        candidates: String,
        /// Why the last one could not be opened.
        #[source]
        source: sys::Error,
    },
    /// It is there, but nothing that can be executed here.
    #[error("{path} in {root} cannot be executed: {why}")]
    NotExecutable {
        /// The candidate.
        path: String,
        /// The root.
        root: String,
        /// Why.
        why: String,
    },
    /// It is older than is allowed, or does not say how old it is.
    #[error(transparent)]
    Version(#[from] Refusal),
    /// An os-release that does not say which version it is.
    #[error("find out the version of the image at {root} by its {name}: {why}: mend it in the image")]
    Release {
        /// The root.
        root: String,
        /// The file.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A directory or link that could not be made.
    #[error("make {path}")]
    Fill {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is there and cannot be read.
    #[error("read {path} in {root}")]
    Unreadable {
        /// The candidate.
        path: String,
        /// The root.
        root: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Links into /usr, as the usual merged layout has them.
const LINKS: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];
/// Directories, with their permissions.
const DIRECTORIES: [(&str, u32); 4] = [("etc", 0o755), ("var", 0o755), ("root", 0o750), ("tmp", 0o1777)];

/// Makes the links and directories that an empty root lacks. What is there stays as it is.
pub fn fill(root: &str) -> Result<(), Error> {
    let root = Path::new(root);
    let failed = |path: &Path, source| Error::Fill { path: path.display().to_string(), source };
    for name in LINKS {
        let (target, link) = (Path::new("usr").join(name), root.join(name));
        if root.join(&target).is_dir() && link.symlink_metadata().is_err() {
            symlink(&target, &link).map_err(|e| failed(&link, e))?;
        }
    }
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        if path.symlink_metadata().is_err() {
            fs::create_dir(&path)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
                .map_err(|e| failed(&path, e))?;
        }
    }
    Ok(())
}

/// An os-release is a page or two.
const OS_RELEASE: u64 = 1 << 20;

/// Refuses a root whose image is older than this, by the first of these files that is there. A file that cannot be read
/// does not let the next one speak for it.
pub fn check_version(root: &str, files: &[String], at_least: &Placed<String>) -> Result<(), Error> {
    let what = format!("the image at {root}");
    for name in files {
        let unclear = |why: String| Error::Release { root: root.to_owned(), name: name.clone(), why };
        let file = match open_below(Path::new(root), name) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(unclear(error.in_one_line())),
        };
        let mut bytes = Vec::new();
        file.take(OS_RELEASE + 1).read_to_end(&mut bytes).map_err(|error| unclear(error.to_string()))?;
        if bytes.len() as u64 > OS_RELEASE {
            return Err(unclear("it is larger than 1 MiB".to_owned()));
        }
        // What is no UTF-8, as in a comment, does not make the rest of it unreadable.
        let text = String::from_utf8_lossy(&bytes);
        let release = OsRelease::parse(text.as_bytes()).map_err(|error| unclear(error.to_string()))?;
        return Ok(allow_version(at_least, &what, release.image_version.as_deref())?);
    }
    Ok(allow_version(at_least, &what, None)?)
}

/// Interpreters of interpreters: a script may name a program that names a loader.
const DEEPEST: u32 = 4;

/// The first of `candidates` that is there, if it can be executed.
pub fn find_init(root: &str, candidates: &[String]) -> Result<String, Error> {
    let mut last = None;
    for path in candidates {
        match open_below(Path::new(root), path) {
            Ok(file) => {
                drop(file);
                return executable(root, path, 0).map(|()| path.clone());
            }
            Err(error) if is_absent(&error) => last = Some(error),
            Err(source) => return Err(missing(root, candidates, source)),
        }
    }
    let nothing = || sys::Error::new("open", "nothing", std::io::Error::from(std::io::ErrorKind::NotFound));
    Err(missing(root, candidates, last.unwrap_or_else(nothing)))
}

fn missing(root: &str, candidates: &[String], source: sys::Error) -> Error {
    Error::Missing { root: root.to_owned(), candidates: candidates.join(", "), source }
}

fn is_absent(error: &sys::Error) -> bool {
    error.source.kind() == std::io::ErrorKind::NotFound
}

/// Checks a program's header, and the interpreter that it names.
fn executable(root: &str, path: &str, depth: u32) -> Result<(), Error> {
    let refuse = |why: String| Error::NotExecutable { path: path.to_owned(), root: root.to_owned(), why };
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), root: root.to_owned(), source };
    let file = open_below(Path::new(root), path).map_err(|e| refuse(e.in_one_line()))?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse("it is no regular file".to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(refuse("it has no execute permission".to_owned()));
    }
    let mut head = Vec::new();
    file.take(elf::PREFIX as u64).read_to_end(&mut head).map_err(unreadable)?;
    let interpreter = match Program::parse(&head).map_err(|e| refuse(e.to_string()))? {
        Program::Elf(elf) if !elf.runs_here() => {
            return Err(refuse(format!(
                "it is built for {}, this machine is {}",
                elf.machine_name(),
                std::env::consts::ARCH
            )));
        }
        Program::Elf(elf) => elf.interpreter,
        Program::Script { interpreter } => Some(interpreter),
    };
    match interpreter {
        Some(_) if depth >= DEEPEST => Err(refuse("its interpreters do not end".to_owned())),
        Some(interpreter) => executable(root, &interpreter, depth + 1).map_err(|error| {
            refuse(format!("its interpreter {interpreter} does not work: {}", said(&error)))
        }),
        None => Ok(()),
    }
}

fn said(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a root with these files, where 1.10 is demanded.
    fn said(files: &[(&str, &str)], looked_at: &[&str]) -> Result<(), String> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        let names: Vec<String> = looked_at.iter().map(|name| (*name).to_owned()).collect();
        let least = Placed { value: "1.10".to_owned(), place: "f:2 (MinimumVersion=1.10)".to_owned() };
        let at = root.path().display().to_string();
        check_version(&at, &names, &least).map_err(|error| error.to_string().replace(&at, "ROOT"))
    }

    #[test]
    fn images_that_are_too_old() {
        use crate::format::system::os_release::{IN_USR, PLACES};
        const OLDER: &str = "the image at ROOT is of version 1.9, and f:2 (MinimumVersion=1.10) demands 1.10 or newer: name a newer image";
        const NONE: &str = "the image at ROOT has no version (IMAGE_VERSION= of its os-release), and f:2 (MinimumVersion=1.10) \
                            demands 1.10 or newer: set it when the image is built";
        let large = format!("IMAGE_VERSION=2\n{}", "#".repeat(1 << 20));
        let unclear = |why: &str| {
            Err(format!(
                "find out the version of the image at ROOT by its etc/os-release: {why}: mend it in the image"
            ))
        };
        let (old, new) = ("IMAGE_VERSION=1.9\n", "ID=x\nIMAGE_VERSION=\"1.10\"\n");
        for (files, looked_at, expected) in [
            (vec![("etc/os-release", new)], &PLACES[..], Ok(())),
            (vec![("etc/os-release", "IMAGE_VERSION=1.11~rc1")], &PLACES, Ok(())),
            (vec![(IN_USR, new)], &PLACES, Ok(())),
            (vec![("etc/os-release", "-> ../usr/lib/os-release"), (IN_USR, new)], &PLACES, Ok(())),
            (
                vec![("etc/os-release", "-> /usr/lib/os-release"), (IN_USR, old)],
                &PLACES,
                Err(OLDER.to_owned()),
            ),
            (vec![("etc/os-release", old), (IN_USR, new)], &PLACES, Err(OLDER.to_owned())),
            // Of a /usr of its own only what is in it counts.
            (vec![("etc/os-release", new), (IN_USR, old)], &[IN_USR][..], Err(OLDER.to_owned())),
            (vec![("etc/os-release", old), (IN_USR, new)], &[IN_USR], Ok(())),
            (vec![("etc/os-release", new)], &[IN_USR], Err(NONE.to_owned())),
            (
                vec![("etc/os-release", "IMAGE_VERSION=1.10~rc1")],
                &PLACES,
                Err(OLDER.replace("1.9", "1.10~rc1")),
            ),
            (
                vec![("etc/os-release", "VERSION_ID=13\nIMAGE_VERSION=\n"), (IN_USR, new)],
                &PLACES,
                Err(NONE.to_owned()),
            ),
            (vec![], &PLACES, Err(NONE.to_owned())),
            (
                vec![("etc/os-release", "ID=\"x\nIMAGE_VERSION=2\n")],
                &PLACES,
                unclear("line 1 of os-release: the quotes of ID= do not enclose the whole value"),
            ),
            (vec![("etc/os-release", large.as_str())], &PLACES, unclear("it is larger than 1 MiB")),
        ] {
            assert_eq!(said(&files, looked_at), expected, "{:?}", files.first().map(|(name, _)| name));
        }
        // A way out of the root, and a directory in the place of the file.
        assert!(said(&[("etc/os-release", "-> ../../../../etc/hostname")], &PLACES).is_err());
        assert!(said(&[("etc/os-release/x", new), (IN_USR, new)], &PLACES).is_err());
    }

    const INIT: &str = "usr/lib/systemd/systemd";

    /// Programs for this machine: one that needs an interpreter, and one that needs none.
    fn program(interpreter: Option<&str>) -> Vec<u8> {
        let own = fs::read("/proc/self/exe").unwrap();
        let machine = u16::from_le_bytes([own[18], own[19]]);
        let mut bytes = elf::tests::program(machine, format!("{}\0", interpreter.unwrap_or("/x")).as_bytes());
        if interpreter.is_none() {
            bytes[64] = 1; // the header of something else
        }
        bytes
    }

    fn script(interpreter: &str) -> Vec<u8> {
        format!("#!{interpreter}\n").into_bytes()
    }

    /// What is said of the init, where it or an interpreter of an interpreter is no good.
    fn cannot(interpreters: &[&str], why: &str) -> Result<String, String> {
        let of = |name: &&str| {
            format!("its interpreter {name} does not work: {name} in ROOT cannot be executed: ")
        };
        let through: String = interpreters.iter().map(of).collect();
        Err(format!("/{INIT} in ROOT cannot be executed: {through}{why}"))
    }

    #[test]
    fn inits_that_can_be_executed_and_others() {
        let (foreign, name) = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
        let foreign = elf::tests::program(foreign, b"/ld.so\0");
        let other = format!("it is built for {name}, this machine is {}", std::env::consts::ARCH);
        let unknown = "it is neither an ELF program nor a script";
        let (alone, well) = (program(None), Ok(format!("/{INIT}")));
        for (files, expected) in [
            (vec![(INIT, alone.clone())], well.clone()),
            (vec![(INIT, program(Some("/lib/ld.so"))), ("lib/ld.so", alone.clone())], well.clone()),
            (
                vec![
                    (INIT, script("/bin/sh -e")),
                    ("bin/sh", program(Some("/ld.so"))),
                    ("ld.so", alone.clone()),
                ],
                well,
            ),
            (vec![(INIT, foreign.clone())], cannot(&[], &other)),
            (vec![(INIT, program(Some("/ld.so"))), ("ld.so", foreign.clone())], cannot(&["/ld.so"], &other)),
            (
                vec![(INIT, program(Some("/lib64/ld.so")))],
                cannot(
                    &["/lib64/ld.so"],
                    "open /lib64/ld.so in ROOT: No such file or directory (os error 2)",
                ),
            ),
            (vec![(INIT, b"text".to_vec())], cannot(&[], unknown)),
            (vec![(INIT, Vec::new())], cannot(&[], unknown)),
            (vec![("usr/lib/systemd/systemd/x", Vec::new())], cannot(&[], "it is no regular file")),
            // The second is taken where there is no first, and not where that is no good.
            (vec![("sbin/init", alone.clone())], Ok("/sbin/init".to_owned())),
            (vec![(INIT, foreign), ("sbin/init", alone)], cannot(&[], &other)),
        ] {
            assert_eq!(found(&files, &[]), expected);
        }
        let none = found(&[("etc/os-release", Vec::new())], &[]).unwrap_err();
        assert!(
            none.starts_with("none of /usr/lib/systemd/systemd, /sbin/init can be opened in ROOT"),
            "{none}"
        );
    }

    #[test]
    fn programs_without_permission_to_execute_them() {
        let why = "it has no execute permission";
        assert_eq!(found(&[(INIT, program(None))], &[INIT]), cannot(&[], why));
        let files = [(INIT, program(Some("/ld.so"))), ("ld.so", program(None))];
        assert_eq!(found(&files, &["ld.so"]), cannot(&["/ld.so"], why));
    }

    #[test]
    fn interpreters_of_interpreters() {
        let chain = |last: Vec<u8>| {
            [(INIT, script("/1")), ("1", script("/2")), ("2", script("/3")), ("3", script("/4")), ("4", last)]
        };
        assert_eq!(found(&chain(program(None)), &[]), Ok(format!("/{INIT}")));
        let endless = "its interpreters do not end";
        assert_eq!(found(&chain(script("/5")), &[]), cannot(&["/1", "/2", "/3", "/4"], endless));
        // One that is its own.
        let own = format!("/{INIT}");
        assert_eq!(found(&[(INIT, script(&own))], &[]), cannot(&[own.as_str(); 4], endless));
    }

    /// What comes of a look for an init in a root with these files; all can be executed but for some.
    fn found(files: &[(&str, Vec<u8>)], plain: &[&str]) -> Result<String, String> {
        let root = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            let mode = if plain.contains(name) { 0o644 } else { 0o755 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let at = root.path().display().to_string();
        let candidates = ["/usr/lib/systemd/systemd", "/sbin/init"].map(str::to_owned);
        find_init(&at, &candidates).map_err(|error| super::said(&error).replace(&at, "ROOT"))
    }
}
