//! Search over codes of latents whose decoder is an affine map: the query goes to the latents instead of every code to the vectors.
//!
//! ```text
//! x̂ = z·W + o,   q·x̂ = (W·q)·z + q·o,   ‖q−x̂‖² = ‖q′‖² + ‖x̂−o‖² − 2·(W·q′)·z   with q′ = q − o
//! ```
//!
//! `(W·q)·z` is what the quantizer of latents searches by; `‖x̂−o‖²` is computed once for each code that is held, if it tells codes apart
//! ([`factors_by_norms`]).

use super::additive::{factors_by_norms, norms, square};
use super::wide::WideTables;
use crate::backend::CodeLayout;
use crate::{MethodError, Quantizer, SearchMetric, Searcher};
use cpu::ScanTables;
use ndarray::{Array2, ArrayView1};
use std::borrow::Cow;

/// The map from latents to vectors: `z·weights + offset`.
pub(crate) struct LatentMap {
    pub(crate) weights: LatentWeights,
    /// One value per component.
    pub(crate) offset: Vec<f32>,
}

/// The linear part of the map.
pub(crate) enum LatentWeights {
    /// Latents × components.
    Matrix(Array2<f32>),
    /// Latents are the components, divided by this factor.
    Factor(f32),
}

impl LatentWeights {
    /// `weights·v`, times two if asked for.
    fn apply(&self, v: &[f32], twice: bool) -> Vec<f32> {
        let times = if twice { 2.0 } else { 1.0 };
        match self {
            LatentWeights::Matrix(weights) => (weights.dot(&ArrayView1::from(v)) * times).to_vec(),
            LatentWeights::Factor(factor) => v.iter().map(|x| x * (factor * times)).collect(),
        }
    }
}

/// Scores codes of latents `z` by what `z·weights + offset` has in common with the query.
pub(crate) struct MappedSearcher<'a> {
    quantizer: &'a dyn Quantizer,
    map: &'a LatentMap,
    /// By inner products with latents.
    inner: Box<dyn Searcher + 'a>,
    metric: SearchMetric,
    constant: f32,
}

impl<'a> MappedSearcher<'a> {
    /// `latents` quantizes latents, and `quantizer` decodes them by `map` besides; None if latents have no search by exact inner products.
    pub(crate) fn new(
        quantizer: &'a dyn Quantizer,
        latents: &'a dyn Quantizer,
        map: &'a LatentMap,
        metric: SearchMetric,
    ) -> Option<MappedSearcher<'a>> {
        let inner = latents.searcher(SearchMetric::InnerProduct)?;
        let has_factors = inner.code_layout().is_some_and(|layout| layout.has_factors);
        let suits = !inner.is_estimate() && !has_factors && inner.bit_query().is_none();
        suits.then_some(MappedSearcher { quantizer, map, inner, metric, constant: 0.0 })
    }
}

impl Searcher for MappedSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let LatentMap { weights, offset } = self.map;
        let seen = match self.metric {
            SearchMetric::L2 => {
                let around: Vec<f32> = query.iter().zip(offset).map(|(q, o)| q - o).collect();
                self.constant = square(&around);
                weights.apply(&around, true)
            }
            SearchMetric::InnerProduct => {
                let shared: f64 = query.iter().zip(offset).map(|(q, o)| f64::from(*q) * f64::from(*o)).sum();
                self.constant = -shared as f32;
                weights.apply(query, false)
            }
        };
        self.inner.set_query(&seen);
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.inner.score_into(codes, scores)?;
        if self.metric == SearchMetric::L2 {
            let norms = norms(self.quantizer, &self.map.offset, codes)?;
            scores.iter_mut().zip(norms).for_each(|(score, norm)| *score += norm);
        }
        scores.iter_mut().for_each(|score| *score += self.constant);
        Ok(())
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        Some(CodeLayout { has_factors: self.metric == SearchMetric::L2, ..self.inner.code_layout()? })
    }

    fn factors(&self, codes: &[u8], _code_size: usize) -> Result<Option<Vec<[f32; 2]>>, MethodError> {
        match self.metric {
            SearchMetric::L2 => {
                factors_by_norms(self.quantizer, self.quantizer.backend().isa(), &self.map.offset, codes)
            }
            SearchMetric::InnerProduct => Ok(Some(Vec::new())),
        }
    }

    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        self.inner.laid_out(codes)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        Some(self.inner.scan_tables()?.plus(self.constant))
    }

    fn wide_symbols(&self, codes: &[u8]) -> Result<Option<Vec<u16>>, MethodError> {
        self.inner.wide_symbols(codes)
    }

    fn wide_tables(&self) -> Option<WideTables<'_>> {
        Some(self.inner.wide_tables()?.plus(self.constant))
    }
}
