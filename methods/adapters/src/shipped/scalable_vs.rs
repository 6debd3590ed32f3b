//! Intel's Scalable Vector Search: locally-adaptive vector quantization.

use super::{Shipped, parse_params, with_avx2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This adapter.
pub(super) const SHIPPED: Shipped = Shipped {
    name: "scalable_vs",
    summary: "Scalable Vector Search by Intel: locally-adaptive scalar quantization (LVQ) with a scan of its own",
    use_for: "Nearly exact search at a quarter of the memory, on processors with AVX2 or AVX-512. It searches only, over vectors that it stores itself. The library is proprietary: read its licence before use.",
    licence: "LicenseRef-Intel-Simplified",
    package: "scalable-vs",
    oldest_python: (3, 10),
    refusal_here: on_linux_with_avx2,
    is_large: false,
    adapter: include_str!("../../shipped/scalable_vs/adapter.py"),
    requirements: include_str!("../../shipped/scalable_vs/requirements.txt"),
    examples: &[r#"{"levels": "8"}"#, r#"{"levels": "4x4", "padding": 32}"#],
    schema: strict::schema_of::<Svs>,
    parse: parse_params::<Svs>,
};

/// Its packages are for Linux on x86-64 alone.
fn on_linux_with_avx2() -> Option<&'static str> {
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return with_avx2();
    }
    Some("its packages are for Linux on x86-64")
}

/// Parameters of `scalable_vs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Svs {
    /// Bits of a component.
    pub levels: Levels,
    /// Rows start at multiples of so many bytes. 0 packs them; 32 or 64 may be faster.
    #[schemars(range(min = 0, max = 64))]
    pub padding: usize,
}

/// Bits of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Levels {
    /// 8 bits.
    #[default]
    #[serde(rename = "8")]
    Eight,
    /// 4 bits, and 4 more of what these leave.
    #[serde(rename = "4x4")]
    FourAndFour,
}
