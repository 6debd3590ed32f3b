//! Which code to use, given what it may cost and what it must reach: one rule for `cargo xtask advise`, which measures
//! codes for an answer, and for the panel of a page, which answers from the records of its runs.

mod chance;
mod choice;
mod figure;
mod panel;
mod words;

pub use chance::{interval_draws, share_best};
pub use choice::{Choice, Relaxation, Wish, WishError, choose};
pub use figure::{FIGURES, Figure, Figures, rung_above, rungs};
pub(crate) use panel::{STYLE, panel};
pub use words::{chance, limits, miss, reach, relaxation};
