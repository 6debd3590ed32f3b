//! Speed of outside programs, by their own clocks: what moves vectors between processes is not part of it.

use super::{DECODE, ENCODE, LATENCY, LATENCY_QUERIES, SEARCH, Throughput, latency_quantiles, timed_rows};
use crate::metrics::Subject;
use adapters::{AdapterError, Found, Lap, Singles, Timing};
use methods::external::Program;
use methods::{MethodError, Neighbor};
use ndarray::{Array2, ArrayView1};
use record::metric::{
    DECODE_VECTORS_PER_SECOND, ENCODE_VECTORS_PER_SECOND, SEARCH_LATENCY_P50_US, SEARCH_QUERIES_PER_SECOND,
    TRAIN_SECONDS,
};
use record::{Measured, Metric};

/// Least share of results that timed work has in common with the same work without a clock.
const SAME: f64 = 0.9;

/// Everything that the program can do. Re-ranking is work of vqbench and not timed.
pub(super) fn measure(
    settings: &Throughput,
    program: &Program,
    subject: &Subject<'_>,
) -> Result<Vec<Measured>, MethodError> {
    let mut out = vec![Measured::new(&TRAIN_SECONDS, program.fit_seconds()).repeat(0)];
    let laps = |place, metric: &Metric, ask: &mut dyn FnMut(Timing) -> Result<Vec<Lap>, MethodError>| {
        laps(settings, subject, place, metric.name, ask)
    };
    let abilities = program.abilities();
    if abilities.encode {
        let rows = timed_rows(subject)?;
        let size = subject.quantizer.code_size().max(1);
        let found = laps(ENCODE, &ENCODE_VECTORS_PER_SECOND, &mut |timing| {
            let (codes, laps) = program.time_encoding(rows.view(), timing)?;
            if program.is_seedable() {
                let same = codes.chunks_exact(size).zip(subject.codes.chunks_exact(size));
                let same = same.filter(|(timed, before)| timed == before).count();
                is_the_same_work("encode", "codes", same, rows.nrows())?;
            }
            Ok(laps)
        })?;
        out.extend(rates(&ENCODE_VECTORS_PER_SECOND, &found, rows.nrows()));
        if abilities.decode {
            let codes = &subject.codes[..rows.nrows() * size];
            let mut untimed = Array2::zeros((rows.nrows(), rows.ncols()));
            subject.quantizer.decode_into(codes, untimed.view_mut())?;
            let found = laps(DECODE, &DECODE_VECTORS_PER_SECOND, &mut |timing| {
                let (decoded, laps) = program.time_decoding(codes, timing)?;
                let same = decoded.outer_iter().zip(untimed.outer_iter()).filter(|(timed, before)| near(timed, before));
                is_the_same_work("decode", "vectors", same.count(), rows.nrows())?;
                Ok(laps)
            })?;
            out.extend(rates(&DECODE_VECTORS_PER_SECOND, &found, rows.nrows()));
        }
    }
    if !program.can_search(crate::search::search_metric(subject.data.metric)) {
        return Ok(out);
    }
    let search = subject.search()?;
    if search.program().is_none() {
        return Ok(out);
    }
    let queries = subject.data.queries.view();
    let before = out.len();
    let singles = Singles { queries: LATENCY_QUERIES, seconds: settings.min_time.0 };
    let micros = |singles: Vec<f64>| singles.into_iter().map(|seconds| seconds * 1e6).collect();
    let untimed = search.search(queries, settings.k)?;
    let timed = |timing, singles| {
        let found = program.time_search(queries, settings.k, timing, singles)?;
        check_found(&found, &untimed).map(|()| found)
    };
    if subject.turns.are_taken() {
        let found =
            laps(SEARCH, &SEARCH_QUERIES_PER_SECOND, &mut |timing| timed(timing, None).map(|found| found.laps))?;
        out.extend(rates(&SEARCH_QUERIES_PER_SECOND, &found, queries.nrows()));
        for repeat in 0..settings.repeats {
            subject.turns.repeat(LATENCY, repeat, SEARCH_LATENCY_P50_US.name);
            let timing = Timing { repeats: 1, min_seconds: settings.min_time.0 };
            let found = timed(timing, Some(singles))?;
            out.extend(latency_quantiles(micros(found.singles)).map(|value| value.repeat(repeat)));
        }
    } else {
        let timing = Timing { repeats: settings.repeats, min_seconds: settings.min_time.0 };
        let found = timed(timing, Some(singles))?;
        out.extend(rates(&SEARCH_QUERIES_PER_SECOND, &found.laps, queries.nrows()));
        out.extend(latency_quantiles(micros(found.singles)).map(|value| value.repeat(0)));
    }
    for value in &mut out[before..] {
        (value.k, value.path) = (Some(settings.k), Some(search.path().to_owned()));
    }
    Ok(out)
}

/// Whether two decoded vectors differ by no more than rounding on another device.
fn near(timed: &ArrayView1<'_, f32>, before: &ArrayView1<'_, f32>) -> bool {
    let largest = before.iter().fold(0f32, |most, value| most.max(value.abs()));
    timed.iter().zip(before).all(|(a, b)| (a - b).abs() <= 1e-3 * largest)
}

/// Whether a search found with a clock what it found without one.
fn check_found(found: &Found, untimed: &[Vec<Neighbor>]) -> Result<(), MethodError> {
    let of_query = |(timed, before): (&Vec<u32>, &Vec<Neighbor>)| {
        before.iter().filter(|neighbor| timed.contains(&neighbor.id)).count()
    };
    let same = found.ids.iter().zip(untimed).map(of_query).sum();
    is_the_same_work("search", "rows found", same, untimed.iter().map(Vec::len).sum())
}

/// Work that is timed must give what it gives without a clock, except for a few ties.
fn is_the_same_work(verb: &'static str, what: &str, same: usize, all: usize) -> Result<(), MethodError> {
    if same as f64 >= SAME * all as f64 {
        return Ok(());
    }
    let what = format!("with a clock, only {same} of {all} {what} are those that it gave without one");
    Err(MethodError::Program(AdapterError::Protocol { verb, what }))
}

/// The measurements of a timing: one request for all of them, or, in turn, a request for each.
fn laps(
    settings: &Throughput,
    subject: &Subject<'_>,
    place: usize,
    name: &str,
    ask: &mut dyn FnMut(Timing) -> Result<Vec<Lap>, MethodError>,
) -> Result<Vec<Lap>, MethodError> {
    let timing = |repeats| Timing { repeats, min_seconds: settings.min_time.0 };
    if !subject.turns.are_taken() {
        return ask(timing(settings.repeats));
    }
    let mut all = Vec::new();
    for repeat in 0..settings.repeats {
        subject.turns.repeat(place, repeat, name);
        all.extend(ask(timing(1))?);
    }
    Ok(all)
}

fn rates(metric: &'static Metric, laps: &[Lap], items: usize) -> impl Iterator<Item = Measured> {
    laps.iter()
        .enumerate()
        .map(move |(repeat, lap)| Measured::new(metric, lap.rounds as f64 * items as f64 / lap.seconds).repeat(repeat))
}
