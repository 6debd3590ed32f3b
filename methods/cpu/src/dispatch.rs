//! Runs a kernel with a given instruction set. Plain loops are run this way too: the compiler vectorizes them for that
//! set.

use crate::isa::Isa;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::isa::Set;
#[cfg(target_arch = "aarch64")]
use crate::lanes::Neon;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Lanes, Portable};

/// A kernel that is compiled for each instruction set; `run` must be inlined. A closure inside is compiled for the set
/// only if it is inlined too.
pub(crate) trait Kernel {
    /// Runs the kernel with registers `L`.
    fn run<L: Lanes>(self);
}

/// Runs `work` with the registers of `isa`, or without vector registers for the portable set.
pub(crate) fn dispatch<W: Kernel>(isa: Isa, work: W) {
    match isa.set() {
        // SAFETY: an `Isa` exists only for a set that the processor has.
        // Measured gain over the portable path: see `cargo bench -p vqbench-cpu`.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni | Set::Avx512 => unsafe { run_avx512(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { run_avx2(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot | Set::Neon => unsafe { run_neon(work) },
        _ => work.run::<Portable>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn run_avx512<W: Kernel>(work: W) {
    work.run::<Avx512>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<W: Kernel>(work: W) {
    work.run::<Avx2>();
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn run_neon<W: Kernel>(work: W) {
    work.run::<Neon>();
}
