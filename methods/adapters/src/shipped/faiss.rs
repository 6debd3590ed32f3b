//! FAISS: the index of any factory string.

use super::{Shipped, everywhere, parse_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This adapter.
pub(super) const SHIPPED: Shipped = Shipped {
    name: "faiss",
    summary: "FAISS: any index by its factory string, from product quantization to RaBitQ, with its own codes and search",
    use_for: "Comparing with the most used library: encoding, decoding and search over the same codes that its users have. Codes of LSQ \
              depend on the rows beside them. LSH, and RaBitQ of several bits, do not decode. HNSW and IVF only search, over vectors that \
              they store themselves.",
    licence: "MIT",
    package: "faiss-cpu",
    oldest_python: (3, 10),
    refusal_here: everywhere,
    is_large: false,
    adapter: include_str!("../../shipped/faiss/adapter.py"),
    requirements: include_str!("../../shipped/faiss/requirements.txt"),
    examples: &[
        r#"{"codec": "PQ12x8", "iterations": 10}"#,
        r#"{"codec": "OPQ12,PQ12x4", "rotation-iterations": 2}"#,
        r#"{"codec": "PQ24x4fs"}"#,
        r#"{"codec": "SQ8"}"#,
        r#"{"codec": "RQ4x6_Nqint8", "beam": 3}"#,
        r#"{"codec": "LSQ4x4", "iterations": 3}"#,
        r#"{"codec": "ITQ12,LSH"}"#,
        r#"{"codec": "RR,RaBitQ", "query-bits": 8}"#,
        r#"{"codec": "RR,RaBitQfs"}"#,
        r#"{"codec": "Flat"}"#,
        r#"{"codec": "HNSW16"}"#,
    ],
    schema: strict::schema_of::<Faiss>,
    parse: parse_params::<Faiss>,
};

/// Parameters of `faiss`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Faiss {
    /// A factory string of FAISS, such as `PQ16x8`, `OPQ16,PQ16x8`, `PQ32x4fs`, `SQ8`, `RQ8x8_Nqint8`, `LSQ8x8`, `ITQ64,LSH` or
    /// `RR,RaBitQ`. One codebook of 256 codewords for whole vectors is `PQ1x8`. `PQ…` is trained like FAISS's `PQ…np`: without the
    /// renumbering of codewords for polysemous search, which changes neither distortion nor recall here.
    pub codec: String,
    /// Iterations of k-means and LSQ. Default: 25, and 10 of RQ.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub iterations: Option<usize>,
    /// Iterations that learn the rotation of OPQ or ITQ. They start from a random rotation, so that few of them are worse than none.
    /// Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub rotation_iterations: Option<usize>,
    /// Training rows that k-means uses, per codeword and at most. Default: 256. Raise it to train on all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub rows_per_codeword: Option<usize>,
    /// Partial codes that a residual quantizer keeps while it encodes. More give a lower distortion and take longer. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub beam: Option<usize>,
    /// Bits of a component of a query in the search of RaBitQ; 0 keeps queries in full. Default: FAISS's own number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 8))]
    pub query_bits: Option<u8>,
}

impl Default for Faiss {
    fn default() -> Faiss {
        Faiss {
            codec: "PQ16x8".into(),
            iterations: None,
            rotation_iterations: None,
            rows_per_codeword: None,
            beam: None,
            query_bits: None,
        }
    }
}
