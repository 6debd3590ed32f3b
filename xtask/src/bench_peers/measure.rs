//! Measures one row on one dataset: both sides alternately, and the quality of both.

use super::data::Data;
use super::outcome::{RowComparison, RowQuality, WorkAmount};
use super::peer::{PeerError, neighbors, number};
use super::rows::{Row, Stage};
use super::session::PeerSession;
use cpu::Isa;
use datasets::MetricSpace;
use datasets::truth::{exact_neighbors, exact_score};
use experiments::search::code_search;
use methods::{Context, Method, MethodError, Neighbor, ParamError, Quantizer};
use ndarray::{Array2, ArrayView2, s};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Pause between two timings, so that spinning threads of the other side have gone to sleep.
const PAUSE: Duration = Duration::from_millis(100);

/// Number of queries whose exact neighbours a plain scan computes again, to check the exact searches.
const PLAIN_QUERIES: usize = 50;

/// Why a row has no result.
#[derive(Debug, Error)]
pub enum RowFailure {
    /// The peer failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Our method failed.
    #[error("ours failed: {0}")]
    Ours(#[from] MethodError),
    /// Our parameters.
    #[error("ours failed: {}", .0.message)]
    Param(ParamError),
}

/// Number and duration of timings.
#[derive(Clone, Copy, Debug)]
pub struct PairedTiming {
    /// Repeats of each side.
    pub repeats: usize,
    /// Minimum seconds of a repeat; short work is repeated.
    pub min_seconds: f64,
}

/// Times of both sides, our last search results, and the search path.
type Searched = ([Vec<f64>; 2], Vec<Vec<Neighbor>>, Option<String>);

/// Our side on one dataset, with what its rows share.
pub struct Ours<'a> {
    data: &'a Data,
    cx: Context,
    isa: Isa,
    timing: PairedTiming,
    trained: HashMap<String, Arc<dyn Quantizer>>,
    truth: HashMap<(usize, usize, bool), Vec<Vec<u32>>>,
}

impl<'a> Ours<'a> {
    /// On `data`, with nothing trained yet.
    pub fn new(data: &'a Data, cx: Context, isa: Isa, timing: PairedTiming) -> Ours<'a> {
        Ours { data, cx, isa, timing, trained: HashMap::new(), truth: HashMap::new() }
    }

    /// Measures both sides of a row, on the current thread pool.
    ///
    /// # Errors
    /// Either side's.
    pub fn compare(&mut self, row: &Row, session: &mut PeerSession<'_>) -> Result<RowComparison, RowFailure> {
        let method = row.parse_method().map_err(RowFailure::Param)?;
        session.prepare(row)?;
        let data = self.data;
        let (train, base) = (data.train_rows(row.train), data.base_rows(row.rows));
        let work = WorkAmount::of(row, train.nrows(), base.nrows(), data.queries.nrows(), data.dim());
        let (items, path, times, quality);
        match (row.stage, method) {
            (Stage::Search, method) => {
                items = data.queries.nrows();
                let exact = method.is_none();
                let queries = if exact { items.min(PLAIN_QUERIES) } else { items };
                let found;
                (times, found, path) = match method {
                    None => self.search_exactly(row, base, session)?,
                    Some(method) => self.search_codes(row, &*method, base, session)?,
                };
                let ids = session.ask(&json!({ "op": "quality", "queries": queries }))?;
                let theirs = neighbors(&ids, queries)?;
                let truth = self.truth(row, base, exact);
                let ours: Vec<Vec<u32>> =
                    found.iter().take(queries).map(|list| list.iter().map(|n| n.id).collect()).collect();
                quality = RowQuality::Overlap([overlap(truth, &ours), overlap(truth, &theirs)]);
            }
            (_, None) => return Err(RowFailure::Ours(MethodError::Broken("the row names no method".into()))),
            (stage, Some(method)) => {
                items = if stage == Stage::Train { train.nrows() } else { base.nrows() };
                path = None;
                let ours;
                (times, ours) = match stage {
                    Stage::Train => self.train(row, &*method, train, session)?,
                    _ => self.code(row, &*method, base, session)?,
                };
                let theirs = number(&session.ask(&json!({ "op": "quality", "queries": 0 }))?, "mse")?;
                quality = RowQuality::Distortion([ours, theirs]);
            }
        }
        let [ours, theirs] = times;
        Ok(RowComparison { ours, theirs, items: items as f64, work, quality, path })
    }

    /// Repeats the fit. The distortion is that of the last fit, on rows it was not trained on.
    fn train(
        &mut self,
        row: &Row,
        method: &dyn Method,
        train: ArrayView2<'_, f32>,
        session: &mut PeerSession<'_>,
    ) -> Result<([Vec<f64>; 2], f64), RowFailure> {
        let mut last = None;
        let times = self.alternate(row, session, &mut || {
            last = Some(method.fit(train, &self.cx)?);
            Ok(())
        })?;
        let quantizer: Arc<dyn Quantizer> = last.ok_or(MethodError::NoRows)?.into();
        let base = self.data.base_rows(row.rows);
        let mut codes = vec![0; base.nrows() * quantizer.code_size()];
        quantizer.encode_into(base, &mut codes)?;
        let mse = distortion(&*quantizer, &codes, base)?;
        self.trained.insert(key(row, method), quantizer);
        Ok((times, mse))
    }

    /// Encodes or decodes.
    fn code(
        &mut self,
        row: &Row,
        method: &dyn Method,
        base: ArrayView2<'_, f32>,
        session: &mut PeerSession<'_>,
    ) -> Result<([Vec<f64>; 2], f64), RowFailure> {
        let quantizer = self.quantizer(row, method)?;
        let mut codes = vec![0; base.nrows() * quantizer.code_size()];
        let times = if row.stage == Stage::Encode {
            self.alternate(row, session, &mut || quantizer.encode_into(base, &mut codes))?
        } else {
            quantizer.encode_into(base, &mut codes)?;
            let mut decoded = Array2::zeros(base.dim());
            self.alternate(row, session, &mut || quantizer.decode_into(&codes, decoded.view_mut()))?
        };
        Ok((times, distortion(&*quantizer, &codes, base)?))
    }

    fn search_codes(
        &mut self,
        row: &Row,
        method: &dyn Method,
        base: ArrayView2<'_, f32>,
        session: &mut PeerSession<'_>,
    ) -> Result<Searched, RowFailure> {
        let quantizer = self.quantizer(row, method)?;
        let mut codes = vec![0; base.nrows() * quantizer.code_size()];
        quantizer.encode_into(base, &mut codes)?;
        let search = code_search(&*quantizer, &codes, MetricSpace::L2)?;
        let mut found = Vec::new();
        let times = self.alternate(row, session, &mut || {
            found = search.search(self.data.queries.view(), row.k)?;
            Ok(())
        })?;
        Ok((times, found, Some(search.path().to_owned())))
    }

    fn search_exactly(
        &mut self,
        row: &Row,
        base: ArrayView2<'_, f32>,
        session: &mut PeerSession<'_>,
    ) -> Result<Searched, RowFailure> {
        let mut found = Vec::new();
        let times = self.alternate(row, session, &mut || {
            found = exact_neighbors(base, self.data.queries.view(), MetricSpace::L2, row.k, self.isa);
            Ok(())
        })?;
        Ok((times, found, Some("exact".to_owned())))
    }

    /// Alternates the two sides and returns the seconds of both, after a warm-up of both.
    fn alternate(
        &self,
        row: &Row,
        session: &mut PeerSession<'_>,
        work: &mut dyn FnMut() -> Result<(), MethodError>,
    ) -> Result<[Vec<f64>; 2], RowFailure> {
        let repeats = row.repeats.min(self.timing.repeats);
        let min_seconds = if row.stage == Stage::Train { 0.0 } else { self.timing.min_seconds };
        let mut times = [Vec::new(), Vec::new()];
        for repeat in 0..repeats + usize::from(repeats > 1) {
            let warm_up = repeats > 1 && repeat == 0;
            let min_seconds = if warm_up { 0.0 } else { min_seconds };
            std::thread::sleep(PAUSE);
            let ours = time(work, min_seconds)?;
            if session.interrupt.load(Ordering::Relaxed) {
                return Err(PeerError::Interrupted.into());
            }
            std::thread::sleep(PAUSE);
            let theirs = number(&session.ask(&json!({ "op": "time", "min_seconds": min_seconds }))?, "seconds")?;
            if !warm_up {
                times[0].push(ours);
                times[1].push(theirs.max(f64::MIN_POSITIVE));
            }
        }
        Ok(times)
    }

    /// The trained quantizer of a row, trained once per dataset.
    fn quantizer(&mut self, row: &Row, method: &dyn Method) -> Result<Arc<dyn Quantizer>, MethodError> {
        let key = key(row, method);
        if let Some(quantizer) = self.trained.get(&key) {
            return Ok(Arc::clone(quantizer));
        }
        let quantizer: Arc<dyn Quantizer> = method.fit(self.data.train_rows(row.train), &self.cx)?.into();
        self.trained.insert(key, Arc::clone(&quantizer));
        Ok(quantizer)
    }

    /// The exact neighbours that a search is compared with; None for exact search itself.
    fn truth(&mut self, row: &Row, base: ArrayView2<'_, f32>, plainly: bool) -> &[Vec<u32>] {
        let (data, isa) = (self.data, self.isa);
        self.truth.entry((row.k, base.nrows(), plainly)).or_insert_with(|| {
            if plainly {
                return data
                    .queries
                    .slice(s![..data.queries.nrows().min(PLAIN_QUERIES), ..])
                    .outer_iter()
                    .map(|query| nearest_plainly(&query.to_vec(), base, row.k))
                    .collect();
            }
            let found = exact_neighbors(base, data.queries.view(), MetricSpace::L2, row.k, isa);
            found.iter().map(|list| list.iter().map(|n| n.id).collect()).collect()
        })
    }
}

/// The key of a training.
fn key(row: &Row, method: &dyn Method) -> String {
    format!("{} {} {}", method.name(), method.params(), row.train)
}

/// Seconds of one round, averaged over as many rounds as fill `min_seconds`.
fn time(work: &mut dyn FnMut() -> Result<(), MethodError>, min_seconds: f64) -> Result<f64, MethodError> {
    let start = Instant::now();
    let mut rounds = 0u32;
    loop {
        work()?;
        rounds += 1;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= min_seconds {
            return Ok((elapsed / f64::from(rounds)).max(f64::MIN_POSITIVE));
        }
    }
}

/// Mean squared error per vector.
fn distortion(quantizer: &dyn Quantizer, codes: &[u8], base: ArrayView2<'_, f32>) -> Result<f64, MethodError> {
    let mut decoded = Array2::zeros(base.dim());
    quantizer.decode_into(codes, decoded.view_mut())?;
    let errors = base.iter().zip(&decoded).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2));
    Ok(errors.sum::<f64>() / base.nrows().max(1) as f64)
}

/// The share of the true neighbours that are among those found.
fn overlap(truth: &[Vec<u32>], found: &[Vec<u32>]) -> f64 {
    let hits = |(truth, found): (&Vec<u32>, &Vec<u32>)| truth.iter().filter(|id| found.contains(id)).count();
    let all: usize = truth.iter().take(found.len()).map(Vec::len).sum();
    truth.iter().zip(found).map(hits).sum::<usize>() as f64 / all.max(1) as f64
}

/// Exact neighbours by a full sort of all scores in f64.
fn nearest_plainly(query: &[f32], base: ArrayView2<'_, f32>, k: usize) -> Vec<u32> {
    let mut all: Vec<(f64, u32)> =
        base.outer_iter().zip(0..).map(|(row, id)| (exact_score(query, row, MetricSpace::L2), id)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.iter().take(k).map(|(_, id)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_counts_what_was_found_of_what_is_true() {
        let truth = vec![vec![1, 2, 3, 4], vec![9, 8, 7, 6]];
        assert_eq!(overlap(&truth, &truth), 1.0);
        assert_eq!(overlap(&truth, &[vec![4, 3], vec![1]]), 0.25);
        assert_eq!(overlap(&truth, &[vec![1, 2, 3, 5]]), 0.75, "of the queries that were asked");
    }

    #[test]
    fn the_plain_scan_breaks_ties_by_number() {
        let base = Array2::from_shape_fn((6, 1), |(i, _)| (i % 3) as f32);
        assert_eq!(nearest_plainly(&[0.9], base.view(), 3), [1, 4, 0]);
    }
}
