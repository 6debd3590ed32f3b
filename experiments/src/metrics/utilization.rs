//! How much of each codebook is in use?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
use methods::contract::usage::Usage;
use methods::registry::schema_of;
use record::Measured;
use record::metric::{CODEWORD_FREQUENCY, DEAD_CODES, PERPLEXITY, USAGE};
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
        let Some(histograms) = subject.histograms()? else { return Ok(Vec::new()) };
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
        let ranked = by_rank(&histograms.counts).into_iter().enumerate();
        out.extend(ranked.map(|(i, share)| Measured::new(&CODEWORD_FREQUENCY, share).repeat(i)));
        Ok(out)
    }
}

/// The share of rows that go to the codewords of rank 1, 2, 4, … of each codebook, most frequent first, as a mean over
/// the codebooks of the largest size. `counts` are by codebook and codeword.
fn by_rank(counts: &[Vec<u32>]) -> Vec<f64> {
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
    let ranks = std::iter::successors(Some(1usize), |rank| rank.checked_mul(2)).take_while(|rank| *rank <= size);
    let share = |counts: &Vec<u32>, rank: usize| {
        let rows: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        f64::from(counts[rank - 1]) / rows.max(1) as f64
    };
    ranks.map(|rank| sorted.iter().map(|counts| share(counts, rank)).sum::<f64>() / sorted.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_by_rank_and_a_mean_over_the_largest_codebooks() {
        // Two codebooks of five codewords, and one of two, which does not count. Ranks 1, 2 and 4.
        let counts = vec![vec![0, 5, 2, 3, 0], vec![1, 1, 6, 1, 1], vec![10, 0]];
        assert_eq!(by_rank(&counts), [(0.5 + 0.6) / 2.0, (0.3 + 0.1) / 2.0, (0.0 + 0.1) / 2.0]);
        assert!(by_rank(&[]).is_empty());
    }
}
