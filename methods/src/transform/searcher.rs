//! Search behind a transform: queries pass it together, by the product of the backend, before each of them is searched for.

use super::{AffineTransform, TransformedQuantizer};
use crate::backend::CodeLayout;
use crate::search::wide::WideTables;
use crate::{MethodError, Neighbor, SearchMetric, Searcher};
use cpu::ScanTables;
use ndarray::{Array1, ArrayView1, Axis, CowArray, Ix2, concatenate};
use std::borrow::Cow;

/// With `x̂ = y·Aᵀ + μ` and `A` orthonormal, the score of `x̂` is that of `y` and a constant of the query:
/// `‖q−x̂‖² = ‖(q−μ)A − y‖² + ‖q−μ‖² − ‖(q−μ)A‖²` and `−q·x̂ = −(qA)·y − q·μ`.
pub(super) struct TransformedSearcher<'a> {
    pub(super) quantizer: &'a TransformedQuantizer,
    pub(super) metric: SearchMetric,
    pub(super) inner: Box<dyn Searcher + 'a>,
    /// The constant of the current query.
    pub(super) offset: f32,
}

impl TransformedSearcher<'_> {
    /// The mean, if it is taken from queries.
    fn centre(&self) -> Option<&[f32]> {
        self.quantizer.affine.mean.as_deref().filter(|_| self.metric == SearchMetric::L2)
    }

    /// The constant of a query, which the axes have turned into `turned`.
    fn offset(&self, query: &[f32], turned: &[f32]) -> f32 {
        let AffineTransform { mean, axes } = &self.quantizer.affine;
        match (self.metric, mean, axes) {
            // Axes that span everything leave nothing outside.
            (SearchMetric::L2, mean, Some(axes)) if axes.ncols() < axes.nrows() => {
                let zero = vec![0.0; query.len()];
                let mean = mean.as_ref().unwrap_or(&zero);
                let outside: f64 = query.iter().zip(mean).map(|(q, m)| f64::from(q - m).powi(2)).sum();
                let inside: f64 = turned.iter().map(|x| f64::from(*x).powi(2)).sum();
                (outside - inside).max(0.0) as f32
            }
            (SearchMetric::InnerProduct, Some(mean), _) => {
                -query.iter().zip(mean).map(|(q, m)| f64::from(*q) * f64::from(*m)).sum::<f64>() as f32
            }
            _ => 0.0,
        }
    }
}

impl Searcher for TransformedSearcher<'_> {
    fn path(&self) -> &'static str {
        self.inner.path()
    }

    fn is_estimate(&self) -> bool {
        self.inner.is_estimate()
    }

    fn is_unbiased(&self) -> bool {
        // What lies outside of the axes is in no code.
        self.inner.is_unbiased() && self.quantizer.affine.axes.as_ref().is_none_or(|axes| axes.nrows() == axes.ncols())
    }

    /// One row per query: its constant, and what the searcher behind the transform takes.
    fn prepare<'q>(&self, queries: CowArray<'q, f32, Ix2>) -> Result<CowArray<'q, f32, Ix2>, MethodError> {
        let (affine, backend) = (self.quantizer.affine_on_backend()?, &*self.quantizer.backend);
        let turned = {
            let mut rows = backend.upload(queries.view())?;
            if self.centre().is_some() {
                rows = affine.centred(&rows)?;
            }
            backend.download(&affine.turned(&rows, backend)?)?.into_owned()
        };
        let offset = |(query, turned): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
            self.offset(&query.to_vec(), &turned.to_vec())
        };
        let offsets: Array1<f32> = queries.outer_iter().zip(turned.outer_iter()).map(offset).collect();
        let inner = self.inner.prepare(CowArray::from(turned))?;
        let prepared = concatenate![Axis(1), offsets.insert_axis(Axis(1)), inner];
        Ok(CowArray::from(prepared.as_standard_layout().into_owned()))
    }

    fn set_prepared(&mut self, prepared: &[f32]) {
        if let Some((offset, inner)) = prepared.split_first() {
            self.offset = *offset;
            self.inner.set_prepared(inner);
        }
    }

    /// For a query that has not been prepared, on the host: reads the axes once.
    fn set_query(&mut self, query: &[f32]) {
        let mut seen = query.to_vec();
        if let Some(mean) = self.centre() {
            seen.iter_mut().zip(mean).for_each(|(q, m)| *q -= m);
        }
        if let Some(axes) = &self.quantizer.affine.axes {
            let axes = axes.as_standard_layout();
            let mut turned = vec![0f32; axes.ncols()];
            cpu::row_times_matrix(
                self.quantizer.backend.isa(),
                &seen,
                axes.as_slice().unwrap_or_default(),
                &mut turned,
            );
            seen = turned;
        }
        self.offset = self.offset(query, &seen);
        self.inner.set_query(&seen);
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.inner.score_into(codes, scores)?;
        scores.iter_mut().for_each(|score| *score += self.offset);
        Ok(())
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        self.inner.code_layout()
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        Some(self.inner.scan_tables()?.plus(self.offset))
    }

    fn row_factors(&self, code: &[u8]) -> Result<[f32; 2], MethodError> {
        self.inner.row_factors(code)
    }

    fn factors(&self, codes: &[u8], code_size: usize) -> Result<Option<Vec<[f32; 2]>>, MethodError> {
        self.inner.factors(codes, code_size)
    }

    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        self.inner.laid_out(codes)
    }

    fn wide_symbols(&self, codes: &[u8]) -> Result<Option<Vec<u16>>, MethodError> {
        self.inner.wide_symbols(codes)
    }

    fn wide_tables(&self) -> Option<WideTables<'_>> {
        Some(self.inner.wide_tables()?.plus(self.offset))
    }

    fn top_k(&mut self, codes: &[u8], code_size: usize, k: usize) -> Result<Vec<Neighbor>, MethodError> {
        let mut found = self.inner.top_k(codes, code_size, k)?;
        found.iter_mut().for_each(|neighbor| neighbor.score += self.offset);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::laws::{encode, gaussian};
    use crate::{Context, SearchMetric, parse};
    use ndarray::CowArray;
    use serde_json::json;

    /// A batch of queries passes a transform as single queries do, also through two of them.
    #[test]
    fn prepared_queries_score_as_single_ones() {
        let rows = gaussian(300, 24, 1) + 0.5;
        let queries = gaussian(40, 24, 2) + 0.5;
        for (name, params) in [
            ("pq", json!({ "m": 4, "bits": 4, "transform": "center" })),
            ("pq", json!({ "m": 4, "bits": 4, "transform": "random-rotation" })),
            ("pq", json!({ "m": 4, "bits": 4, "transform": { "pca": { "dim": 12 } } })),
            ("opq", json!({ "m": 3, "bits": 4, "iterations": 2, "dim": 6, "transform": { "pca": { "dim": 12 } } })),
            ("rabitq", json!({ "bits": 2, "transform": "random-rotation" })),
        ] {
            let quantizer =
                parse(name, params.clone()).expect("parses").fit(rows.view(), &Context::cpu(1)).expect("fits");
            let codes = encode(&*quantizer, rows.view());
            for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
                let mut searcher = quantizer.searcher(metric).expect("searches");
                let prepared = searcher.prepare(CowArray::from(queries.view())).expect("prepares");
                for (query, prepared) in queries.outer_iter().zip(prepared.outer_iter()) {
                    let [mut alone, mut together] = [[0f32; 300]; 2];
                    searcher.set_query(&query.to_vec());
                    searcher.score_into(&codes, &mut alone).expect("scores");
                    searcher.set_prepared(&prepared.to_vec());
                    searcher.score_into(&codes, &mut together).expect("scores");
                    for (a, b) in alone.iter().zip(&together) {
                        assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{name} {params} {metric:?}: {a}, {b}");
                    }
                }
            }
        }
    }
}
