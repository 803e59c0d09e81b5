//! Reads a new root ahead: which files of the running root are in memory is asked of the kernel, and the same of the new one
//! are read, through verity, in the order in which they lie on the device.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{inspect, staging};
use crate::{
    format::{
        config::prewarm::Prewarm,
        kernel::{meminfo, process},
    },
    plan::prewarm::{FIRST, InMemory, LEAST, Limit, Prewarmed, Read, order, share},
    run::{
        execute::{Error, Progress},
        machine,
        tree::Tree,
    },
    sys::{
        file::{LastLink, RegularFile},
        page_cache, process as this_process,
        root::open_below,
        termination,
    },
    units::{Bytes, PAGE_SIZE},
};

/// Of a larger file, only the beginning is asked about: the answer has a byte for each page.
const LONGEST: Bytes = Bytes(1 << 30);
/// What systemd reads first are small files; of a larger one, what is in memory is read.
const SMALL: Bytes = Bytes(1 << 20);
/// Of a larger program, most is not needed to start it.
const PROGRAM: Bytes = Bytes(16 << 20);
/// How much is read before it is asked again how much memory there is.
const STRIDE: Bytes = Bytes(8 << 20);

/// Reads ahead from the root mounted at `new` what is in memory of the one at `old`, as far as `limits` go. Others go
/// before it, on disks and processors. What is mounted below `old` is not touched, but for its /usr: a server may not answer.
///
/// Errors: what cannot be read there would fail the new system, too; and a wish to end.
pub(super) fn run(
    old: &Path,
    new: &Path,
    limits: Prewarm,
    progress: Option<Progress<'_>>,
) -> Result<Prewarmed, Error> {
    let mounts = staging::mounts()?.into_iter().map(|mount| mount.mount_point).collect();
    beside(old, new, &mounts, limits, progress)
}

fn beside(
    old: &Path,
    new: &Path,
    mounts: &BTreeSet<PathBuf>,
    limits: Prewarm,
    progress: Option<Progress<'_>>,
) -> Result<Prewarmed, Error> {
    let begun = Instant::now();
    let aside = || {
        this_process::give_way();
        // Half of the time is left to read what was found.
        let until = begun + Duration::from_secs(limits.timeout_sec) / 2;
        let mut look = Look { old, new, mounts, until, files: BTreeSet::new(), reads: Vec::new() };
        let mut done = look.all(limits, progress)?;
        done.milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(done)
    };
    // A thread of its own, as this one has more to do, and not at leisure.
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, aside) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(_) => Ok(Prewarmed { limit: Some(Limit::Memory), ..Prewarmed::default() }),
    })
}

/// What is found to be read.
struct Look<'a> {
    old: &'a Path,
    new: &'a Path,
    /// Where something is mounted.
    mounts: &'a BTreeSet<PathBuf>,
    until: Instant,
    /// Files of the new root that were looked at: one has several names.
    files: BTreeSet<u64>,
    reads: Vec<Read<Arc<str>>>,
}

impl Look<'_> {
    fn all(&mut self, limits: Prewarm, progress: Option<Progress<'_>>) -> Result<Prewarmed, Error> {
        let available = available();
        if available < LEAST {
            return Ok(Prewarmed { limit: Some(Limit::Memory), ..Prewarmed::default() });
        }
        // What is the running root itself is in memory.
        let is_one = |one: &Path, other: &Path| {
            let inode = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
            inode(one) == inode(other)
        };
        if !is_one(self.old, self.new) {
            FIRST.iter().try_for_each(|(path, _)| self.first(path))?;
            self.directory("/")?;
            self.programs()?;
        }
        // Not all was looked at.
        let late = self.is_late()?.then_some(Limit::Time);
        self.until += Duration::from_secs(limits.timeout_sec) / 2;
        let (reads, left_out) = order(std::mem::take(&mut self.reads), share(available, limits));
        let limit = late.or_else(|| (left_out.0 > 0).then_some(Limit::Share));
        let mut done = Prewarmed { limit, left_out, ..Prewarmed::default() };
        let all = Bytes(reads.iter().map(|read| read.length().0).sum());
        let least = Bytes(available.0 / 2);
        let mut next_question = Bytes(0);
        let mut files = BTreeSet::new();
        for read in &reads {
            if let Some(limit) = self.limit(&mut next_question, done.bytes, least)? {
                done.limit = Some(limit);
                break;
            }
            self.read(read)?;
            files.insert(&read.file);
            done.bytes.0 += read.length().0;
            progress.iter().for_each(|progress| progress(done.bytes, all));
        }
        progress.iter().for_each(|progress| progress(all, all));
        done.files = files.len() as u64;
        done.left_out.0 += all.0 - done.bytes.0;
        Ok(done)
    }

    /// Why it ends here.
    fn limit(&self, next_question: &mut Bytes, done: Bytes, least: Bytes) -> Result<Option<Limit>, Error> {
        if self.is_late()? {
            return Ok(Some(Limit::Time));
        }
        if done < *next_question {
            return Ok(None);
        }
        *next_question = Bytes(done.0 + STRIDE.0);
        Ok((available() < least).then_some(Limit::Memory))
    }

    fn is_late(&self) -> Result<bool, Error> {
        if termination::is_to_end() { Err(Error::Ended) } else { Ok(Instant::now() > self.until) }
    }

    fn read(&self, wanted: &Read<Arc<str>>) -> Result<(), Error> {
        let length = usize::try_from(wanted.length().0).unwrap_or(usize::MAX);
        let read = RegularFile::open_below(self.new, &wanted.file).and_then(|file| {
            page_cache::read_nothing_ahead(&file);
            file.read(wanted.stretch.start, length)
        });
        read.map(drop).map_err(Error::Unreadable)
    }

    /// The files in a directory that systemd reads first.
    fn first(&mut self, path: &str) -> Result<(), Error> {
        for name in Tree::new(self.new).names(path) {
            if self.is_late()? {
                break;
            }
            let path = format!("{path}/{name}");
            if let Some(file) = self.new_file(&path)?.filter(|file| file.size() <= SMALL) {
                self.wanted(&path, &file, &InMemory::Whole);
            }
        }
        Ok(())
    }

    /// What enabled units start, also those that nobody has in memory: the running root may have others.
    fn programs(&mut self) -> Result<(), Error> {
        for path in inspect::programs(self.new) {
            if self.is_late()? {
                break;
            }
            if let Some(file) = self.new_file(&path)?.filter(|file| file.size() <= PROGRAM) {
                self.wanted(&path, &file, &InMemory::Whole);
            }
        }
        Ok(())
    }

    /// What is in memory of the files in a directory and those below it. What the new root has no directory for is none of
    /// its files.
    fn directory(&mut self, path: &str) -> Result<(), Error> {
        let old = self.old.join(below(path));
        if !["/", "/usr"].contains(&path) && self.mounts.contains(&old) {
            return Ok(());
        }
        let new = open_below(self.new, path).ok().and_then(|new| new.metadata().ok());
        if !new.is_some_and(|new| new.is_dir()) {
            return Ok(());
        }
        let Ok(entries) = fs::read_dir(&old) else { return Ok(()) };
        let mut gone = Vec::new();
        let mut links = Vec::new();
        for entry in entries.flatten() {
            if self.is_late()? {
                return Ok(());
            }
            // What is not UTF-8 is nothing that systemd starts.
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
            let at = format!("{}/{name}", path.trim_end_matches('/'));
            if kind.is_dir() {
                self.directory(&at)?;
            } else if kind.is_symlink() {
                links.extend(fs::read_link(entry.path()).map(|target| (at, target)));
            } else if kind.is_file()
                && !self.mounts.contains(&entry.path())
                && let Some(in_memory) = resident(&entry.path())
            {
                match self.new_file(&at)? {
                    Some(file) => self.wanted(&at, &file, &in_memory),
                    None => gone.push((name, in_memory)),
                }
            }
        }
        self.renamed(&gone, &links)
    }

    /// A library of another version has another name, and the same link beside it leads to it.
    fn renamed(&mut self, gone: &[(String, InMemory)], links: &[(String, PathBuf)]) -> Result<(), Error> {
        for (link, target) in links {
            if let Some((_, in_memory)) = gone.iter().find(|(name, _)| target.as_os_str() == name.as_str())
                && let Some(file) = self.new_file(link)?
            {
                self.wanted(link, &file, in_memory);
            }
        }
        Ok(())
    }

    /// A file of the new root; `None` where there is none of that name.
    fn new_file(&self, path: &str) -> Result<Option<RegularFile>, Error> {
        match RegularFile::open_below(self.new, path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_no_file() => Ok(None),
            Err(error) => Err(Error::Unreadable(error)),
        }
    }

    /// Adds what is to be read of a file, unless it is in memory.
    fn wanted(&mut self, path: &str, file: &RegularFile, resident: &InMemory) {
        if !self.files.insert(file.inode().number) {
            return;
        }
        let all = file.size().0.div_ceil(PAGE_SIZE);
        if page_cache::cached_pages(file).is_ok_and(|cached| cached.is_some_and(|cached| cached >= all)) {
            return;
        }
        let path: Arc<str> = path.into();
        let reads = resident.counterpart(file.size()).into_iter().map(|stretch| {
            let place = page_cache::place(file, Bytes(stretch.start));
            Read { file: path.clone(), stretch, place }
        });
        self.reads.extend(reads);
    }
}

/// What is in memory of a file of the running root; `None` where nothing is, or nobody knows.
fn resident(path: &Path) -> Option<InMemory> {
    let file = RegularFile::open(path, LastLink::Refuse).ok()?;
    let asked = file.size().min(LONGEST);
    let in_memory = match page_cache::cached_pages(&file).ok()? {
        Some(0) => return None,
        Some(cached) if cached >= file.size().0.div_ceil(PAGE_SIZE) => InMemory::Whole,
        _ => InMemory::of(&page_cache::pages(&file, asked).ok()?, file.size()),
    };
    (in_memory != InMemory::Parts(Vec::new())).then_some(in_memory)
}

/// A path as it is joined to a root.
fn below(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// What is available now, to the machine and to the control groups that this process is in; nothing where the kernel does not say.
fn available() -> Bytes {
    let text = |path: &str| machine::read(path).ok().flatten().unwrap_or_default();
    let of_machine = meminfo::available(&text("/proc/meminfo")).unwrap_or_default();
    let groups = text("/proc/self/cgroup");
    let group = Path::new(process::control_group(&groups).unwrap_or("/"));
    let left = |group: &Path| {
        let number = |name: &str| {
            let path = Path::new("/sys/fs/cgroup").join(below(&group.to_string_lossy())).join(name);
            text(&path.to_string_lossy()).trim().parse().ok()
        };
        // "max" is no number: it has no limit. Above memory.high it is slowed down, and what it has in memory taken back.
        let most = ["memory.high", "memory.max"].into_iter().filter_map(number).min()?;
        Some(Bytes(u64::saturating_sub(most, number("memory.current")?)))
    };
    group.ancestors().filter_map(left).fold(of_machine, Bytes::min)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::PathBuf};

    use super::*;

    /// Two roots on a disk, as a tmpfs has its files nowhere else; of the new one nothing is in memory.
    struct Roots(tempfile::TempDir);

    impl Roots {
        fn new(files: &[(&str, &str, usize)]) -> Self {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
            fs::create_dir_all(&target).unwrap();
            let roots = Self(tempfile::tempdir_in(target).unwrap());
            for (root, path, pages) in files {
                let path = roots.at(root).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, vec![1; pages * 4096]).unwrap();
                fs::File::open(&path).unwrap().sync_all().unwrap();
                if *root == "new" {
                    let file = RegularFile::open(&path, LastLink::Refuse).unwrap();
                    page_cache::forget(&file);
                    assert!(!page_cache::pages(&file, file.size()).unwrap().contains(&true), "{path:?}");
                }
            }
            roots
        }

        fn at(&self, root: &str) -> PathBuf {
            self.0.path().join(root)
        }

        fn prewarmed(&self, limits: Prewarm) -> Prewarmed {
            run(&self.at("old"), &self.at("new"), limits, None).unwrap()
        }

        /// Pages of the new root's file that are in memory.
        fn resident(&self, path: &str) -> usize {
            let file = RegularFile::open(&self.at("new").join(path), LastLink::Refuse).unwrap();
            page_cache::pages(&file, file.size()).unwrap().into_iter().filter(|page| *page).count()
        }
    }

    #[test]
    fn what_is_in_memory_of_the_old_root_is_read_from_the_new_one() {
        let roots = Roots::new(&[
            ("old", "usr/bin/same", 3),
            ("new", "usr/bin/same", 3),
            ("new", "usr/bin/other", 3),
            ("old", "usr/bin/longer", 2),
            ("new", "usr/bin/longer", 5),
            ("old", "usr/lib/libx.so.1.0", 4),
            ("new", "usr/lib/libx.so.1.1", 4),
            ("old", "var/lib/data", 9),
            ("old", "usr/bin/gone", 1),
            ("new", "usr/lib/systemd/system/a.service", 1),
            ("new", "usr/bin/started", 2),
        ]);
        let wants = roots.at("new").join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        fs::write(wants.join("b.service"), "[Service]\nExecStart=-/usr/bin/started --now\n").unwrap();
        for (root, version) in [("old", "libx.so.1.0"), ("new", "libx.so.1.1")] {
            symlink(version, roots.at(root).join("usr/lib/libx.so.1")).unwrap();
        }
        let done = roots.prewarmed(Prewarm::default());
        assert_eq!((done.files, done.bytes, done.limit), (5, Bytes(15 * 4096), None), "{done:?}");
        for (path, pages) in [
            ("usr/bin/same", 3),
            ("usr/bin/other", 0),
            ("usr/bin/longer", 5),
            ("usr/lib/libx.so.1.1", 4),
            ("usr/lib/systemd/system/a.service", 1),
            ("usr/bin/started", 2),
        ] {
            assert_eq!(roots.resident(path), pages, "{path}");
        }
        // What is in memory is not read again.
        assert_eq!(roots.prewarmed(Prewarm::default()).files, 0);
    }

    #[test]
    fn nothing_is_touched_where_something_is_mounted() {
        let file = |root, path| (root, path, 3);
        let roots = Roots::new(&[
            file("old", "usr/bin/file"),
            file("new", "usr/bin/file"),
            file("old", "srv/file"),
            file("new", "srv/file"),
            file("old", "file"),
            file("new", "file"),
        ]);
        let mounts = ["usr", "srv", "file"].map(|at| roots.at("old").join(at)).into_iter().collect();
        let done = beside(&roots.at("old"), &roots.at("new"), &mounts, Prewarm::default(), None).unwrap();
        assert_eq!(done.files, 1, "{done:?}");
        assert_eq!((roots.resident("usr/bin/file"), roots.resident("srv/file")), (3, 0));
    }

    #[test]
    fn links_of_the_new_root_stay_inside() {
        let roots = Roots::new(&[
            ("old", "usr/lib/systemd/a", 3),
            ("new", "usr/lib/other/a", 3),
            ("else", "a", 3),
            ("new", "file", 1),
        ]);
        // On the running system it leads to another directory than in the new root.
        let outside = roots.at("else");
        symlink(&outside, roots.at("new").join("usr/lib/systemd")).unwrap();
        assert_eq!(roots.prewarmed(Prewarm::default()).files, 0);
        let inside = roots.at("new").join(below(outside.to_str().unwrap()));
        fs::create_dir_all(&inside).unwrap();
        fs::rename(roots.at("new").join("usr/lib/other/a"), inside.join("a")).unwrap();
        assert_eq!(roots.prewarmed(Prewarm::default()).files, 1);
    }

    #[test]
    fn only_so_much_time() {
        let roots = Roots::new(&[("old", "file", 3), ("new", "file", 3)]);
        let done = roots.prewarmed(Prewarm { timeout_sec: 0, ..Prewarm::default() });
        assert_eq!((done.files, done.limit), (0, Some(Limit::Time)));
        assert_eq!(roots.resident("file"), 0);
    }

    #[test]
    fn nothing_is_read_where_both_are_one() {
        let roots = Roots::new(&[("old", "file", 3)]);
        let old = roots.at("old");
        assert_eq!(run(&old, &old, Prewarm::default(), None).unwrap().files, 0);
    }
}
