//! The list of checks. A check is a constant in one of the files of its topic, and a line here.

mod batches;
mod clipping;
mod coding;
mod distortion;
mod edges;
pub mod laws;
mod parity;
mod rate;
pub(crate) mod search;
mod search_state;
mod seeds;
mod state;
mod theory;

use crate::case::{Case, Checked};

/// A question that can be asked of any quantizer.
pub struct Check {
    /// Topic.
    pub group: &'static str,
    /// Short name, unique.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// Asks it.
    pub run: fn(&Case<'_>) -> Checked,
}

/// All checks, cheap and basic ones first.
pub static CHECKS: &[Check] = &[
    coding::SHAPES,
    coding::REPEATS,
    coding::COMPONENTS,
    coding::BIAS,
    coding::OWN_CODE,
    coding::AGAIN,
    coding::AGAIN_THE_SAME,
    batches::COUNTS,
    batches::ALONE,
    batches::ORDER,
    batches::DUPLICATES,
    batches::INTERLEAVED,
    distortion::BEATS_THE_MEAN,
    distortion::BOUND,
    distortion::SCALE,
    distortion::OFFSET,
    distortion::SORTED_TRAINING_ROWS,
    parity::GAUSSIAN,
    parity::OFF_CENTRE,
    parity::SKEWED,
    parity::FALLING,
    parity::CORRELATED,
    parity::UNIFORM,
    parity::CLUSTERS,
    parity::OUTSIDE,
    parity::RECALL_L2,
    parity::RECALL_IP,
    parity::RECALL_UNEVEN,
    theory::TABLES,
    edges::CONSTANT,
    edges::CONSTANT_COLUMN,
    edges::ONE_ROW,
    edges::FEW_ROWS,
    edges::TINY,
    edges::LARGE,
    edges::HUGE,
    edges::ZERO_ROWS,
    edges::COSINE,
    edges::ANY_CODE,
    edges::OTHER_DIMS,
    clipping::OUTSIDE,
    clipping::FAR_OUTSIDE,
    search::NUMBERS,
    search::EXACT_L2,
    search::EXACT_IP,
    search::RECALL_L2,
    search::RECALL_IP,
    search::SELF,
    search::PREFIX,
    search::COPIES,
    search::MANY_ROWS,
    search_state::ONE_BY_ONE,
    search_state::OTHER_ROWS,
    search_state::PERMUTED,
    search_state::INTERLEAVED,
    seeds::SAME,
    seeds::OTHER,
    state::RESTORED,
    state::RESTORED_SEARCH,
    state::REFIT,
    state::REFIT_OTHER_DIM,
    state::SAVE_CHANGES_NOTHING,
    rate::MONOTONE,
];
