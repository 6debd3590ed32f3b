//! Entering a plain loop compiled for a wider instruction set: what the compiler vectorizes by itself needs no intrinsics.

/// Defines `fn name(isa, …)` that runs `body(…)`, an `#[inline(always)]` function of this module without closures that hold
/// intrinsics, compiled for the registers of `isa`.
macro_rules! dispatched {
    ($(#[$doc:meta])* $visible:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) = $body:path) => {
        $(#[$doc])*
        $visible fn $name(isa: crate::Isa, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
            fn on_avx512($($argument: $kind),*) {
                $body($($argument),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn on_avx2($($argument: $kind),*) {
                $body($($argument),*);
            }

            match isa {
                // SAFETY: the instruction set is available. Gain: see `cargo bench -p vqbench-cpu`.
                #[cfg(target_arch = "x86_64")]
                crate::Isa::Avx512Vnni | crate::Isa::Avx512 if isa.is_available() => unsafe { on_avx512($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                crate::Isa::Avx2 if isa.is_available() => unsafe { on_avx2($($argument),*) },
                _ => $body($($argument),*),
            }
        }
    };
}

pub(crate) use dispatched;
