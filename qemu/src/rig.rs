//! What the machines of a run share: the binaries under test, the logs, and what runs guests here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Outcome, cache, image, initrd,
    machine::{Accel, Clock, Console, Event, Machine},
    parallel,
    progress::Progress,
    saved::{Beginning, Saved},
    scenario::{Boot, Scenario},
    tree::{self, Tree},
};

/// What all machines of a run share.
#[derive(Debug)]
pub(crate) struct Rig {
    /// The binaries under test.
    pub(crate) dist: PathBuf,
    /// How many processors a machine has.
    pub(crate) processors: u8,
    logs: PathBuf,
    counter: AtomicU64,
    accel: OnceLock<Accel>,
    saved: Mutex<BTreeMap<Beginning, Arc<Saved>>>,
}

impl Rig {
    /// A rig for the binaries in `dist`.
    pub(crate) fn new(dist: PathBuf, processors: u8) -> Outcome<Self> {
        let logs = cache::directory().join("logs");
        fs::create_dir_all(&logs)?;
        cache::forget_logs(&logs)?;
        let logs = fs::canonicalize(logs)?.join(format!("run-{}", std::process::id()));
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs)?;
        let saved = Mutex::default();
        Ok(Self { dist, processors, logs, counter: AtomicU64::new(0), accel: OnceLock::new(), saved })
    }

    /// Makes what the scenarios need.
    pub(crate) fn prepare(&self, scenarios: &[&Scenario], progress: &Progress) -> Outcome<()> {
        let boots = || scenarios.iter().flat_map(|scenario| &scenario.boot);
        let kernels: BTreeSet<&str> = boots().map(|boot| boot.kernel.as_str()).collect();
        let images: BTreeSet<&str> =
            boots().flat_map(|boot| &boot.disks).map(|disk| disk.image.as_str()).collect();
        // The others are made with it.
        tree::get("tools", progress)?;
        let make = |(is_tree, name): &(bool, &str)| match is_tree {
            true => tree::get(name, progress).map(drop),
            false => image::get(name, &self.dist, progress).map(drop),
        };
        let kernels = kernels.into_iter().map(|name| (true, name));
        let all: Vec<(bool, &str)> = kernels.chain(images.into_iter().map(|name| (false, name))).collect();
        parallel::map(&all, 2, make).into_iter().collect::<Outcome<()>>()?;
        self.save(boots(), progress)
    }

    /// Boots and saves the machines that several scenarios go on from.
    fn save<'a>(&self, boots: impl Iterator<Item = &'a Boot>, progress: &Progress) -> Outcome<()> {
        let mut users: BTreeMap<Beginning, Vec<&Boot>> = BTreeMap::new();
        for boot in boots {
            if let Some(beginning) = Beginning::of(boot) {
                users.entry(beginning).or_default().push(boot);
            }
        }
        let several: Vec<(Beginning, &Boot)> = users
            .into_iter()
            .filter_map(|(beginning, boots)| match boots.as_slice() {
                [boot, _, ..] => Some((beginning, *boot)),
                _ => None,
            })
            .collect();
        // Those of one that does not come up boot by themselves, and fail by their names.
        let made = parallel::map(&several, 2, |(beginning, boot)| {
            progress.say(&format!("booting {beginning} for several scenarios"));
            let saved = Saved::make(self, boot, progress);
            let told = saved.inspect_err(|error| progress.line(&format!("{beginning}: not saved: {error}")));
            Some((beginning.clone(), Arc::new(told.ok()?)))
        });
        let made = made.into_iter().flatten().collect();
        *self.saved.lock().map_err(|_| "a thread that saved machines has panicked")? = made;
        Ok(())
    }

    /// The machine that a boot may go on from.
    pub(crate) fn saved(&self, boot: &Boot) -> Option<Arc<Saved>> {
        self.saved.lock().ok()?.get(&Beginning::of(boot)?).cloned()
    }

    /// KVM, where it was seen to run a guest. A /dev/kvm may be there and not: on nested hosts it is.
    pub(crate) fn accel(&self, tools: &Tree, kernel: &Tree) -> Accel {
        *self.accel.get_or_init(|| {
            let there = Path::new("/dev/kvm").exists();
            match there && self.kvm_boots(tools, kernel).unwrap_or(false) {
                true => Accel::Kvm,
                false => Accel::Tcg,
            }
        })
    }

    /// Boots a kernel without anything else, which has to get as far as missing its root.
    fn kvm_boots(&self, tools: &Tree, kernel: &Tree) -> Outcome<bool> {
        const LIMIT: Duration = Duration::from_secs(10);
        let work = self.work("kvm")?;
        fs::hard_link(initrd::unpacked_kernel(kernel), work.join("kernel"))?;
        let direct = Some("console=ttyS0 panic=-1".to_owned());
        let machine = Machine {
            tools,
            work: &work,
            disks: Vec::new(),
            memory: 1024,
            processors: 1,
            watchdog: false,
            clock: Clock::Host,
            bare: false,
            payload: false,
            resets: false,
            ports: Vec::new(),
            direct,
            secure_boot: false,
            accel: Accel::Kvm,
            incoming: false,
        };
        let running = machine.start(Console::Log)?;
        let end = Instant::now() + LIMIT;
        loop {
            match running.next(end) {
                Event::Line(line) if line.contains("Unable to mount root fs") => return Ok(true),
                Event::Line(_) => {}
                Event::End | Event::Timeout => return Ok(false),
            }
        }
    }

    /// A new working directory, under the logs.
    pub(crate) fn work(&self, name: &str) -> Outcome<PathBuf> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let work = self.logs.join(format!("{number:03}-{name}"));
        fs::create_dir_all(&work)?;
        Ok(work)
    }
}
