//! The RaBitQ library of its authors.

use super::{Shipped, parse_params, with_avx2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This adapter.
pub(super) const SHIPPED: Shipped = Shipped {
    name: "rabitqlib",
    summary: "RaBitQ by its authors: 1 to 9 bits per component around centroids, with a scan of its own",
    use_for: "Estimates of distances without bias, in few bits. It searches only, over vectors that it stores itself, and has no seed. Vectors need at least 64 components.",
    licence: "Apache-2.0",
    package: "rabitqlib",
    oldest_python: (3, 11),
    refusal_here: with_avx2,
    is_large: false,
    adapter: include_str!("../../shipped/rabitqlib/adapter.py"),
    requirements: include_str!("../../shipped/rabitqlib/requirements.txt"),
    examples: &[
        r#"{"bits": 1}"#,
        r#"{"bits": 4}"#,
        r#"{"bits": 2, "clusters": 4}"#,
        r#"{"bits": 8, "fast-quantization": true}"#,
    ],
    schema: strict::schema_of::<RaBitQ>,
    parse: parse_params::<RaBitQ>,
};

/// Parameters of `rabitqlib`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RaBitQ {
    /// Bits of a component.
    #[schemars(range(min = 1, max = 9))]
    pub bits: u8,
    /// Centroids of k-means. A code is that of the difference to the nearest. 1 uses the mean.
    #[schemars(range(min = 1, max = 65536))]
    pub clusters: usize,
    /// Clusters that a search scans. Default: all, so that nothing but codes decides what is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub probes: Option<usize>,
    /// Scales codes by a constant and not by the best factor of each row: quicker to add rows, a little worse.
    pub fast_quantization: bool,
}

impl Default for RaBitQ {
    fn default() -> RaBitQ {
        RaBitQ { bits: 1, clusters: 1, probes: None, fast_quantization: false }
    }
}
