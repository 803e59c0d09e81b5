//! mkinitrd on a small sysroot made here: what it writes, and what it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nextroot::format::{
    cpio,
    kernel::modindex::{ModuleId, ModuleIndex},
};

const MKINITRD: &str = env!("CARGO_BIN_EXE_mkinitrd");
const RELEASE: &str = "6.12.0-test";

/// A sysroot with a kernel that has a disk driver, verity and a file system.
struct Sysroot(tempfile::TempDir);

impl Sysroot {
    fn new() -> Self {
        let sysroot = Self(tempfile::tempdir().unwrap());
        let module = |name: &str| format!("kernel/{name}.ko");
        for name in ["virtio_blk", "dm-verity", "dm-mod", "erofs"] {
            sysroot.write(&module(name), format!("module {name}\0firmware={name}.bin\0").as_bytes());
        }
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"module nvme").unwrap();
        sysroot.write("kernel/nvme.ko.gz", &packed.finish().unwrap());
        for name in ["crc32c-intel", "crc32c_generic", "tracing"] {
            sysroot.write(&module(name), b"module");
        }
        sysroot.write(
            "modules.dep",
            b"kernel/virtio_blk.ko:\n\
              kernel/dm-verity.ko: kernel/dm-mod.ko\n\
              kernel/dm-mod.ko:\n\
              kernel/erofs.ko:\n\
              kernel/nvme.ko.gz:\n\
              kernel/crc32c-intel.ko:\n\
              kernel/crc32c_generic.ko:\n\
              kernel/tracing.ko:\n",
        );
        sysroot.write("modules.softdep", b"softdep erofs pre: crypto-crc32c absent post: nvme\n");
        sysroot.write("modules.builtin", b"kernel/fs/ext4/ext4.ko\nkernel/crypto/sha256.ko\n");
        sysroot.write("modules.builtin.modinfo", b"ext4.alias=fs-ext2\0sha256.alias=crypto-sha256\0");
        sysroot.write(
            "modules.alias",
            b"alias virtio:d00000002v* virtio_blk\n\
              alias cpu:type:x86,* crc32c_intel\n\
              alias cpu:type:* nvme\n\
              alias pci:v1* nvme\n\
              alias crypto-crc32c crc32c_intel\n\
              alias crypto-crc32c crc32c_generic\n",
        );
        sysroot
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join("usr/lib/modules").join(RELEASE).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn remove(&self, line: &str) {
        let path = self.path().join("usr/lib/modules").join(RELEASE).join("modules.dep");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(line, "")).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let init = self.path().join("init");
        fs::write(&init, static_program()).unwrap();
        self.run_with(&init, arguments)
    }

    fn run_with(&self, init: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(MKINITRD);
        command.arg("--sysroot").arg(self.path()).arg("--nextroot").arg(init).args(arguments);
        command.env_remove("SOURCE_DATE_EPOCH").output().unwrap()
    }

    fn output(&self) -> String {
        self.path().join("initrd").display().to_string()
    }
}

/// The headers of a program without an interpreter (elf(5)), and bytes that compress a little.
fn static_program() -> Vec<u8> {
    let mut program = vec![0; 64 + 56];
    program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 3_u16), (18, 62), (52, 64), (54, 56), (56, 1)] {
        program[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    (program[20], program[32], program[64]) = (1, 64, 1);
    program.extend((0..20_000_u32).flat_map(|i| (i / 3).to_le_bytes()));
    program
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn good(output: Output) -> Output {
    assert!(output.status.success(), "{}", said(&output));
    output
}

#[test]
fn contents_and_index() {
    let sysroot = Sysroot::new();
    let firmware = sysroot.path().join("usr/lib/firmware");
    fs::create_dir_all(&firmware).unwrap();
    fs::write(firmware.join("erofs.bin"), "firmware").unwrap();
    let output = good(sysroot.run(&["-o", &sysroot.output(), "--compress", "none"]));
    let archive = fs::read(sysroot.output()).unwrap();
    let entries = cpio::read(&archive).unwrap();
    let data = |path: &str| {
        let entry = entries.iter().find(|entry| entry.path == path);
        entry.unwrap_or_else(|| panic!("no {path}")).data.to_vec()
    };
    assert_eq!(data("init"), static_program());
    assert_eq!(data("sbin/modprobe"), b"../init");
    assert_eq!(data(&format!("usr/lib/modules/{RELEASE}/kernel/nvme.ko")), b"module nvme", "decompressed");
    assert_eq!(data("usr/lib/firmware/erofs.bin"), b"firmware");
    assert!(String::from_utf8(data("etc/initrd-release")).unwrap().contains("ID=nextroot"));
    assert!(said(&output).contains("firmware virtio_blk.bin, which is not installed"), "{}", said(&output));
    let console = entries.iter().find(|entry| entry.path == "dev/console").unwrap();
    assert_eq!((console.mode, console.device), (cpio::CHARACTER_DEVICE | 0o600, (5, 1)));

    let index = ModuleIndex::parse(&String::from_utf8(data("etc/nextroot/modules")).unwrap()).unwrap();
    let name = |id| index.get(id).unwrap().name.as_str();
    let module = |name: &str| index.get(index.find(name)[0]).unwrap();
    let names = |ids: &[ModuleId]| ids.iter().map(|id| name(*id)).collect::<Vec<_>>();
    assert_eq!(names(&module("dm-verity").needs), ["dm_mod"]);
    assert_eq!(names(&module("erofs").pre), ["crc32c_intel"], "the other is for other CPUs");
    assert_eq!(names(&module("erofs").post), ["nvme"]);
    assert_eq!(names(&index.find("crypto-crc32c")), ["crc32c_generic", "crc32c_intel"]);
    assert!(index.find("tracing").is_empty() && index.always.is_empty(), "not asked for");
    assert_eq!(index.matching("virtio:d00000002v00001AF4").map(name).collect::<Vec<_>>(), ["virtio_blk"]);
    assert_eq!(index.matching("cpu:type:x86").count(), 0, "ciphers are not loaded for the CPU's sake");
    assert!(index.is_builtin("ext4") && index.is_builtin("fs-ext2"));
    assert!(!said(&output).contains("crypto-sha256"), "built in: {}", said(&output));
}

#[test]
fn the_same_bytes_for_the_same_input() {
    let sysroot = Sysroot::new();
    for compression in ["zstd", "lz4", "xz", "gzip", "none"] {
        let write = || {
            good(sysroot.run(&["-o", &sysroot.output(), "--compress", compression]));
            fs::read(sysroot.output()).unwrap()
        };
        assert_eq!(write(), write(), "{compression}");
    }
    let mode = fs::metadata(sysroot.output()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_dry_run_writes_nothing_and_lists() {
    let sysroot = Sysroot::new();
    let output = good(sysroot.run(&["-o", &sysroot.output(), "--dry-run", "--list"]));
    assert!(!Path::new(&sysroot.output()).exists());
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(listing.contains("-0755") && listing.contains("/init"), "{listing}");
    assert!(listing.contains("/sbin/modprobe -> ../init"), "{listing}");
}

#[test]
fn refusals() {
    type Row<'a> = (&'a str, &'a dyn Fn(&Sysroot), &'a [&'a str], &'a [&'a str]);
    let rows: [Row<'_>; 12] = [
        (
            "no verity",
            &|s| s.remove("kernel/dm-verity.ko: kernel/dm-mod.ko\n"),
            &[],
            &["has no dm_verity (verified file systems): no verified root can be opened", "--force"],
        ),
        (
            "no disk",
            &|s| {
                s.remove("kernel/virtio_blk.ko:\n");
                s.remove("kernel/nvme.ko.gz:\n")
            },
            &[],
            &["no driver for any disk", "--add-driver"],
        ),
        (
            "driver",
            &|_| (),
            &["--add-driver", "virtio_bulk"],
            &[
                "module virtio_bulk is neither in kernel 6.12.0-test nor built into it",
                "did you mean virtio_blk?",
            ],
        ),
        ("kernel", &|_| (), &["--kernel", "5.0"], &["5.0 is not a kernel in", "there are: 6.12.0-test"]),
        (
            "compression",
            &|s| {
                fs::create_dir_all(s.path().join("boot")).unwrap();
                fs::write(s.path().join(format!("boot/config-{RELEASE}")), "CONFIG_RD_GZIP=y\n").unwrap();
            },
            &[],
            &["cannot unpack zstd (CONFIG_RD_ZSTD is not set", "it can: gzip, none"],
        ),
        (
            "depmod",
            &|s| fs::remove_file(s.path().join(format!("usr/lib/modules/{RELEASE}/modules.dep"))).unwrap(),
            &[],
            &["modules.dep: run depmod"],
        ),
        (
            "two kernels",
            &|s| fs::create_dir_all(s.path().join("usr/lib/modules/6.13.0")).unwrap(),
            &[],
            &["several kernels", "6.12.0-test, 6.13.0", "--kernel"],
        ),
        (
            "configuration",
            &|s| fs::write(s.path().join("c.conf"), "[Policy]\nVerity=perhaps\n").unwrap(),
            &["--config", "c.conf"],
            &["c.conf:2: Verity=perhaps: required or allowed is needed"],
        ),
        (
            "configured driver",
            &|s| {
                fs::write(s.path().join("c.conf"), "[Boot]\nCommandLine=rd.modules_load=nvmf\n").unwrap();
            },
            &["--config", "c.conf"],
            &["the configuration names nvmf: module nvmf is neither in kernel", "did you mean nvme"],
        ),
        (
            "configured file system",
            &|s| {
                fs::write(s.path().join("c.conf"), "[Policy]\nCommandLine=rootfstype=zonefs\n").unwrap();
            },
            &["--config", "c.conf"],
            &["no file system zonefs, which the configuration names", "--force"],
        ),
        (
            "dependency without a line",
            &|s| s.remove("kernel/dm-mod.ko:\n"),
            &[],
            &["modules dm_mod, dm_verity need each other, or what modules.dep has no line for", "depmod"],
        ),
        (
            "damaged module",
            &|s| s.write("kernel/nvme.ko.gz", b"no gzip"),
            &[],
            &["read ", "kernel/nvme.ko.gz"],
        ),
    ];
    for (name, damage, arguments, expected) in rows {
        let sysroot = Sysroot::new();
        fs::write(sysroot.output(), "before").unwrap();
        damage(&sysroot);
        let output_path = sysroot.output();
        let config = sysroot.path().join("c.conf").display().to_string();
        let mut all: Vec<&str> = vec!["-o", &output_path];
        all.extend(
            arguments.iter().map(|argument| if *argument == "c.conf" { config.as_str() } else { argument }),
        );
        let output = sysroot.run(&all);
        assert!(!output.status.success(), "{name}");
        for text in expected {
            assert!(said(&output).contains(text), "{name}: {}", said(&output));
        }
        assert_eq!(fs::read_to_string(sysroot.output()).unwrap(), "before", "{name}: nothing is lost");
        let left: Vec<_> = fs::read_dir(sysroot.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains(".mkinitrd")), "{name}: {left:?}");
    }
}

#[test]
fn a_dynamic_init_is_refused() {
    let sysroot = Sysroot::new();
    let output = sysroot.run_with(Path::new("/bin/true"), &["-o", &sysroot.output()]);
    assert!(!output.status.success());
    let text = said(&output);
    assert!(text.contains("/bin/true cannot be an init: it is linked dynamically"), "{text}");
}

#[test]
fn the_time_of_every_file() {
    let sysroot = Sysroot::new();
    let init = sysroot.path().join("init");
    fs::write(&init, static_program()).unwrap();
    let run = |time: &str| {
        let mut command = Command::new(MKINITRD);
        command.arg("--sysroot").arg(sysroot.path()).arg("--nextroot").arg(&init);
        command.args(["--compress", "none", "-o", &sysroot.output()]);
        command.env("SOURCE_DATE_EPOCH", time).output().unwrap()
    };
    good(run("255"));
    let archive = fs::read(sysroot.output()).unwrap();
    assert_eq!(archive[46..54], *b"000000ff", "the header's c_mtime");
    let output = run("yesterday");
    assert!(!output.status.success() && said(&output).contains("SOURCE_DATE_EPOCH=yesterday"));
}

#[test]
fn added_drivers() {
    let sysroot = Sysroot::new();
    let modprobe = sysroot.path().join("etc/modprobe.d");
    fs::create_dir_all(&modprobe).unwrap();
    fs::write(modprobe.join("t.conf"), "options tracing level=2\noptions other x=1\n").unwrap();
    good(sysroot.run(&["-o", &sysroot.output(), "--compress", "none", "--add-driver", "tracing"]));
    let archive = fs::read(sysroot.output()).unwrap();
    let entries = cpio::read(&archive).unwrap();
    let index = entries.iter().find(|entry| entry.path == "etc/nextroot/modules").unwrap();
    let index = ModuleIndex::parse(std::str::from_utf8(&index.data).unwrap()).unwrap();
    assert_eq!(index.find("tracing"), index.always, "no device could ask for it");
    assert_eq!(index.get(index.always[0]).unwrap().options, "level=2");
    // A driver that is built in is nothing to add, and no error.
    good(sysroot.run(&["-o", &sysroot.output(), "--add-driver", "ext4", "--add-driver", "crypto-sha256"]));
}

#[test]
fn forced() {
    let sysroot = Sysroot::new();
    sysroot.remove("kernel/dm-verity.ko: kernel/dm-mod.ko\n");
    let output = good(sysroot.run(&["-o", &sysroot.output(), "--force"]));
    assert!(said(&output).contains("warning: kernel 6.12.0-test has no dm_verity"), "{}", said(&output));
    assert!(Path::new(&sysroot.output()).exists());
}

/// What only follows from a value stopped everything, even one that is overridden, as if it had been named.
#[test]
fn what_a_configured_value_needs_can_be_forced() {
    let sysroot = Sysroot::new();
    let config = |text: &str| sysroot.lay("c.conf", text.as_bytes()).display().to_string();
    for (root, need) in [
        ("root=gpt-auto", "no efivarfs, which root=gpt-auto in the configuration needs"),
        ("root=/dev/vda1 systemd.volatile=overlay", "no overlay, which systemd.volatile=overlay in"),
    ] {
        let config = config(&format!("[Boot]\nCommandLine={root}\n"));
        let arguments = ["-o", &sysroot.output(), "--config", &config];
        let output = sysroot.run(&arguments);
        assert!(!output.status.success() && !Path::new(&sysroot.output()).exists(), "{root}");
        for text in [need, "--force writes it all the same"] {
            assert!(said(&output).contains(text), "{root}: {}", said(&output));
        }
        let output = good(sysroot.run(&[&arguments[..], &["--force"]].concat()));
        assert!(said(&output).contains("warning: kernel 6.12.0-test has no"), "{}", said(&output));
        assert!(said(&output).contains(need), "{}", said(&output));
        fs::remove_file(sysroot.output()).unwrap();
    }
    let config = config("[Boot]\nCommandLine=root=gpt-auto\n[Policy]\nCommandLine=root=/dev/vda1\n");
    let output = good(sysroot.run(&["-o", &sysroot.output(), "--config", &config]));
    assert!(!said(&output).contains("which root=gpt-auto"), "{}", said(&output));
}

/// Another implementation reads what we write, where there is one.
#[test]
fn cpio_reads_it() {
    let sysroot = Sysroot::new();
    good(sysroot.run(&["-o", &sysroot.output(), "--compress", "none"]));
    let file = fs::File::open(sysroot.output()).unwrap();
    let Ok(output) = Command::new("cpio").args(["-i", "-t", "-v", "--quiet"]).stdin(file).output() else {
        eprintln!("no cpio here: not compared");
        return;
    };
    let listing = String::from_utf8_lossy(&good(output).stdout).into_owned();
    for expected in ["-rwxr-xr-x", " init", "sbin/modprobe -> ../init", "5,   1", "etc/nextroot/modules"] {
        assert!(listing.contains(expected), "{expected}: {listing}");
    }
}

/// A certificate or a signature of the tests of nextroot.
fn signed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/signatures").join(name)
}

/// A program that says that it checks signatures.
fn checking_program() -> Vec<u8> {
    [static_program(), b"+SIGNATURES".to_vec()].concat()
}

impl Sysroot {
    fn lay(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn run_checking(&self, arguments: &[&str]) -> Output {
        let init = self.lay("init-signatures", &checking_program());
        let output = self.output();
        self.run_with(&init, &[&["-o", &output, "--compress", "none"], arguments].concat())
    }

    /// What the archive has in and below verity.d, and elsewhere by path.
    fn packed(&self, paths: &[&str]) -> Vec<(String, Vec<u8>)> {
        let archive = fs::read(self.output()).unwrap();
        let entries = cpio::read(&archive).unwrap().into_iter();
        let files = entries.filter(|entry| entry.mode & 0o170_000 == cpio::FILE);
        let wanted = |path: &str| path.contains("verity.d/") || paths.contains(&path);
        files.filter(|entry| wanted(&entry.path)).map(|entry| (entry.path, entry.data.to_vec())).collect()
    }
}

#[test]
fn certificates_of_the_sysroot_and_named_ones() {
    let sysroot = Sysroot::new();
    let pem = |name: &str| fs::read(signed(name)).unwrap();
    sysroot.lay("usr/share/keys/c.crt", &pem("p384.crt"));
    sysroot.lay("usr/lib/verity.d/a.crt", &pem("p256.crt"));
    sysroot.lay("usr/lib/verity.d/masked.crt", &pem("p256.crt"));
    sysroot.lay("usr/lib/verity.d/emptied.crt", &pem("p256.crt"));
    sysroot.lay("usr/lib/verity.d/named.crt", &pem("p256.crt"));
    sysroot.lay("usr/lib/verity.d/hidden.crt", &pem("p256.crt"));
    sysroot.lay("usr/local/lib/verity.d/hidden.crt", &pem("p384.crt"));
    sysroot.lay("run/verity.d/runtime.crt", &pem("p256.crt"));
    sysroot.lay("etc/verity.d/emptied.crt", b"");
    sysroot.lay("etc/verity.d/none.crt", b"no certificate");
    sysroot.lay("etc/verity.d/named.crt", &pem("p384.crt"));
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, sysroot.path().join("etc/verity.d").join(name)).unwrap();
    };
    link("/dev/null", "masked.crt");
    // An absolute link leads inside of the system that has it.
    link("/usr/share/keys/c.crt", "linked.crt");
    link("/nowhere", "dangling.crt");
    let named = sysroot.lay("named.pem", &pem("rsa2048.crt")).display().to_string();

    let write = || {
        let output = good(sysroot.run_checking(&["--certificate", &named]));
        (said(&output), fs::read(sysroot.output()).unwrap())
    };
    let ((said_first, first), (_, second)) = (write(), write());
    assert_eq!(first, second, "the same bytes for the same input");
    let expected = [
        ("etc/verity.d/linked.crt", pem("p384.crt")),
        ("etc/verity.d/named.crt", pem("rsa2048.crt")),
        ("usr/lib/verity.d/a.crt", pem("p256.crt")),
        ("usr/local/lib/verity.d/hidden.crt", pem("p384.crt")),
    ];
    let packed = sysroot.packed(&[]);
    assert_eq!(packed, expected.map(|(path, bytes)| (path.to_owned(), bytes)));
    for text in [
        "init-signatures is the init, as it checks signatures: there are certificates to check them with (/etc/verity.d/linked.crt, /etc/verity.d/named.crt, ",
        "warning: /etc/verity.d/none.crt is no certificate, and is left out: it is no certificate in PEM",
    ] {
        assert!(said_first.contains(text), "{text}: {said_first}");
    }

    // An init without the check takes none, and says so.
    let output = sysroot.run(&["-o", &sysroot.output()]);
    assert!(!output.status.success());
    let text = said(&output);
    assert!(text.contains("/init leaves signatures to the kernel, and there are certificates"), "{text}");
    assert!(text.contains("nextroot-init-signatures") && text.contains("--no-certificates"), "{text}");
    good(sysroot.run(&["-o", &sysroot.output(), "--compress", "none", "--no-certificates"]));
    assert_eq!(sysroot.packed(&[]), []);
}

#[test]
fn certificates_that_are_none() {
    let sysroot = Sysroot::new();
    let crt = fs::read(signed("p256.crt")).unwrap();
    let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (name, bytes, expected) in [
        ("a.crt", b"no".as_slice(), "a.crt: it is no certificate in PEM"),
        ("b.crt", &[crt.as_slice(), key].concat(), "b.crt: a private key is in the file, too"),
        ("c.crt", &[b'\n'; 70_000], "c.crt: it has more than 65536 bytes"),
    ] {
        let path = sysroot.lay(name, bytes).display().to_string();
        let output = sysroot.run_checking(&["--certificate", &path]);
        assert!(!output.status.success() && said(&output).contains(expected), "{name}: {}", said(&output));
    }
    let (one, two) = (sysroot.lay("d.crt", &crt), sysroot.lay("other/d.pem", &crt));
    let arguments =
        ["--certificate", &one.display().to_string(), "--certificate", &two.display().to_string()];
    let output = sysroot.run_checking(&arguments);
    assert!(said(&output).contains("another --certificate is /etc/verity.d/d.crt, too"), "{}", said(&output));
    let output = sysroot.run_checking(&["--certificate", "/nowhere.crt"]);
    assert!(said(&output).contains("take the certificate /nowhere.crt: No such file"), "{}", said(&output));
    assert!(!Path::new(&sysroot.output()).exists());
}

#[test]
fn signatures_that_the_configuration_names() {
    let sysroot = Sysroot::new();
    let (der, pem) = (fs::read(signed("rsa2048.p7s")).unwrap(), fs::read(signed("pem.p7s")).unwrap());
    sysroot.lay("etc/root.p7s", &der);
    sysroot.lay("usr/share/usr.p7s", &pem);
    sysroot.lay("etc/damaged.p7s", &der[..100]);
    sysroot.lay("init.p7s", &der);
    let config = |text: &str| sysroot.lay("c.conf", text.as_bytes()).display().to_string();
    let options = |which: &str, path: &str| {
        format!("CommandLine=systemd.verity_{which}_options=root-hash-signature={path}\n")
    };
    let (root, usr) = (options("root", "/etc/root.p7s"), options("usr", "/usr/share/usr.p7s"));
    let missing = options("root", "/etc/missing.p7s");
    let both = [("etc/root.p7s".to_owned(), der.clone()), ("usr/share/usr.p7s".to_owned(), der.clone())];
    // PEM becomes DER. What is overridden is not needed.
    for text in [format!("[Boot]\n{root}{usr}"), format!("[Boot]\n{missing}[Policy]\n{usr}{root}")] {
        good(sysroot.run(&["-o", &sysroot.output(), "--compress", "none", "--config", &config(&text)]));
        assert_eq!(sysroot.packed(&["etc/root.p7s", "usr/share/usr.p7s"]), both, "{text}");
    }
    for (path, expected) in [
        ("/etc/missing.p7s", "open /etc/missing.p7s"),
        ("/etc/damaged.p7s", "it is cut off: 100 of 408 bytes"),
        ("etc/root.p7s", "the absolute path of a file"),
        ("/etc/../root.p7s", "write an absolute path"),
        ("/run/root.p7s", "outside of /dev, /proc, /run and /sys"),
        ("base64:AAAA", "root-hash-signature=base64:...: "),
    ] {
        let config = config(&format!("[Boot]\n{}", options("root", path)));
        let output = sysroot.run(&["-o", &sysroot.output(), "--config", &config]);
        assert!(!output.status.success() && said(&output).contains(expected), "{path}: {}", said(&output));
        let output = good(sysroot.run(&["-o", &sysroot.output(), "--config", &config, "--force"]));
        assert!(said(&output).contains("warning: ") && said(&output).contains(expected), "{}", said(&output));
    }
    let config = config(&format!("[Boot]\n{}", options("root", "/init")));
    fs::copy(sysroot.path().join("init.p7s"), sysroot.path().join("init")).unwrap();
    let output = sysroot.run_checking(&["--config", &config]);
    assert!(said(&output).contains("put /init into the initramfs: /init is there"), "{}", said(&output));
}

/// Each with another sysroot and another place for what it writes, where it names those of this machine.
#[test]
fn the_examples_of_the_man_page() {
    let sysroot = Sysroot::new();
    sysroot.run(&["--help"]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/man/mkinitrd.8");
    let page = fs::read_to_string(page).unwrap();
    let mut count = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix(".Dl mkinitrd ")) {
        let written = sysroot.path().join(format!("written-{count}"));
        let path = sysroot.path().display().to_string();
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let output = words.iter().position(|word| word == "-o").unwrap() + 1;
        words[output] = written.display().to_string();
        match words.iter().position(|word| word == "image/") {
            Some(named) => words[named] = path,
            None => words.extend(["--sysroot".to_owned(), path]),
        }
        let init = sysroot.path().join("init");
        good(Command::new(MKINITRD).args(&words).arg("--nextroot").arg(init).output().unwrap());
        assert!(fs::metadata(&written).unwrap().len() > 1000, "{line}");
        count += 1;
    }
    assert_eq!(count, 2);
}
