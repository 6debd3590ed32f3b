//! How near each path comes to what this machine allows: measured speed as a share of the limit by bytes and by products.
//!
//! ```text
//! limit = 1 / max(bytes / reading speed, 2·multiply-adds / arithmetic speed)
//! ```
//!
//! | path | bytes | multiply-adds |
//! |--|--|--|
//! | encode a vector | `4·dim + code` | `Method::encode_cost` |
//! | decode a vector | `4·dim + code` | `Method::decode_cost` |
//! | a query of many | none: codes pass once for all queries | `Method::query_cost + n·Method::score_cost`, or `n·dim` if that is less |
//! | a single query, on one thread | `n·code` | the same |
//!
//! Both speeds are measured in the process of the trial, with the threads of the path: multiply-adds of f32 on registers alone, and
//! reading of an array with as many bytes as the path passes in a round, so that what fits into a cache is held to the speed of that cache.
//! A look-up in a table counts as one multiply-add; `n·dim` are the products of a query with decoded rows, which are fewer than those with
//! all codewords if there are more codewords than rows. Kernels that compute in bytes (search by tables, nearest codewords) can do more
//! per instruction than f32 can, and their shares may exceed 1. Costs are those of the methods, which are rough; a share says where to
//! look. Trials on a device and outside programs get no shares.

use super::Subject;
use cpu::{Isa, peak};
use methods::Method;
use rayon::prelude::*;
use record::metric::{
    DECODE_LIMIT_SHARE, DECODE_VECTORS_PER_SECOND, ENCODE_LIMIT_SHARE, ENCODE_VECTORS_PER_SECOND, LATENCY_LIMIT_SHARE,
    SEARCH_LATENCY_P50_US, SEARCH_LIMIT_SHARE, SEARCH_QUERIES_PER_SECOND,
};
use record::{Measured, Metric};
use std::hint::black_box;
use std::time::Instant;

/// Seconds of a repeat of a peak, and repeats; the best counts, which is the least disturbed.
const SECONDS: f64 = 0.005;
const REPEATS: usize = 4;

/// Most bytes that are read: larger arrays do not fit into a cache either.
const MOST_BYTES: f64 = (128u64 << 20) as f64;

/// Rounds of multiply-adds between two looks at the clock.
const ROUNDS: u64 = 1 << 14;

/// What a path has to do at least.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Work {
    /// Bytes that pass.
    bytes: f64,
    multiply_adds: f64,
}

/// Speeds of this machine, on the current thread pool.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Peaks {
    bytes_per_second: f64,
    operations_per_second: f64,
}

impl Work {
    /// Seconds at the limit.
    fn seconds(self, peaks: Peaks) -> f64 {
        let reading = self.bytes / peaks.bytes_per_second;
        reading.max(2.0 * self.multiply_adds / peaks.operations_per_second)
    }
}

impl Peaks {
    /// Measures both, reading by an array of about this many bytes.
    fn measure(isa: Isa, bytes: f64) -> Peaks {
        let threads = rayon::current_num_threads();
        let values = ((bytes.clamp(4096.0, MOST_BYTES) / 4.0) as usize / threads).max(1024);
        let parts: Vec<Vec<f32>> = (0..threads).into_par_iter().map(|_| vec![1f32; values]).collect();
        let read = |part: &Vec<f32>| {
            black_box(peak::read(isa, black_box(part)));
            4.0 * values as f64
        };
        let compute = || black_box(peak::multiply_adds(isa, ROUNDS)).operations as f64;
        Peaks {
            bytes_per_second: best(|| parts.par_iter().map(|part| while_time_lasts(|| read(part))).sum()),
            operations_per_second: best(|| parts.par_iter().map(|_| while_time_lasts(compute)).sum()),
        }
    }
}

/// The most work per second of several repeats.
fn best(work: impl Fn() -> f64) -> f64 {
    let speed = || {
        let start = Instant::now();
        let done = work();
        done / start.elapsed().as_secs_f64()
    };
    (0..REPEATS).map(|_| speed()).fold(0.0, f64::max)
}

/// The work of all rounds until the time of a repeat has passed; of at least one.
fn while_time_lasts(round: impl Fn() -> f64) -> f64 {
    let start = Instant::now();
    let mut done = round();
    while start.elapsed().as_secs_f64() < SECONDS {
        done += round();
    }
    done
}

/// The metric of a share, the name of the measured value that it comes from, the seconds of an item at the limit, and the items per second that
/// a measured value says.
type LimitedPath = (&'static Metric, &'static str, f64, fn(f64) -> f64);

/// Multiply-adds of a query over `n` codes, by tables or by decoded rows.
fn search_cost(method: &dyn Method, dim: usize, n: f64) -> f64 {
    (method.query_cost(dim) + n * method.score_cost(dim)).min(n * dim as f64)
}

/// The shares of all speeds among `measured`, repeat by repeat; none if a device computes, whose peaks are not measured here. `single` is the pool of single queries; `timed` the number of rows that
/// encoding and decoding were timed with.
pub(super) fn shares(
    subject: &Subject<'_>,
    measured: &[Measured],
    timed: usize,
    single: &rayon::ThreadPool,
) -> Vec<Measured> {
    if subject.backend.device_name().is_some() {
        return Vec::new();
    }
    let (method, data, isa) = (subject.method, subject.data, subject.backend.isa());
    let (dim, n, code) = (data.dim(), data.base.nrows() as f64, subject.quantizer.code_size() as f64);
    let row = 4.0 * dim as f64 + code;
    let score = search_cost(method, dim, n);
    let coding = Peaks::measure(isa, timed as f64 * row);
    let searching = Peaks::measure(isa, n * code);
    let alone = single.install(|| Peaks::measure(isa, n * code));
    let paths: [LimitedPath; 4] = [
        (
            &ENCODE_LIMIT_SHARE,
            ENCODE_VECTORS_PER_SECOND.name,
            Work { bytes: row, multiply_adds: method.encode_cost(dim) }.seconds(coding),
            |rate| rate,
        ),
        (
            &DECODE_LIMIT_SHARE,
            DECODE_VECTORS_PER_SECOND.name,
            Work { bytes: row, multiply_adds: method.decode_cost(dim) }.seconds(coding),
            |rate| rate,
        ),
        (
            &SEARCH_LIMIT_SHARE,
            SEARCH_QUERIES_PER_SECOND.name,
            Work { bytes: 0.0, multiply_adds: score }.seconds(searching),
            |rate| rate,
        ),
        (
            &LATENCY_LIMIT_SHARE,
            SEARCH_LATENCY_P50_US.name,
            Work { bytes: n * code, multiply_adds: score }.seconds(alone),
            |micros| 1e6 / micros,
        ),
    ];
    let share_of = |value: &Measured| {
        let (metric, _, seconds, per_second) = paths.iter().find(|(_, of, ..)| *of == value.metric)?;
        let mut share = value.clone();
        (share.metric, share.value) = (metric.name.into(), seconds * per_second(value.value));
        Some(share)
    };
    measured.iter().filter_map(share_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_slower_of_reading_and_computing_is_the_limit() {
        let peaks = Peaks { bytes_per_second: 100.0, operations_per_second: 1000.0 };
        assert_eq!(Work { bytes: 50.0, multiply_adds: 10.0 }.seconds(peaks), 0.5);
        assert_eq!(Work { bytes: 50.0, multiply_adds: 1000.0 }.seconds(peaks), 2.0);
        assert_eq!(Work { bytes: 0.0, multiply_adds: 0.0 }.seconds(peaks), 0.0);
    }

    #[test]
    fn a_search_is_held_to_the_fewer_products_of_tables_and_of_decoded_rows() {
        let cost = |bits: u8, n: f64| {
            let params = serde_json::json!({ "m": 4, "bits": bits });
            search_cost(&*methods::parse("pq", params).expect("parses"), 64, n)
        };
        // 64 components times 256 codewords, and four look-ups per code.
        assert_eq!(cost(8, 20_000.0), 64.0 * 256.0 + 4.0 * 20_000.0);
        // Tables of 65,536 entries take more than the products with 20,000 rows, and less than those with 200,000.
        assert_eq!(cost(16, 20_000.0), 64.0 * 20_000.0);
        assert_eq!(cost(16, 200_000.0), 64.0 * 65_536.0 + 8.0 * 200_000.0);
    }

    #[test]
    fn every_round_that_takes_time_counts() {
        let rounds = Cell::new(0f64);
        let done = while_time_lasts(|| {
            rounds.set(rounds.get() + 1.0);
            3.0
        });
        assert!(done == 3.0 * rounds.get() && done >= 3.0);
    }

    #[test]
    fn peaks_are_measured_on_any_instruction_set() {
        for isa in Isa::available() {
            for bytes in [0.0, 1e5] {
                let Peaks { bytes_per_second, operations_per_second } = Peaks::measure(isa, bytes);
                assert!(bytes_per_second > 0.0 && operations_per_second > 0.0, "{isa}");
                assert!(bytes_per_second.is_finite() && operations_per_second.is_finite(), "{isa}");
            }
        }
    }
}
