//! turbovec: TurboQuant with a scan of its own.

use super::{Shipped, everywhere, parse_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This adapter.
pub(super) const SHIPPED: Shipped = Shipped {
    name: "turbovec",
    summary: "turbovec: TurboQuant at 2 or 4 bits per component, with levels from theory and a scan of its own",
    use_for: "Embeddings that are compared by cosine similarity or inner product, where nothing shall be trained. It searches only, over vectors that it stores itself. Dimensions must be multiples of 8.",
    licence: "MIT",
    package: "turbovec",
    oldest_python: (3, 10),
    refusal_here: everywhere,
    is_large: false,
    adapter: include_str!("../../shipped/turbovec/adapter.py"),
    requirements: include_str!("../../shipped/turbovec/requirements.txt"),
    examples: &[r#"{"bits": 4}"#, r#"{"bits": 2}"#, r#"{"bits": 4, "calibration-rows": 0}"#],
    schema: strict::schema_of::<Turbovec>,
    parse: parse_params::<Turbovec>,
};

/// Parameters of `turbovec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Turbovec {
    /// Bits of a component: 2 or 4.
    #[schemars(range(min = 2, max = 4))]
    pub bits: u8,
    /// Training rows, drawn at random, that a scale and an offset of each component are fitted to. 0 leaves the levels as theory has them.
    #[schemars(range(min = 0, max = 1000000))]
    pub calibration_rows: usize,
}

impl Default for Turbovec {
    fn default() -> Turbovec {
        Turbovec { bits: 4, calibration_rows: 1024 }
    }
}
