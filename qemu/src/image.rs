//! Disk images, laid out by systemd-repart and veritysetup, kept by the hash of their recipe.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    Outcome, cache, keys,
    progress::Progress,
    recipe::{CORRECTED_TREE, MINI, Prepare, RECIPES, Recipe, Source},
    sandbox, secure_boot,
    tree::{self, Tree},
};

/// An image that is there.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    directory: PathBuf,
    /// What is in it.
    pub(crate) facts: Facts,
}

/// What is in an image, by those who made it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Partitions in order.
    pub(crate) partitions: Vec<Partition>,
    /// Other values for command lines.
    pub(crate) values: BTreeMap<String, String>,
}

/// A partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Partition {
    pub(crate) label: String,
    pub(crate) uuid: String,
    /// Bytes from the disk's start.
    pub(crate) offset: u64,
    #[serde(rename = "raw_size")]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) roothash: Option<String>,
    /// UUID and label of what it holds, by blkid.
    #[serde(default)]
    pub(crate) content_uuid: String,
    #[serde(default)]
    pub(crate) content_label: String,
}

/// Damage done to a copy of an image.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Fault {
    /// One bit of a byte, so far into a partition.
    Flip {
        /// The partition's label.
        partition: String,
        /// Bytes from its start.
        at: u64,
    },
    /// One bit of the block that begins with a text, found in a partition.
    FlipMarker {
        /// The partition's label.
        partition: String,
        /// The text.
        marker: String,
    },
    /// Zeros, on the disk itself.
    Zero {
        /// Bytes from its start.
        at: u64,
        /// How many.
        bytes: usize,
    },
    /// What one partition holds, in another of the same size.
    Copy {
        /// The label of the one.
        from: String,
        /// The label of the other.
        to: String,
    },
    /// A partition less.
    Delete {
        /// Its label.
        partition: String,
    },
}

/// How keys and signatures come about: an image with others is another image.
const KEYS_ARE_MADE: &str = concat!(include_str!("keys.rs"), include_str!("secure_boot.rs"));

/// Names of all images.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|recipe| recipe.name)
}

/// The image of this name, made first where it is missing. `dist` has the witness.
pub(crate) fn get(name: &str, dist: &Path, progress: &Progress) -> Outcome<Image> {
    let recipe = RECIPES.iter().find(|recipe| recipe.name == name);
    let recipe = recipe.ok_or_else(|| format!("no image is called {name}"))?;
    let tools = tree::get(recipe.tools, progress)?;
    let (source, id) = match recipe.source {
        Source::Small => (None, cache::hash_file(&dist.join("guest-init"))? + SMALL_OS_RELEASE),
        Source::System(name) | Source::WithUs(name) => {
            let tree = tree::get(name, progress)?;
            let ours = match recipe.source {
                Source::WithUs(_) => cache::hash_file(&dist.join("nextroot"))?,
                _ => String::new(),
            };
            let id = format!("{}{ours}", tree.0.display());
            (Some(tree), id)
        }
    };
    let (partitions, mini) = (recipe.partitions, recipe.mini);
    let signed = matches!(recipe.prepare, Prepare::Keys | Prepare::SecureBoot);
    let how = if signed { KEYS_ARE_MADE } else { "" };
    let key = format!("{:?} {partitions:?} {mini} {id} {} 7{how}", recipe.prepare, tools.0.display());
    let directory = cache::get("images", name, &key, |path| {
        progress.say(&format!("making the image {name} (systemd-repart, veritysetup)"));
        let openssl = signed.then(|| tree::get("tools", progress)).transpose()?;
        make(recipe, source.as_ref(), &tools, openssl.as_ref(), dist, path)?;
        match recipe.prepare {
            Prepare::SecureBoot => {
                // Firmware is the machines', whatever lays out the disk.
                let firmware = tree::get("tools", progress)?;
                secure_boot::enroll(&tree::get(secure_boot::TREE, progress)?, &firmware, path)
            }
            _ => Ok(()),
        }
    })?;
    let facts = serde_json::from_str(&fs::read_to_string(directory.join("facts.json"))?)?;
    Ok(Image { directory, facts })
}

impl Image {
    /// One that is described only.
    #[cfg(test)]
    pub(crate) fn of(facts: Facts) -> Self {
        Self { directory: PathBuf::new(), facts }
    }

    /// Where it lies, with what was made beside the disk.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The disk; not to be written.
    pub(crate) fn disk(&self) -> PathBuf {
        self.directory.join("disk.raw")
    }

    /// The partition with a label.
    pub(crate) fn partition(&self, label: &str) -> Outcome<&Partition> {
        let found = self.facts.partitions.iter().find(|partition| partition.label == label);
        Ok(found.ok_or_else(|| format!("the image has no partition {label}"))?)
    }

    /// Where a text stands in a partition, in bytes from the disk's start.
    pub(crate) fn find(&self, label: &str, text: &str) -> Outcome<u64> {
        search(&self.disk(), self.partition(label)?, text.as_bytes())
    }

    /// A sparse copy of the disk, damaged.
    pub(crate) fn damaged(&self, faults: &[Fault], to: &Path, tools: &Tree) -> Outcome<()> {
        sparse_copy(&self.disk(), to)?;
        for fault in faults {
            match fault {
                Fault::Flip { partition, at } => {
                    flip(to, self.partition(partition)?.offset + at)?;
                }
                Fault::FlipMarker { partition, marker } => {
                    flip(to, search(to, self.partition(partition)?, marker.as_bytes())?)?;
                }
                Fault::Zero { at, bytes } => {
                    let disk = File::options().write(true).open(to)?;
                    disk.write_all_at(&vec![0; *bytes], *at)?;
                }
                Fault::Copy { from, to: other } => {
                    let (from, other) = (self.partition(from)?, self.partition(other)?);
                    if from.size != other.size {
                        return Err("partitions of different sizes".into());
                    }
                    let disk = File::options().read(true).write(true).open(to)?;
                    let mut bytes = vec![0; usize::try_from(from.size)?];
                    disk.read_exact_at(&mut bytes, from.offset)?;
                    disk.write_all_at(&bytes, other.offset)?;
                }
                Fault::Delete { partition } => {
                    let place = self.facts.partitions.iter().position(|other| other.label == *partition);
                    let number = (place.ok_or("no partition to delete")? + 1).to_string();
                    let (work, name) = (to.parent().ok_or("no directory")?, to.file_name().ok_or("no name")?);
                    let inside = format!("/mnt/{}", name.to_string_lossy());
                    sandbox::run(&tools.0, work, None, "sfdisk", &["--quiet", "--delete", &inside, &number])?;
                }
            }
        }
        Ok(())
    }
}

/// Copies a file, holes left out.
fn sparse_copy(from: &Path, to: &Path) -> Outcome<()> {
    let (mut from, mut to) =
        (File::open(from)?, File::options().create(true).truncate(true).read(true).write(true).open(to)?);
    to.set_len(from.metadata()?.len())?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { return Ok(()) };
        if part.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(i64::try_from(count)?))?;
        } else {
            to.write_all(part)?;
        }
    }
}

fn flip(disk: &Path, at: u64) -> Outcome<()> {
    let file = File::options().read(true).write(true).open(disk)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&byte.map(|byte| byte ^ 1), at)?;
    Ok(())
}

/// Where a text stands in a partition.
fn search(disk: &Path, partition: &Partition, text: &[u8]) -> Outcome<u64> {
    let file = File::open(disk)?;
    let mut bytes = vec![0; usize::try_from(partition.size)?];
    file.read_exact_at(&mut bytes, partition.offset)?;
    let at = bytes
        .windows(text.len())
        .position(|window| window == text)
        .ok_or("the marker is not in the partition")?;
    Ok(partition.offset + at as u64)
}

fn make(
    recipe: &Recipe,
    source: Option<&Tree>,
    tools: &Tree,
    openssl: Option<&Tree>,
    dist: &Path,
    path: &Path,
) -> Outcome<()> {
    fs::create_dir_all(path.join("repart.d"))?;
    let made = path.join("root");
    let source = match (recipe.source, source) {
        (Source::WithUs(_), Some(tree)) => {
            with_us(tree, dist, &made)?;
            made.clone()
        }
        (_, Some(tree)) => tree.0.clone(),
        (_, None) => {
            small_root(&made, dist)?;
            made.clone()
        }
    };
    let run =
        |program: &str, arguments: &[&str]| sandbox::run(&tools.0, path, Some(&source), program, arguments);
    let mut facts = Facts::default();
    prepare(recipe.prepare, path, &run, &mut facts.values)?;
    openssl.map(|openssl| keys::make(openssl, path, &mut facts.values)).transpose()?;
    for (number, text) in recipe.partitions.iter().enumerate() {
        let is_root = text.contains("CopyFiles=/:/");
        let more = if recipe.mini && is_root { MINI } else { "" };
        fs::write(path.join(format!("repart.d/{number:02}.conf")), [*text, more].concat())?;
    }
    let mut arguments = vec![
        "--empty=create",
        "--size=auto",
        "--offline=yes",
        "--seed=6f2d5a60-6b7a-4a1f-9f6f-0d6e1c5d2b11",
        "--definitions=/mnt/repart.d",
        "--copy-source=/srv",
        "--dry-run=no",
        "--json=short",
    ];
    if recipe.partitions.iter().any(|text| text.contains("Format=vfat")) {
        // Firmware reads no FAT with larger sectors than the disk's; repart would also take this for verity.
        arguments.push("--sector-size=512");
    }
    arguments.extend(openssl.iter().flat_map(|_| keys::REPART));
    arguments.push("/mnt/disk.raw");
    let json = run("systemd-repart", &arguments)?;
    facts.partitions = serde_json::from_str(&json)?;
    for partition in &mut facts.partitions {
        let offset = partition.offset.to_string();
        // Exit code 2: nothing recognised, which is an answer.
        let said = run("blkid", &["-p", "-o", "export", "-O", &offset, "/mnt/disk.raw"]).unwrap_or_default();
        let field =
            |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        partition.content_uuid = field("UUID=");
        partition.content_label = field("LABEL=");
    }
    let kept = matches!(recipe.prepare, Prepare::SecureBoot);
    openssl
        .map(|openssl| keys::sign(openssl, path, &facts.partitions, kept, &mut facts.values))
        .transpose()?;
    fs::write(path.join("facts.json"), serde_json::to_vec_pretty(&facts)?)?;
    for left in ["data.img", "hash.img", "fec.img", "noise.img"] {
        let file = path.join(left);
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    if made.exists() { Ok(fs::remove_dir_all(made)?) } else { Ok(()) }
}

fn prepare(
    what: Prepare,
    path: &Path,
    run: &dyn Fn(&str, &[&str]) -> Outcome<String>,
    values: &mut BTreeMap<String, String>,
) -> Outcome<()> {
    if let Prepare::Nothing | Prepare::Keys | Prepare::SecureBoot = what {
        return Ok(());
    }
    if let Prepare::Noise = what {
        return Ok(fs::write(path.join("noise.img"), noise(4 << 20))?);
    }
    run(
        "mkfs.erofs",
        &["--quiet", "-L", "appended", "-U", "6f2d5a60-6b7a-4a1f-9f6f-0d6e1c5d2b12", "/mnt/data.img", "/srv"],
    )?;
    let data = path.join("data.img");
    let blocks = fs::metadata(&data)?.len().div_ceil(4096);
    File::options().write(true).open(&data)?.set_len(blocks * 4096)?;
    let (offset, count) = ((blocks * 4096).to_string(), blocks.to_string());
    let (offset_option, blocks_option) =
        (format!("--hash-offset={offset}"), format!("--data-blocks={count}"));
    let mut arguments = vec!["format", "--salt=00112233", blocks_option.as_str()];
    match what {
        Prepare::Appended => arguments.extend([offset_option.as_str(), "/mnt/data.img", "/mnt/data.img"]),
        Prepare::Bare => {
            arguments.extend(["--no-superblock", offset_option.as_str(), "/mnt/data.img", "/mnt/data.img"]);
        }
        Prepare::Corrected => {
            File::create(path.join("hash.img"))?.set_len(CORRECTED_TREE)?;
            arguments.extend(["--fec-device=/mnt/fec.img", "/mnt/data.img", "/mnt/hash.img"]);
        }
        _ => arguments.extend(["--no-superblock", "/mnt/data.img", "/mnt/hash.img"]),
    }
    let said = run("veritysetup", &arguments)?;
    let root_hash = said
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"))
        .ok_or("veritysetup told no root hash")?;
    values.insert("roothash".to_owned(), root_hash.trim().to_owned());
    values.insert("offset".to_owned(), offset);
    values.insert("blocks".to_owned(), count);
    Ok(())
}

/// As a portable service, the witness outlives soft reboots.
const SURVIVOR: &str = "\
[Unit]
DefaultDependencies=no
After=basic.target
Conflicts=reboot.target kexec.target poweroff.target halt.target rescue.target emergency.target
Before=reboot.target kexec.target poweroff.target halt.target rescue.target emergency.target
IgnoreOnIsolate=yes
SurviveFinalKillSignal=yes

[Service]
ExecStart=@/usr/sbin/init @init beat /run/rig/portable
";

/// What a root with nothing but the witness says of itself.
const SMALL_OS_RELEASE: &str =
    "ID=small\nNAME=Small\nPRETTY_NAME=\"Small witness\"\nIMAGE_ID=small\nIMAGE_VERSION=5\n";

/// A tree's files, which stay one with it, and nextroot.
fn with_us(tree: &Tree, dist: &Path, to: &Path) -> Outcome<()> {
    let copied = Command::new("cp").arg("-al").arg(&tree.0).arg(to).status()?;
    if !copied.success() {
        return Err(format!("copy {}: {copied}", tree.0.display()).into());
    }
    let program = to.join("usr/bin/nextroot");
    fs::copy(dist.join("nextroot"), &program)?;
    Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
}

/// A root with nothing but the witness, and data that a boot does not read.
fn small_root(path: &Path, dist: &Path) -> Outcome<()> {
    for directory in ["dev", "proc", "sys", "run", "tmp", "var", "etc", "usr/sbin", "usr/lib/data"] {
        fs::create_dir_all(path.join(directory))?;
    }
    let init = path.join("usr/sbin/init");
    fs::copy(dist.join("guest-init"), &init)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    symlink("usr/sbin", path.join("sbin"))?;
    fs::write(path.join("usr/lib/os-release"), SMALL_OS_RELEASE)?;
    symlink("../usr/lib/os-release", path.join("etc/os-release"))?;
    let units = path.join("usr/lib/systemd/system");
    fs::create_dir_all(&units)?;
    fs::write(units.join("small-beat.service"), SURVIVOR)?;
    let half = noise(2 << 20);
    let late = [half.as_slice(), b"READ-LATER-MARKER", half.as_slice()].concat();
    Ok(fs::write(path.join("usr/lib/data/late"), late)?)
}

/// Bytes that look random and are the same each time (a linear congruential generator).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}
