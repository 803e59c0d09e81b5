//! A disk that is another one by now, by the number of the one that was looked at: it is not read, opened or mounted.
//! Loop devices stand for it, as their files can be exchanged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path, process::Command};

use nextroot::{
    plan::{
        Step,
        device::Device,
        facts::{BlockDevice, Content},
        step::{HashOrigin, OpenVerity, Volume},
    },
    run::{
        execute::{Error, Executor},
        probe,
    },
    sys::block::Entry,
};

mod left_out;

/// A loop device of its own.
struct Loop(String);

impl Loop {
    fn new(file: &Path) -> Option<Self> {
        let output =
            Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(file).output().ok()?;
        let name = String::from_utf8(output.stdout).ok()?.trim().strip_prefix("/dev/")?.to_owned();
        output.status.success().then_some(Self(name))
    }

    fn entry(&self) -> Entry {
        Entry { name: self.0.clone() }
    }

    /// The same device with another file.
    fn show(&self, file: &Path) {
        let node = self.entry().node();
        assert!(Command::new("losetup").arg("--detach").arg(&node).status().unwrap().success());
        // Whoever looks at all devices just now has it open, and it goes when they close it.
        for _ in 0..500 {
            let output = Command::new("losetup").arg("--read-only").arg(&node).arg(file).output().unwrap();
            if output.status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{} stays attached", self.0);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(self.entry().node()).status();
    }
}

fn open_verity(found: &BlockDevice) -> Step {
    let device = Device::from(found);
    let line = format!("1 {0} {0} 4096 4096 1 1 sha256 {1} -", device.devno, "ab".repeat(32));
    Step::OpenVerity(OpenVerity {
        name: "nextroot-exchanged".to_owned(),
        uuid: String::new(),
        data: device.clone(),
        hash: device,
        fec: None,
        table: line.parse().unwrap(),
        root_hash_from: HashOrigin::Arguments,
        signature: None,
    })
}

#[test]
fn a_disk_that_is_another_by_now() {
    const WHY: &str = "it is another disk than the one that was looked at";
    let directory = tempfile::tempdir().unwrap();
    let image = |name: &str| {
        let path = directory.path().join(name);
        let mut squashfs = vec![0; 64 << 10];
        squashfs[..4].copy_from_slice(b"hsqs");
        squashfs[28] = 4;
        fs::write(&path, squashfs).unwrap();
        path
    };
    let (before, after) = (image("before"), image("after"));
    let Some(disk) = Loop::new(&before) else {
        return left_out::left_out("it needs root, the loop driver and losetup(8)");
    };
    let found = probe::look_at(&disk.entry()).unwrap();
    assert!(matches!(found.content, Content::Found(_)), "{found}");
    if found.diskseq.is_none() {
        return left_out::left_out("this kernel has no diskseq (Linux 5.15)");
    }
    let mount = |found: &BlockDevice| Step::Mount {
        what: Volume::Device(found.into()),
        fstype: None,
        at: directory.path().join("at").display().to_string(),
        read_only: true,
        options: String::new(),
    };
    let outcome = |step: &Step| {
        let error = Executor::new(None, Vec::new()).execute(step).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        (matches!(error, Error::Changed { .. }), format!("{error}: {cause}"))
    };
    disk.show(&after);
    let now = probe::look_at(&disk.entry()).unwrap();
    assert_eq!((now.devno, now.size, &now.content), (found.devno, found.size, &found.content));
    assert_ne!(now.diskseq, found.diskseq);

    let (changed, told) = outcome(&open_verity(&found));
    assert!(changed && told.contains(WHY), "{told}");
    let (_, told) = outcome(&mount(&found));
    assert!(told.contains(WHY), "{told}");
    // What is there now is no file system that could be mounted: it fails for that.
    let (_, told) = outcome(&mount(&now));
    assert!(!told.contains(WHY), "{told}");
}
