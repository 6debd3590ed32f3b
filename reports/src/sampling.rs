//! Intervals over the vectors and queries of a dataset: how much a value depends on which ones were drawn.

use crate::statistics::of_sample;
use crate::summary::{Point, Which};
use record::metric::{
    MRR_RETENTION, MSE_STD, NDCG_RETENTION, NMSE, PROBE_ACCURACY_RETENTION, RECALL_K_AT_K, RECALL_K_AT_K_STD,
    RELEVANT_RECALL_RETENTION,
};
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
/// metrics, or if no deviation was measured. Retentions come with an interval of their own.
pub fn over_data(point: &Point, which: Which<'_>, facts: &DatasetFacts) -> Option<Sampled> {
    if let Some(found) = of_retention(point, which, facts) {
        return Some(found);
    }
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

/// The interval of a retention: the mean over seeds of the ends that each measured.
fn of_retention(point: &Point, which: Which<'_>, facts: &DatasetFacts) -> Option<Sampled> {
    let end = |name: &str| {
        let metric = record::metric::find(&format!("{}_{name}", which.metric.name))?;
        Some(point.estimate(Which { metric, ..which })?.value)
    };
    let judged = facts.judgments.as_ref().map(|judgments| judgments.judged);
    let (count, of) = match which.metric.name {
        name if name == PROBE_ACCURACY_RETENTION.name => (facts.queries, "queries"),
        name if [&NDCG_RETENTION, &MRR_RETENTION, &RELEVANT_RECALL_RETENTION].iter().any(|m| m.name == name) => {
            (judged?, "queries")
        }
        _ => return None,
    };
    Some(Sampled { low: end("low")?, high: end("high")?, count, of })
}
