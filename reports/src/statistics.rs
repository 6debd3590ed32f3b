//! Statistics of reports: intervals, tests of differences, and differences between whole curves.
//!
//! Everything here takes numbers and returns numbers; `differences` chooses what to compare.

mod difference;
mod distributions;
mod estimate;
mod friedman;
mod holm;
mod rate_saving;
mod repeats;
mod signed_rank;
#[cfg(test)]
mod simulations;

pub use difference::{FEWEST_SEEDS, MethodComparison, Test, compare, deviation, least_visible};
pub use distributions::{above, normal_below, t_above, t95};
pub use estimate::{Estimate, mean, median, of_sample, ratio_of_timings, timing};
pub use friedman::{Friedman, friedman, ranks};
pub use holm::{adjusted, fewest_pairs};
pub use rate_saving::{FEWEST_POINTS, NoSaving, RateDistortionCurve, Saving, rate_saving};
pub use repeats::{middle, range, spread};
pub use signed_rank::{SignedRank, hodges_lehmann, signed_rank};

/// Share of false alarms that a report allows, over all its comparisons together.
pub const ALPHA: f64 = 0.05;
