//! USearch: numbers of 8 to 32 bits, a scan and a graph.

use super::{Shipped, everywhere, parse_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This adapter.
pub(super) const SHIPPED: Shipped = Shipped {
    name: "usearch",
    summary: "USearch: vectors in numbers of 8 to 32 bits, searched by a scan or through a graph",
    use_for: "Small numbers instead of codes, and a graph over them. It searches only, over vectors that it stores itself. The graph is always there and counts in what is saved. `i8` keeps directions alone: use it with cosine similarity.",
    licence: "Apache-2.0",
    package: "usearch",
    oldest_python: (3, 10),
    refusal_here: everywhere,
    is_large: false,
    adapter: include_str!("../../shipped/usearch/adapter.py"),
    requirements: include_str!("../../shipped/usearch/requirements.txt"),
    examples: &[
        r#"{"dtype": "bf16"}"#,
        r#"{"dtype": "e4m3"}"#,
        r#"{"dtype": "f16", "exact": false, "connectivity": 8, "expansion": 100}"#,
    ],
    schema: strict::schema_of::<USearch>,
    parse: parse_params::<USearch>,
};

/// Parameters of `usearch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct USearch {
    /// The type of stored components.
    pub dtype: Dtype,
    /// Scans all rows. False searches through the graph.
    pub exact: bool,
    /// Edges of a row in the graph. Default: 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1000))]
    pub connectivity: Option<usize>,
    /// Rows that a search through the graph keeps. More find more of the nearest rows and take longer. Default: 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub expansion: Option<usize>,
}

/// The type of stored components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, 8 of them the exponent.
    Bf16,
    /// 16 bits, 5 of them the exponent.
    F16,
    /// 8 bits, 5 of them the exponent.
    E5m2,
    /// 8 bits, 4 of them the exponent.
    E4m3,
    /// 6 bits in a byte, 3 of them the exponent.
    E3m2,
    /// 6 bits in a byte, 2 of them the exponent.
    E2m3,
    /// Integers of 8 bits, for rows of unit length.
    #[default]
    I8,
}

impl Default for USearch {
    fn default() -> USearch {
        USearch { dtype: Dtype::I8, exact: true, connectivity: None, expansion: None }
    }
}
