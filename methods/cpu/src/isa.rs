//! Which instruction set a kernel is entered with; chosen once, passed in, and recorded with every result.

use std::fmt;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// [`Isa::Avx512`] with VNNI and VBMI: products of bytes, and tables of bytes held in registers (Ice Lake, Zen 4 and later).
    Avx512Vnni,
    /// AVX-512 F/BW/DQ/VL with FMA, 16 lanes of f32.
    Avx512,
    /// AVX2 with FMA, 8 lanes of f32.
    Avx2,
    /// Whatever the build targets by default; multiplication and addition round separately.
    Portable,
}

/// Widest first.
const ALL: [Isa; 4] = [Isa::Avx512Vnni, Isa::Avx512, Isa::Avx2, Isa::Portable];

/// Environment variable that forces an instruction set by name, to test or to compare narrower ones.
pub const ISA_VARIABLE: &str = "VQBENCH_ISA";

impl Isa {
    /// The set that [`ISA_VARIABLE`] names; otherwise, or where that cannot be run, the widest that this processor has.
    pub fn detect() -> Isa {
        Isa::forced().ok().flatten().unwrap_or_else(Isa::widest)
    }

    fn widest() -> Isa {
        ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// The set that [`ISA_VARIABLE`] names, if it is set.
    ///
    /// # Errors
    /// A name that is none, or a set that this processor lacks; says what would be right.
    pub fn forced() -> Result<Option<Isa>, String> {
        match std::env::var_os(ISA_VARIABLE) {
            None => Ok(None),
            Some(name) => Isa::named(&name.to_string_lossy()).map(Some),
        }
    }

    fn named(name: &str) -> Result<Isa, String> {
        let usable: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
        let usable = usable.join(", ");
        match ALL.into_iter().find(|isa| isa.to_string() == name) {
            Some(isa) if isa.is_available() => Ok(isa),
            Some(isa) => Err(format!("{ISA_VARIABLE}={isa}: this processor lacks it; it can run {usable}")),
            None => Err(format!("{ISA_VARIABLE}={name} is no instruction set; this processor can run {usable}")),
        }
    }

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => {
                Isa::Avx512.is_available()
                    && is_x86_feature_detected!("avx512vnni")
                    && is_x86_feature_detected!("avx512vbmi")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Isa::Portable => true,
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// All sets that this processor can run, widest first.
    pub fn available() -> Vec<Isa> {
        ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// f32 columns in one packed panel: two registers of the set.
    pub(crate) fn panel_width(self) -> usize {
        match self {
            Isa::Avx512Vnni | Isa::Avx512 => 32,
            Isa::Avx2 => 16,
            Isa::Portable => 8,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_named_as_they_are_shown() {
        for isa in Isa::available() {
            assert_eq!(Isa::named(&isa.to_string()), Ok(isa));
        }
        let error = Isa::named("sse9").expect_err("no such set");
        assert!(error.contains("sse9") && error.contains("portable"), "{error}");
    }
}
