//! The laws on the CUDA backend: on the device of this machine where there is one, and on the host's emulation of one everywhere else.

use methods::backend::{self, CudaBackend};
use methods::laws::{self, Bench};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Where the laws are kept, and whether that is a real device: an emulated one where there is none, nothing where there is no C++ compiler
/// either.
fn bench() -> Option<(Bench, bool)> {
    static BENCH: OnceLock<Option<(Bench, bool)>> = OnceLock::new();
    let found = BENCH.get_or_init(|| {
        match backend::open("cuda") {
            Ok(backend) => return Some((Bench::on(backend), true)),
            Err(missing) => eprintln!("emulated: {missing}"),
        }
        match cuda::emulator::build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("laws")) {
            Ok(library) => {
                let device = cuda::Device::emulated(&library, 4 << 30).expect("opens");
                Some((Bench::on(Arc::new(CudaBackend::on(device))), false))
            }
            Err(reason) if reason.starts_with("there is no C++ compiler") => {
                eprintln!("skipped: {reason}");
                None
            }
            Err(reason) => panic!("{reason}"),
        }
    });
    found.clone()
}

/// What an emulated device has time for: it takes a second for what a real one does in a millisecond, and each law fits every method
/// several times.
fn few(name: &str) -> bool {
    name == "kmeans"
}

macro_rules! tests_of_laws {
    ($($law:ident),*) => {
        $(#[test]
        fn $law() {
            if let Some((bench, real)) = bench() {
                let bench = if real { bench } else { bench.only(few) };
                laws::$law(&bench);
            }
        })*
    };
}
methods::for_each_law!(tests_of_laws);

/// All methods but those of local searches, fitted on the processor.
#[test]
fn what_the_processor_trained_is_coded_the_same() {
    if let Some((bench, false)) = bench() {
        let bench = bench.only(|name| name != "lsq");
        laws::codes_agree_with_those_of_the_processor(&bench);
        laws::scans_agree_with_those_of_the_processor(&bench);
    }
}
