//! What is printed reads back as it was, for text that the kernel, other programs or people read: of values that nobody
//! thought of. (proptest makes them; fuzz/ has the other half, any bytes.)

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{ffi::OsString, os::unix::ffi::OsStringExt, time::Duration};

use nextroot::{
    format::{
        config::{time_span, trial::Trial},
        disk::guid::Guid,
        kernel::{
            cmdline::{CommandLine, Parameter},
            devno::Devno,
            modindex::{Module, ModuleId, ModuleIndex},
            mount_options::MountOptions,
            mountinfo::{Mount, Propagation},
        },
        verity::{
            options::VerityOptions, root_hash::RootHash, superblock::VeritySuperblock, table::VerityTable,
        },
    },
    plan::{
        Plan, Step,
        order::Order,
        report::Phase,
        source::Source,
        state::{Blessing, Failed, On, Pass, Root, Staged, State, Verity},
        step::{HashOrigin, Relay},
        watchdog::Watchdog,
    },
    units::BlockSize,
};
use proptest::{collection::vec, option, prelude::*};

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) }
}

fn devno() -> impl Strategy<Value = Devno> {
    (0..1_u32 << 12, 0..1_u32 << 20).prop_map(|(major, minor)| Devno { major, minor })
}

fn guid() -> impl Strategy<Value = Guid> {
    any::<[u8; 16]>().prop_map(Guid::from_bytes)
}

fn root_hash() -> impl Strategy<Value = RootHash> {
    vec(any::<u8>(), 16..=64).prop_map(|bytes| hex(&bytes).parse().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn block_size() -> impl Strategy<Value = BlockSize> {
    (9..20_u32).prop_map(|bits| BlockSize::new(1 << bits).unwrap())
}

fn salt() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=256)
}

prop_compose! {
    fn table()(
        (version, data, hash, data_block_size, hash_block_size) in
            (0..2_u32, devno(), devno(), block_size(), block_size()),
        (data_blocks, hash_start, algorithm, root_hash, salt) in
            (any::<u64>(), any::<u64>(), "[a-z0-9()-]{1,31}", root_hash(), salt()),
        options in vec("[a-z_]{1,20}", 0..5),
    ) -> VerityTable {
        VerityTable {
            version, data, hash, data_block_size, hash_block_size, data_blocks, hash_start, algorithm, root_hash,
            salt, options,
        }
    }
}

/// Bytes of a name, as a file system may have it: anything but a zero.
fn name() -> impl Strategy<Value = OsString> {
    vec(1..=255_u8, 1..20).prop_map(OsString::from_vec)
}

prop_compose! {
    fn mount()(
        (id, parent, devno, root, point) in (any::<u32>(), any::<u32>(), devno(), name(), name()),
        (options, fstype, source, super_options) in ("[a-z,=]{1,20}", "[a-z0-9.]{1,9}", name(), "[a-z,=\\\\]{1,20}"),
        (shared, master, propagate_from, unbindable) in
            (option::of(any::<u32>()), option::of(any::<u32>()), option::of(any::<u32>()), any::<bool>()),
    ) -> Mount {
        let propagation = Propagation { shared, master, propagate_from, unbindable };
        Mount {
            id, parent, devno, root: root.into(), mount_point: point.into(), options, propagation, fstype, source,
            super_options,
        }
    }
}

/// An index as mkinitrd writes it: modules need what stands above them.
fn index() -> impl Strategy<Value = ModuleIndex> {
    let module =
        ("[a-z0-9_]{1,12}", vec(any::<prop::sample::Index>(), 0..3), vec("[a-z0-9:*?-]{1,20}", 0..3));
    (vec(module, 0..12), vec("[a-z_]{1,9}", 0..4), "[0-9]{1,2}[.][0-9]{1,2}-[a-z]{0,6}").prop_map(
        |(modules, builtin, release)| {
            let mut index = ModuleIndex { release, builtin, ..ModuleIndex::default() };
            for (place, (name, needs, aliases)) in modules.into_iter().enumerate() {
                let above = |pick: prop::sample::Index| ModuleId::at(pick.index(place));
                let needs: Vec<ModuleId> = needs.into_iter().filter(|_| place > 0).map(above).collect();
                let (name, path) = (format!("{name}_{place}"), format!("/usr/lib/{name}.ko"));
                let (pre, post) = (needs.clone(), needs.iter().rev().copied().collect());
                index.modules.push(Module { name, path, needs, pre, post, aliases, ..Module::default() });
            }
            index.always = index.modules.len().checked_sub(1).map(ModuleId::at).into_iter().collect();
            index
        },
    )
}

fn root() -> impl Strategy<Value = Root> {
    let verity =
        ("[a-z]{1,9}", root_hash(), prop_oneof![Just(HashOrigin::Arguments), Just(HashOrigin::File)])
            .prop_map(|(name, hash, root_hash_from)| {
                On::Verity(Verity { name, root_hash: hash.to_string(), root_hash_from, signed_by: None })
            });
    let on = prop_oneof![verity, any::<String>().prop_map(|unreachable| On::Else { unreachable })];
    let text = || option::of(any::<String>());
    (any::<String>(), on, text(), text()).prop_map(|(source, on, system, version)| Root {
        source,
        on,
        system,
        version,
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let text = any::<String>;
    let one = text().prop_flat_map(|at| {
        prop::sample::select(vec![
            Step::Isolate { at: at.clone() },
            Step::Follow { at: at.clone() },
            Step::FurnishRelay { at: at.clone() },
            Step::BaseFileSystem { root: at.clone() },
            Step::MoveApi { root: at.clone() },
            Step::Pivot { root: at },
            Step::KeepExitrd,
            Step::LeaveExitrd,
            Step::Exec,
        ])
    });
    let two = (text(), text()).prop_flat_map(|(from, to)| {
        prop::sample::select(vec![
            Step::Carry { from: from.clone(), at: to.clone() },
            Step::Bind { from: from.clone(), at: to.clone() },
            Step::Overlay { at: from.clone(), store: to.clone() },
            Step::VolatileUsr { at: from.clone(), store: to.clone() },
            Step::Tmpfs { at: from.clone(), options: to.clone() },
            Step::Move { from, to },
        ])
    });
    let watch = (vec(text(), 0..3), vec(text(), 0..3), any::<[u32; 2]>(), option::of(text()));
    let watchdog = (text(), option::of(any::<u32>()), any::<bool>());
    let step = prop_oneof![
        one,
        two,
        table().prop_map(|table| Step::ReuseVerity {
            name: table.algorithm.clone(),
            devno: table.data,
            table
        }),
        (text(), any::<bool>(), any::<bool>()).prop_map(|(name, corruption_ignored, repaired)| {
            Step::CheckVerity { name, corruption_ignored, repaired }
        }),
        (text(), vec(text(), 0..3)).prop_map(|(root, candidates)| Step::FindInit { root, candidates }),
        vec(text(), 0..3).prop_map(|names| Step::LoadModules { names }),
        vec(text(), 0..3).prop_map(|names| Step::LeaveUnits { names }),
        (text(), vec(text(), 0..3))
            .prop_map(|(unit, before)| { Step::Order { orders: vec![Order { unit, before }] } }),
        watch.prop_map(|(units, command, [timeout, without], program)| {
            let (timeout_sec, without_failures_sec) = (timeout.into(), without.into());
            let trial = Trial { units, command, timeout_sec, without_failures_sec, ..Trial::default() };
            Step::Watch { trial, program }
        }),
        watchdog.prop_map(|(device, timeout_sec, runs_on)| {
            Step::ArmWatchdog(Watchdog { device, timeout_sec, runs_on })
        }),
    ];
    vec(step, 0..5).prop_map(|steps| Plan { steps })
}

prop_compose! {
    fn state()(
        (generation, current, previous, retired) in
            (any::<u64>(), option::of(root()), option::of(root()), vec(root(), 0..3)),
        staged in option::of((root(), any::<bool>(), any::<bool>(), plan(), option::of(any::<String>()))),
        stage in vec((any::<String>(), any::<u64>(), any::<u64>()), 0..3),
        blessing in option::of((any::<u64>(), option::of(root_hash()))),
        failed in vec((root_hash(), any::<String>()), 0..3),
        relay in option::of((any::<bool>(), option::of(any::<u64>()), any::<u64>(), option::of(any::<String>()), any::<bool>())),
    ) -> State {
        let phase = |(name, begin_us, end_us): (String, _, _)| Phase { name: name.into(), begin_us, end_us };
        let stage: Vec<Phase> = stage.into_iter().map(phase).collect();
        let staged = staged.map(|(root, direct, complete, begun, gives_up)| {
            let (mounts, prewarmed, phases) = (Vec::new(), None, stage.clone());
            Staged { root, direct, complete, begun, mounts, prewarmed, gives_up, phases }
        });
        let failed = failed.into_iter().map(|(hash, why)| Failed { root_hash: hash.to_string(), why }).collect();
        let relay = relay.map(|(switched, begun_us, took_us, error, blames_image)| {
            Pass { switched, begun_us, took_us, error, blames_image }
        });
        let blessing = blessing.map(|(at, hash)| Blessing { at, root_hash: hash.map(|hash| hash.to_string()) });
        State { generation, current, previous, retired, staged, failed, relay, blessing, stage, ..State::default() }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn device_numbers(devno in devno()) {
        prop_assert_eq!(devno.to_string().parse(), Ok(devno));
    }

    #[test]
    fn guids(guid in guid()) {
        prop_assert_eq!(guid.to_string().parse(), Ok(guid));
        prop_assert_eq!(guid.to_string().to_uppercase().parse(), Ok(guid));
        prop_assert_eq!(Guid::from_disk(guid.to_disk()), guid);
    }

    #[test]
    fn root_hashes(hash in root_hash()) {
        prop_assert_eq!(hash.to_string().parse(), Ok(hash.clone()));
        let source = Source::RootHash(hash);
        prop_assert_eq!(source.to_string().parse::<Source>(), Ok(source));
    }

    #[test]
    fn verity_tables(table in table()) {
        prop_assert_eq!(table.to_string().parse(), Ok(table));
    }

    #[test]
    fn verity_superblocks(
        uuid in guid(), format in 0..2_u32, algorithm in "[a-z0-9()-]{1,31}", blocks in 1..1_u64 << 44,
        (data_block_size, hash_block_size) in (block_size(), block_size()), salt in salt(),
    ) {
        let superblock = VeritySuperblock {
            uuid, format, algorithm, data_block_size, hash_block_size, data_blocks: blocks, salt,
        };
        let bytes = superblock.encode().unwrap();
        prop_assert_eq!(VeritySuperblock::parse(&bytes), Ok(superblock));
    }

    #[test]
    fn sizes_in_options(number in 1..1_u64 << 20, unit in 0..4_usize, zeros in 0..3_usize) {
        let (suffix, factor) = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1_u64 << 30)][unit];
        let bytes = number * 512 * factor;
        let text = format!("hash-offset={}{}{suffix}", "0".repeat(zeros), number * 512);
        prop_assert_eq!(VerityOptions::parse(&text).unwrap().hash_offset.0, bytes);
    }

    #[test]
    fn mounts(mount in mount()) {
        let line = mount.to_string();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(line.parse(), Ok(mount));
    }

    #[test]
    fn mount_options(words in vec("[a-z]{1,8}(=[a-z0-9]{0,6})?", 0..8)) {
        let options = MountOptions::parse(&words.join(","));
        let write = |(name, value): &(String, Option<String>)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        };
        let written: Vec<String> = options.filesystem.iter().map(write).collect();
        prop_assert_eq!(MountOptions::parse(&written.join(",")).filesystem, options.filesystem);
    }

    #[test]
    fn quoted_words_of_a_command_line(
        words in vec(("[a-z.][a-z._-]{0,9}", option::of("[^\"\0]{0,12}")), 0..6), quote_all in any::<bool>(),
    ) {
        let write = |(name, value): &(String, Option<String>)| match value {
            Some(value) if quote_all => format!("\"{name}={value}\""),
            Some(value) => format!("{name}=\"{value}\""),
            None => name.clone(),
        };
        let line: Vec<String> = words.iter().map(write).collect();
        let expected: Vec<Parameter> =
            words.into_iter().map(|(name, value)| Parameter { name, value }).collect();
        prop_assert_eq!(CommandLine::parse(&line.join(" ")).parameters, expected);
    }

    #[test]
    fn module_indexes(index in index()) {
        let text = index.to_string();
        prop_assert_eq!(ModuleIndex::parse(&text), Ok(index));
    }

    #[test]
    fn time_spans(seconds in 0..1_u64 << 32, micros in 0..1_000_000_u32) {
        let span = Duration::new(seconds, micros * 1000);
        prop_assert_eq!(time_span::parse(&format!("{}us", span.as_micros())), Some(span));
        let (minutes, rest) = (seconds / 60, seconds % 60);
        prop_assert_eq!(time_span::parse(&format!("{minutes}min {rest}.{micros:06}s")), Some(span));
    }

    #[test]
    fn states(state in state()) {
        let text = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }

    #[test]
    fn relays(forward in plan(), back in plan(), init in any::<String>()) {
        let relay = Relay { init, forward, back };
        let text = serde_json::to_string(&relay).unwrap();
        prop_assert_eq!(serde_json::from_str::<Relay>(&text).unwrap(), relay);
    }

    /// Names with quotes, blanks and escapes: what is written into the state names the same device.
    #[test]
    fn sources(kind in 0..4_usize, value in "[ -~\u{e0}]{1,12}") {
        let text = ["LABEL=", "PARTLABEL=", "UUID=", "/dev/disk/by-label/"][kind].to_owned() + &value;
        if let Ok(source) = text.parse::<Source>() {
            prop_assert_eq!(source.to_string().parse::<Source>(), Ok(source));
        }
    }
}
