//! Sign quantization: one bit per component, searched by Hamming distance or with the raw query.

use crate::algorithms::components::Components;
use crate::algorithms::levels::Samples;
use crate::algorithms::moments::mean;
use crate::backend::{BitQuery, CodeLayout};
use crate::contract::batch::{decode_rows, encode_rows};
use crate::registry::{Exemption, Family, MethodEntry, Tries, params_of, parse_params, schema_of};
use crate::search::level_dot::LevelDot;
use crate::{
    Backend, CodeRoom, Context, DeviceCodes, DeviceMatrix, MatrixRoom, Method, MethodError, ModelError, ParamError,
    Quantizer, SearchMetric, Searcher, State, Symbols, TrainingRows,
};
use cpu::ScanTables;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "binary",
    family: Some(Family::Binary),
    summary: "Sign quantizer: one bit per component, searched by Hamming distance; `recall: { rerank: … }` re-ranks by raw vectors",
    paper: "Charikar, Similarity estimation techniques from rounding algorithms, 2002; Yamada, Asai and Hajishirzi, Efficient passage retrieval with hashing, 2021 (re-ranking)",
    rate: "dim",
    rate_params: &[],
    cost: "fit: O(n · dim), with a sort for medians; encode: O(dim)",
    examples: &["{}", r#"{"threshold": "median", "search": "asymmetric"}"#, r#"{"threshold": "zero"}"#],
    tries: Tries { params: &["{}", r#"{"search": "asymmetric"}"#], transforms: true },
    exempt: &[
        Exemption {
            law: "distance_from_zero_costs_nothing",
            with: r#"{"threshold": "zero"}"#,
            why: "the threshold is zero",
        },
        Exemption {
            law: "clusters_far_apart_do_not_hide_the_nearest",
            with: "{}",
            why: "a bit says on which side of a threshold a component lies, not which decoded value is nearest",
        },
    ],
    schema: schema_of::<Binary>,
    parse: parse_params::<Binary>,
};

/// Parameters of `binary`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Binary {
    /// The threshold of each component: its bit is 1 if the component is larger.
    pub threshold: Threshold,
    /// How codes are searched. `hamming` is faster, `asymmetric` finds more of the true neighbours.
    pub search: CodeComparison,
}

/// The threshold of each component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Threshold {
    /// The mean of the dimension over the training rows.
    Mean,
    /// The median of the dimension over the training rows: each bit is 1 for half of the rows.
    Median,
    /// Zero, for embeddings that were trained for sign codes.
    Zero,
}

/// How codes are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodeComparison {
    /// The query is encoded too; results are ordered by the number of differing bits.
    Hamming,
    /// The raw query is compared with decoded vectors.
    Asymmetric,
}

impl Default for Binary {
    fn default() -> Binary {
        Binary { threshold: Threshold::Mean, search: CodeComparison::Hamming }
    }
}

impl Method for Binary {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        Ok(())
    }

    fn code_bits(&self, dim: usize) -> usize {
        dim
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        (n * dim) as f64 * if self.threshold == Threshold::Median { 20.0 } else { 3.0 }
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let train = train.host()?;
        let dim = train.ncols();
        let thresholds: Vec<f32> = match self.threshold {
            Threshold::Zero => vec![0.0; dim],
            Threshold::Mean => mean(train).into_iter().map(|m| m as f32).collect(),
            Threshold::Median => {
                train.columns().into_iter().map(|column| Samples::new(column.iter().copied()).median()).collect()
            }
        };
        // The mean of the values on either side.
        let (mut sums, mut counts) = (vec![[0f64; 2]; dim], vec![[0usize; 2]; dim]);
        for row in train.outer_iter() {
            for (((&x, &t), sums), counts) in row.iter().zip(&thresholds).zip(&mut sums).zip(&mut counts) {
                let side = usize::from(x > t);
                sums[side] += f64::from(x);
                counts[side] += 1;
            }
        }
        let level = |j: usize, side: usize| match counts[j][side] {
            0 => thresholds[j],
            count => (sums[j][side] / count as f64) as f32,
        };
        let [low, high] = [0, 1].map(|side| (0..dim).map(|j| level(j, side)).collect());
        Ok(Box::new(BinaryQuantizer::new(self.clone(), thresholds, low, high, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let mut take = |name| state.take(name, dim);
        let (thresholds, low, high) = (take("thresholds")?, take("low")?, take("high")?);
        Ok(Box::new(BinaryQuantizer::new(self.clone(), thresholds, low, high, cx.backend.clone())))
    }
}

/// A code is one bit per component: whether it exceeds its threshold.
struct BinaryQuantizer {
    backend: Arc<dyn Backend>,
    spec: Binary,
    components: Components,
    thresholds: Vec<f32>,
    low: Vec<f32>,
    high: Vec<f32>,
    /// Mean of `(high − low)²`: how much one differing bit adds to a squared distance on average.
    gap: f32,
}

impl BinaryQuantizer {
    fn new(
        spec: Binary,
        thresholds: Vec<f32>,
        low: Vec<f32>,
        high: Vec<f32>,
        backend: Arc<dyn Backend>,
    ) -> BinaryQuantizer {
        let gaps = low.iter().zip(&high).map(|(l, h)| (f64::from(*h) - f64::from(*l)).powi(2));
        let gap = (gaps.sum::<f64>() / low.len() as f64).min(f64::from(f32::MAX)) as f32;
        BinaryQuantizer {
            backend,
            components: Components::new(thresholds.len(), 1, 0, "dim"),
            spec,
            thresholds,
            low,
            high,
            gap,
        }
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8]) {
        for (byte, (row, thresholds)) in code.iter_mut().zip(row.chunks(8).zip(self.thresholds.chunks(8))) {
            *byte = row.iter().zip(thresholds).enumerate().fold(0, |b, (i, (x, t))| b | u8::from(x > t) << i);
        }
    }

    fn decode_row(&self, code: &[u8], row: &mut [f32]) {
        let levels = self.low.chunks(8).zip(self.high.chunks(8));
        for ((&byte, row), (low, high)) in code.iter().zip(row.chunks_mut(8)).zip(levels) {
            for (i, ((x, low), high)) in row.iter_mut().zip(low).zip(high).enumerate() {
                *x = if byte >> i & 1 == 1 { *high } else { *low };
            }
        }
    }
}

impl Quantizer for BinaryQuantizer {
    fn dim(&self) -> usize {
        self.thresholds.len()
    }

    fn code_bits(&self) -> usize {
        self.dim()
    }

    fn model_size(&self) -> usize {
        3 * 4 * self.dim()
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        encode_rows(&*self.backend, rows, codes, || (), |row, code, ()| self.encode_row(row, code))
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        decode_rows(
            &*self.backend,
            codes,
            rows,
            || (),
            |code, row, ()| {
                self.decode_row(code, row);
                Ok(())
            },
        )
    }

    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        Some(match self.spec.search {
            CodeComparison::Hamming => Box::new(HammingSearcher {
                quantizer: self,
                metric,
                query: vec![0; self.code_size()],
                distances: Vec::new(),
            }),
            CodeComparison::Asymmetric => Box::new(AsymmetricSearcher {
                quantizer: self,
                metric,
                dot: LevelDot::new(&self.components.layout, &[0.0, 1.0]),
                constant: 0.0,
            }),
        })
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.components)
    }

    fn save(&self, state: &mut State) {
        for (name, values) in [("thresholds", &self.thresholds), ("low", &self.low), ("high", &self.high)] {
            state.put(name, values.clone());
        }
    }
}

/// Codes against the code of the query (symmetric distance computation): the number `h` of differing bits, as an
/// estimate of `‖q−x‖² ≈ g·h` and `−q·x ≈ ½·g·h − ¼·g·d`, where `g` is the mean squared gap between levels. Both give
/// the same order.
struct HammingSearcher<'a> {
    quantizer: &'a BinaryQuantizer,
    metric: SearchMetric,
    query: Vec<u8>,
    distances: Vec<u32>,
}

impl Searcher for HammingSearcher<'_> {
    fn path(&self) -> &'static str {
        "hamming"
    }

    fn is_estimate(&self) -> bool {
        true
    }

    fn set_query(&mut self, query: &[f32]) {
        self.quantizer.encode_row(query, &mut self.query);
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        if codes.len() != self.query.len() * scores.len() {
            return Err(MethodError::CodeLength { expected: self.query.len() * scores.len(), found: codes.len() });
        }
        self.distances.resize(scores.len(), 0);
        cpu::hamming(self.quantizer.backend.isa(), &self.query, codes, &mut self.distances);
        let (gap, dim) = (self.quantizer.gap, self.quantizer.dim() as f32);
        for (score, &distance) in scores.iter_mut().zip(&self.distances) {
            *score = match self.metric {
                SearchMetric::L2 => gap * distance as f32,
                SearchMetric::InnerProduct => gap * (0.5 * distance as f32 - 0.25 * dim),
            };
        }
        Ok(())
    }

    fn bit_query(&self) -> Option<BitQuery> {
        let (gap, dim) = (self.quantizer.gap, self.quantizer.dim() as f32);
        let (offset, slope) = match self.metric {
            SearchMetric::L2 => (0.0, gap),
            SearchMetric::InnerProduct => (-0.25 * gap * dim, 0.5 * gap),
        };
        // Without gaps, all scores are equal for any bits.
        (slope > 0.0).then(|| BitQuery { code: self.query.clone(), offset, slope })
    }
}

/// The raw query against decoded components: with `x̂ = low + b·(high−low)`, a score is a constant and an inner product with
/// the bits, `Σ_j b_j·((q_j−high_j)² − (q_j−low_j)²)` or `−Σ_j b_j·q_j·(high_j−low_j)`.
struct AsymmetricSearcher<'a> {
    quantizer: &'a BinaryQuantizer,
    metric: SearchMetric,
    dot: LevelDot<'a>,
    constant: f32,
}

impl Searcher for AsymmetricSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let terms = query.iter().zip(&self.quantizer.low).zip(&self.quantizer.high).map(|((&q, &low), &high)| {
            let score = |level: f32| match self.metric {
                SearchMetric::L2 => (q - level).powi(2),
                SearchMetric::InnerProduct => -q * level,
            };
            (score(low), score(high) - score(low))
        });
        let (constants, weights): (Vec<f32>, Vec<f32>) = terms.unzip();
        self.constant = constants.iter().map(|v| f64::from(*v)).sum::<f64>() as f32;
        self.dot.set_query(&weights);
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        let size = self.quantizer.code_size();
        if codes.len() != size * scores.len() {
            return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
        }
        for (code, score) in codes.chunks_exact(size).zip(scores) {
            *score = self.constant + self.dot.dot(code)?;
        }
        Ok(())
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        self.dot.code_layout(0, false)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.dot.scan_tables(self.constant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hamming_counts_the_bits_that_differ() {
        let rows = ndarray::arr2(&[[1.0f32, -1.0, 1.0], [-1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]]);
        let quantizer = Binary { threshold: Threshold::Zero, search: CodeComparison::Hamming };
        let quantizer = quantizer.fit(rows.view(), &Context::cpu(1)).expect("fits");
        let mut codes = [0u8; 4];
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        assert_eq!(codes, [0b101, 0b100, 0b011, 0b010]);
        let mut scores = [0f32; 4];
        for (metric, expected) in
            [(SearchMetric::L2, [0.0, 4.0, 8.0, 12.0]), (SearchMetric::InnerProduct, [-3.0, -1.0, 1.0, 3.0])]
        {
            let mut searcher = quantizer.searcher(metric).expect("searches");
            searcher.set_query(&[0.3, -7.0, 0.1]);
            searcher.score_into(&codes, &mut scores).expect("scores");
            assert_eq!(scores, expected, "{metric:?}: levels ±1, so that the estimate is exact for codes");
        }
    }
}
