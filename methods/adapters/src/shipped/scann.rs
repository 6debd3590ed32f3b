//! ScaNN: asymmetric hashing.

use super::{Shipped, parse_params, with_avx2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This adapter.
pub(super) const SHIPPED: Shipped = Shipped {
    name: "scann",
    summary: "ScaNN: asymmetric hashing, which is product quantization trained for inner products if asked to",
    use_for: "Inner products and cosine similarity, with the anisotropic loss. It searches only, over vectors that it stores itself, without partitions and without a second search by exact vectors. All seeds give the same codes.",
    licence: "Apache-2.0",
    package: "scann",
    oldest_python: (3, 10),
    refusal_here: on_linux,
    is_large: false,
    adapter: include_str!("../../shipped/scann/adapter.py"),
    requirements: include_str!("../../shipped/scann/requirements.txt"),
    examples: &[r#"{"dims-per-block": 2}"#, r#"{"dims-per-block": 4, "table": "lut256", "iterations": 5}"#],
    schema: strict::schema_of::<ScaNN>,
    parse: parse_params::<ScaNN>,
};

/// Its packages are for Linux alone, of either processor.
fn on_linux() -> Option<&'static str> {
    if cfg!(target_os = "linux") { with_avx2() } else { Some("its packages are for Linux") }
}

/// Parameters of `scann`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ScaNN {
    /// Components that one symbol stands for.
    #[schemars(range(min = 1, max = 8192))]
    pub dims_per_block: usize,
    /// Codewords of a block, and how they are searched.
    pub table: Table,
    /// Weighs the part of an error along its row more in training: as if only inner products above this share of the length of rows
    /// mattered. ScaNN advises 0.2.
    /// For inner products and cosine similarity only. Default: all errors weigh the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub anisotropic_threshold: Option<f64>,
    /// Iterations of k-means.
    #[schemars(range(min = 1, max = 10000))]
    pub iterations: usize,
}

/// Codewords of a block, and how they are searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// 16 codewords, with scores of 8 bits in registers.
    #[default]
    Lut16,
    /// 256 codewords.
    Lut256,
}

impl Default for ScaNN {
    fn default() -> ScaNN {
        ScaNN { dims_per_block: 2, table: Table::Lut16, anisotropic_threshold: None, iterations: 10 }
    }
}
