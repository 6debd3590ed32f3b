//! Measures one code on one sample, and says what this tells about all vectors.

use crate::arms::Arm;
use crate::sample::{GROWTH, Samples, Stage};
use experiments::search::{code_search, k_recalls};
use methods::algorithms::moments;
use methods::search::codes::CodeSearch;
use methods::{BackendError, Context, MethodError};
use ndarray::{Array2, ArrayView2, s};
use reports::advice::{Figure, Figures, Wish};
use reports::statistics::{Estimate, of_sample, t95};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What a code has shown on one sample.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes of a code.
    pub bytes: usize,
    /// k-recall@k of each query of the race.
    pub recalls: Vec<f64>,
    /// The same for the queries held out; in the last round alone.
    pub held_out: Vec<f64>,
    /// Normalized mean squared error and its standard deviation over base rows, where it was asked for.
    pub distortion: Option<(f64, f64)>,
    /// Base rows.
    pub rows: usize,
    /// Times, where they were asked for.
    pub timings: Timings,
    /// Seconds of everything.
    pub seconds: f64,
}

/// Times of a code.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Microseconds of single queries on one thread, in ascending order; empty if none were timed.
    pub latencies: Vec<f64>,
    /// Vectors encoded per second.
    pub encode_rate: f64,
    /// Seconds of training.
    pub fit_seconds: f64,
}

/// Half of the interval by which the recall on a sample may differ from that on all rows, for each factor of
/// [`GROWTH`] between them. Fewer training rows make worse codebooks, and fewer base rows make neighbours easier to tell
/// apart. METHODOLOGY.md ("Which code to use") says how much was measured.
const RECALL_PER_GROWTH: f64 = 0.1;

/// The same for the distortion, relative to it.
const DISTORTION_PER_GROWTH: f64 = 0.15;

/// Most single queries that are timed.
const TIMED_QUERIES: usize = 200;

/// Seconds after which no further single query is timed, if there are [`FEWEST_TIMED`].
const TIMED_SECONDS: f64 = 0.1;
const FEWEST_TIMED: usize = 20;

impl Measured {
    /// What is known of the code with all vectors, if it has been measured on a `share` of them, by the queries of the
    /// race. Intervals include what the rest may change.
    pub fn figures(&self, share: f64) -> Figures {
        self.figures_of(&self.recalls, share)
    }

    /// The same by the queries held out.
    pub fn figures_held_out(&self) -> Figures {
        self.figures_of(&self.held_out, 1.0)
    }

    fn figures_of(&self, recalls: &[f64], share: f64) -> Figures {
        let growths = (1.0 / share).ln() / (GROWTH as f64).ln();
        let mut figures = Figures::default().with(Figure::Bytes, self.bytes as f64);
        figures.set(Figure::Recall, over_draws(recalls).map(|e| widened(e, RECALL_PER_GROWTH * growths)));
        figures.set(
            Figure::Distortion,
            self.distortion.and_then(|(value, deviation)| {
                Some(widened(of_sample(value, deviation, self.rows)?, DISTORTION_PER_GROWTH * growths * value))
            }),
        );
        let Timings { latencies, encode_rate, fit_seconds } = &self.timings;
        // With all rows, it takes at least as long, and at most as much longer as there are more rows.
        figures.set(Figure::Latency, median(latencies).map(|e| grown(e, share)));
        figures.set(Figure::FitTime, exactly(*fit_seconds).map(|e| grown(e, share)));
        // Encoding a vector takes as long with all rows; a sample is too short to time it well.
        let well = 1.0 + growths;
        let rate = |e: Estimate| Estimate { low: e.low / well, high: e.high * well, ..e };
        figures.set(Figure::EncodeRate, exactly(*encode_rate).map(rate));
        figures
    }
}

fn exactly(value: f64) -> Option<Estimate> {
    (value > 0.0).then_some(Estimate { value, low: value, high: value, count: 1 })
}

/// The interval from no growth to growth in proportion to the rows.
fn grown(e: Estimate, share: f64) -> Estimate {
    Estimate { value: e.value / share.sqrt(), high: e.high / share, ..e }
}

/// With a second, independent error of this half width.
fn widened(e: Estimate, half: f64) -> Estimate {
    let own = e.high - e.value;
    Estimate { low: e.value - own.hypot(half), high: e.value + own.hypot(half), ..e }
}

/// The mean of independent draws with its 95% interval. One draw has none.
fn over_draws(values: &[f64]) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let deviation = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
    of_sample(mean, deviation, n).or(Some(Estimate { value: mean, low: mean, high: mean, count: n }))
}

/// The median of ascending values, with the interval between the order statistics that contain it with at least 95%.
fn median(sorted: &[f64]) -> Option<Estimate> {
    let n = sorted.len();
    let half = 0.98 * (n as f64).sqrt();
    let at = |place: f64| sorted.get((place.max(0.0) as usize).min(n.saturating_sub(1))).copied();
    let middle = n as f64 / 2.0;
    let (value, low, high) = (at(middle)?, at((middle - half).floor())?, at((middle + half).ceil())?);
    Some(Estimate { value, low, high, count: n })
}

/// The interval of a recall over seeds and queries: the mean over both, with the variance of the mean over queries and
/// that over seeds added, and the degrees of freedom of Welch and Satterthwaite. The part of the error that is neither of
/// a seed nor of a query is in both variances, so the interval is a little too wide. One row of recalls for each seed.
pub fn over_seeds_and_queries(recalls: &[Vec<f64>]) -> Option<Estimate> {
    let [first, ..] = recalls else { return None };
    let seeds = recalls.len() as f64;
    let of_query = |q: usize| recalls.iter().filter_map(|row| row.get(q)).sum::<f64>() / seeds;
    let queries = over_draws(&(0..first.len()).map(of_query).collect::<Vec<_>>())?;
    let means: Vec<f64> = recalls.iter().filter_map(|row| Some(over_draws(row)?.value)).collect();
    let squared_error = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        squares / (values.len() * (values.len() - 1)) as f64
    };
    if means.len() < 2 || first.len() < 2 {
        return Some(queries);
    }
    let (over_queries, over_seeds) =
        (((queries.high - queries.value) / t95(first.len() - 1)).powi(2), squared_error(&means));
    let sum = over_queries + over_seeds;
    if sum == 0.0 {
        return Some(queries);
    }
    let df = sum * sum
        / (over_queries * over_queries / (first.len() - 1) as f64 + over_seeds * over_seeds / (means.len() - 1) as f64);
    let half = t95((df as usize).max(1)) * sum.sqrt();
    Some(Estimate { low: queries.value - half, high: queries.value + half, ..queries })
}

/// Trains a code on a sample, and measures what the wish needs; everything if `fully`. It stops soon after the context
/// is cancelled.
///
/// # Errors
/// Errors of the method.
pub fn measure(
    arm: &Arm,
    stage: &Stage,
    samples: &Samples,
    wish: &Wish,
    fully: bool,
    cx: &Context,
) -> Result<Measured, MethodError> {
    let begin = Instant::now();
    let method = arm.parse()?;
    let quantizer = method.fit(stage.train.view(), cx)?;
    let fit_seconds = begin.elapsed().as_secs_f64();
    cx.cancel.check()?;
    let mut codes = vec![0; stage.base.nrows() * quantizer.code_size()];
    let encoding = Instant::now();
    quantizer.encode_into(stage.base.view(), &mut codes)?;
    let encode_rate = stage.base.nrows() as f64 / encoding.elapsed().as_secs_f64().max(1e-9);
    cx.cancel.check()?;
    let search = code_search(&*quantizer, &codes, samples.metric)?;
    let recalls = |queries: ArrayView2<'_, f32>, truth: &[Vec<u32>]| -> Result<Vec<f64>, MethodError> {
        let found = search.search(queries, samples.k)?;
        let found: Vec<Vec<u32>> = found.into_iter().map(|row| row.into_iter().map(|n| n.id).collect()).collect();
        Ok(k_recalls(truth, &found, samples.k))
    };
    let mut measured = Measured {
        bytes: quantizer.code_size(),
        recalls: recalls(stage.queries.view(), &stage.truth)?,
        rows: stage.base.nrows(),
        timings: Timings { fit_seconds, encode_rate, latencies: vec![] },
        ..Measured::default()
    };
    if let Some((queries, truth)) = &stage.held_out {
        measured.held_out = recalls(queries.view(), truth)?;
    }
    cx.cancel.check()?;
    if fully || wish.needs(Figure::Latency) {
        let queries = stage.held_out.as_ref().map_or(&stage.queries, |(queries, _)| queries);
        measured.timings.latencies = latencies(&search, queries, samples.k, cx)?;
    }
    if fully || wish.needs(Figure::Distortion) {
        let mut decoded = Array2::zeros(stage.base.dim());
        quantizer.decode_into(&codes, decoded.view_mut())?;
        measured.distortion = distortion(stage.base.view(), decoded.view());
    }
    measured.seconds = begin.elapsed().as_secs_f64();
    Ok(measured)
}

/// Microseconds of single queries on one thread, in ascending order.
fn latencies(search: &CodeSearch<'_>, queries: &Array2<f32>, k: usize, cx: &Context) -> Result<Vec<f64>, MethodError> {
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|error| BackendError {
        operation: "a thread for single queries",
        device: "the processor".to_owned(),
        reason: error.to_string(),
    })?;
    single.install(|| {
        let begin = Instant::now();
        let mut micros = Vec::new();
        for q in 0..queries.nrows().min(TIMED_QUERIES) {
            let start = Instant::now();
            search.search(queries.slice(s![q..q + 1, ..]), k)?;
            cx.backend.synchronize()?;
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            if begin.elapsed().as_secs_f64() > TIMED_SECONDS && micros.len() >= FEWEST_TIMED {
                break;
            }
        }
        micros.sort_by(f64::total_cmp);
        Ok(micros)
    })
}

/// The mean of the squared errors over rows and their standard deviation, both divided by the variance of the rows. None
/// if all rows are equal.
fn distortion(rows: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) -> Option<(f64, f64)> {
    let variance = moments::variance(rows, &moments::mean(rows));
    let error = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
    let errors: Vec<f64> =
        rows.outer_iter().zip(decoded.outer_iter()).map(|(x, y)| x.iter().zip(y).map(error).sum()).collect();
    let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
    let squares: f64 = errors.iter().map(|e| (e - mean).powi(2)).sum();
    let deviation = (squares / errors.len().saturating_sub(1).max(1) as f64).sqrt();
    (variance > 0.0).then(|| (mean / variance, deviation / variance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_sample_bounds_what_all_rows_take() {
        let timings = Timings { latencies: vec![10.0; 100], encode_rate: 1000.0, fit_seconds: 2.0 };
        let measured = Measured { bytes: 8, recalls: vec![0.5; 50], timings, rows: 100, ..Measured::default() };
        let figures = measured.figures(1.0 / 16.0);
        let ends = |figure: Figure| figures.get(figure).map(|e| (e.low, e.value, e.high)).expect("known");
        assert_eq!(ends(Figure::Latency), (10.0, 40.0, 160.0));
        assert_eq!(ends(Figure::FitTime), (2.0, 8.0, 32.0));
        assert_eq!(ends(Figure::Recall), (0.3, 0.5, 0.7));
        assert_eq!(figures.get(Figure::Distortion), None, "not asked for");
        let all = measured.figures(1.0);
        assert_eq!(all.get(Figure::Recall).map(|e| (e.low, e.high)), Some((0.5, 0.5)));
    }

    /// The interval over seeds and queries contains the true mean in about 95% of all cases, when both matter.
    #[test]
    fn the_interval_over_seeds_and_queries_covers() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let mut covered = 0;
        for _ in 0..1000 {
            let of_query: Vec<f64> = (0..60).map(|_| 0.2 * normal()).collect();
            let rows: Vec<Vec<f64>> = (0..3)
                .map(|_| {
                    let of_seed = 0.02 * normal();
                    of_query.iter().map(|q| 0.5 + of_seed + q + 0.1 * normal()).collect()
                })
                .collect();
            let e = over_seeds_and_queries(&rows).expect("an interval");
            covered += usize::from(e.low <= 0.5 && 0.5 <= e.high);
        }
        assert!((930..=990).contains(&covered), "{covered} of 1000");
        assert_eq!(over_seeds_and_queries(&[]), None);
        let one = over_seeds_and_queries(&[vec![0.5, 0.7]]).expect("one seed has the interval over queries");
        assert!(one.low < 0.6 && one.high > 0.6);
    }

    #[test]
    fn the_median_has_the_interval_of_its_order_statistics() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let e = median(&values).expect("values");
        assert_eq!((e.low, e.value, e.high), (40.0, 50.0, 60.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]).map(|e| (e.low, e.high)), Some((3.0, 3.0)));
    }
}
