//! The result of one row on one dataset, and what follows from it: rates, ratios, shares of the limits, a verdict.

use super::limits::MachinePeaks;
use super::rows::{Row, Stage};
use reports::statistics::{middle, range};

/// The result of a row on a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOutcome {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the row.
    pub name: String,
    /// What was timed.
    pub stage: Stage,
    /// The aim: the least ratio of our throughput to theirs.
    pub aim: f64,
    /// How it ended.
    pub end: RowEnd,
}

/// How a row ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RowEnd {
    /// Both sides were measured.
    Measured(RowComparison),
    /// It does not apply to this dataset; the reason.
    Skipped(String),
    /// One side failed; the reason.
    Failed(String),
}

/// Both sides of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowComparison {
    /// Our seconds, one per repeat.
    pub ours: Vec<f64>,
    /// Their seconds, one per repeat, each taken right after ours.
    pub theirs: Vec<f64>,
    /// Number of rows or queries per timing.
    pub items: f64,
    /// The limiting resource, and how much of it a plain computation of one repeat needs.
    pub work: WorkAmount,
    /// How good the results are.
    pub quality: RowQuality,
    /// How our search went: `adc`, `decode`, `exact`.
    pub path: Option<String>,
}

/// Work of one repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WorkAmount {
    /// Floating-point operations of a dense computation.
    Flops(f64),
    /// Bytes that pass through memory.
    Bytes(f64),
}

/// Quality of the results, ours first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowQuality {
    /// Mean squared error per vector.
    Distortion([f64; 2]),
    /// Share of the true neighbours that were found.
    Overlap([f64; 2]),
}

/// A distortion of at most this many times theirs counts as equal: codebooks start at random.
const DISTORTION_ALLOWANCE: f64 = 1.005;

/// A recall may be lower by this much, for the same reason.
const OVERLAP_ALLOWANCE: f64 = 0.01;

impl RowQuality {
    /// Whether ours is as good as theirs.
    pub fn holds(&self) -> bool {
        match *self {
            RowQuality::Distortion([ours, theirs]) => ours <= theirs * DISTORTION_ALLOWANCE,
            RowQuality::Overlap([ours, theirs]) => ours >= theirs - OVERLAP_ALLOWANCE,
        }
    }
}

impl WorkAmount {
    /// Of a row, for `trained` and `rows` vectors of `dim` components and `queries` queries.
    pub fn of(row: &Row, trained: usize, rows: usize, queries: usize, dim: usize) -> WorkAmount {
        let items = match row.stage {
            Stage::Train => trained as f64,
            Stage::Encode | Stage::Decode => rows as f64,
            Stage::Search => rows as f64 * queries as f64,
        };
        match (row.bytes, row.flops) {
            (Some(bytes), _) => WorkAmount::Bytes(items * bytes.at(dim)),
            (None, Some(flops)) => WorkAmount::Flops(items * flops.at(dim)),
            (None, None) => unreachable!("{} has a limit, as a test of the table says of every row", row.name),
        }
    }

    /// Its amount.
    pub fn amount(self) -> f64 {
        let (WorkAmount::Flops(amount) | WorkAmount::Bytes(amount)) = self;
        amount
    }

    /// The limit that applies, per second.
    pub fn limit(self, limits: MachinePeaks) -> f64 {
        match self {
            WorkAmount::Flops(_) => limits.flops,
            WorkAmount::Bytes(_) => limits.bytes,
        }
    }

    /// Its unit per second.
    pub fn unit(self) -> &'static str {
        match self {
            WorkAmount::Flops(_) => "FLOP/s",
            WorkAmount::Bytes(_) => "B/s",
        }
    }
}

impl RowComparison {
    /// Our throughput over theirs, by medians.
    pub fn ratio(&self) -> f64 {
        middle(&self.theirs) / middle(&self.ours)
    }

    /// The lowest and the highest ratio of two times taken one after the other.
    pub fn ratio_range(&self) -> (f64, f64) {
        range(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| theirs / ours))
    }

    /// Whether speed and quality reach the aim.
    pub fn reaches(&self, aim: f64) -> bool {
        self.ratio() >= aim && self.quality.holds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_throughput_and_by_medians() {
        let comparison = RowComparison {
            ours: vec![1.0, 1.2, 9.0],
            theirs: vec![3.0, 2.4, 2.7],
            items: 10.0,
            work: WorkAmount::Flops(100.0),
            quality: RowQuality::Distortion([1.0, 1.0]),
            path: None,
        };
        assert_eq!(comparison.ratio(), 2.7 / 1.2);
        assert_eq!(comparison.ratio_range(), (2.7 / 9.0, 3.0));
        assert!(comparison.reaches(2.25) && !comparison.reaches(2.3));
        let worse = RowComparison { quality: RowQuality::Distortion([1.01, 1.0]), ..comparison.clone() };
        assert!(!worse.reaches(1.0), "fast, but not as good");
        assert!(RowQuality::Overlap([0.5, 0.509]).holds() && !RowQuality::Overlap([0.5, 0.52]).holds());
    }
}
