//! The bottlenecks of vector-quantize-pytorch.

use super::{Shipped, everywhere, parse_params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This adapter.
pub(super) const SHIPPED: Shipped = Shipped {
    name: "vector_quantize_pytorch",
    summary: "vector-quantize-pytorch: VQ, residual VQ, FSQ, LFQ and SimVQ in PyTorch, trained as the learned methods of vqbench are",
    use_for: "Comparing learned methods with the most used implementation. It has no search of its own: vqbench decodes its codes. Its packages take 5 GB on Linux.",
    licence: "MIT",
    package: "vector-quantize-pytorch",
    oldest_python: (3, 11),
    refusal_here: everywhere,
    is_large: true,
    adapter: include_str!("../../shipped/vector_quantize_pytorch/adapter.py"),
    requirements: include_str!("../../shipped/vector_quantize_pytorch/requirements.txt"),
    examples: &[
        r#"{"quantizer": "vq", "codewords": 16, "epochs": 2}"#,
        r#"{"quantizer": "rvq", "codewords": 16, "stages": 2, "epochs": 2}"#,
        r#"{"quantizer": "fsq", "levels": [5, 4], "groups": 2, "epochs": 2}"#,
        r#"{"quantizer": "lfq", "bits": 4, "groups": 2, "epochs": 2}"#,
        r#"{"quantizer": "simvq", "codewords": 16, "groups": 2, "epochs": 2}"#,
    ],
    schema: strict::schema_of::<Bottlenecks>,
    parse: parse_params::<Bottlenecks>,
};

/// Parameters of `vector_quantize_pytorch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Bottlenecks {
    /// The bottleneck.
    pub quantizer: Bottleneck,
    /// Codewords per codebook of `vq`, `rvq` and `simvq`.
    #[schemars(range(min = 2, max = 65536))]
    pub codewords: usize,
    /// Number of groups that the components of a latent are divided into. Each group has a bottleneck of its own.
    #[schemars(range(min = 1, max = 4096))]
    pub groups: usize,
    /// Stages of `rvq`. Each encodes what those before leave.
    #[schemars(range(min = 1, max = 1024))]
    pub stages: usize,
    /// Levels of each component of a group of `fsq`, at least 3 each.
    pub levels: Vec<usize>,
    /// Bits of a group of `lfq`, one for the sign of each component.
    #[schemars(range(min = 1, max = 16))]
    pub bits: usize,
    /// Weight β of the commitment loss.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub beta: f64,
    /// Decay of the moving averages of `vq` and `rvq`.
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub decay: f64,
    /// Codewords of `vq` and `rvq` whose average usage falls below this fraction of even usage are replaced. 0 replaces none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reset: f64,
    /// Passes gradients by rotation through the choice of a codeword of `vq`, `rvq` and `simvq`, and not straight through.
    pub rotation_trick: bool,
    /// Weight of the entropy loss of `lfq`.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub entropy_weight: f64,
    /// Components of a latent of `vq`, `rvq` and `simvq`, a multiple of `groups`. Default: the smaller of 128 and the dimension, rounded down
    /// to such a multiple.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192))]
    pub latent: Option<usize>,
    /// Passes over the training rows.
    #[schemars(range(min = 1, max = 10000))]
    pub epochs: usize,
    /// Rows per step of Adam.
    #[schemars(range(min = 1, max = 1000000))]
    pub batch: usize,
    /// Peak learning rate of Adam, with the same rise and fall as in `vqvae`.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub learning_rate: f64,
    /// Where it trains, encodes and decodes.
    pub device: Device,
}

/// The bottlenecks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bottleneck {
    /// Vector quantization with codebooks that are moving averages.
    #[default]
    Vq,
    /// The same in stages.
    Rvq,
    /// Finite scalar quantization.
    Fsq,
    /// Lookup-free quantization.
    Lfq,
    /// Random vectors behind one trained linear map.
    Simvq,
}

/// Where PyTorch computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first GPU.
    Cuda,
}

impl Default for Bottlenecks {
    fn default() -> Bottlenecks {
        Bottlenecks {
            quantizer: Bottleneck::Vq,
            codewords: 256,
            groups: 1,
            stages: 4,
            levels: vec![8, 6, 5],
            bits: 8,
            beta: 0.25,
            decay: 0.99,
            reset: 0.1,
            rotation_trick: false,
            entropy_weight: 0.02,
            latent: None,
            epochs: 20,
            batch: 256,
            learning_rate: 0.005,
            device: Device::Cpu,
        }
    }
}
