//! Trees of Debian packages, made by mmdebstrap, kept by the hash of their recipe.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Outcome, cache, initrd, progress::Progress, sandbox, secure_boot, serving, system};

/// Lists of packages, all of which are wanted.
type Packages = &'static [&'static [&'static str]];

/// A tree's recipe. Anything in it that changes makes a new tree.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// Its name, for people and for other recipes.
    pub(crate) name: &'static str,
    /// Debian's release.
    suite: &'static str,
    /// mmdebstrap's variant: `extract` unpacks without running anything.
    variant: &'static str,
    /// Packages.
    packages: Packages,
    /// Whether packages of the release's backports are wanted, too.
    backports: bool,
    /// Whether what is there makes a bootable system, with our witness in it.
    system: bool,
    /// Whether scenarios of test-full alone need it.
    seldom: bool,
}

/// Every image tool, and QEMU 10: older ones corrupt guests now and then where KVM is missing.
const TOOLS: &[&str] = &[
    "qemu-system-x86",
    "seabios",
    "ovmf",
    "systemd-repart",
    "systemd-boot-efi",
    "cryptsetup-bin",
    "erofs-utils",
    "squashfs-tools",
    "btrfs-progs",
    "xfsprogs",
    "f2fs-tools",
    "dosfstools",
    "mtools",
    "e2fsprogs",
    "fdisk",
    "kmod",
    "cpio",
    "openssl",
];

const SYSTEM: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-container",
    "udev",
    "dbus",
    "kmod",
    "dmsetup",
    "cryptsetup-bin",
    "libpam-systemd",
    "e2fsprogs",
    "fdisk",
];

/// The same of bookworm, with systemd 254.
const BACKPORTED: &[&str] = &[
    "systemd/bookworm-backports",
    "libsystemd0/bookworm-backports",
    "libsystemd-shared/bookworm-backports",
    "systemd-sysv/bookworm-backports",
    "udev/bookworm-backports",
    "libudev1/bookworm-backports",
    "systemd-container/bookworm-backports",
    "libpam-systemd/bookworm-backports",
    "dbus",
    "kmod",
    "dmsetup",
    "cryptsetup-bin",
    "e2fsprogs",
    "fdisk",
];

/// All trees.
const RECIPES: [Recipe; 19] = [
    Recipe::tools("tools", "trixie", &[TOOLS]),
    // What lays out images of the newest systemd: signatures of its repart are not those of 257.
    Recipe::tools(
        "tools-forky",
        "forky",
        &[&["systemd-repart", "cryptsetup-bin", "erofs-utils", "e2fsprogs", "dosfstools", "mtools"]],
    ),
    Recipe {
        seldom: true,
        ..Recipe::tools(
            secure_boot::TREE,
            "trixie",
            &[&["python3-virt-firmware", "sbsigntool", "systemd-ukify", "systemd-boot-efi"]],
        )
    },
    Recipe::kernel("kernel-cloud", &[&["linux-image-cloud-amd64"]]),
    Recipe::kernel("kernel-generic", &[&["linux-image-amd64"]]),
    Recipe::system("trixie", "trixie", &[SYSTEM]),
    Recipe { backports: true, ..Recipe::system("bookworm", "bookworm", &[BACKPORTED]) },
    Recipe::system("forky", "forky", &[SYSTEM]),
    // A system that forbids programs outside of signed images, by BPF.
    Recipe { seldom: true, ..Recipe::system("restricted", "forky", &[SYSTEM, &["libbpf1"]]) },
    // A system that Ansible manages, and what manages it.
    Recipe { seldom: true, ..Recipe::system("managed", "trixie", &[SYSTEM, &["openssh-server", "python3"]]) },
    // A system that makes unified kernel images.
    Recipe {
        seldom: true,
        ..Recipe::system("unified", "trixie", &[SYSTEM, &["systemd-ukify", "systemd-boot-efi"]])
    },
    // A system with services that are asked while it changes.
    Recipe { seldom: true, ..Recipe::system(serving::TREE, "trixie", &[SYSTEM, serving::PACKAGES]) },
    Recipe { seldom: true, ..Recipe::system(serving::UPDATED, "trixie", &[SYSTEM, serving::PACKAGES]) },
    // What reads our metrics.
    Recipe { seldom: true, ..Recipe::tools("prometheus", "trixie", &[&["prometheus"]]) },
    // What benches compare with.
    Recipe {
        seldom: true,
        ..Recipe::tools(
            "dracut",
            "trixie",
            &[&[
                "dracut",
                "systemd",
                "systemd-sysv",
                "systemd-cryptsetup",
                "cryptsetup-bin",
                "dmsetup",
                "zstd",
            ]],
        )
    },
    Recipe { seldom: true, ..Recipe::tools("initramfs-tools", "trixie", &[&["initramfs-tools", "zstd"]]) },
    Recipe { seldom: true, ..Recipe::tools("tiny-initramfs", "trixie", &[&["tiny-initramfs", "kmod"]]) },
    Recipe {
        seldom: true,
        ..Recipe::tools(
            "mkosi",
            "trixie",
            &[&[
                "mkosi",
                "systemd",
                "systemd-repart",
                "udev",
                "kmod",
                "cpio",
                "zstd",
                "apt",
                "ca-certificates",
            ]],
        )
    },
    Recipe { seldom: true, ..Recipe::tools("ansible", "trixie", &[&["ansible-core", "openssh-client"]]) },
];

impl Recipe {
    const fn tools(name: &'static str, suite: &'static str, packages: Packages) -> Self {
        Self { name, suite, variant: "apt", packages, backports: false, system: false, seldom: false }
    }

    const fn kernel(name: &'static str, packages: Packages) -> Self {
        Self { variant: "extract", ..Self::tools(name, "trixie", packages) }
    }

    const fn system(name: &'static str, suite: &'static str, packages: Packages) -> Self {
        Self { variant: "minbase", system: true, ..Self::tools(name, suite, packages) }
    }
}

/// A tree that is there.
#[derive(Clone, Debug)]
pub(crate) struct Tree(pub(crate) PathBuf);

/// Names of the trees that make test needs.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().filter(|recipe| !recipe.seldom).map(|recipe| recipe.name)
}

/// The tree of this name, made first where it is missing.
pub(crate) fn get(name: &str, progress: &Progress) -> Outcome<Tree> {
    let recipe = RECIPES
        .iter()
        .find(|recipe| recipe.name == name)
        .ok_or_else(|| format!("no tree is called {name}"))?;
    let furniture = match recipe.system {
        true => system::furniture(),
        false if recipe.variant == "extract" => "unpacked".to_owned(),
        false => String::new(),
    };
    let serves = [serving::TREE, serving::UPDATED].contains(&name);
    let more = if serves { serving::FURNITURE } else { "" };
    cache::get("trees", name, &format!("{recipe:?} {furniture} 7{more}"), |path| {
        progress.say(&format!("making the tree {name} (Debian {}, mmdebstrap)", recipe.suite));
        make(recipe, path, progress)
    })
    .map(Tree)
}

impl Tree {
    /// The release of the only kernel in it.
    pub(crate) fn kernel_release(&self) -> Outcome<String> {
        let directory = self.0.join("usr/lib/modules");
        let entry = fs::read_dir(&directory)?.next().ok_or("the tree has no kernel")??;
        Ok(entry.file_name().to_string_lossy().into_owned())
    }

    /// What starts a program of the tree where it lies: its own loader, with its own libraries.
    pub(crate) fn command(&self, program: &str) -> Outcome<String> {
        let tree = fs::canonicalize(&self.0)?;
        let places = ["usr/bin", "usr/sbin"].map(|place| tree.join(place).join(program));
        let found = places.iter().find(|place| place.is_file());
        let found = found.ok_or_else(|| format!("{} has no {program}", tree.display()))?;
        let (loader, libraries) =
            (tree.join("lib64/ld-linux-x86-64.so.2"), tree.join("usr/lib/x86_64-linux-gnu"));
        let (loader, libraries) = (loader.display(), libraries.display());
        Ok(format!("{loader} --library-path {libraries}:{libraries}/systemd {}", found.display()))
    }
}

fn make(recipe: &Recipe, path: &Path, progress: &Progress) -> Outcome<()> {
    let mirror = mirror()?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--mode=root", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
    command
        .arg(format!("--variant={}", recipe.variant))
        .arg(format!("--include={}", recipe.packages.concat().join(",")));
    command.args(["--aptopt=Acquire::Retries \"3\"", "--skip=cleanup/apt/lists"]);
    // Two of five files, which nobody reads there.
    for unread in ["doc", "locale", "man"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unread}/*"));
    }
    command.arg(recipe.suite).arg(path);
    let mut sources = vec![format!("deb {mirror} {} main", recipe.suite)];
    if recipe.backports {
        sources.push(format!("deb {mirror} {}-backports main", recipe.suite));
    }
    command.args(&sources);
    let output = command.output().map_err(|e| format!("start mmdebstrap: {e}: run \"make deps\" first"))?;
    if !output.status.success() {
        return Err(
            format!("mmdebstrap {}: {}", recipe.suite, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    for directory in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        let path = path.join(directory);
        fs::remove_dir_all(&path).or_else(ignore_missing)?;
        fs::create_dir_all(path)?;
    }
    for directory in ["mnt", "srv", "dev", "proc", "sys"] {
        fs::create_dir_all(path.join(directory))?;
    }
    if recipe.variant == "extract" {
        index_modules(path, progress)?;
        initrd::unpack_kernel(&Tree(path.to_owned()))?;
    }
    if recipe.system {
        system::furnish(path, &get("kernel-cloud", progress)?)?;
    }
    match recipe.name {
        serving::TREE => serving::furnish(path),
        serving::UPDATED => {
            serving::furnish(path)?;
            serving::update(path, &get(serving::NEWER, progress)?)
        }
        _ => Ok(()),
    }
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The Debian archive that this machine itself uses, by its own apt configuration.
fn mirror() -> Outcome<String> {
    let format = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Identifier: Packages"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.strip_prefix("Debian|")?.split_once('|'))
        .find(|(codename, _)| !codename.contains('-'))
        .map(|(_, uri)| uri.to_owned())
        .ok_or_else(|| {
            "apt knows no Debian archive: run \"apt-get update\", or add one to /etc/apt/sources.list.d"
                .into()
        })
}

/// What the kernel package's scripts would do, which an unpacked tree has not run.
fn index_modules(path: &Path, progress: &Progress) -> Outcome<()> {
    let release = Tree(path.to_owned()).kernel_release()?;
    let lib = path.join("lib");
    if lib.symlink_metadata().is_err() {
        std::os::unix::fs::symlink("usr/lib", &lib)?;
    }
    sandbox::run(&get("tools", progress)?.0, path, None, "depmod", &["-b", "/mnt", &release])?;
    Ok(())
}
