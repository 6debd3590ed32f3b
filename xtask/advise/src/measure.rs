//! Measures one code on one sample.

use crate::arms::Arm;
use crate::forecast::over_draws;
use crate::sample::{Samples, Stage};
use experiments::search::{code_search, k_recalls};
use methods::algorithms::moments;
use methods::search::codes::CodeSearch;
use methods::{BackendError, Context, MethodError};
use ndarray::{Array2, ArrayView2, s};
use reports::advice::{Figure, Wish};
use reports::statistics::{Estimate, t95};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What a code has shown on one sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes of a code.
    pub bytes: usize,
    /// k-recall@k of each query of the race.
    pub recalls: Vec<f64>,
    /// The same for the queries held out; in the last round alone.
    pub held_out: Vec<f64>,
    /// The mean recall of the queries of the race among the training rows, which the code was made for; on a sample alone.
    pub in_training: Option<f64>,
    /// The normalized mean squared error of the training rows, where it was asked for; on a sample alone.
    pub training_error: Option<f64>,
    /// Normalized mean squared error and its standard deviation over base rows, where it was asked for.
    pub distortion: Option<(f64, f64)>,
    /// Base rows.
    pub rows: usize,
    /// Times, where they were asked for.
    pub timings: Timings,
}

/// Times of a code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Microseconds of single queries on one thread, in ascending order; empty if none were timed.
    pub latencies: Vec<f64>,
    /// Vectors encoded per second.
    pub encode_rate: f64,
    /// Seconds of training.
    pub fit_seconds: f64,
}

/// Most single queries that are timed.
const TIMED_QUERIES: usize = 200;

/// Seconds after which no further single query is timed, if there are [`FEWEST_TIMED`].
const TIMED_SECONDS: f64 = 0.1;
const FEWEST_TIMED: usize = 20;

/// The recall with all rows, over queries and seeds: the mean over the queries held out, with the variance of this mean and
/// that between seeds added, and the degrees of freedom of Welch and Satterthwaite. `seeds` has the recalls of each
/// training on the first sample, where it varies more than with all rows. The part of the error that is neither of a seed
/// nor of a query is in both variances, so the interval is a little too wide. With one seed, it is that over queries.
pub fn over_queries_and_seeds(held_out: &[f64], seeds: &[Vec<f64>]) -> Option<Estimate> {
    let queries = over_draws(held_out)?;
    let means: Vec<f64> = seeds.iter().filter_map(|recalls| Some(over_draws(recalls)?.value)).collect();
    if means.len() < 2 || held_out.len() < 2 {
        return Some(queries);
    }
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let (of_queries, of_seeds) = (held_out.len() - 1, means.len() - 1);
    let over_queries = ((queries.high - queries.value) / t95(of_queries)).powi(2);
    let over_seeds = means.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / of_seeds as f64;
    let sum = over_queries + over_seeds;
    if sum == 0.0 {
        return Some(queries);
    }
    let df = sum * sum / (over_queries * over_queries / of_queries as f64 + over_seeds * over_seeds / of_seeds as f64);
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
    let recalls = |queries: ArrayView2<'_, f32>, truth: &[Vec<u32>]| recalls_of(&search, queries, truth, samples.k);
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
    if let Some(truth) = &stage.truth_in_training {
        let mut codes = vec![0; stage.train.nrows() * quantizer.code_size()];
        quantizer.encode_into(stage.train.view(), &mut codes)?;
        let search = code_search(&*quantizer, &codes, samples.metric)?;
        let found = recalls_of(&search, stage.queries.view(), truth, samples.k)?;
        measured.in_training = over_draws(&found).map(|e| e.value);
        if measured.distortion.is_some() {
            let mut decoded = Array2::zeros(stage.train.dim());
            quantizer.decode_into(&codes, decoded.view_mut())?;
            measured.training_error = distortion(stage.train.view(), decoded.view()).map(|(value, _)| value);
        }
    }
    Ok(measured)
}

/// k-recall@k of each query.
fn recalls_of(
    search: &CodeSearch<'_>,
    queries: ArrayView2<'_, f32>,
    truth: &[Vec<u32>],
    k: usize,
) -> Result<Vec<f64>, MethodError> {
    let found = search.search(queries, k)?;
    let found: Vec<Vec<u32>> = found.into_iter().map(|row| row.into_iter().map(|n| n.id).collect()).collect();
    Ok(k_recalls(truth, &found, k))
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

    /// The interval over queries and seeds contains the true mean in about 95% of all cases, when both matter.
    #[test]
    fn the_interval_over_queries_and_seeds_covers() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let mut covered = 0;
        for _ in 0..1000 {
            // The queries of the race, and those held out; each training has an effect of its own.
            let mut training = |queries: usize| -> Vec<f64> {
                let of_seed = 0.02 * normal();
                (0..queries).map(|_| 0.5 + of_seed + 0.2 * normal()).collect()
            };
            let (held_out, seeds) = (training(60), [training(500), training(500), training(500)]);
            let e = over_queries_and_seeds(&held_out, &seeds).expect("an interval");
            covered += usize::from(e.low <= 0.5 && 0.5 <= e.high);
        }
        assert!((930..=990).contains(&covered), "{covered} of 1000");
        assert_eq!(over_queries_and_seeds(&[], &[]), None);
        let one = over_queries_and_seeds(&[0.5, 0.7], &[vec![0.6, 0.8]]).expect("the interval over queries");
        assert!(one.low < 0.6 && one.high > 0.6);
    }
}
