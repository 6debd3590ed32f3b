//! The law that backends agree: what one has trained, the other encodes to the same codes.

use super::{Bench, DIM, decode, encode, gaussian, mse};
use crate::contract::model;
use crate::search::scan;
use crate::{Context, Method, MethodError, Quantizer, SearchMetric};
use ndarray::{ArrayView2, s};
use std::collections::HashSet;

/// The difference between the codes of two backends, for one trained quantizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    /// Number of rows.
    pub rows: usize,
    /// Number of rows whose codes differ.
    pub differ: usize,
    /// The largest difference between the errors of a row whose codes differ, relative to the mean error of all rows:
    /// near 0 if the two codes are equally good.
    pub widest_gap: f64,
    /// Mean squared error per row on the processor, and on the other backend.
    pub mse: (f64, f64),
}

impl Disagreement {
    /// Whether both are equally good: distortions within a relative 1e-4, and codes that differ only at near-ties.
    pub fn is_small(&self) -> bool {
        let (cpu, other) = self.mse;
        (cpu - other).abs() <= 1e-4 * cpu.max(1e-12) && self.widest_gap <= 1e-3
    }
}

/// Fits on the processor, reads the model on the backend of `bench`, and codes `rows` on both.
///
/// # Errors
/// The error, as text.
pub fn disagreements(
    method: &dyn Method,
    train: ArrayView2<'_, f32>,
    rows: ArrayView2<'_, f32>,
    bench: &Bench,
) -> Result<Disagreement, String> {
    let quantizer = method.fit(train, &Context::cpu(1)).map_err(|e| e.to_string())?;
    let file = model::write(method, &*quantizer);
    let other = model::read(&file, &bench.context(1)).map_err(|e| e.to_string())?.quantizer;
    let codes = |quantizer: &dyn Quantizer| encode(quantizer, rows);
    let (here, there) = (codes(&*quantizer), codes(&*other));
    let decoded = (decode(&*quantizer, &here), decode(&*other, &there));
    let size = quantizer.code_size();
    let mse = (mse(rows, decoded.0.view()), mse(rows, decoded.1.view()));
    let error = |i: usize, decoded: &ndarray::Array2<f32>| -> f64 {
        rows.row(i).iter().zip(decoded.row(i)).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
    };
    let differing = (0..rows.nrows()).filter(|i| here[i * size..][..size] != there[i * size..][..size]);
    let gaps: Vec<f64> =
        differing.map(|i| (error(i, &decoded.0) - error(i, &decoded.1)).abs() / mse.0.max(f64::MIN_POSITIVE)).collect();
    Ok(Disagreement { rows: rows.nrows(), differ: gaps.len(), widest_gap: gaps.into_iter().fold(0.0, f64::max), mse })
}

/// A quantizer trained on the processor codes rows on any other backend as it does there, but for near-ties.
///
/// # Panics
/// Where a method does not.
pub fn codes_agree_with_those_of_the_processor(bench: &Bench) {
    let (train, rows) = (gaussian(600, DIM, 1), gaussian(300, DIM, 2));
    let held: HashSet<String> =
        bench.held_to("codes_agree_with_those_of_the_processor").into_iter().map(|(name, _)| name).collect();
    for (name, method) in bench.specimens().into_iter().filter(|(_, method)| bench.is_registered(&**method)) {
        let found = disagreements(&*method, train.view(), rows.view(), bench).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (here, there) = found.mse;
        // Whatever the codes, they are as good as each other.
        let similar = !held.contains(&name) && (here - there).abs() < 5e-3 * here;
        assert!(found.is_small() || similar, "{name}: {found:?}");
    }
}

/// Searches of a backend over codes and over rows find what plain scores on the processor find, up to rounding.
///
/// # Panics
/// Where it does not.
pub fn scans_agree_with_those_of_the_processor(bench: &Bench) {
    // The second is more than any device selects itself, and more than there are rows.
    const NEIGHBORS: [usize; 2] = [7, 5000];
    let (train, queries) = (gaussian(600, DIM, 1), gaussian(9, DIM, 9));
    let backend = bench.context(1).backend;
    let base = backend.upload(train.view()).expect("uploads");
    let asked = backend.upload(queries.view()).expect("uploads");
    for (metric, k) in
        [SearchMetric::L2, SearchMetric::InnerProduct].into_iter().flat_map(|m| NEIGHBORS.map(|k| (m, k)))
    {
        let found = backend.nearest_rows(&base, &asked, metric, k).expect("searches");
        for (query, found) in queries.outer_iter().zip(&found) {
            let score = |row: ndarray::ArrayView1<'_, f32>| match metric {
                SearchMetric::L2 => (&row - &query).mapv(|v| v * v).sum(),
                SearchMetric::InnerProduct => -row.dot(&query),
            };
            let scores: Vec<f32> = train.outer_iter().map(score).collect();
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            assert_eq!(found.len(), k.min(train.nrows()), "{metric:?}");
            for (found, best) in found.iter().zip(&sorted) {
                let near = |a: f32, b: f32| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
                let score = scores[found.id as usize];
                assert!(near(score, *best) && near(found.score, score), "{metric:?}: {found:?} for {best}");
            }
        }
    }
    for (name, method) in bench.held_to("scans_agree_with_those_of_the_processor") {
        let quantizer = method.fit(train.view(), &Context::cpu(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let codes = encode(&*quantizer, train.view());
        for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
            let Some(mut searcher) = quantizer.searcher(metric) else { continue };
            let size = quantizer.code_size();
            let held = scan::hold(&*searcher, &codes, size, &*backend).unwrap_or_else(|e| panic!("{name}: {e}"));
            let scan::Holding::Held(held) = held else { continue };
            for (k, asked) in NEIGHBORS.iter().flat_map(|k| [(*k, 9), (*k, 1)]) {
                let asked = queries.slice(s![..asked, ..]);
                let searcher_of =
                    || quantizer.searcher(metric).ok_or_else(|| MethodError::Broken("no searcher".into()));
                let found = held.top_k(&searcher_of, asked, k).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(found.len(), asked.nrows(), "{name}");
                for (query, found) in asked.outer_iter().zip(&found) {
                    searcher.set_query(&query.to_vec());
                    let mut scores = vec![0f32; train.nrows()];
                    searcher.score_into(&codes, &mut scores).unwrap_or_else(|e| panic!("{name}: {e}"));
                    let mut sorted = scores.clone();
                    sorted.sort_by(f32::total_cmp);
                    assert_eq!(found.len(), k.min(train.nrows()), "{name} {metric:?}");
                    for (found, best) in found.iter().zip(&sorted) {
                        let score = scores[found.id as usize];
                        let near = |a: f32, b: f32| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
                        assert!(
                            near(score, *best) && near(found.score, score),
                            "{name} {metric:?}: {found:?} for {best}"
                        );
                    }
                    assert!(found.windows(2).all(|pair| pair[0] <= pair[1]), "{name} {metric:?}: {found:?} in order");
                }
            }
        }
    }
}
