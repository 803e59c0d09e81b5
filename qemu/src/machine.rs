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
    /// Its disks: file, bus, and whether it is attached later.
    pub(crate) disks: Vec<(String, Bus, bool)>,
    /// Whether its clock counts instructions.
    pub(crate) icount: bool,
    /// Whether it has a disk with a script.
    pub(crate) payload: bool,
    /// Kernel and initramfs, and their command line; without them it boots by UEFI from the first disk.
    pub(crate) direct: Option<String>,
    /// Whether its firmware is UEFI with Secure Boot on, by the variables that lie in the working directory.
    pub(crate) secure_boot: bool,
    /// What runs the guest's instructions.
    pub(crate) accel: Accel,
}

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accel {
    /// The host's CPU.
    Kvm,
    /// QEMU itself. One thread for both CPUs: with a thread each, a guest lost the timer of one of them now
    /// and then (RCU stalls, disks that never answer), and two machines at a time keep both cores busy anyway.
    Tcg,
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
            Some(output) => Some(follow(output, File::create(self.work.join("console.log"))?)),
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
        };
        if self.icount {
            add(&["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"]);
        } else {
            add(&["-accel", accel, "-smp", "2"]);
        }
        let machine = if self.secure_boot { "q35,smm=on" } else { "q35" };
        add(&["-machine", machine, "-cpu", CPU, "-m", "1G"]);
        add(&["-nodefaults", "-display", "none", "-nic", "none", "-no-reboot"]);
        match console {
            Console::Log => add(&["-chardev", "stdio,id=console,signal=off"]),
            Console::Terminal => add(&["-chardev", "stdio,id=console,mux=on,signal=off", "-mon", "console"]),
        }
        add(&[
            "-serial",
            "chardev:console",
            "-serial",
            "file:/mnt/witness.log",
            "-qmp",
            "unix:/mnt/qmp,server=on,wait=off",
        ]);
        add(&["-device", "pcie-root-port,id=rp0,chassis=1", "-device", "virtio-scsi-pci,id=scsi"]);
        if self.disks.iter().any(|(_, bus, _)| *bus == Bus::Usb) {
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
        for (number, (file, bus, late)) in self.disks.iter().enumerate() {
            let drive = format!(
                "if=none,id=d{number},file=/mnt/{file},format=raw,snapshot=on,file.locking=off,cache=unsafe"
            );
            add(&["-drive", &drive]);
            let device = match bus {
                _ if *late => continue,
                Bus::Virtio => format!("virtio-blk-pci,drive=d{number},bootindex={}", number + 1),
                Bus::Scsi => format!("scsi-hd,drive=d{number},bus=scsi.0"),
                Bus::Nvme => format!("nvme,drive=d{number},serial=n{number}"),
                Bus::Ahci => format!("ide-hd,drive=d{number},bus=ide.{number}"),
                Bus::Usb => format!("usb-storage,drive=d{number},bus=usb.0"),
            };
            add(&["-device", &device]);
        }
        if self.payload {
            let drive = format!("if=none,id=rig,file=/mnt/{},format=raw,readonly=on", payload::DISK);
            add(&["-drive", &drive, "-device", "virtio-blk-pci,drive=rig,serial=rig"]);
        }
        all
    }
}

impl Machine<'_> {
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
        let stream = UnixStream::connect(&self.qmp)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answers = BufReader::new(stream.try_clone()?).lines();
        let mut stream = stream;
        let mut ask = |request: &str| -> Outcome<()> {
            writeln!(stream, "{request}")?;
            for answer in answers.by_ref() {
                let answer = answer?;
                if answer.contains("\"return\"") {
                    return Ok(());
                }
                if answer.contains("\"error\"") {
                    return Err(format!("QEMU refused {request}: {answer}").into());
                }
            }
            Err(format!("QEMU did not answer {request}").into())
        };
        ask(r#"{"execute":"qmp_capabilities"}"#)?;
        let device =
            format!(r#""driver":"virtio-blk-pci","drive":"d{number}","bus":"rp0","id":"late{number}""#);
        ask(&format!(r#"{{"execute":"device_add","arguments":{{{device}}}}}"#))
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
