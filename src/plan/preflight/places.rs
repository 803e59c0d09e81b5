//! Checks of what stands in the new root: directories, /var, the machine's identity, SELinux.

use super::{Finding, Given, Verdict, new_root::MachineId};

/// Names in the root directory, what is missing without them, and how bad that is on a read-only root.
const NEEDED: [(&str, &str, Verdict); 9] = [
    ("dev", "the relay moves the old one there", Verdict::Fail),
    ("proc", "the relay moves the old one there", Verdict::Fail),
    ("sys", "the relay moves the old one there", Verdict::Fail),
    ("run", "the relay moves the old one there", Verdict::Fail),
    ("usr", "everything lives there", Verdict::Fail),
    ("etc", "systemd reads its configuration there", Verdict::Fail),
    ("var", "it has to be writable, so something is mounted there", Verdict::Fail),
    ("tmp", "tmp.mount needs it", Verdict::Warn),
    ("root", "root's home", Verdict::Warn),
];

pub(super) fn directories(given: &Given<'_>) -> Finding {
    let missing = NEEDED.iter().filter(|(name, ..)| !given.new.top.contains(*name));
    let findings = missing.map(|(name, use_of_it, on_read_only)| {
        let found = format!("/{name} is missing: {use_of_it}");
        let advice = "make the empty directories in the image";
        match on_read_only {
            Verdict::Fail if given.new.read_only || *name == "usr" => Finding::fail(found, advice),
            _ => Finding::warn(found, advice),
        }
    });
    let names: Vec<&str> = NEEDED.iter().map(|(name, ..)| *name).collect();
    Finding::worst_of(findings.collect(), &format!("{} are there", names.join(" ")))
}

pub(super) fn var(given: &Given<'_>) -> Finding {
    let (new, carried) = (given.new, &given.asked.carried);
    let word = |wanted: &str| given.system.command_line.split_whitespace().any(|word| word == wanted);
    if carried.iter().any(|path| path == "/var") {
        Finding::ok("carried: the mount that the running system uses")
    } else if let Some(source) = &new.var_in_fstab {
        Finding::ok(format!("mounted by the new root's fstab from {source}"))
    } else if new.enabled.contains("var.mount") {
        Finding::ok("mounted by the new root's var.mount")
    } else if word("systemd.volatile=state") || word("systemd.volatile=yes") {
        Finding::ok("a tmpfs, by systemd.volatile= of the kernel command line")
    } else if !new.read_only {
        Finding::ok("a directory of the new root, which is writable")
    } else if new.units.contains("var.mount") {
        Finding::warn(
            "read-only; the new root has a var.mount, which no unit pulls in by a link",
            "enable it in the image, or carry /var with --carry /var",
        )
    } else if given.system.units.iter().any(|unit| unit.id == "var.mount" && unit.is_up() && generated(unit))
    {
        Finding::warn(
            "read-only; a generator mounts it now, and may do so again",
            "GPT auto-discovery looks at the disk behind /: where the new root is on another one, carry /var with --carry /var",
        )
    } else {
        Finding::fail(
            "read-only, and nothing mounts anything on it",
            "carry it with --carry /var, or mount it by the image's fstab or var.mount; a tmpfs will do",
        )
    }
}

fn generated(unit: &super::Unit) -> bool {
    unit.file.as_deref().is_some_and(|file| file.starts_with("/run/systemd/generator"))
}

/// Since when a new systemd takes over what /run/machine-id holds (systemd#32915).
const TAKES_OVER: u32 = 256;

pub(super) fn machine_id(given: &Given<'_>) -> Finding {
    let (new, system) = (given.new, given.system);
    let Some(running) = &system.machine_id else {
        return Finding::warn("the running system has none", "run systemd-machine-id-setup");
    };
    let kept = system.transient_machine_id.as_ref() == Some(running)
        && new.systemd.as_ref().is_none_or(|systemd| systemd.number >= TAKES_OVER);
    let fixed = format!("systemd.machine_id={running}");
    let fixed = system.command_line.split_whitespace().any(|word| word == fixed);
    let what = match &new.machine_id {
        MachineId::Id(id) if id == running => return Finding::ok(format!("{running}, in both roots")),
        MachineId::Id(id) => {
            return Finding::warn(
                format!("{running} runs now, the new root has {id}"),
                "leave /etc/machine-id empty in images, so that it is not the same on all machines",
            );
        }
        MachineId::Damaged => {
            return Finding::fail("the new root's /etc/machine-id is none", "leave it empty in the image");
        }
        MachineId::Missing if new.read_only => {
            return Finding::fail(
                "the new root is read-only and has no /etc/machine-id: systemd does not start there",
                "put an empty /etc/machine-id into the image",
            );
        }
        MachineId::Missing => "missing",
        MachineId::Empty => "empty",
        MachineId::Uninitialized => "uninitialized",
    };
    if fixed {
        return Finding::ok(format!("{what} in the new root; the kernel command line fixes {running}"));
    }
    if kept {
        return Finding::ok(format!("{what} in the new root; {running} is taken over from /run/machine-id"));
    }
    Finding::warn(
        format!("{what} in the new root; {running} would be replaced by a new one"),
        format!(
            "keep it: write it to /run/machine-id (read by systemd {TAKES_OVER} and newer), or boot with systemd.machine_id="
        ),
    )
}

pub(super) fn selinux(given: &Given<'_>) -> Finding {
    let advice = "a full reboot is needed to load the new root's policy";
    let (Some(loaded), new) = (&given.system.selinux, &given.new.selinux) else {
        return match &given.new.selinux {
            Some(new) if new.mode != "disabled" => {
                Finding::warn(format!("off now; the new root wants it {} ({})", new.mode, new.kind), advice)
            }
            _ => Finding::ok("off"),
        };
    };
    match new {
        None => Finding::warn(
            format!("{} ({}) now; the new root has no policy", loaded.mode, loaded.kind),
            "the loaded policy stays in force; a full reboot ends it",
        ),
        Some(new) if new.kind != loaded.kind || new.sum != loaded.sum => Finding::warn(
            format!("policy {} is loaded; the new root's, {}, is another one", loaded.kind, new.kind),
            advice,
        ),
        Some(new) if new.sum.is_none() => Finding::warn(
            format!("policy {} in both roots; neither policy file can be read", loaded.kind),
            "compare the images",
        ),
        Some(new) if new.mode != loaded.mode => {
            Finding::warn(format!("{} now, {} in the new root", loaded.mode, new.mode), advice)
        }
        Some(_) => Finding::ok(format!("{}, policy {} in both roots", loaded.mode, loaded.kind)),
    }
}
