//! The target that the environment variable `VQBENCH_FUZZ_TARGET` names, for libFuzzer.

#![no_main]

use hostile::{Room, Target};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("VQBENCH_FUZZ_TARGET").unwrap_or_default();
    hostile::target(&name).unwrap_or_else(|| panic!("VQBENCH_FUZZ_TARGET={name:?} is no target of `cargo xtask fuzz --list`"))
});

static ROOM: LazyLock<Room> = LazyLock::new(|| Room::new().unwrap_or_else(|error| panic!("no temporary folder: {error}")));

fuzz_target!(|input: &[u8]| {
    if let Err(reason) = TARGET.check(&ROOM, input) {
        panic!("{reason}");
    }
});
