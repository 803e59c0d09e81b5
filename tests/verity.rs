//! `nextroot verity` against what veritysetup 2.7.5 made of the same data: root hashes, and the SHA-256 of whole hash
//! devices. Where there is a veritysetup, each accepts what the other made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use images::{Images, UUID, data, err, out, sha256, veritysetup};

mod images;
mod left_out;

/// Options, the root hash, the length of the hash device, and its SHA-256. No page of x86-64 holds blocks of 8192: the kernel
/// opens no device with them there, the trees are made all the same.
const MATRIX: [(&str, &str, u64, &str); 24] = [
    (
        "--salt=-",
        "de428ecc3875847dfe96e47bc01f4621c9aa16816ad11872f2222e240570f623",
        20480,
        "d0a3827e805b0a432f0e439cc0bd592171955a38c74de95bb20dae0134124522",
    ),
    (
        "--salt=00112233",
        "57bab0f56c45cd6569d26c062091392d2c7bf5de6f4f897c8cc5e8a55bc647e8",
        20480,
        "f436a7f8314eaff4d94b94132ef2e01c423998a37c5719a9877e1fb09f564113",
    ),
    (
        "--salt=00112233 --format=0",
        "e3263adc1b2f712f35de9fc6db0357c294b38054b4def690d4761f091ca472ea",
        20480,
        "925356c3d1be8fedd688f3208e7a664a379fc399c0c08f9fb2483ca0e9b85bb5",
    ),
    (
        "--salt=ab --hash=sha512",
        "91fc1d262bfce716c1835dd78096e0edc2e35c4cefbb5fc5cce1dcde54fda354f83a9e47ca782df7898cebe7eb63c7e602477cbf170ec16b8978018d4133318b",
        28672,
        "032da4041baeee8d8b8a26ff5660cd67b20c5937165c08bbb60b872a50fa3235",
    ),
    (
        "--salt=ab --hash=sha384",
        "44ffc65bfb80bb6c8ea384e26f85da1c09575ec6dfc57e85850fcc8147b1e5cffa3925424171a264b90603b74f7d7dd4",
        28672,
        "9edc8388fc2a5ca7632698df6e43dce523ac7f6b93ac825d73efb67b8d193e99",
    ),
    (
        "--salt=ab --hash=sha224",
        "6f62f1b12d17f47869b7a65c50daf93b5ed462cbb970d8153f31f5bd",
        20480,
        "fe4001684c719cb36bce56e99dedb4dc90f6274574aa54277f38a40563f796fa",
    ),
    (
        "--salt=0102 --data-block-size=1024 --hash-block-size=1024",
        "08f5f0f1cb2a4edb21c1c6b1e0ab58de08e25ff50007829000631b0efe329267",
        43008,
        "b2fc101789ef11bc98d92e74fc92b41204e93a2df0a1c20a3310bfc4fb191cc1",
    ),
    (
        "--salt=0102 --data-block-size=512 --hash-block-size=4096",
        "7dc2af5014129c3dd348d1f1ac57aaa66333dcd018fe0751e7e770d7e21a26ae",
        86016,
        "29686d8596fb6971833fb8e0ede228f79bf15cfa5490171c1f2c126bc7255d6d",
    ),
    (
        "--salt=0102 --data-block-size=4096 --hash-block-size=512",
        "74c700172513339fc24194a02499a982e94d92cb412550ab576946cc2a05385f",
        11776,
        "6f9ad17ed5c2860f3f12cceb00dc887e51fd04412e085cf40b136ab08e5effa1",
    ),
    (
        "--salt=0102 --no-superblock",
        "ef98f3ddd94bc7f03c5b6d9efdd35769e0d5867f48c2d9eebbc69bf5a8cab49f",
        16384,
        "fbac0cac23523fd89476b3c876e4fca8b21cbbbb71834be1113bb8937eb84333",
    ),
    (
        "--salt=0102 --data-blocks=1",
        "c26dc06beaa5159d45ba0dcbd70284c50dc6e907efb3979c097594d2cbeb5065",
        4096,
        "92bc62dd30fd0b026b1df042229be43f3c4abdeaf997229801c96937f90f5436",
    ),
    (
        "--salt=0102 --data-blocks=129",
        "2b8b220d8e459e25f6af58e6fd92b9f3e3e2dc63a575d8618a977849fe5458c6",
        16384,
        "1533b981243de90b97ccfc65a0d6d8e9896714c7075524dfd20df19689e8fd90",
    ),
    (
        "--salt=0102 --format=0 --hash=sha384 --hash-block-size=512 --data-block-size=512",
        "9d654fa6ca074f71c460fc8762f42e106423972bb22cfde51ceee93543c3b9edd48d1836bf169687a2d9a6bf4afd12c5",
        176640,
        "ad850dd36ac90ba531889610963cbf6a047fb98dfdceb5bdad1cf6496c9021b6",
    ),
    (
        "--salt=0102 --hash-offset=1024",
        "ef98f3ddd94bc7f03c5b6d9efdd35769e0d5867f48c2d9eebbc69bf5a8cab49f",
        20480,
        "8bbd874b59b1e006a65e1cd375e66f01136686c99df6cbab1a054a6f857d477d",
    ),
    (
        "--salt=- --format=0",
        "de428ecc3875847dfe96e47bc01f4621c9aa16816ad11872f2222e240570f623",
        20480,
        "eb30b2e1ab16f97c34693292d178bc8ae43a8dd287479a10c60017c543c8b946",
    ),
    (
        "--salt=0102 --format=0 --hash=sha512",
        "d5c69985598417c035b1eca08778c807f952c162ed5cf38c4954974a31c4b93d00f0667520ad0748c72e71982116b9e7c004ea36454ca07acd923fcbea9bf0e9",
        28672,
        "0a3fd727ed7f2d081cecf21c07465caf95410d134317f913540eb7ed7e2a703d",
    ),
    (
        "--salt=0102 --data-block-size=2048",
        "feb64ff2a6c4cff194c99d17da1a0bb9754a3ae2dd724789e8ae5a3cebb2d25f",
        28672,
        "810fbde4f65f172d91bcb787f3af7d5b6b4de33e6722afa73bc6e3c683d53475",
    ),
    (
        "--salt=0102 --data-block-size=2048 --hash-block-size=2048",
        "4a7da0c4fa871b00aa2f49cd651b6876eb5809bc5b71438979de3103614da93d",
        24576,
        "0bd3851e59d98e459f71eac1998452012b2745414a39fbc4788a91882e906047",
    ),
    (
        "--salt=0102 --data-block-size=8192",
        "e8c9c9a6f522ee8c44d2f7b9a0dc6fb40ca87b311cf5de4f9d0766eb6d68a7a2",
        16384,
        "1eb97828a87451f6f00c8991032cc90e90e31650fc2e60a1992fd8acec8fe925",
    ),
    (
        "--salt=0102 --hash-block-size=8192",
        "8194ef6e35703457c6a21b761961d376d9e03dba88cc018e9a505189c926c8a4",
        32768,
        "b3e52d60a99581b5679087a9495649baf7f3ba9400392d9b10f3e1a7432b44be",
    ),
    (
        "--salt=0102 --data-block-size=8192 --hash-block-size=8192",
        "809b399b71a0d8be5374927703289c6a2fcd0273bd7d46605dd2c4aad585a537",
        16384,
        "d1e3272c3a2112b35fca001265b7b7c81456ac7f822a519b369cba691ef5cb36",
    ),
    (
        "--salt=SALT32",
        "16f309c22cf2a80b235c6e76eefc0c10e20b2dbb37aa1983d0851569dbcf62ad",
        20480,
        "361f16343e7d29b326e8ae628cee0db1d0fcb8bdfc335457f45ff38fe6c1b93f",
    ),
    (
        "--salt=SALT256",
        "28de87843e3579b9a9c6c653dadac197efc85139afd9765b9eb7ae7733552d36",
        20480,
        "bfc15e7621421745c3ab3fbd0fb29005dfae2371e2a9cb3e032bf830df324a1d",
    ),
    (
        "--salt=SALT256 --format=0",
        "379779ae5467b1f52afa9dc98085b403f0b9ff32dbb828b7948bdb245b8e1da8",
        20480,
        "d31331709179991eaefa78824dd13083391d22895802323094a1c8a2010a9337",
    ),
];

/// A salt that ends with this byte.
fn salt(last: u8) -> String {
    (0..=last).map(|byte| format!("{byte:02x}")).collect()
}

/// A row's options, with the salts that are too long for a table.
fn written(options: &str) -> String {
    options.replace("SALT32", &salt(31)).replace("SALT256", &salt(255))
}

/// What verify needs of format's options.
fn for_verify(options: &str) -> String {
    let kept = options.split_whitespace().filter(|word| {
        options.contains("--no-superblock")
            || word.starts_with("--hash-offset")
            || word.starts_with("--no-superblock")
    });
    kept.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_same_bytes_as_veritysetup() {
    let images = Images::new();
    for (options, root_hash, length, digest) in MATRIX {
        let options = &written(options);
        let _ = fs::remove_file(images.path("hash"));
        let output = images.run("format", &["data", "hash"], &format!("{options} {UUID}"));
        assert!(out(&output).contains(&format!("Root hash:      \t{root_hash}\n")), "{options}: {output:?}");
        let hash = fs::read(images.path("hash")).unwrap();
        assert_eq!(hash.len() as u64, length, "{options}");
        assert_eq!(sha256(&hash), digest, "{options}");
        let more = format!("{root_hash} {}", for_verify(options));
        let output = images.run("verify", &["data", "hash"], &more);
        assert!(output.status.success(), "{options}: {}", err(&output));
    }
}

#[test]
fn each_accepts_what_the_other_made() {
    let Some(veritysetup) = veritysetup() else { return };
    let images = Images::new();
    for (options, ..) in MATRIX {
        let (options, mut trees) = (&written(options), Vec::new());
        for (one, other) in [(true, false), (false, true)] {
            let run = |ours: bool, command: &str, more: &str| match ours {
                true => images.run(command, &["data", "hash"], more),
                false => images.run_as(veritysetup, command, &["data", "hash"], more),
            };
            let _ = fs::remove_file(images.path("hash"));
            let made = run(one, "format", &format!("{options} {UUID}"));
            let text = out(&made);
            let root_hash = text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
            let more = format!("{root_hash} {}", for_verify(options));
            let checked = run(other, "verify", &more);
            assert!(checked.status.success(), "{options}, made by us: {one}: {}", err(&checked));
            trees.push((root_hash.to_owned(), fs::read(images.path("hash")).unwrap()));
        }
        assert!(trees[0] == trees[1], "{options}: not the same bytes");
    }
}

/// No tree is made with SHA-1, but old ones are read.
#[test]
fn trees_of_sha1_are_read() {
    let Some(veritysetup) = veritysetup() else { return };
    let images = Images::new();
    for format in ["--format=1", "--format=0"] {
        let _ = fs::remove_file(images.path("hash"));
        let made = images.run_as(veritysetup, "format", &["data", "hash"], &format!("--hash=sha1 {format}"));
        let text = out(&made);
        let root_hash = text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
        let checked = images.run("verify", &["data", "hash"], root_hash);
        assert!(checked.status.success(), "{format}: {}", err(&checked));
        images.damage("data", 77 * 4096);
        let checked = images.run("verify", &["data", "hash"], root_hash);
        assert_eq!(checked.status.code(), Some(2), "{format}");
        assert!(err(&checked).contains("data block 77"), "{}", err(&checked));
        images.damage("data", 77 * 4096);
    }
}

/// A tree over another one: what is interrupted in the middle is neither of them.
#[test]
fn what_was_interrupted_is_no_tree() {
    let images = Images::new();
    for (more, limit) in [("", 8), ("--fec-device=FEC --fec-roots=24", 128)] {
        let more = more.replace("FEC", &images.path("fec"));
        assert!(images.run("format", &["data", "hash"], &format!("--salt=00 {more}")).status.success());
        // The tree has 20 KiB, this parity 192: the kernel ends whoever writes past so many blocks of 512 bytes.
        let limited = format!("ulimit -f {limit}; exec \"$0\" verity \"$@\"");
        let program = ["sh", "-c", &limited, env!("CARGO_BIN_EXE_nextroot")];
        let output = images.run_as(&program, "format", &["data", "hash"], &format!("--salt=01 {more}"));
        assert!(!output.status.success(), "{more}");
        assert_eq!(out(&output), "");
        let dumped = images.run("dump", &["hash"], "");
        assert!(err(&dumped).contains("read the superblock of"), "{more}: {dumped:?}");
    }
}

/// A file that was not there: it had its whole length at once, and without a superblock nothing told it from a tree.
#[test]
fn what_was_interrupted_has_no_name() {
    let images = Images::new();
    let there = |name: &str| Path::new(&images.path(name)).exists();
    let stored = |bare: &str| format!("--salt=00 {bare} --fec-device={} --fec-roots=24", images.path("fec"));
    for (more, limit) in [
        ("--salt=00".to_owned(), 8),
        ("--salt=00 --no-superblock".to_owned(), 8),
        (stored(""), 128),
        (stored("--no-superblock"), 128),
    ] {
        let limited = format!("ulimit -f {limit}; exec \"$0\" verity \"$@\"");
        let program = ["sh", "-c", &limited, env!("CARGO_BIN_EXE_nextroot")];
        let output = images.run_as(&program, "format", &["data", "hash"], &more);
        assert!(!output.status.success(), "{more}");
        assert!(!there("hash") && !there("fec"), "{more}");
        // What it left is no obstacle, and goes.
        assert!(images.run("format", &["data", "hash"], &more).status.success(), "{more}");
        assert!(there("hash") && there("fec") == more.contains("fec"), "{more}");
        assert!(!there("hash.new") && !there("fec.new"), "{more}");
        for name in ["hash", "fec"] {
            let _ = fs::remove_file(images.path(name));
        }
    }
    // Without a superblock, over one that was there: its topmost block is the last that is written.
    let bare = "--no-superblock --salt=00";
    assert!(images.run("format", &["data", "hash"], bare).status.success());
    let program = ["sh", "-c", "ulimit -f 8; exec \"$0\" verity \"$@\"", env!("CARGO_BIN_EXE_nextroot")];
    assert!(!images.run_as(&program, "format", &["data", "hash"], bare).status.success());
    assert!(fs::read(images.path("hash")).unwrap()[..4096] == [0; 4096]);
    // Both parts in one file that was not there.
    let more = format!("--salt=00 --fec-device={} --fec-offset=65536", images.path("both"));
    let made = images.run("format", &["data", "both"], &more);
    assert!(made.status.success(), "{}", err(&made));
    assert!(there("both") && !there("both.new"));
    // A link that lies where it would be made leads to a file that nobody named.
    fs::write(images.path("kept"), "kept").unwrap();
    for (link, more) in
        [("other.new", "--salt=00".to_owned()), ("rh.new", format!("--root-hash-file={}", images.path("rh")))]
    {
        std::os::unix::fs::symlink("kept", images.path(link)).unwrap();
        let refused = images.run("format", &["data", "other"], &more);
        assert!(!refused.status.success() && err(&refused).contains(link), "{link}: {}", err(&refused));
        fs::remove_file(images.path(link)).unwrap();
        let _ = fs::remove_file(images.path("other"));
    }
    assert_eq!(fs::read(images.path("kept")).unwrap(), b"kept");
    // What cannot be made leaves nothing, either.
    let refused = images.run("format", &["data", "other"], "--salt=00 --fec-device=/nowhere/fec");
    assert!(!refused.status.success() && !there("other") && !there("other.new"));
}

#[test]
fn what_is_wrong_is_named() {
    let images = Images::new();
    let (options, root_hash, ..) = MATRIX[1];
    let make = || {
        fs::write(images.path("data"), data()).unwrap();
        let _ = fs::remove_file(images.path("hash"));
        assert!(images.run("format", &["data", "hash"], &format!("{options} {UUID}")).status.success());
    };
    let other = root_hash.replace('5', "6");
    // The tree: superblock, the root's block, then three with the digests of the data.
    for (file, at, given, expected) in [
        ("data", 500_000, root_hash, "data block 122 of DATA does not match its digest: at byte 499712"),
        ("data", 0, root_hash, "data block 0 of DATA does not match its digest: at byte 0"),
        ("data", 299 * 4096, root_hash, "data block 299 of DATA does not match its digest: at byte 1224704"),
        ("hash", 4096, root_hash, "the root hash of HASH is "),
        (
            "hash",
            2 * 4096 + 32 * 5,
            root_hash,
            "hash block 2 of HASH does not match its digest: at byte 8192",
        ),
        ("data", 0, other.as_str(), "it is another image's, or its hash tree is damaged"),
    ] {
        make();
        images.damage(file, at);
        let output = images.run("verify", &["data", "hash"], given);
        let said = err(&output).replace(&images.path("data"), "DATA").replace(&images.path("hash"), "HASH");
        assert_eq!(output.status.code(), Some(2), "{expected}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // The spare part of the last block of digests is covered by its own digest only where somebody made it so.
    make();
    images.damage("hash", 100);
    let output = images.run("verify", &["data", "hash"], root_hash);
    assert!(output.status.success(), "what stands behind the superblock's fields: {}", err(&output));
}

#[test]
fn what_cannot_be_meant_is_refused_and_nothing_is_lost() {
    let images = Images::new();
    let before = fs::read(images.path("data")).unwrap();
    fs::write(images.path("empty"), "").unwrap();
    for (command, files, more, expected) in [
        ("format", &["data", "data"][..], "", "the data reaches to byte 1228800"),
        ("format", &["data", "hash"], "--hash=sha1", "sha1 is broken: whoever makes an image"),
        ("format", &["data", "hash"], "--hash=md5", "md5"),
        ("format", &["data", "hash"], "--hash=md4", "the length of a digest of md4 is not known"),
        ("format", &["data", "hash"], "--data-block-size=1000", "1000 is not a block size"),
        ("format", &["data", "hash"], "--data-blocks=301", "and 1.2 MiB (1232896 B) of data are asked for"),
        ("format", &["data", "hash"], "--format=2", "--format=2: write 1"),
        ("format", &["data", "hash"], "--salt=0", "--salt=0: write hexadecimal digits"),
        ("format", &["data", "hash"], "--uuid=x", "is not a UUID"),
        ("format", &["data", "hash"], "--hash-offset=100", "multiple of 512 bytes"),
        ("format", &["data", "hash"], "--hash-offset=512 --no-superblock", "multiple of 4096 bytes"),
        ("format", &["empty", "hash"], "", "no data blocks"),
        ("verify", &["data", "data"], "ab", "hexadecimal digits"),
        ("verify", &["data", "data"], &"ab".repeat(32), "there is no verity superblock"),
        ("verify", &["data", "empty"], &"ab".repeat(32), "there is no verity superblock"),
        ("verify", &["data", "data"], "", "no root hash, or two: write ROOT_HASH, or --root-hash-file FILE"),
        ("verify", &["data", "data"], &format!("{} --no-superblock", "ab".repeat(32)), "--salt"),
        ("dump", &["data"], "", "is it the hash device, and --hash-offset right?"),
    ] {
        let output = images.run(command, files, more);
        assert_eq!(output.status.code(), Some(1), "{command} {more}: {}", err(&output));
        assert!(err(&output).contains(expected), "{command} {more}: {}", err(&output));
    }
    assert!(fs::read(images.path("data")).unwrap() == before);
    assert_eq!(fs::metadata(images.path("hash")).map_or(0, |metadata| metadata.len()), 0);
}

#[test]
fn an_image_that_is_not_there_has_the_exit_code_of_a_missing_device() {
    let images = Images::new();
    assert!(images.run("format", &["data", "hash"], "").status.success());
    let (root_hash, hash) = ("ab".repeat(32), images.path("hash"));
    let bare = "--no-superblock --salt=00 --data-blocks=300";
    for (command, files, more, expected) in [
        ("format", &["missing", "other"][..], String::new(), 4),
        ("format", &["data", "nowhere/other"], String::new(), 1),
        ("format", &["data", "other"], "--fec-device=/nowhere/fec".to_owned(), 1),
        ("verify", &["data", "hash"], format!("{root_hash} --fec-device=/nowhere/fec"), 4),
        ("verify", &["missing", "hash"], root_hash.clone(), 4),
        ("verify", &["data", "missing"], root_hash.clone(), 4),
        ("verify", &["data", "hash"], "--root-hash-file=/missing".to_owned(), 1),
        ("dump", &["missing"], String::new(), 4),
        ("open", &["missing"], format!("image {hash} {root_hash}"), 4),
        ("open", &["data"], format!("image {hash}.missing {root_hash}"), 4),
        ("open", &["data"], format!("image {hash}.missing {root_hash} {bare}"), 4),
        ("open", &["data"], format!("image {hash} {root_hash} --fec-device=/missing"), 4),
        ("open", &["data"], format!("image {hash} --root-hash-file=/missing"), 1),
    ] {
        let output = images.run(command, files, &more);
        assert_eq!(output.status.code(), Some(expected), "{command} {more}: {}", err(&output));
        assert!(err(&output).contains("No such file"), "{command} {more}: {}", err(&output));
    }
}

#[test]
fn behind_the_data_and_in_a_file_of_its_own() {
    let images = Images::new();
    let more = format!("--salt=0102 {UUID} --hash-offset=1228800 --data-blocks=300 --root-hash-file");
    let more = format!("{more} {}", images.path("roothash"));
    let output = images.run("format", &["data", "data"], &more);
    assert!(output.status.success(), "{}", err(&output));
    assert!(!out(&output).contains("Hash device size"), "{}", out(&output));
    let found = sha256(&fs::read(images.path("data")).unwrap());
    assert_eq!(found, "b5908c982d0e51b77391783e9c96115d7c0863821531f37f0a1a1d6388ca18e1");
    let root_hash = fs::read_to_string(images.path("roothash")).unwrap();
    assert_eq!(root_hash, "ef98f3ddd94bc7f03c5b6d9efdd35769e0d5867f48c2d9eebbc69bf5a8cab49f");
    assert!(!Path::new(&images.path("roothash.new")).exists());
    let more = format!("--hash-offset=1228800 --root-hash-file {}", images.path("roothash"));
    let output = images.run("verify", &["data", "data"], &more);
    assert!(output.status.success(), "{}", err(&output));
    let output = images.run("dump", &["data"], "--hash-offset=1228800");
    let expected = format!(
        "VERITY header information for {}\nUUID:            \t6f2d5a60-6b7a-4a1f-9f6f-0d6e1c5d2b11\n\
         Hash type:       \t1\nData blocks:     \t300\nData block size: \t4096\nHash blocks:     \t4\n\
         Hash block size: \t4096\nHash algorithm:  \tsha256\nSalt:            \t0102\n",
        images.path("data")
    );
    assert_eq!(out(&output), expected);
}
