//! `nextroot verity` with error correction, against what veritysetup 2.7.5 made of the same data: SHA-256 of the whole file
//! with the parity. Where veritysetup is installed, each repairs by what the other made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;

use images::{Images, UUID, data, err, out, sha256, veritysetup};

mod images;
mod left_out;

/// The file with the tree, that with the parity, options, how long the first is made before, how the root hash begins, and
/// the length and SHA-256 of the second.
type Row = (&'static str, &'static str, &'static str, u64, &'static str, u64, &'static str);

const MATRIX: [Row; 22] = [
    (
        "hash",
        "fec",
        "--salt=0102",
        0,
        "ef98f3ddd94bc7f0",
        16384,
        "ef44f41c138fba5364710e4e3dce38669b944cbea57ecabe24622e5a6961543b",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=3",
        0,
        "ef98f3ddd94bc7f0",
        24576,
        "2b4979167b2bdec356821df713c58f480bdfeabac53d4a01a82133aaf6f582d8",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=8",
        0,
        "ef98f3ddd94bc7f0",
        65536,
        "a8c0688ab97c5f2715c1e0b2b49e1960a4ddd44acff84c5940b046d7223feda5",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=9",
        0,
        "ef98f3ddd94bc7f0",
        73728,
        "e6bda4d635c87992065bd93fd81c5eea30f8ff5212b998d3bb009a43e7319761",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=16",
        0,
        "ef98f3ddd94bc7f0",
        131072,
        "d10fd129a5d5349ccaaac2190d6317abe8caff1192a0a3d1e63c0e306ff38139",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=17",
        0,
        "ef98f3ddd94bc7f0",
        139264,
        "b9c0226f365876f3134ac12ac582eeebc5b2fa60f8c2cd62243257d7ed63be08",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=24",
        0,
        "ef98f3ddd94bc7f0",
        196608,
        "0cc484fcee07e54881cf0032911b75fec965b884bda48692ccebbd59d5e347eb",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=2 --data-blocks=249",
        0,
        "e97cba17eb6f61cd",
        8192,
        "2a771fe9f35f4d03489b14b03dd98a7b738edfd5c73dc41cd1a7bafd873c64cd",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=2 --data-blocks=250",
        0,
        "6418da50c6d68715",
        8192,
        "1754077df34e0cd73ccae8ea62989f41771d1a89d83024edf1d93df6668e5030",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=2 --data-blocks=1",
        0,
        "c26dc06beaa5159d",
        8192,
        "00b7a5d61d8ddb7c5d4ba50dc3a1f6438d01c6f10ca927b34895e7d2c11a062b",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=20 --data-block-size=512 --hash-block-size=512",
        0,
        "bdb996e1b480f418",
        112640,
        "a81e460a6771e83c0579c561c30c00133ff1348194d0ff17fbface4a05be5390",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=5 --data-block-size=1024 --hash-block-size=1024 --hash=sha512",
        0,
        "eb07bb19b1235271",
        30720,
        "6a1cbcc45fa8463f5704a18113ba7d854c718966b46fef59425cacfef0f74b0e",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=2 --fec-offset=8192",
        0,
        "ef98f3ddd94bc7f0",
        24576,
        "a4891a7025305f66f94131b6ff74105d820dcfcc05bbeedbad066b01c49d7ff2",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=2 --no-superblock",
        0,
        "ef98f3ddd94bc7f0",
        16384,
        "ef44f41c138fba5364710e4e3dce38669b944cbea57ecabe24622e5a6961543b",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=2 --hash-offset=1024",
        0,
        "ef98f3ddd94bc7f0",
        16384,
        "ef44f41c138fba5364710e4e3dce38669b944cbea57ecabe24622e5a6961543b",
    ),
    (
        "hash",
        "fec",
        "--salt=0102 --fec-roots=2 --hash-offset=8192",
        0,
        "ef98f3ddd94bc7f0",
        16384,
        "ef44f41c138fba5364710e4e3dce38669b944cbea57ecabe24622e5a6961543b",
    ),
    (
        "hash",
        "hash",
        "--salt=0102 --fec-roots=2 --fec-offset=20480",
        0,
        "ef98f3ddd94bc7f0",
        36864,
        "8fa9ee815a1daee472254ea33c1b6060875eb7814430d68ed8aad25256666796",
    ),
    (
        "hash",
        "hash",
        "--salt=0102 --fec-roots=13 --fec-offset=28672",
        28672,
        "ef98f3ddd94bc7f0",
        135168,
        "399a315e0119bc1558a94984f859f0bd8a5207cc9ad5d9306d94cdf60f78a389",
    ),
    (
        "hash",
        "hash",
        "--salt=0102 --fec-roots=4 --fec-offset=16384 --no-superblock",
        0,
        "ef98f3ddd94bc7f0",
        49152,
        "cd28139bf1d7d21afc90f175f38f21bba8a3324271a49baad6107f6615c9a9c1",
    ),
    (
        "data",
        "data",
        "--salt=0102 --fec-roots=2 --data-blocks=300 --hash-offset=1228800 --fec-offset=1249280",
        0,
        "ef98f3ddd94bc7f0",
        1265664,
        "30df75c0bc722814bdddec21b3da0d1e2413a3d581727b95c6600236fe068d57",
    ),
    (
        "data",
        "data",
        "--salt=0102 --fec-roots=24 --data-blocks=299 --hash-offset=1228800 --fec-offset=1261568",
        1261568,
        "994c0ab22805ec54",
        1458176,
        "5730eb078281975ee2c72278a771a06d543719315d928bf3c11b5795667e02cc",
    ),
    (
        "data",
        "fec",
        "--salt=0102 --fec-roots=2 --data-blocks=300 --hash-offset=1228800",
        0,
        "ef98f3ddd94bc7f0",
        16384,
        "ef44f41c138fba5364710e4e3dce38669b944cbea57ecabe24622e5a6961543b",
    ),
];

/// Makes tree and parity anew.
fn make(images: &Images, program: &[&str], (hash, parity, options, grown, ..): &Row) -> String {
    fs::write(images.path("data"), data()).unwrap();
    for file in [hash, parity].into_iter().filter(|file| **file != "data") {
        let _ = fs::remove_file(images.path(file));
    }
    if *grown > 0 {
        let file =
            fs::File::options().write(true).create(true).truncate(false).open(images.path(hash)).unwrap();
        file.set_len(*grown).unwrap();
    }
    let more = format!("{options} {UUID} --fec-device={}", images.path(parity));
    let output = images.run_as(program, "format", &["data", hash], &more);
    assert!(output.status.success(), "{options}: {}", err(&output));
    out(&output)
}

const OURS: [&str; 2] = [env!("CARGO_BIN_EXE_nextroot"), "verity"];

#[test]
fn the_same_bytes_as_veritysetup() {
    let images = Images::new();
    for row in MATRIX {
        let (_, parity, options, _, root_hash, length, digest) = row;
        let said = make(&images, &OURS, &row);
        assert!(said.contains(&format!("Root hash:      \t{root_hash}")), "{options}: {said}");
        let bytes = fs::read(images.path(parity)).unwrap();
        assert_eq!(bytes.len() as u64, length, "{options}");
        assert_eq!(sha256(&bytes), digest, "{options}");
    }
}

/// Where veritysetup is installed: what one made the other repairs by.
#[test]
fn each_repairs_by_what_the_other_made() {
    let Some(veritysetup) = veritysetup() else { return };
    let images = Images::new();
    for row in MATRIX {
        let (hash, parity, options, ..) = row;
        for ours in [true, false] {
            let said = make(&images, if ours { &OURS } else { veritysetup }, &row);
            let root_hash = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
            images.damage("data", 100);
            let kept = options.split_whitespace().filter(|word| {
                ["--fec", "--hash-offset"].iter().any(|start| word.starts_with(start))
                    || options.contains("--no-superblock")
            });
            let more = kept.collect::<Vec<_>>().join(" ");
            let more = format!("{root_hash} {more} --fec-device={}", images.path(parity));
            let program: &[&str] = if ours { veritysetup } else { &OURS };
            let output = images.run_as(program, "verify", &["data", hash], &more);
            // Its digest is the root hash, and there veritysetup does not believe its own repair.
            let is_root = ours && options.ends_with("--data-blocks=1");
            assert_eq!(output.status.success(), !is_root, "{options}, by us: {ours}: {}", err(&output));
        }
    }
}

/// Two bytes of parity for 253: a block of each two neighbours is in the same code words as every second one after it.
#[test]
fn what_is_repaired_and_what_is_not() {
    let images = Images::new();
    let row = ("hash", "fec", "--salt=00", 0, "", 0, "");
    let said = make(&images, &OURS, &row);
    let root_hash = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
    let files = ["data", "hash", "fec"];
    let whole = files.map(|name| fs::read(images.path(name)).unwrap());
    let veritysetup = veritysetup();
    // What is changed, what is said, the exit code, and whether veritysetup repairs it: it does not ask digests where
    // the damage is.
    for (changed, expected, code, theirs) in [
        (&[][..], "", 0, true),
        (
            &[("data", 50_000, 4)],
            "data block 12 of DATA, at byte 49152: parity repairs 4 bytes\n\
             Blocks that parity repairs: 1; that it cannot: 0; not checked: 0\n",
            0,
            true,
        ),
        (
            &[("data", 49_152, 8192)],
            "data blocks 12 to 13 of DATA, from byte 49152 on: parity repairs 8192 bytes\n\
             Blocks that parity repairs: 2; that it cannot: 0; not checked: 0\n",
            0,
            true,
        ),
        (
            &[("data", 49_152, 16_384)],
            "data blocks 12 to 15 of DATA, from byte 49152 on: parity repairs 16384 bytes\n\
             Blocks that parity repairs: 4; that it cannot: 0; not checked: 0\n",
            0,
            false,
        ),
        (
            &[("data", 49_152, 20_480)],
            "data block 12 of DATA, at byte 49152: parity cannot repair it\n\
             data block 13 of DATA, at byte 53248: parity repairs 4096 bytes\n\
             data block 14 of DATA, at byte 57344: parity cannot repair it\n\
             data block 15 of DATA, at byte 61440: parity repairs 4096 bytes\n\
             data block 16 of DATA, at byte 65536: parity cannot repair it\n\
             Blocks that parity repairs: 2; that it cannot: 3; not checked: 0\n",
            2,
            false,
        ),
        (
            &[("hash", 5000, 100)],
            "hash block 1 of HASH, at byte 4096: parity repairs 100 bytes\n\
             Blocks that parity repairs: 1; that it cannot: 0; not checked: 0\n",
            0,
            true,
        ),
        (
            &[("hash", 8192, 4096), ("data", 0, 1)],
            "hash block 2 of HASH, at byte 8192: parity repairs 4096 bytes\n\
             data block 0 of DATA, at byte 0: parity repairs 1 bytes\n\
             Blocks that parity repairs: 2; that it cannot: 0; not checked: 0\n",
            0,
            true,
        ),
        (
            &[("hash", 8192, 12_288)],
            "hash blocks 2 to 4 of HASH, from byte 8192 on: parity repairs 12288 bytes\n\
             Blocks that parity repairs: 3; that it cannot: 0; not checked: 0\n",
            0,
            false,
        ),
        (
            &[("hash", 4096, 16_384)],
            "hash block 1 of HASH, at byte 4096: parity cannot repair it\n\
             hash blocks 2 to 4 of HASH, from byte 8192 on: not checked, the digests are lost\n\
             data blocks 0 to 299 of DATA, from byte 0 on: not checked, the digests are lost\n\
             Blocks that parity repairs: 0; that it cannot: 1; not checked: 303\n",
            2,
            false,
        ),
        // The parity is wrong where the data is not, and nobody asks it.
        (&[("fec", 0, 16_384)], "", 0, true),
        // A byte of its parity is one too many.
        (
            &[("data", 4096, 4096), ("fec", 8190, 3)],
            "data block 1 of DATA, at byte 4096: parity cannot repair it\n\
             Blocks that parity repairs: 0; that it cannot: 1; not checked: 0\n",
            2,
            false,
        ),
    ] {
        for (name, bytes) in files.iter().zip(&whole) {
            fs::write(images.path(name), bytes).unwrap();
        }
        for (name, at, length) in changed {
            let mut bytes = fs::read(images.path(name)).unwrap();
            bytes[*at..at + length].iter_mut().for_each(|byte| *byte ^= 0xa5);
            fs::write(images.path(name), bytes).unwrap();
        }
        let before = files.map(|name| fs::read(images.path(name)).unwrap());
        let more = format!("{root_hash} --fec-device={}", images.path("fec"));
        let output = images.run("verify", &["data", "hash"], &more);
        let told = out(&output).replace(&images.path("data"), "DATA").replace(&images.path("hash"), "HASH");
        assert_eq!(told, expected, "{changed:?}: {}", err(&output));
        assert_eq!(output.status.code(), Some(code), "{changed:?}");
        assert!(
            before == files.map(|name| fs::read(images.path(name)).unwrap()),
            "{changed:?}: was written to"
        );
        if let Some(veritysetup) = veritysetup {
            let output = images.run_as(veritysetup, "verify", &["data", "hash"], &more);
            assert_eq!(output.status.success(), theirs, "{changed:?}: {}", err(&output));
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_and_nothing_is_lost() {
    let images = Images::new();
    let row = ("hash", "fec", "--salt=00", 0, "", 0, "");
    let said = make(&images, &OURS, &row);
    let root_hash = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
    fs::write(images.path("short"), [0; 16_383]).unwrap();
    let whole = ["data", "hash", "fec"].map(|name| fs::read(images.path(name)).unwrap());
    let fec = |name: &str, more: &str| format!("--fec-device={} {more}", images.path(name));
    for (command, more, expected) in [
        ("format", fec("fec", "--fec-roots=1"), "1 roots: error correction has 2 to 24"),
        ("format", fec("fec", "--fec-roots=25"), "25 roots: error correction has 2 to 24"),
        ("format", fec("fec", "--data-block-size=512"), "error correction needs both of the same size"),
        ("format", fec("fec", "--fec-offset=100"), "it has to begin at a multiple of 4096 bytes"),
        ("format", fec("hash", ""), "ends at byte 0, before the hash tree does, at 20480"),
        ("format", fec("hash", "--fec-offset=16384"), "ends at byte 16384, before the hash tree does"),
        ("format", fec("data", "--fec-offset=4096"), "take an --fec-offset behind it"),
        ("format", "--fec-roots=2".to_owned(), "name its --fec-device, too"),
        ("format", "--fec-device=/dev/full".to_owned(), "lengthen /dev/full"),
        ("format", "--fec-device=/nowhere/fec".to_owned(), "No such file"),
        ("verify", format!("{root_hash} {}", fec("short", "")), "which has 16.0 KiB"),
        ("verify", format!("{root_hash} {}", fec("fec", "--fec-roots=3")), "the parity needs 24.0 KiB"),
    ] {
        let output = images.run(command, &["data", "hash"], &more);
        assert_eq!(output.status.code(), Some(1), "{command} {more}: {}", err(&output));
        assert!(err(&output).contains(expected), "{command} {more}: {}", err(&output));
        assert!(whole == ["data", "hash", "fec"].map(|name| fs::read(images.path(name)).unwrap()), "{more}");
    }
}

#[test]
fn dump_tells_of_it() {
    let images = Images::new();
    make(&images, &OURS, &("hash", "fec", "--salt=00 --fec-roots=24", 0, "", 0, ""));
    let output =
        images.run("dump", &["hash"], &format!("--fec-roots=24 --fec-device={}", images.path("fec")));
    let expected = "Hash algorithm:  \tsha256\nFEC RS roots:   \t24\nFEC blocks:     \t48\nSalt:            \t00\n\
                    Hash device size: \t20480 [bytes]\nFEC device size: \t196608 [bytes]\n";
    assert!(out(&output).ends_with(expected), "{output:?}");
    make(&images, &OURS, &("hash", "hash", "--salt=00 --fec-offset=20480", 0, "", 0, ""));
    let output =
        images.run("dump", &["hash"], &format!("--fec-offset=20480 --fec-device={}", images.path("hash")));
    let expected = "FEC RS roots:   \t2\nFEC blocks:     \t4\nSalt:            \t00\nHash device size: \t36864 [bytes]\n";
    assert!(out(&output).ends_with(expected), "{output:?}");
}
