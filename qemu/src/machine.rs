//! A QEMU process: what it is made of, what its console says, and its end.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{Outcome, payload, sandbox, scenario::Bus, secure_boot, tree::Tree};

/// All that QEMU can emulate, but the promise that a string is copied and filled fast byte by byte: kernel and libc believe it,
/// and TCG, which goes through each byte, takes a quarter more time for a soft reboot.
const CPU: &str = "max,-erms,-fsrm,-fsrs,-fzrm";

/// A machine, before it is started. Files are names in its working directory.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    /// The tree with QEMU in it.
    pub(crate) tools: &'a Tree,
    /// The working directory.
    pub(crate) work: &'a Path,
    /// Its disks.
    pub(crate) disks: Vec<Drive>,
    /// Its memory, in MiB.
    pub(crate) memory: u64,
    /// How many processors it has; one where its clock counts instructions.
    pub(crate) processors: u8,
    /// Whether it has a hardware watchdog.
    pub(crate) watchdog: bool,
    /// What its clock goes by.
    pub(crate) clock: Clock,
    /// Whether it has nothing but its disks: no controller that they are not attached to.
    pub(crate) bare: bool,
    /// Whether it has a disk with a script.
    pub(crate) payload: bool,
    /// Whether it goes on where it is reset.
    pub(crate) resets: bool,
    /// Ports of this host at which ports of its own are reached.
    pub(crate) ports: Vec<Port>,
    /// Kernel and initramfs, and their command line; without them it boots by UEFI from the first disk.
    pub(crate) direct: Option<String>,
    /// Whether its firmware is UEFI with Secure Boot on, by the variables that lie in the working directory.
    pub(crate) secure_boot: bool,
    /// What runs the guest's instructions.
    pub(crate) accel: Accel,
    /// Whether it goes on from what was saved in the working directory, with the logs that lie there.
    pub(crate) incoming: bool,
}

/// What a guest's clock goes by: qemu(1), `-icount`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The host's.
    Host,
    /// Instructions, a nanosecond each. Where it waits, the clock goes at once to what it waits for.
    Instructions,
    /// The same. Where it waits, the clock goes on with the host's: for guests that are talked to.
    Talking,
}

/// A port of this host, and the guest's that is reached there.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// At 127.0.0.1.
    pub host: u16,
    /// At the guest's first address.
    pub guest: u16,
}

/// Where a machine is saved to.
pub(crate) const STATE: &str = "state";

/// A disk of a machine.
#[derive(Debug, Default)]
pub(crate) struct Drive {
    /// The file with what is on it.
    pub(crate) file: String,
    /// How it is attached.
    pub(crate) bus: Bus,
    /// Whether it is attached later.
    pub(crate) late: bool,
    /// Whether what the guest writes is kept, in the file.
    pub(crate) kept: bool,
    /// The file with its bad sectors, if it has some.
    pub(crate) errors: Option<String>,
    /// Bytes a second at most.
    pub(crate) rate: Option<u64>,
}

impl Drive {
    /// `-drive` (qemu(1)); bad sectors by blkdebug (docs/devel/testing/blkdebug.rst of QEMU).
    fn option(&self, number: usize) -> String {
        let Self { file, errors, kept, rate, .. } = self;
        let through = errors.as_ref().map_or(String::new(), |errors| format!("blkdebug:/mnt/{errors}:"));
        let snapshot = if *kept { "off" } else { "on" };
        let throttle = rate.map_or(String::new(), |rate| format!(",throttling.bps-total={rate}"));
        let locking = if errors.is_some() { "file.image.locking" } else { "file.locking" };
        format!(
            "if=none,id=d{number},file={through}/mnt/{file},format=raw,snapshot={snapshot},{locking}=off,cache=unsafe{throttle}"
        )
    }
}

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accel {
    /// The host's CPU.
    Kvm,
    /// QEMU itself. One thread for both CPUs: with a thread each, a guest lost the timer of one of them now
    /// and then (RCU stalls, disks that never answer), and two machines at a time keep both cores busy anyway.
    Tcg,
    /// The same with a thread for each, where two at the same time are what is looked at.
    TcgThreads,
}

/// Where a console goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Console {
    /// To us, line by line, and to console.log.
    Log,
    /// To the terminal.
    Terminal,
}

/// A machine that runs. It ends with this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Option<Receiver<String>>,
    qmp: PathBuf,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A line of the console.
    Line(String),
    /// The machine ended.
    End,
    /// The time was over first.
    Timeout,
}

impl Machine<'_> {
    /// Starts it.
    pub(crate) fn start(&self, console: Console) -> Outcome<Running> {
        let mut command = sandbox::command(&self.tools.0, self.work, None, "qemu-system-x86_64")?;
        command.args(self.arguments(console));
        let logged = console == Console::Log;
        if logged {
            let errors = File::create(self.work.join("qemu.log"))?;
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        }
        // It dies with the thread that starts it (prctl(2), PR_SET_PDEATHSIG): the one that will wait for it.
        let mut child = command.spawn()?;
        let lines = match child.stdout.take().filter(|_| logged) {
            Some(output) => {
                let log = File::options().create(true).append(true).open(self.work.join("console.log"))?;
                Some(follow(output, log))
            }
            None => None,
        };
        Ok(Running { child, lines, qmp: self.work.join("qmp") })
    }

    fn arguments(&self, console: Console) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
        let accel = match self.accel {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg,thread=single",
            Accel::TcgThreads => "tcg,thread=multi",
        };
        let counted = match self.clock {
            Clock::Host => None,
            Clock::Instructions => Some("shift=0,sleep=off"),
            Clock::Talking => Some("shift=0,sleep=on"),
        };
        match counted {
            Some(how) => {
                add(&["-accel", "tcg,thread=single", "-smp", "1", "-rtc", "clock=vm", "-icount", how])
            }
            None => add(&["-accel", accel, "-smp", &self.processors.to_string()]),
        }
        let machine = match (self.secure_boot, self.bare) {
            (true, _) => "q35,smm=on",
            (false, true) => "q35,sata=off",
            (false, false) => "q35",
        };
        add(&["-machine", machine, "-cpu", CPU, "-m", &format!("{}M", self.memory)]);
        add(&["-nodefaults", "-display", "none", "-nic", "none"]);
        add(&self.network().iter().map(String::as_str).collect::<Vec<_>>());
        if !self.resets {
            add(&["-no-reboot"]);
        }
        match console {
            Console::Log => add(&["-chardev", "stdio,id=console,signal=off"]),
            Console::Terminal => add(&["-chardev", "stdio,id=console,mux=on,signal=off", "-mon", "console"]),
        }
        add(&[
            "-chardev",
            "file,id=witness,path=/mnt/witness.log,append=on",
            "-serial",
            "chardev:console",
            "-serial",
            "chardev:witness",
            "-qmp",
            "unix:/mnt/qmp,server=on,wait=off",
        ]);
        if !self.bare {
            add(&["-device", "pcie-root-port,id=rp0,chassis=1"]);
        }
        if !self.bare || self.disks.iter().any(|disk| disk.bus == Bus::Scsi) {
            add(&["-device", "virtio-scsi-pci,id=scsi"]);
        }
        if self.watchdog {
            add(&["-device", "i6300esb", "-action", "watchdog=reset"]);
        }
        if self.disks.iter().any(|disk| disk.bus == Bus::Usb) {
            add(&["-device", "qemu-xhci,id=usb"]);
        }
        if let Some(command_line) = &self.direct {
            let kernel = if self.secure_boot { secure_boot::SIGNED } else { "kernel" };
            add(&["-kernel", &format!("/mnt/{kernel}"), "-append", command_line]);
            if self.work.join("initrd").exists() {
                add(&["-initrd", "/mnt/initrd"]);
            }
        }
        add(&self.firmware().iter().map(String::as_str).collect::<Vec<_>>());
        for (number, disk) in self.disks.iter().enumerate() {
            add(&["-drive", &disk.option(number)]);
            let device = match disk.bus {
                _ if disk.late => continue,
                Bus::Virtio => format!("virtio-blk-pci,drive=d{number},bootindex={}", number + 1),
                Bus::Scsi => format!("scsi-hd,drive=d{number},bus=scsi.0"),
                Bus::Nvme => format!("nvme,drive=d{number},serial=n{number}"),
                Bus::Ahci => format!("ide-hd,drive=d{number},bus=ide.{number}"),
                Bus::Usb => format!("usb-storage,drive=d{number},bus=usb.0"),
            };
            add(&["-device", &format!("{device},id=disk{number}")]);
        }
        if self.incoming {
            add(&["-incoming", &format!("file:/mnt/{STATE}")]);
        }
        if self.payload {
            let drive = format!("if=none,id=rig,file=/mnt/{},format=raw,readonly=on", payload::DISK);
            add(&["-drive", &drive, "-device", "virtio-blk-pci,drive=rig,serial=rig"]);
        }
        all
    }
}

impl Machine<'_> {
    /// None, or one that leads nowhere but from this host's ports to the guest's.
    fn network(&self) -> Vec<String> {
        if self.ports.is_empty() {
            return Vec::new();
        }
        let forward = |Port { host, guest }: &Port| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        let ports: String = self.ports.iter().map(forward).collect();
        let network = format!("user,id=net,restrict=on{ports}");
        // Nothing of it is in the firmware, which would look for a system there.
        let device = "virtio-net-pci,netdev=net,romfile=";
        ["-netdev", &network, "-device", device].map(str::to_owned).to_vec()
    }

    /// SeaBIOS, which is QEMU's own choice, or OVMF: two flash devices, for code and variables. Where Secure Boot is on, only
    /// code in system management mode may write the second, as on real machines.
    fn firmware(&self) -> Vec<String> {
        let (code, variables) = match (self.secure_boot, &self.direct) {
            (true, _) => ("OVMF_CODE_4M.secboot.fd", format!("/mnt/{}", secure_boot::VARIABLES)),
            (false, None) => ("OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd".to_owned()),
            (false, Some(_)) => return Vec::new(),
        };
        let flash = |unit: usize, rest: &str| {
            ["-drive".to_owned(), format!("if=pflash,format=raw,unit={unit},{rest}")]
        };
        let mut all = [
            flash(0, &format!("readonly=on,file=/usr/share/OVMF/{code}")),
            flash(1, &format!("snapshot=on,file={variables}")),
        ]
        .concat();
        if self.secure_boot {
            let globals = ["driver=cfi.pflash01,property=secure,value=on", "ICH9-LPC.disable_s3=1"];
            all.extend(globals.iter().flat_map(|global| ["-global".to_owned(), (*global).to_owned()]));
        }
        all
    }
}

fn follow(output: std::process::ChildStdout, mut log: File) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            // A log that cannot be written is noticed when somebody reads it; the verdict does not need it.
            let _ = writeln!(log, "{line}");
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Running {
    /// The next line, until `end`.
    pub(crate) fn next(&self, end: Instant) -> Event {
        let left = end.saturating_duration_since(Instant::now());
        match self.lines.as_ref().map(|lines| lines.recv_timeout(left)) {
            Some(Ok(line)) => Event::Line(line),
            Some(Err(RecvTimeoutError::Timeout)) => Event::Timeout,
            Some(Err(RecvTimeoutError::Disconnected)) | None => Event::End,
        }
    }

    /// Attaches a disk that was left for later.
    pub(crate) fn attach(&self, number: usize) -> Outcome<()> {
        let device = json!({ "driver": "virtio-blk-pci", "drive": format!("d{number}"), "bus": "rp0", "id": format!("disk{number}") });
        self.ask("device_add", &device).map(drop)
    }

    /// Pulls a disk.
    pub(crate) fn pull(&self, number: usize) -> Outcome<()> {
        self.ask("device_del", &json!({ "id": format!("disk{number}") })).map(drop)
    }

    /// Saves it as it is, and ends it.
    pub(crate) fn save(self) -> Outcome<()> {
        // All at once: nobody waits for it meanwhile.
        self.ask(
            "migrate-set-parameters",
            &json!({ "max-bandwidth": 1_u64 << 40, "downtime-limit": 600_000 }),
        )?;
        self.ask("migrate", &json!({ "uri": format!("file:/mnt/{STATE}") }))?;
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.ask("query-migrate", &json!({}))?;
            match answer.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") | None => {
                    return Err(format!("the machine was not saved: {answer}").into());
                }
                _ if Instant::now() > end => return Err("the machine was not saved in time".into()),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Ends it at once.
    pub(crate) fn cut_power(&mut self) -> Outcome<()> {
        Ok(self.child.kill()?)
    }

    /// Asks QEMU for something (docs/interop/qmp-spec.rst of QEMU), and gives its answer.
    fn ask(&self, command: &str, arguments: &Value) -> Outcome<Value> {
        let mut stream = UnixStream::connect(&self.qmp)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answers = BufReader::new(stream.try_clone()?).lines();
        let requests =
            [json!({ "execute": "qmp_capabilities" }), json!({ "execute": command, "arguments": arguments })];
        let mut given = Value::Null;
        for request in requests {
            writeln!(stream, "{request}")?;
            given = loop {
                let answer = answers.next().ok_or_else(|| format!("QEMU did not answer {request}"))??;
                let mut answer: Value = serde_json::from_str(&answer)?;
                if let Some(error) = answer.get("error") {
                    return Err(format!("QEMU refused {request}: {error}").into());
                }
                // What is neither is an event, or the greeting.
                if let Some(given) = answer.get_mut("return") {
                    break given.take();
                }
            };
        }
        Ok(given)
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Outcome<()> {
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
