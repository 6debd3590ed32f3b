//! Which instruction set a kernel is entered with. A value of [`Isa`] proves that the processor has the set, so that entering a
//! kernel compiled for it is sound; it is chosen by the caller, passed in, and recorded with every result.

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;
use std::fmt;

/// An instruction set that the kernels are compiled for and that this processor has.
///
/// There is no way to make one for a set that the processor lacks: the kernels rely on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

/// The sets there are, whether this processor has them or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "no processor has all of them")]
pub(crate) enum Set {
    /// [`Set::Avx512`] with VNNI and VBMI: products of bytes, and tables of bytes held in registers (Ice Lake, Zen 4 and later).
    Avx512Vnni,
    /// AVX-512 F/BW/DQ/VL with FMA and POPCNT, 16 lanes of f32.
    Avx512,
    /// AVX2 with FMA and POPCNT, 8 lanes of f32.
    Avx2,
    /// [`Set::Neon`] with products of bytes, four of which are added up at once (Cortex-A76, Neoverse and Apple's A13 and M1, and later).
    NeonDot,
    /// NEON of 64-bit ARM, 4 lanes of f32, two registers of which the kernels use as one of 8.
    Neon,
    /// Whatever the build targets by default; multiplication and addition round separately.
    Portable,
}

/// Widest first.
const ALL: [Set; 6] = [Set::Avx512Vnni, Set::Avx512, Set::Avx2, Set::NeonDot, Set::Neon, Set::Portable];

impl Isa {
    /// What every processor of the build's target has.
    pub const PORTABLE: Isa = Isa(Set::Portable);

    /// The widest set that this processor has.
    pub fn widest() -> Isa {
        ALL.into_iter().find_map(Isa::if_available).unwrap_or(Isa::PORTABLE)
    }

    /// All sets that this processor has, widest first.
    pub fn available() -> Vec<Isa> {
        ALL.into_iter().filter_map(Isa::if_available).collect()
    }

    /// Whether a set has that name, whether this processor has it or not.
    pub fn is_name(name: &str) -> bool {
        ALL.into_iter().any(|set| set.name() == name)
    }

    /// The set of that name: `avx512vnni`, `avx512`, `avx2`, `neondot`, `neon` or `portable`.
    ///
    /// # Errors
    /// A name that is none, or a set that this processor lacks; says which it has.
    pub fn named(name: &str) -> Result<Isa, String> {
        let known = ALL.into_iter().find(|set| set.name() == name);
        if let Some(isa) = known.and_then(Isa::if_available) {
            return Ok(isa);
        }
        let usable: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
        let usable = usable.join(", ");
        Err(match known {
            Some(_) => format!("this processor lacks {name}; it has {usable}"),
            None => format!("`{name}` is not an instruction set; this processor has {usable}"),
        })
    }

    /// The only place that makes a value: after the processor was asked.
    fn if_available(set: Set) -> Option<Isa> {
        set.is_available().then_some(Isa(set))
    }

    /// Which set it is, for the kernels to choose their bodies by.
    pub(crate) fn set(self) -> Set {
        self.0
    }

    /// Whether it has products of bytes that are faster than those of f32: [`Nearest`](crate::Nearest) then reads bytes first.
    pub fn has_byte_products(self) -> bool {
        matches!(self.0, Set::Avx512Vnni | Set::NeonDot)
    }

    /// f32 columns in one packed panel: two registers of the set.
    pub(crate) fn panel_width(self) -> usize {
        match self.0 {
            Set::Avx512Vnni | Set::Avx512 => 32,
            Set::Avx2 | Set::NeonDot | Set::Neon => 16,
            Set::Portable => 8,
        }
    }
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Set::Avx512Vnni => "avx512vnni",
            Set::Avx512 => "avx512",
            Set::Avx2 => "avx2",
            Set::NeonDot => "neondot",
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }

    /// Whether this processor has it.
    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => {
                Set::Avx512.is_available()
                    && is_x86_feature_detected!("avx512vnni")
                    && is_x86_feature_detected!("avx512vbmi")
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "aarch64")]
            Set::NeonDot => Set::Neon.is_available() && is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => is_aarch64_feature_detected!("neon"),
            Set::Portable => true,
            _ => false,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
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
        assert!(ALL.into_iter().all(|set| Isa::is_name(set.name())) && !Isa::is_name("sse9") && !Isa::is_name(""));
    }

    #[test]
    fn a_set_that_the_processor_lacks_cannot_be_had() {
        for set in ALL {
            assert_eq!(Isa::named(set.name()).is_ok(), set.is_available(), "{set:?}");
        }
    }
}
