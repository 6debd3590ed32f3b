//! How fast are training, encoding, decoding and search on this machine?

mod limits;
mod program;

use super::{Measure, MeasureEntry, Subject, params_of, parse_params, unread};
use crate::memory::TIMED_VALUES;
use crate::search::rerank_all;
use crate::units::Seconds;
use methods::registry::schema_of;
use methods::search::codes::CodeSearch;
use methods::{BackendError, MethodError};
use ndarray::{Array2, CowArray, Ix2, s};

use record::metric::{
    DECODE_VECTORS_PER_SECOND, ENCODE_VECTORS_PER_SECOND, SEARCH_BYTES, SEARCH_LATENCY_P50_US, SEARCH_LATENCY_P95_US,
    SEARCH_LATENCY_P99_US, SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS,
};
use record::{Measured, Metric, rerank_path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Instant;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "throughput",
    summary: "Training time; vectors encoded and decoded per second; queries per second; latency of single queries",
    always: false,
    schema: schema_of::<Throughput>,
    parse: parse_params::<Throughput>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Throughput {
    /// Minimum duration of one repeat. Short work is repeated until this time has passed. Raise it for steadier
    /// timings.
    min_time: Seconds,
    /// Repeats of each timing. The tidy table keeps every one.
    #[schemars(range(min = 1, max = 1000))]
    repeats: usize,
    /// Neighbours that each query returns.
    #[schemars(range(min = 1, max = 10000))]
    k: usize,
    /// Re-ranking factors for which search is timed as well: a factor f fetches f·k candidates over codes and orders
    /// them by their raw vectors. Search without re-ranking is always timed.
    #[schemars(inner(range(min = 1, max = 1000)))]
    rerank: Vec<usize>,
    /// Also gives each speed as a share of what this machine allows for the bytes that must pass and the products that must be computed.
    /// Only for our own methods on the CPU: the limits of a device or of a program are not known.
    limits: bool,
}

impl Default for Throughput {
    fn default() -> Throughput {
        Throughput { min_time: Seconds(0.2), repeats: 5, k: 10, rerank: vec![4], limits: false }
    }
}

/// The numbers of the timings, by which two trials that compute in turn find the same one.
const ENCODE: usize = 0;
const DECODE: usize = 1;
const SEARCH: usize = 2;
const LATENCY: usize = 3;
const RERANK: usize = 4;

/// Maximum number of single queries timed per repeat.
const LATENCY_QUERIES: usize = 200;

impl Measure for Throughput {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn seconds(&self) -> f64 {
        // Encoding, decoding, searching, single queries, and each re-ranked search; one warm-up each.
        (4 + self.rerank.len()) as f64 * (self.repeats + 1) as f64 * self.min_time.0
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let (quantizer, data) = (subject.quantizer, subject.data);
        if let Some(program) = quantizer.program() {
            return program::measure(self, program, subject);
        }
        let mut out = vec![Measured::new(&TRAIN_SECONDS, subject.fit_seconds).repeat(0)];
        let n = data.base.nrows();
        let base = timed_rows(subject)?;
        let base = base.view();
        let timed = base.nrows();

        // Copies, so that no page of theirs is touched for the first time while the clock runs.
        let mut codes = subject.codes[..timed * quantizer.code_size()].to_vec();
        // The trial has encoded and decoded the same rows just before: that was the warm-up.
        self.repeat(&mut out, (ENCODE, &ENCODE_VECTORS_PER_SECOND), timed, subject, true, || {
            quantizer.encode_into(base, &mut codes)
        })?;

        // Not zeros, whose pages would come to life while the clock runs.
        let mut decoded = Array2::from_elem(base.dim(), 1f32);
        self.repeat(&mut out, (DECODE, &DECODE_VECTORS_PER_SECOND), timed, subject, true, || {
            quantizer.decode_into(&codes, decoded.view_mut())
        })?;
        drop((codes, decoded));

        let search = subject.search()?;
        let before = out.len();
        // This search is another one than that of recall, which may hold nothing: it has not been done before.
        self.repeat(&mut out, (SEARCH, &SEARCH_QUERIES_PER_SECOND), data.queries.nrows(), subject, false, || {
            search.search(data.queries.view(), self.k).map(drop)
        })?;

        // One query at a time, on one thread, as a service with a single caller sees it.
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let single = single.map_err(|e| {
            let (operation, device) = ("a thread for single queries", "the processor".to_owned());
            MethodError::from(BackendError { operation, device, reason: e.to_string() })
        })?;
        for repeat in 0..self.repeats {
            if subject.turns.repeat(LATENCY, repeat, SEARCH_LATENCY_P50_US.name) {
                // Caches hold what the other side computed with.
                search.search(data.queries.view(), self.k)?;
                subject.backend.synchronize()?;
            }
            let micros = single.install(|| self.latencies(subject, &search))?;
            out.extend(latency_quantiles(micros).map(|value| value.repeat(repeat)));
        }
        for value in &mut out[before..] {
            (value.k, value.path) = (Some(self.k), Some(search.path().to_owned()));
        }
        out.push(Measured::new(&SEARCH_BYTES, search.held_bytes() as f64).path(search.path()));
        if self.limits {
            out.extend(limits::shares(subject, &out, timed, &single));
        }
        // Re-ranking needs the raw vectors at hand.
        let Some(base) = data.base.held() else { return Ok(out) };
        for (place, &factor) in self.rerank.iter().enumerate() {
            let before = out.len();
            let (queries, depth) = (data.queries.view(), (self.k * factor).min(n));
            self.repeat(
                &mut out,
                (RERANK + place, &SEARCH_QUERIES_PER_SECOND),
                queries.nrows(),
                subject,
                false,
                || {
                    let candidates = search.search(queries, depth)?;
                    let found = rerank_all(queries, base, data.metric, &candidates, depth, self.k);
                    std::hint::black_box(found);
                    Ok(())
                },
            )?;
            for value in &mut out[before..] {
                (value.k, value.path) = (Some(self.k), Some(rerank_path(factor)));
            }
        }
        Ok(out)
    }
}

/// Base rows to encode by the clock. Those that are not held are too many to keep them for it: the first of them stand for all.
fn timed_rows<'a>(subject: &Subject<'a>) -> Result<CowArray<'a, f32, Ix2>, MethodError> {
    let data = subject.data;
    match data.base.held() {
        Some(rows) => Ok(rows.into()),
        None => {
            let count = (TIMED_VALUES / data.dim()).clamp(1, data.base.nrows());
            Ok(data.base.range(0..count).map_err(unread)?.into())
        }
    }
}

/// The quantiles of the microseconds of single queries, of which there is at least one.
fn latency_quantiles(mut micros: Vec<f64>) -> impl Iterator<Item = Measured> {
    micros.sort_by(f64::total_cmp);
    let quantiles = [(&SEARCH_LATENCY_P50_US, 0.50), (&SEARCH_LATENCY_P95_US, 0.95), (&SEARCH_LATENCY_P99_US, 0.99)];
    quantiles.into_iter().filter_map(move |(metric, share)| {
        let at = ((micros.len() as f64 * share).ceil() as usize).max(1) - 1;
        Some(Measured::new(metric, *micros.get(at)?))
    })
}

impl Throughput {
    /// Microseconds of single queries, until the time of a repeat has passed; at least twenty queries, unless these
    /// take ten times as long.
    fn latencies(&self, subject: &Subject<'_>, search: &CodeSearch<'_>) -> Result<Vec<f64>, MethodError> {
        let queries = &subject.data.queries;
        let begin = Instant::now();
        let mut micros = Vec::new();
        for q in 0..queries.nrows().min(LATENCY_QUERIES) {
            let start = Instant::now();
            search.search(queries.slice(s![q..q + 1, ..]), self.k)?;
            subject.backend.synchronize()?;
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            let elapsed = begin.elapsed().as_secs_f64();
            if elapsed > self.min_time.0 && (micros.len() >= 20 || elapsed > 10.0 * self.min_time.0) {
                break;
            }
        }
        Ok(micros)
    }

    /// Times `work` on `items`: each repeat runs until `min_time` has passed. If this process has not done the same work before (`warm`),
    /// it is done once without a clock first. The device is synchronized before the clock stops. `place` numbers the timing.
    fn repeat(
        &self,
        out: &mut Vec<Measured>,
        (place, metric): (usize, &'static Metric),
        items: usize,
        subject: &Subject<'_>,
        warm: bool,
        mut work: impl FnMut() -> Result<(), MethodError>,
    ) -> Result<(), MethodError> {
        if !warm {
            work()?;
            subject.backend.synchronize()?;
        }
        for repeat in 0..self.repeats {
            if subject.turns.repeat(place, repeat, metric.name) {
                // Caches hold what the other side computed with.
                work()?;
                subject.backend.synchronize()?;
            }
            let start = Instant::now();
            let mut rounds = 0usize;
            loop {
                work()?;
                rounds += 1;
                subject.backend.synchronize()?;
                if start.elapsed().as_secs_f64() >= self.min_time.0 {
                    break;
                }
            }
            let rate = (rounds * items) as f64 / start.elapsed().as_secs_f64();
            out.push(Measured::new(metric, rate).repeat(repeat));
        }
        Ok(())
    }
}
