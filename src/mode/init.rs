//! The init role: PID 1 of an initramfs, from an empty machine to the real init.

use std::{
    convert::Infallible,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    format::{
        self,
        config::initramfs::Config,
        kernel::{cmdline::CommandLine, modindex::ModuleIndex},
    },
    plan::{
        Plan, Step,
        boot::{self, Decision},
        intent::{self, Emergency, From, Intent, Verbosity},
    },
    run::{
        boot::{
            api,
            modules::{self, Loader},
            record::{Boot, DIRECTORY},
        },
        execute::{self, Executor, said},
        log::Log,
        machine,
        probe::{self, Prober},
    },
};

use super::emergency::{self, Progress};

/// Where mkinitrd leaves the module index.
pub const INDEX: &str = "/etc/nextroot/modules";
/// Where mkinitrd leaves the configuration, if there is one.
pub const CONFIG: &str = "/etc/nextroot/nextroot.conf";
/// What the kernel starts when it needs a module: a symbolic link to this program.
const MODPROBE: &str = "/sbin/modprobe";
/// What a build says at its start, and mkinitrd looks for in it: that certificates are checked with.
pub const CHECKS_SIGNATURES: &str = "+SIGNATURES";
/// What this build says.
const FEATURES: &str = if cfg!(feature = "signatures") { CHECKS_SIGNATURES } else { "-SIGNATURES" };
/// How long nothing is said about a wait.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a wait is named after that.
const REMINDER: Duration = Duration::from_secs(10);
/// How long drivers may take that nobody needs, where devices are waited for without end.
const TO_FINISH: Duration = Duration::from_secs(90);

/// Why there is no root. Each ends the boot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API file systems.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// What the machine says of itself.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The module index.
    #[error("read the module index {INDEX}: make the initramfs anew with mkinitrd")]
    Index(#[source] format::kernel::modindex::Error),
    /// The configuration.
    #[error("read the configuration {CONFIG} of this initramfs")]
    Config(#[source] format::config::initramfs::Error),
    /// The kernel command line.
    #[error(transparent)]
    Intent(#[from] intent::Error),
    /// Modules that were named on the command line.
    #[error(transparent)]
    Modules(#[from] modules::Error),
    /// Devices.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// What was found cannot be what was asked for.
    #[error(transparent)]
    Refused(#[from] boot::Error),
    /// Devices that did not come.
    #[error("{waiting}{}; gave up after {} s: is the disk attached, and its driver in this initramfs (mkinitrd --list)?", said(.kernel), .limit.as_secs())]
    Timeout {
        /// What was awaited, and what was seen.
        waiting: String,
        /// What disks did not give to the kernel.
        kernel: Vec<String>,
        /// `rd.timeout=`
        limit: Duration,
    },
    /// A step.
    #[error(transparent)]
    Execute(#[from] execute::Error),
}

/// Boots. `start` is the time of the first instruction, `arguments` are those that the kernel gave. Where
/// there is no root to boot, it ends the machine's run.
pub fn run(start: Instant, arguments: Vec<String>) -> ! {
    let mounted = api::mount_all();
    let log = Arc::new(Log::open(start));
    emergency::on_panic(&log);
    let mut progress = Progress::default();
    let Err(error) = mounted.map_err(Error::from).and_then(|()| boot(&log, arguments, &mut progress));
    emergency::end(&log, &error, &progress)
}

fn boot(log: &Arc<Log>, arguments: Vec<String>, progress: &mut Progress) -> Result<Infallible, Error> {
    log.info(&format!("nextroot {} {FEATURES} begins", env!("CARGO_PKG_VERSION")));
    let kernel_time = machine::since_boot().saturating_sub(log.elapsed());
    let intent = intent(&mut progress.emergency)?;
    log.set_debug(intent.verbosity == Verbosity::Debug);
    for note in &intent.notes {
        log.warning(note);
    }

    let mut prober = Prober::listen(Arc::clone(log))?;
    let helper = machine::take_module_requests(MODPROBE)?;
    let loader = start_loading(&intent, log)?;
    prober.scan(&loader)?;
    if needs_loader_partition(&intent) {
        prober.facts_mut().loader_partition = machine::loader_partition()?;
    }
    prober.idle_for(&loader, intent.delay)?;
    let plan = await_plan(&intent, &mut prober, &loader, log)?;
    loader.offer(&intent.modules.last);

    let mut record = Boot::new(kernel_time, intent.notes.clone());
    let mut executor = Executor::new(Some(&loader), arguments);
    let total = plan.steps.len();
    for (index, step) in plan.steps.iter().enumerate() {
        progress.reached = Some((plan.clone(), index));
        log.info(&format!("{}/{total} {step}", index + 1));
        if matches!(step, Step::MoveApi { .. }) {
            finish_loading(&mut prober, &loader, intent.timeout, log)?;
        }
        if matches!(step, Step::Exec) {
            machine::give_module_requests_back(&helper);
            if let Err(error) = record.write(Path::new(DIRECTORY)) {
                log.warning(&format!("{DIRECTORY}/boot.json: {error}, ignoring: the root itself is fine"));
            }
        }
        let begin = log.elapsed();
        executor.execute(step)?;
        for note in executor.take_notes() {
            log.info(&note);
            record.note(note);
        }
        if let Step::OpenVerity(open) = step {
            record.opened(open, executor.checked(&open.name));
        }
        record.add(step.to_string(), begin, log.elapsed());
    }
    Err(execute::Error::Plan { what: "an init to execute".to_owned() }.into())
}

/// What is asked for, by the kernel command line and the configuration of this initramfs.
fn intent(emergency: &mut Emergency) -> Result<Intent, Error> {
    let line = CommandLine::parse(&machine::command_line()?);
    *emergency = Emergency::of(&line, &Config::default());
    let config = match machine::read(CONFIG)? {
        Some(text) => Config::parse(&text, CONFIG).map_err(Error::Config)?,
        None => Config::default(),
    };
    *emergency = Emergency::of(&line, &config);
    Ok(Intent::resolve(&line, &config)?)
}

/// Modules that may be loaded, by the index, under the rules of the command line.
pub(super) fn loader(intent: &intent::Modules, log: &Arc<Log>) -> Result<Loader, Error> {
    let index = machine::read(INDEX)?.unwrap_or_default();
    let index = ModuleIndex::parse(&index).map_err(Error::Index)?;
    Ok(Loader::start(index, intent.clone(), Arc::clone(log))?)
}

/// Begins with what the command line names and what any plan for this intent needs, while devices are
/// still looked for.
fn start_loading(intent: &Intent, log: &Arc<Log>) -> Result<Loader, Error> {
    let loader = loader(&intent.modules, log)?;
    // These lists are for the booted system, too, and mean the same to both (systemd-modules-load(8)): what is not here is no reason
    // not to boot.
    for name in &intent.modules.first {
        if let Err(error) = loader.load(std::slice::from_ref(name)) {
            log.warning(&format!("{error}, ignoring"));
        }
    }
    loader.offer(&intent.modules.load);
    loader.request(&boot::modules(intent))?;
    loader.request_always();
    Ok(loader)
}

/// Waits for drivers that are still at it: executing the init would kill them where they are, and wait until that is done.
fn finish_loading(
    prober: &mut Prober,
    loader: &Loader,
    limit: Option<Duration>,
    log: &Log,
) -> Result<(), Error> {
    let begun = Instant::now();
    let end = begun + limit.unwrap_or(TO_FINISH);
    let mut speak = end.min(begun + PATIENCE);
    while !loader.is_idle() {
        let now = Instant::now();
        if now >= speak {
            let is_over = now >= end;
            let how = if is_over { "not done in time, ignoring:" } else { "waited for:" };
            log.warning(&["drivers ", how, &loader.loading()].concat());
            if is_over {
                break;
            }
            speak = end.min(now + REMINDER);
        }
        prober.wait(loader, Some(speak - now))?;
    }
    Ok(())
}

fn needs_loader_partition(intent: &Intent) -> bool {
    let auto = |fs: &intent::FileSystem| matches!(fs.from, From::GptAuto | From::Dissect(_));
    auto(&intent.root) || intent.usr.as_ref().is_some_and(auto)
}

/// Waits until everything is there that the plan needs, and until the drivers of devices that were there
/// from the start have said what they found, so that a second device of the same name is not overlooked.
fn await_plan(intent: &Intent, prober: &mut Prober, loader: &Loader, log: &Log) -> Result<Plan, Error> {
    let begun = Instant::now();
    let mut speak = begun + PATIENCE;
    loop {
        let idle = loader.is_idle();
        prober.take_in(loader)?;
        let settled = idle && loader.is_idle() || begun.elapsed() > PATIENCE;
        let waiting = match boot::decide(intent, prober.facts()) {
            Decision::Read(wanted) => {
                prober.read(&wanted);
                continue;
            }
            Decision::Go(plan) if settled => return Ok(plan),
            Decision::Refuse(error) if settled => return Err(error.into()),
            Decision::Go(_) | Decision::Refuse(_) => {
                "waiting for drivers to look at their devices".to_owned()
            }
            Decision::Wait(wants) => boot::waiting(&wants, prober.facts(), &loader.failures()),
        };
        let now = Instant::now();
        let deadline = intent.timeout.map(|limit| begun + limit);
        if let (Some(deadline), Some(limit)) = (deadline, intent.timeout)
            && now >= deadline
        {
            return Err(Error::Timeout { waiting, kernel: probe::read_errors(), limit });
        }
        if now >= speak {
            log.warning(&waiting);
            speak = now + REMINDER;
        }
        let until = deadline.map_or(speak, |deadline| deadline.min(speak));
        prober.wait(loader, Some(until - now))?;
    }
}
