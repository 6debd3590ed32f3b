//! Speed of outside programs, by their own clocks: what moves vectors between processes is not part of it.

use super::{LATENCY_QUERIES, Throughput, latency_quantiles, timed_rows};
use crate::metrics::Subject;
use adapters::{Lap, Singles, Timing};
use methods::MethodError;
use methods::external::Program;
use record::metric::{DECODE_VECTORS_PER_SECOND, ENCODE_VECTORS_PER_SECOND, SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS};
use record::{Measured, Metric};

/// Everything that the program can do. Re-ranking is work of vqbench and not timed.
pub(super) fn measure(
    settings: &Throughput,
    program: &Program,
    subject: &Subject<'_>,
) -> Result<Vec<Measured>, MethodError> {
    let mut out = vec![Measured::new(&TRAIN_SECONDS, program.fit_seconds()).repeat(0)];
    let timing = Timing { repeats: settings.repeats, min_seconds: settings.min_time.0 };
    let abilities = program.abilities();
    if abilities.encode {
        let rows = timed_rows(subject)?;
        let laps = program.time_encoding(rows.view(), timing)?;
        out.extend(rates(&ENCODE_VECTORS_PER_SECOND, &laps, rows.nrows()));
        if abilities.decode {
            let size = subject.quantizer.code_size();
            let laps = program.time_decoding(&subject.codes[..rows.nrows() * size], timing)?;
            out.extend(rates(&DECODE_VECTORS_PER_SECOND, &laps, rows.nrows()));
        }
    }
    if !program.can_search(crate::search::search_metric(subject.data.metric)) {
        return Ok(out);
    }
    let search = subject.search()?;
    let queries = subject.data.queries.view();
    let before = out.len();
    let singles = Singles { queries: LATENCY_QUERIES, seconds: settings.min_time.0 };
    let found = program.time_search(queries, settings.k, timing, singles)?;
    out.extend(rates(&SEARCH_QUERIES_PER_SECOND, &found.laps, queries.nrows()));
    let micros = found.singles.iter().map(|seconds| seconds * 1e6).collect();
    out.extend(latency_quantiles(micros).map(|value| value.repeat(0)));
    for value in &mut out[before..] {
        (value.k, value.path) = (Some(settings.k), Some(search.path().to_owned()));
    }
    Ok(out)
}

fn rates(metric: &'static Metric, laps: &[Lap], items: usize) -> impl Iterator<Item = Measured> {
    laps.iter()
        .enumerate()
        .map(move |(repeat, lap)| Measured::new(metric, lap.rounds as f64 * items as f64 / lap.seconds).repeat(repeat))
}
