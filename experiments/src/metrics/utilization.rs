//! How much of each codebook is in use?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
use methods::contract::usage::Usage;
use methods::registry::schema_of;
use record::Measured;
use record::metric::{CODEWORD_FREQUENCY, DEAD_CODES, PERPLEXITY, USAGE};
use record::ranks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "utilization",
    summary: "Usage (share of codewords in use), perplexity and dead codewords, per position of the code and overall; frequency of the codewords by rank",
    always: false,
    schema: schema_of::<Utilization>,
    parse: parse_params::<Utilization>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Utilization {}

impl Measure for Utilization {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        // A code may consist of values beside its symbols alone.
        let Some(histograms) = subject.histograms()?.filter(|histograms| !histograms.names.is_empty()) else {
            return Ok(Vec::new());
        };
        let usage = histograms.usage();
        let dead = |usage: &Usage| (usage.codewords - usage.used) as f64;
        let mut out = Vec::new();
        for (name, usage) in histograms.names.iter().zip(&usage) {
            out.push(Measured::new(&USAGE, usage.share()).stage(name));
            out.push(Measured::new(&PERPLEXITY, usage.perplexity()).stage(name));
            out.push(Measured::new(&DEAD_CODES, dead(usage)).stage(name));
        }
        let overall = Usage::overall(&usage);
        out.push(Measured::new(&USAGE, overall.share()));
        out.push(Measured::new(&PERPLEXITY, overall.perplexity()));
        out.push(Measured::new(&DEAD_CODES, dead(&overall)));
        let ranked = by_rank(&histograms.counts).into_iter();
        out.extend(ranked.map(|(rank, share)| Measured::new(&CODEWORD_FREQUENCY, share).repeat(rank)));
        Ok(out)
    }
}

/// The share of rows that go to the codewords of each recorded rank, most frequent first, as a mean over the codebooks of
/// the largest size. The last rank that any of them uses is among the ranks. `counts` are by codebook and codeword.
fn by_rank(counts: &[Vec<u32>]) -> Vec<(usize, f64)> {
    let size = counts.iter().map(Vec::len).max().unwrap_or(0);
    let sorted: Vec<Vec<u32>> = counts
        .iter()
        .filter(|counts| counts.len() == size)
        .map(|counts| {
            let mut sorted = counts.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted
        })
        .collect();
    let used = sorted.iter().map(|counts| counts.partition_point(|count| *count > 0)).max().unwrap_or(0);
    let mut at = ranks::recorded(size);
    if let Err(place) = at.binary_search(&used)
        && used > 0
    {
        at.insert(place, used);
    }
    let share = |counts: &Vec<u32>, rank: usize| {
        let rows: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        f64::from(counts[rank - 1]) / rows.max(1) as f64
    };
    let mean = |rank: usize| sorted.iter().map(|counts| share(counts, rank)).sum::<f64>() / sorted.len() as f64;
    at.into_iter().map(|rank| (rank, mean(rank))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_by_rank_and_a_mean_over_the_largest_codebooks() {
        // Two codebooks of five codewords, and one of two, which does not count.
        let counts = vec![vec![0, 5, 2, 3, 0], vec![1, 1, 6, 1, 1], vec![10, 0]];
        let half = |a: f64, b: f64| (a + b) / 2.0;
        let expected =
            [(1, half(0.5, 0.6)), (2, half(0.3, 0.1)), (3, half(0.2, 0.1)), (4, half(0.0, 0.1)), (5, half(0.0, 0.1))];
        assert_eq!(by_rank(&counts), expected);
        assert!(by_rank(&[]).is_empty());
    }

    #[test]
    fn the_last_rank_in_use_is_recorded() {
        let used = |count: usize| (0..256).map(|i| u32::from(i < count)).collect::<Vec<u32>>();
        let found = by_rank(&[used(150), used(100)]);
        let last = found.iter().rfind(|(_, share)| *share > 0.0);
        assert_eq!(last, Some(&(150, 0.5 / 150.0)), "of the codebook that uses most");
        assert_eq!(found.last(), Some(&(256, 0.0)));
        assert_eq!(by_rank(&[vec![0, 0]]), [(1, 0.0), (2, 0.0)], "no rows");
    }
}
