//! Intervals over the vectors and queries of a dataset: how much a value depends on which ones were drawn.

use crate::statistics::of_sample;
use crate::summary::{Point, Which};
use record::metric::{MSE_STD, NMSE, RECALL_K_AT_K, RECALL_K_AT_K_STD};
use record::{DatasetFacts, Metric};

/// An interval over vectors or queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end of the 95% interval.
    pub high: f64,
    /// Number of vectors or queries.
    pub count: usize,
    /// What they are: `vectors` or `queries`.
    pub of: &'static str,
}

/// The interval of a mean over base vectors or queries, from the standard deviation that was measured with it, value ±
/// t·deviation/√count. Seeds share vectors and queries, so their deviations are averaged (as squares), and more seeds do
/// not make the interval narrower. For NMSE the variance of the base rows counts as known. Returns None for other
/// metrics, or if no deviation was measured.
pub fn over_data(point: &Point, which: Which<'_>, facts: &DatasetFacts) -> Option<Sampled> {
    let (deviation, scale, count, of): (&'static Metric, f64, usize, _) = match which.metric.name {
        name if name == NMSE.name => (&MSE_STD, facts.variance, facts.base, "vectors"),
        name if name == RECALL_K_AT_K.name => (&RECALL_K_AT_K_STD, 1.0, facts.queries, "queries"),
        _ => return None,
    };
    let deviations = point.per_seed(Which { metric: deviation, ..which });
    if deviations.is_empty() || scale <= 0.0 {
        return None;
    }
    let mean_square = deviations.iter().map(|(_, d)| d * d).sum::<f64>() / deviations.len() as f64;
    let estimate = of_sample(point.estimate(which)?.value, mean_square.sqrt() / scale, count)?;
    let (low, high) = (which.metric.clip(estimate.low), which.metric.clip(estimate.high));
    Some(Sampled { low, high, count, of })
}
