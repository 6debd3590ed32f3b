//! Times k-means training, from rows in host memory to a codebook, on the device and on two CPU threads.

use super::{DIM, Note, PROCESSOR_THREADS, StepContext, StepFailure, StepWork, Timing, middle, size};
use crate::backend::{CpuBackend, CudaBackend};
use crate::classical::kmeans::{Kmeans, KmeansInit};
use crate::{Context, Curve, Method, MethodError};
use cuda::CudaError;
use ndarray::{Array2, ArrayView2, s};
use std::sync::Arc;
use std::time::Instant;

/// Too few iterations for any of them to use a sample of the rows: time then grows with rows, and the CPU may take
/// fewer.
const ITERATIONS: usize = 10;

/// Number of repeats, which take seconds each; the CPU takes one of this many rows, but at least this many per
/// codeword.
const REPEATS: usize = 2;
const PROCESSOR_SHARE: usize = 100;
const ROWS_PER_CODEWORD: usize = 24;

/// k-means++ and ten iterations. Rows start and the codebook ends in host memory.
pub fn kmeans(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    let (n, k) = (setting.rows(10_000_000), setting.codewords(4096));
    let method = Kmeans { codewords: k, init: KmeansInit::PlusPlus, iterations: ITERATIONS, restarts: 1 };
    let rows = {
        let values = setting.random_rows(n)?.download()?;
        Array2::from_shape_vec((n, DIM), values).map_err(|e| StepFailure::Wrong(e.to_string()))?
    };
    let there = Context::on(Arc::new(CudaBackend::on(setting.device.clone(), setting.isa)), setting.seed);
    // Without a curve there is nothing to compare, which is reported below.
    let fit = |rows: ArrayView2<'_, f32>, cx: &Context| -> Result<Curve, MethodError> {
        let followed = method.fit(rows, cx)?.curves().first().cloned();
        Ok(followed.unwrap_or_else(|| Curve::of("mse", Vec::new(), true)))
    };
    let fewer = StepContext { repeats: setting.repeats.min(REPEATS), ..*setting };
    let failed = |error: MethodError| CudaError::Driver {
        call: "a fit of k-means".into(),
        message: format!("{error}; where memory is short, `--scale` makes all sizes smaller"),
    };
    let (seconds, curve) = fewer.repeat(|| fit(rows.view(), &there).map_err(failed))?;
    let mse = curve.values();
    if mse.is_empty() || curve.first_growth().is_some() || mse.iter().any(|mse| !mse.is_finite()) {
        return Err(StepFailure::Wrong(format!("the distortion of k-means is {mse:?}")));
    }
    // The same on fewer rows, on both sides.
    let part = rows.slice(s![..n.div_ceil(PROCESSOR_SHARE).max(ROWS_PER_CODEWORD * k).min(n), ..]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(PROCESSOR_THREADS).build();
    let pool = pool.map_err(|e| StepFailure::Wrong(format!("threads could not be started: {e}")))?;
    let start = Instant::now();
    let here = pool
        .install(|| fit(part, &Context::on(Arc::new(CpuBackend::new(setting.isa)), setting.seed)))
        .map_err(failed)?
        .values();
    let processor = start.elapsed().as_secs_f64() * n as f64 / part.nrows() as f64;
    let on_device = fit(part, &there).map_err(failed)?.values();
    // Near-ties may lead to other codebooks of about the same distortion.
    let (last, last_there) = (here.last().copied().unwrap_or(f64::NAN), on_device.last().copied().unwrap_or(f64::NAN));
    let apart = (last_there - last) / last.max(f64::MIN_POSITIVE);
    if apart.is_nan() || apart.abs() > 0.01 {
        let rows = part.nrows();
        return Err(StepFailure::Wrong(format!(
            "of {rows} rows the device ends with {last_there}, the processor with {last}"
        )));
    }
    // More rows leave each a little farther from its codeword.
    let growth = mse.last().copied().unwrap_or(f64::NAN) / last_there;
    if part.nrows() >= ROWS_PER_CODEWORD * k && !(0.99..1.2).contains(&growth) {
        return Err(StepFailure::Wrong(format!("all rows end with {growth} times the distortion of {}", part.nrows())));
    }
    let ratio = processor / middle(&seconds);
    let values = (n * DIM) as f64;
    Ok(Timing {
        size: format!("{} in the host's memory, k-means++ and {ITERATIONS} iterations", size(k)),
        queries: None,
        n,
        dim: DIM,
        k,
        seconds,
        work: vec![
            // A pass over the rows for each start.
            StepWork::Bytes((k - 1) as f64 * (4.0 * values + 8.0 * n as f64)),
            StepWork::Halves((ITERATIONS + 1) as f64 * 2.0 * values * k as f64),
        ],
        input_bytes: 4.0 * values,
        transfers: vec![],
        notes: vec![(Note::CpuSeconds, processor), (Note::CpuSpeedRatio, ratio), (Note::MseExcess, apart)],
    })
}
