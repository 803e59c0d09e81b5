//! What each image is made of: whose files, and the partitions that systemd-repart lays out.

/// How an image is made.
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// Whose files are in it.
    pub(crate) source: Source,
    /// Made before the disk is laid out.
    pub(crate) prepare: Prepare,
    /// Partitions: repart.d(5).
    pub(crate) partitions: &'static [&'static str],
    /// Whether its roots are mini guests: the system's own systemd, with a handful of units.
    pub(crate) mini: bool,
    /// The tree whose systemd-repart lays it out.
    pub(crate) tools: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// A root with nothing but the witness.
    Small,
    /// A tree of packages.
    System(&'static str),
    /// The same with the nextroot under test in it: that is another image each time.
    WithUs(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Prepare {
    Nothing,
    /// `data.img`: erofs with its hash tree behind it.
    Appended,
    /// The same without a superblock of the tree.
    Bare,
    /// `data.img` and `hash.img`: erofs, and a hash tree without a superblock.
    NoSuperblock,
    /// `data.img`, `hash.img` of [`CORRECTED_TREE`] bytes, and `fec.img`: erofs, its hash tree, and parity over all of both.
    Corrected,
    /// `noise.img`: no file system.
    Noise,
    /// Keys, certificates and signatures: see qemu/src/keys.rs.
    Keys,
    /// These, and variables of a firmware that trusts them: see `qemu/src/secure_boot.rs`.
    SecureBoot,
}

/// How long a hash device is whose parity is made: it covers the device to its end, so the partition has to be as long.
pub(crate) const CORRECTED_TREE: u64 = 16 << 20;

impl Recipe {
    const fn small(name: &'static str, partitions: &'static [&'static str]) -> Self {
        Self {
            name,
            source: Source::Small,
            prepare: Prepare::Nothing,
            partitions,
            mini: false,
            tools: "tools",
        }
    }

    const fn system(name: &'static str, tree: &'static str, partitions: &'static [&'static str]) -> Self {
        Self { source: Source::System(tree), ..Self::small(name, partitions) }
    }

    const fn prepared(self, prepare: Prepare) -> Self {
        Self { prepare, ..self }
    }

    const fn mini(self) -> Self {
        Self { mini: true, ..self }
    }

    const fn laid_out_by(self, tools: &'static str) -> Self {
        Self { tools, ..self }
    }
}

const ROOT_VERITY: [&str; 2] = [
    "[Partition]\nType=root\nLabel=root\nFormat=erofs\nCopyFiles=/:/\nVerity=data\nVerityMatchKey=root\nMinimize=best\n",
    "[Partition]\nType=root-verity\nLabel=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n",
];

const ESP: &str = "[Partition]\nType=esp\nLabel=esp\nFormat=vfat\nSizeMinBytes=128M\nSizeMaxBytes=128M\n";

/// Two roots of one system, which differ by a directory, as systemd-sysupdate labels them, and a /var.
const PAIR: [&str; 5] = [
    "[Partition]\nType=root\nLabel=os_1\nFormat=erofs\nCopyFiles=/:/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nVerity=data\nVerityMatchKey=a\nMinimize=best\n",
    "[Partition]\nType=root-verity\nLabel=os_1_verity\nVerity=hash\nVerityMatchKey=a\nMinimize=best\n",
    "[Partition]\nType=root\nLabel=os_2\nFormat=erofs\nCopyFiles=/:/\nMakeDirectories=/second\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nVerity=data\nVerityMatchKey=b\nMinimize=best\n",
    "[Partition]\nType=root-verity\nLabel=os_2_verity\nVerity=hash\nVerityMatchKey=b\nMinimize=best\n",
    "[Partition]\nType=var\nLabel=var\nFormat=ext4\nCopyFiles=/var:/\nSizeMinBytes=96M\nSizeMaxBytes=96M\n",
];

/// The same with a database's room in /var, which no root has in it.
const SERVING: [&str; 5] = [
    "[Partition]\nType=root\nLabel=os_1\nFormat=erofs\nCopyFiles=/:/\nExcludeFiles=/var/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nVerity=data\nVerityMatchKey=a\nMinimize=best\n",
    PAIR[1],
    "[Partition]\nType=root\nLabel=os_2\nFormat=erofs\nCopyFiles=/:/\nMakeDirectories=/second\nExcludeFiles=/var/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nVerity=data\nVerityMatchKey=b\nMinimize=best\n",
    PAIR[3],
    "[Partition]\nType=var\nLabel=var\nFormat=ext4\nCopyFiles=/var:/\nSizeMinBytes=512M\nSizeMaxBytes=512M\n",
];

/// The same behind an ESP.
const PAIR_ESP: [&str; 6] = [ESP, PAIR[0], PAIR[1], PAIR[2], PAIR[3], PAIR[4]];

/// A root that is none of a pair, on a disk of its own. It fits into a slot of the pair.
const THIRD: [&str; 2] = [
    "[Partition]\nType=root\nLabel=root\nFormat=erofs\nCopyFiles=/:/\nMakeDirectories=/third\nExcludeFiles=/var/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nVerity=data\nVerityMatchKey=root\nMinimize=best\n",
    ROOT_VERITY[1],
];

/// The same, of squashfs, and without modules for any kernel.
const SQUASHED: [&str; 2] = [
    "[Partition]\nType=root\nLabel=root\nFormat=squashfs\nCopyFiles=/:/\nMakeDirectories=/third\nExcludeFiles=/usr/lib/modules/\nExcludeFiles=/var/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nVerity=data\nVerityMatchKey=root\nMinimize=best\n",
    ROOT_VERITY[1],
];

/// A slot that runs, an empty one, and a /var: what systemd-sysupdate begins with.
const HALF: [&str; 5] = [
    "[Partition]\nType=root\nLabel=os_1\nFormat=erofs\nCopyFiles=/:/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nExcludeFiles=/usr/lib/os-release\nCopyFiles=/usr/lib/rig/os-release-1:/usr/lib/os-release\nVerity=data\nVerityMatchKey=a\nMinimize=best\n",
    PAIR[1],
    "[Partition]\nType=root\nLabel=_empty\nSizeMinBytes=256M\nSizeMaxBytes=256M\n",
    "[Partition]\nType=root-verity\nLabel=_empty\nSizeMinBytes=8M\nSizeMaxBytes=8M\n",
    PAIR[4],
];

/// What it is updated to. Each fits into either slot.
const UPDATES: [&str; 4] = [
    "[Partition]\nType=root\nLabel=os_2\nFormat=erofs\nCopyFiles=/:/\nExcludeFiles=/var/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nExcludeFiles=/usr/lib/os-release\nCopyFiles=/usr/lib/rig/os-release-2:/usr/lib/os-release\nVerity=data\nVerityMatchKey=a\nMinimize=best\n",
    "[Partition]\nType=root-verity\nLabel=os_2_verity\nVerity=hash\nVerityMatchKey=a\nMinimize=best\n",
    "[Partition]\nType=root\nLabel=os_3\nFormat=erofs\nCopyFiles=/:/\nExcludeFiles=/var/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nExcludeFiles=/usr/lib/os-release\nCopyFiles=/usr/lib/rig/os-release-3:/usr/lib/os-release\nVerity=data\nVerityMatchKey=b\nMinimize=best\n",
    "[Partition]\nType=root-verity\nLabel=os_3_verity\nVerity=hash\nVerityMatchKey=b\nMinimize=best\n",
];

/// A plain root to begin on, the first root of a pair to go to, and a /var for both.
const PLAIN: [&str; 4] = [
    PAIR[0],
    PAIR[1],
    PAIR[4],
    "[Partition]\nType=linux-generic\nLabel=plain\nFormat=ext4\nCopyFiles=/:/\nExcludeFiles=/etc/fstab\nCopyFiles=/usr/lib/rig/fstab:/etc/fstab\nSizeMinBytes=768M\nSizeMaxBytes=768M\n",
];

/// A pair whose root hashes are signed. Labels say which signature is whose, as systemd-sysupdate writes them.
const SIGNED: [&str; 7] = [
    PAIR[0],
    PAIR[1],
    "[Partition]\nType=root-verity-sig\nLabel=os_1_verity_sig\nVerity=signature\nVerityMatchKey=a\n",
    PAIR[2],
    PAIR[3],
    "[Partition]\nType=root-verity-sig\nLabel=os_2_verity_sig\nVerity=signature\nVerityMatchKey=b\n",
    PAIR[4],
];

/// The same behind an ESP.
const SIGNED_ESP: [&str; 8] =
    [ESP, SIGNED[0], SIGNED[1], SIGNED[2], SIGNED[3], SIGNED[4], SIGNED[5], SIGNED[6]];

/// A boot loader's partition, and two small roots whose root hashes are signed.
const DISSECTED: [&str; 7] = [
    ESP,
    "[Partition]\nType=root\nLabel=os_1\nFormat=erofs\nCopyFiles=/:/\nVerity=data\nVerityMatchKey=a\nMinimize=best\n",
    PAIR[1],
    SIGNED[2],
    "[Partition]\nType=root\nLabel=os_2\nFormat=erofs\nCopyFiles=/:/\nMakeDirectories=/second\nVerity=data\nVerityMatchKey=b\nMinimize=best\n",
    PAIR[3],
    SIGNED[5],
];

/// As many partitions as systemd-repart makes, but for three.
const MANY: [&str; 125] =
    ["[Partition]\nType=linux-generic\nLabel=many\nSizeMinBytes=1M\nSizeMaxBytes=1M\n"; 125];

/// What makes a mini guest of a root.
pub(crate) const MINI: &str = "CopyFiles=/usr/lib/rig/mini:/etc\n\
    ExcludeFiles=/etc/systemd/system/getty.target.wants/\n\
    ExcludeFiles=/etc/systemd/system/multi-user.target.wants/\n\
    ExcludeFiles=/etc/systemd/system/sysinit.target.wants/\n\
    ExcludeFiles=/etc/systemd/system/timers.target.wants/\n\
    ExcludeFiles=/usr/lib/systemd/system/getty.target.wants/\n\
    ExcludeFiles=/usr/lib/systemd/system/multi-user.target.wants/\n\
    ExcludeFiles=/usr/lib/systemd/system/sockets.target.wants/\n\
    ExcludeFiles=/usr/lib/systemd/system/sysinit.target.wants/\n\
    ExcludeFiles=/usr/lib/systemd/system/timers.target.wants/\n";

pub(crate) const RECIPES: &[Recipe] = &[
    Recipe::small("verity", &ROOT_VERITY),
    Recipe::small(
        "appended",
        &["[Partition]\nType=linux-generic\nLabel=appended\nCopyBlocks=/mnt/data.img\n"],
    )
    .prepared(Prepare::Appended),
    Recipe::small("bare", &["[Partition]\nType=linux-generic\nLabel=bare\nCopyBlocks=/mnt/data.img\n"])
        .prepared(Prepare::Bare),
    Recipe::small(
        "nosuperblock",
        &[
            "[Partition]\nType=linux-generic\nLabel=data\nCopyBlocks=/mnt/data.img\n",
            "[Partition]\nType=linux-generic\nLabel=tree\nCopyBlocks=/mnt/hash.img\n",
        ],
    )
    .prepared(Prepare::NoSuperblock),
    Recipe::small(
        "corrected",
        &[
            "[Partition]\nType=linux-generic\nLabel=data\nCopyBlocks=/mnt/data.img\n",
            "[Partition]\nType=linux-generic\nLabel=tree\nCopyBlocks=/mnt/hash.img\nSizeMinBytes=16M\nSizeMaxBytes=16M\n",
            "[Partition]\nType=linux-generic\nLabel=parity\nCopyBlocks=/mnt/fec.img\n",
        ],
    )
    .prepared(Prepare::Corrected),
    Recipe::small(
        "usr",
        &[
            "[Partition]\nType=usr\nLabel=usr\nFormat=erofs\nCopyFiles=/usr:/\nVerity=data\nVerityMatchKey=usr\nMinimize=best\n",
            "[Partition]\nType=usr-verity\nLabel=usr-verity\nVerity=hash\nVerityMatchKey=usr\nMinimize=best\n",
            "[Partition]\nType=root\nLabel=root\nFormat=ext4\nCopyFiles=/:/\nExcludeFilesTarget=/usr/\nMakeDirectories=/usr\nSizeMinBytes=64M\nSizeMaxBytes=64M\n",
        ],
    ),
    Recipe::small(
        "plain",
        &[
            "[Partition]\nType=linux-generic\nLabel=ext4\nFormat=ext4\nCopyFiles=/:/\nSizeMinBytes=64M\nSizeMaxBytes=64M\n",
            "[Partition]\nType=linux-generic\nLabel=btrfs\nFormat=btrfs\nCopyFiles=/:/\nSizeMinBytes=128M\nSizeMaxBytes=128M\n",
            "[Partition]\nType=linux-generic\nLabel=squashfs\nFormat=squashfs\nCopyFiles=/:/\nMinimize=best\n",
            "[Partition]\nType=linux-generic\nLabel=erofs\nFormat=erofs\nCopyFiles=/:/\nMinimize=best\n",
            "[Partition]\nType=linux-generic\nLabel=xfs\nFormat=xfs\nCopyFiles=/:/\nSizeMinBytes=320M\nSizeMaxBytes=320M\n",
        ],
    ),
    Recipe::small(
        "auto",
        &[
            ESP,
            "[Partition]\nType=root\nLabel=root\nFormat=erofs\nCopyFiles=/:/\nMinimize=best\n",
        ],
    ),
    Recipe::small("dissected", &DISSECTED).prepared(Prepare::Keys),
    Recipe::small("many", &MANY),
    Recipe::small("noise", &["[Partition]\nType=linux-generic\nLabel=noise\nCopyBlocks=/mnt/noise.img\n"])
        .prepared(Prepare::Noise),
    Recipe::small(
        "files",
        &[
            "[Partition]\nType=linux-generic\nLabel=files\nFormat=ext4\nSizeMinBytes=900M\nSizeMaxBytes=900M\n",
        ],
    ),
    Recipe::system("trixie", "trixie", &ROOT_VERITY),
    Recipe::system("bookworm", "bookworm", &ROOT_VERITY),
    Recipe::system("forky", "forky", &ROOT_VERITY),
    Recipe::system("pair-trixie", "trixie", &PAIR),
    Recipe::system("pair-forky", "forky", &PAIR),
    Recipe::system("serving", "serving", &SERVING),
    Recipe::system("serving-updated", "serving-updated", &THIRD),
    Recipe::system("mini-trixie", "trixie", &PAIR).mini(),
    Recipe::system("mini-bookworm", "bookworm", &PAIR).mini(),
    Recipe::system("mini-forky", "forky", &PAIR).mini(),
    Recipe::system("half-trixie", "trixie", &HALF).mini(),
    Recipe::system("updates-trixie", "trixie", &UPDATES).mini(),
    Recipe::system("entries-trixie", "trixie", &PAIR_ESP).mini(),
    Recipe::system("unified-trixie", "unified", &PAIR_ESP).mini(),
    Recipe::system("third-trixie", "trixie", &THIRD).mini(),
    Recipe::system("third-bookworm", "bookworm", &THIRD).mini(),
    Recipe::system("third-forky", "forky", &THIRD).mini(),
    Recipe::system("squashed-trixie", "trixie", &SQUASHED).mini(),
    Recipe::system("squashed-bookworm", "bookworm", &SQUASHED).mini(),
    Recipe::system("squashed-forky", "forky", &SQUASHED).mini(),
    Recipe::system("managed-trixie", "managed", &PAIR).mini(),
    Recipe::system(
        "controller",
        "ansible",
        &[
            "[Partition]\nType=linux-generic\nLabel=controller\nFormat=erofs\nCopyFiles=/:/\nMinimize=best\n",
        ],
    ),
    Recipe::system("signed-trixie", "trixie", &SIGNED).mini().prepared(Prepare::Keys),
    Recipe::system("signed-bookworm", "bookworm", &SIGNED).mini().prepared(Prepare::Keys),
    Recipe::system("signed-forky", "forky", &SIGNED).mini().prepared(Prepare::Keys).laid_out_by("tools-forky"),
    Recipe::system("secure-trixie", "trixie", &SIGNED_ESP).mini().prepared(Prepare::SecureBoot),
    Recipe {
        source: Source::WithUs("restricted"),
        ..Recipe::system("restricted", "restricted", &SIGNED_ESP)
            .mini()
            .prepared(Prepare::SecureBoot)
            .laid_out_by("tools-forky")
    },
    Recipe::system("plain-trixie", "trixie", &PLAIN).mini(),
    Recipe::system("plain-bookworm", "bookworm", &PLAIN).mini(),
    Recipe::system("plain-forky", "forky", &PLAIN).mini(),
];
