//! libFuzzer, with the target that `NEXTROOT_FUZZ_TARGET` names.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nextroot_fuzz::{Target, find};

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("NEXTROOT_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = find(&name) else {
            eprintln!("no target is called \"{name}\": NEXTROOT_FUZZ_TARGET names a file of fuzz/src/targets");
            std::process::exit(1);
        };
        TARGET.get_or_init(|| target);
    },
    |data| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);
