//! Looks for what tells the new system of its mounts: fstab and the files of mount units.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
};

use crate::{
    format::{
        config::drop_ins::{self, Entry, Kind, Listing},
        kernel::mountinfo::Mount,
        system::{fstab, mount_unit},
    },
    plan::new_mounts::{Content, DropIn, NewMounts, ORDER, Origin, UnitFile},
    run::failure::Error,
    sys::{
        self, directory,
        root::{link_below, open_below},
    },
};

use super::staging;
use crate::run::configuration::NULL;

/// A longer file is no unit's.
const LONGEST: u64 = 1 << 20;
/// So many links after each other lead nowhere (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// A directory of unit files.
struct Directory<'a> {
    origin: Origin,
    path: &'static str,
    /// The root that it is in.
    root: &'a Path,
    names: BTreeSet<String>,
}

/// What a root says of the places where something is mounted now.
pub fn look(root: &Path, mounts: &[Mount]) -> Result<NewMounts, Error> {
    look_with_run(root, Path::new("/"), mounts)
}

/// The same, with the root that has the /run which comes along.
fn look_with_run(root: &Path, running: &Path, mounts: &[Mount]) -> Result<NewMounts, Error> {
    let mut directories = Vec::new();
    for origin in ORDER {
        let (path, root) = match origin {
            Origin::Root(path) => (path, root),
            Origin::Run(path) => (path, running),
            Origin::Fstab => continue,
        };
        directories.push(Directory { origin, path, root, names: names(root, path)? });
    }
    let fstab = staging::read_below(root, "etc/fstab")?.unwrap_or_default();
    let mut found = NewMounts { fstab: fstab::parse(&fstab), ..NewMounts::default() };
    let places: BTreeSet<&str> = mounts.iter().filter_map(|mount| mount.mount_point.to_str()).collect();
    for at in places {
        let name = mount_unit::unit_name(at);
        for directory in directories.iter().filter(|directory| directory.names.contains(&name)) {
            if let Some(content) = content(directory.root, &format!("{}/{name}", directory.path)) {
                found.units.push(UnitFile { origin: directory.origin, at: at.to_owned(), content });
            }
        }
        let drop_ins = drop_ins(&directories, &name)?.into_iter();
        found.drop_ins.extend(drop_ins.map(|content| DropIn { at: at.to_owned(), content }));
    }
    Ok(found)
}

/// The drop-ins that count for a unit, in the order in which they are read.
fn drop_ins(directories: &[Directory<'_>], name: &str) -> Result<Vec<Content>, Error> {
    let (mut listings, mut contents) = (Vec::new(), Vec::new());
    // Of each directory of units all that is for the name, and then of each what is for all mounts (systemd's
    // src/shared/dropin.c, `unit_file_find_dropin_paths`).
    let (own, all) = (mount_unit::drop_in_directories(name), vec![mount_unit::DROP_INS_OF_ALL.to_owned()]);
    for (names_below, Directory { path, root, names: there, .. }) in
        [&own, &all].into_iter().flat_map(|names| directories.iter().map(move |directory| (names, directory)))
    {
        for below in names_below.iter().filter(|below| there.contains(*below)) {
            let directory = format!("{path}/{below}");
            let mut entries = Vec::new();
            for name in names(root, &directory)? {
                let path = format!("{directory}/{name}");
                let content = content(root, &path);
                let kind = match content {
                    Some(Content::Mask) => Kind::Mask,
                    Some(Content::Text(_) | Content::Unreadable) => Kind::File,
                    None => Kind::Other,
                };
                entries.push(Entry { name, kind });
                contents.extend(content.map(|content| (path, content)));
            }
            listings.push(Listing { directory, entries });
        }
    }
    let counting = drop_ins::drop_ins(&listings);
    let content = |path| contents.iter().find(|(of, _)| of == path).map(|(_, content)| content.clone());
    Ok(counting.iter().filter_map(content).collect())
}

/// The names in a directory; none where it is not there.
fn names(root: &Path, path: &str) -> Result<BTreeSet<String>, Error> {
    match open_below(root, path).and_then(|file| directory::names(file, path)) {
        Ok(names) => Ok(names.into_iter().collect()),
        Err(error) if is_absent(&error) => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}

/// What stands in a unit's file; `None` where systemd sees no file there.
fn content(root: &Path, path: &str) -> Option<Content> {
    match open_below(root, path) {
        Ok(file) => read(file).unwrap_or(Some(Content::Unreadable)),
        // A root that nobody runs in yet has nothing in /dev.
        Err(_) if leads_to_null(root, path) => Some(Content::Mask),
        Err(error) if is_absent(&error) => None,
        Err(_) => Some(Content::Unreadable),
    }
}

fn read(file: File) -> io::Result<Option<Content>> {
    let metadata = file.metadata()?;
    if metadata.file_type().is_char_device() && metadata.rdev() == NULL {
        return Ok(Some(Content::Mask));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > LONGEST {
        return Ok(Some(Content::Unreadable));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Content::Mask,
        Ok(text) => Content::Text(text),
        Err(_) => Content::Unreadable,
    }))
}

/// Whether the links at a path end at /dev/null, which need not be there.
fn leads_to_null(root: &Path, path: &str) -> bool {
    let mut path = PathBuf::from(path);
    for _ in 0..MOST_LINKS {
        let link = path.to_str().and_then(|path| link_below(root, path).ok());
        let (Some(target), Some(directory)) = (link, path.parent()) else { return false };
        path = straight(&directory.join(target));
        if path == Path::new("/dev/null") {
            return true;
        }
    }
    false
}

/// An absolute path without `..`; above the root is the root.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(straight.pop()),
            Component::Normal(name) => straight.push(name),
            _ => {}
        }
    }
    straight
}

fn is_absent(error: &sys::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.source.kind())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use crate::plan::new_mounts::Told;

    use super::*;

    /// A tree of files, and links, whose text begins with `-> `.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        tree
    }

    fn told(new: &[(&str, &str)], running: &[(&str, &str)]) -> String {
        let (new, running) = (tree(new), tree(running));
        let mount = Mount::parse(br"36 35 8:1 / /srv/a-b rw - ext4 /dev/sda1 rw").unwrap();
        let found = look_with_run(new.path(), running.path(), &[mount]).unwrap();
        match found.at("/srv/a-b") {
            Told::Mount(entry) => format!("{} {}", entry.what, entry.options),
            other => format!("{other:?}"),
        }
    }

    const NAME: &str = r"srv-a\x2db.mount";

    #[test]
    fn units_of_a_root() {
        let in_directory = |directory: &str| format!("{directory}/systemd/system/{NAME}");
        let (etc, run, usr) = (&*in_directory("etc"), &*in_directory("run"), &*in_directory("usr/lib"));
        let (a, b) = ("[Mount]\nWhat=a\n", "[Mount]\nWhat=b\n");
        let fstab = ("etc/fstab", "f /srv/a-b ext4\n");
        for (new, running, expected) in [
            (&[][..], &[][..], "Nothing"),
            (&[(usr, a)], &[], "a "),
            (&[(usr, a), fstab], &[], "f "),
            (&[(etc, a), fstab], &[], "a "),
            // The /run of the running system comes along, and not its /etc; what an image has in /run is hidden.
            (&[(run, a), fstab], &[], "f "),
            (&[fstab], &[(run, b)], "b "),
            (&[fstab], &[(etc, b)], "f "),
            (&[(etc, ""), fstab], &[], "Masked"),
            (&[(etc, "-> /dev/null"), fstab], &[], "Masked"),
            (&[(etc, "-> ../../../dev/null"), fstab], &[], "Masked"),
            (&[(etc, "-> one"), ("etc/systemd/system/one", "-> /dev/null"), fstab], &[], "Masked"),
            (&[fstab], &[(run, "-> /dev/null")], "Masked"),
            (&[(etc, "-> /nowhere"), (usr, a)], &[], "a "),
            (&[(etc, "-> /opt/x.mount"), ("opt/x.mount", b), (usr, a)], &[], "b "),
            (&[(etc, "-> /../../etc/os-release"), (usr, a)], &[], "a "),
            (&[(etc, "-> ."), (usr, a)], &[], "a "),
            (&[(etc, &format!("-> {NAME}")), (usr, a)], &[], "Unclear"),
            (&[("etc/systemd", "no directory"), (usr, a)], &[], "a "),
            (&[("lib", "-> usr/lib"), (usr, a)], &[], "a "),
            (&[("etc/systemd/system", "-> /opt/units"), (&format!("opt/units/{NAME}"), b)], &[], "b "),
        ] {
            assert_eq!(told(new, running), expected, "{new:?} {running:?}");
        }
    }

    #[test]
    fn drop_ins_of_a_root() {
        let drop_in =
            |directory: &str, of: &str, name: &str| format!("{directory}/systemd/system/{of}.d/{name}");
        let usr = (&*format!("usr/lib/systemd/system/{NAME}"), "[Mount]\nWhat=a\nOptions=ro\n");
        let options = |text: &str| format!("[Mount]\nOptions={text}\n");
        let (x, y) = (&*options("x"), &*options("y"));
        let own = &*drop_in("usr/lib", NAME, "5.conf");
        let of_srv = &*drop_in("etc", "srv-.mount", "5.conf");
        let of_all = &*drop_in("etc", "mount", "9.conf");
        let of_run = &*drop_in("run", NAME, "5.conf");
        let masked = &*drop_in("etc", NAME, "5.conf");
        for (new, running, expected) in [
            (&[usr][..], &[][..], "a ro"),
            (&[usr, (own, x)], &[], "a x"),
            (&[usr, (of_srv, y)], &[], "a y"),
            (&[usr, (of_srv, y), (own, x)], &[], "a y"),
            (&[usr, (of_all, y), (own, x)], &[], "a y"),
            (&[usr, (own, x)], &[(of_run, y)], "a y"),
            (&[usr, (own, x), (masked, "-> /dev/null")], &[], "a ro"),
            (&[("etc/fstab", "f /srv/a-b ext4 ro\n"), (own, x)], &[], "f x"),
            (&[(own, x)], &[], "Nothing"),
            (&[usr, (own, "-> 5.conf")], &[], "Unclear"),
        ] {
            assert_eq!(told(new, running), expected, "{new:?} {running:?}");
        }
    }
}
