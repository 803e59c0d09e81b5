//! Loads kernel modules: each after what it needs, several at a time, while the caller does other work.
//!
//! Checking a module's signature costs tens of millions of instructions, so modules that do not need each
//! other are loaded by different threads, and only what a device, a step or the kernel asks for is loaded.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{
    format::kernel::modindex::{ModuleId, ModuleIndex},
    plan::intent,
    sys::{self, eventfd::Wakeup, kernel, module},
};

use crate::run::log::Log;

/// Modules that were asked for and cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither in the initramfs nor built in.
    #[error(
        "module {name} is neither in this initramfs nor built into the kernel: rebuild it with mkinitrd --add-driver {name}"
    )]
    Missing {
        /// The name.
        name: String,
    },
    /// Forbidden by `module_blacklist=` or `rd.driver.blacklist=`.
    #[error("module {name} is blacklisted on the kernel command line")]
    Blacklisted {
        /// The name.
        name: String,
    },
    /// The kernel refused it.
    #[error("load module {name}")]
    Refused {
        /// The name.
        name: String,
        /// The kernel's answer.
        #[source]
        source: Arc<sys::Error>,
    },
    /// Something that it needs is not there.
    #[error("module {name} needs {needs}, which could not be loaded")]
    Needs {
        /// The name.
        name: String,
        /// The other module.
        needs: String,
    },
    /// No thread or wake-up could be made.
    #[error("start loading modules")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Loads modules in the background.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    index: ModuleIndex,
    /// What of it applies to every load: what is never loaded, and parameters.
    rules: intent::Modules,
    log: Arc<Log>,
    state: Mutex<State>,
    changed: Condvar,
    idle: Wakeup,
}

#[derive(Debug, Default)]
struct State {
    modules: Vec<Progress>,
    ready: VecDeque<ModuleId>,
    /// Asked for and not finished.
    pending: usize,
}

#[derive(Clone, Debug, Default)]
enum Progress {
    #[default]
    Unasked,
    /// Waits for so many others.
    Waiting(usize),
    Loaded,
    Failed(Failure),
}

#[derive(Clone, Debug)]
enum Failure {
    Blacklisted,
    Refused(Arc<sys::Error>),
    Needs(ModuleId),
}

impl Loader {
    /// Starts the threads: one a CPU and one more, since a driver that looks for its devices may sleep.
    pub fn start(index: ModuleIndex, rules: intent::Modules, log: Arc<Log>) -> Result<Self, Error> {
        let idle = Wakeup::new().map_err(|e| Error::Start(e.into()))?;
        let state = State { modules: vec![Progress::Unasked; index.modules.len()], ..State::default() };
        let shared =
            Arc::new(Shared { index, rules, log, state: Mutex::new(state), changed: Condvar::new(), idle });
        let threads = kernel::processors() + 1;
        for _ in 0..threads.min(8) {
            let shared = Arc::clone(&shared);
            let work = move || shared.work();
            thread::Builder::new().stack_size(256 << 10).spawn(work).map_err(|e| Error::Start(e.into()))?;
        }
        Ok(Self { shared })
    }

    /// Asks for what drives a device, by its modalias; unknown ones are other people's devices.
    pub fn request_alias(&self, modalias: &str) {
        let ids: Vec<ModuleId> = self.shared.index.matching(modalias).collect();
        self.shared.request(&ids);
    }

    /// Asks for what the index says is loaded whatever the devices.
    pub fn request_always(&self) {
        self.shared.request(&self.shared.index.always);
    }

    /// Asks for modules by name; those that are built in need nothing.
    pub fn request(&self, names: &[String]) -> Result<(), Error> {
        self.find(names).map(|found| self.shared.request(&found.concat()))
    }

    /// Asks for those that are here; of the others it is told that they are not.
    pub fn offer(&self, names: &[String]) {
        for name in names {
            if let Err(error) = self.request(std::slice::from_ref(name)) {
                self.shared.log.warning(&format!("{error}, ignoring"));
            }
        }
    }

    /// Asks for modules and waits until they are there. Of several that answer to one name, one is enough:
    /// the others may be for other CPUs.
    pub fn load(&self, names: &[String]) -> Result<(), Error> {
        let found = self.find(names)?;
        self.shared.request(&found.concat());
        found.into_iter().try_for_each(|ids| {
            let (loaded, failed): (Vec<_>, Vec<_>) =
                ids.into_iter().map(|id| self.shared.wait(id)).partition(Result::is_ok);
            if loaded.is_empty() { failed.into_iter().collect() } else { Ok(()) }
        })
    }

    /// Whether nothing that was asked for is still on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.idle.take();
        self.shared.lock().pending == 0
    }

    /// Modules on their way, by name.
    #[must_use]
    pub fn loading(&self) -> String {
        let mut names = String::new();
        for (progress, module) in self.shared.lock().modules.iter().zip(&self.shared.index.modules) {
            if matches!(progress, Progress::Waiting(_)) {
                names.push(' ');
                names.push_str(&module.name);
            }
        }
        names
    }

    /// Becomes readable when the last module on its way is done.
    #[must_use]
    pub fn idle(&self) -> BorrowedFd<'_> {
        self.shared.idle.as_fd()
    }

    /// Drivers that the kernel refused, as far as anybody asked: a device that does not appear may be theirs.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let state = self.shared.lock();
        let failed = state.modules.iter().zip(&self.shared.index.modules);
        failed
            .filter_map(|(progress, module)| match progress {
                Progress::Failed(Failure::Refused(error)) => Some(match std::error::Error::source(error) {
                    Some(source) => format!("{}: {source}", module.name),
                    None => module.name.clone(),
                }),
                Progress::Failed(Failure::Blacklisted) => Some(format!("{}: blacklisted", module.name)),
                _ => None,
            })
            .collect()
    }

    /// For each name that is not built in, the modules that answer to it.
    fn find(&self, names: &[String]) -> Result<Vec<Vec<ModuleId>>, Error> {
        let index = &self.shared.index;
        let wanted = names.iter().map(|name| (name, index.find(name)));
        wanted
            .filter(|(name, found)| !found.is_empty() || !index.is_builtin(name))
            .map(|(name, found)| match found.as_slice() {
                [] => Err(Error::Missing { name: name.clone() }),
                _ => Ok(found),
            })
            .collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues modules with all that they need. There are no cycles: in an index, what a module needs stands
    /// above it.
    fn request(&self, ids: &[ModuleId]) {
        let mut state = self.lock();
        let mut todo: Vec<ModuleId> = ids.to_vec();
        while let Some(id) = todo.pop() {
            let Some(module) = self.index.get(id) else { continue };
            if !matches!(state.get(id), Progress::Unasked) {
                continue;
            }
            let waits_for = module.before().filter(|other| !state.get(*other).is_done()).count();
            state.set(id, Progress::Waiting(waits_for));
            state.pending += 1;
            if waits_for == 0 {
                state.ready.push_back(id);
            }
            todo.extend(module.before().chain(module.post.iter().copied()));
        }
        drop(state);
        self.changed.notify_all();
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            let Some(id) = state.ready.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let verdict = self.verdict(&state, id);
            drop(state);
            let outcome = verdict.and_then(|()| self.load(id));
            state = self.lock();
            state.set(id, outcome.map_or_else(Progress::Failed, |()| Progress::Loaded));
            state.pending -= 1;
            if state.pending == 0 {
                self.idle.raise();
            }
            self.release(&mut state, id);
            self.changed.notify_all();
        }
    }

    /// Counts a finished module off wherever it was waited for.
    fn release(&self, state: &mut State, done: ModuleId) {
        for (id, module) in self.index.iter() {
            let times = module.before().filter(|other| *other == done).count();
            if let (1.., Progress::Waiting(left @ 1..)) = (times, state.get(id)) {
                let left = left.saturating_sub(times);
                state.set(id, Progress::Waiting(left));
                if left == 0 {
                    state.ready.push_back(id);
                }
            }
        }
    }

    /// Whether a module whose turn it is may be loaded.
    fn verdict(&self, state: &State, id: ModuleId) -> Result<(), Failure> {
        let Some(module) = self.index.get(id) else { return Ok(()) };
        if self.rules.blacklist.contains(&module.name) {
            return Err(Failure::Blacklisted);
        }
        match module.needs.iter().find(|need| matches!(state.get(**need), Progress::Failed(_))) {
            Some(need) => Err(Failure::Needs(*need)),
            None => Ok(()),
        }
    }

    fn load(&self, id: ModuleId) -> Result<(), Failure> {
        let Some(module) = self.index.get(id) else { return Ok(()) };
        // The kernel takes the last of two values: the command line's.
        let asked = self.rules.parameters.get(&module.name).map_or(&[][..], Vec::as_slice);
        let parameters = [std::slice::from_ref(&module.options), asked].concat().join(" ");
        let begun = self.log.elapsed();
        let outcome = module::load(Path::new(&module.path), parameters.trim());
        self.log.debug(|| {
            let took = (self.log.elapsed() - begun).as_micros();
            format!("module {}: {outcome:?} in {took} us", module.name)
        });
        outcome.map(drop).map_err(|error| Failure::Refused(Arc::new(error)))
    }

    fn wait(&self, id: ModuleId) -> Result<(), Error> {
        let name = |id| self.index.get(id).map_or_else(String::new, |module| module.name.clone());
        let mut state = self.lock();
        loop {
            match state.get(id) {
                Progress::Loaded | Progress::Unasked => return Ok(()),
                Progress::Waiting(_) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
                Progress::Failed(failure) => {
                    let name_of = name(id);
                    return Err(match failure {
                        Failure::Blacklisted => Error::Blacklisted { name: name_of },
                        Failure::Refused(source) => Error::Refused { name: name_of, source },
                        Failure::Needs(need) => Error::Needs { name: name_of, needs: name(need) },
                    });
                }
            }
        }
    }
}

impl State {
    fn get(&self, id: ModuleId) -> Progress {
        self.modules.get(id.index()).cloned().unwrap_or_default()
    }

    fn set(&mut self, id: ModuleId, progress: Progress) {
        if let Some(place) = self.modules.get_mut(id.index()) {
            *place = progress;
        }
    }
}

impl Progress {
    fn is_done(&self) -> bool {
        matches!(self, Self::Loaded | Self::Failed(_))
    }
}
