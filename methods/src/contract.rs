//! What methods and their callers exchange besides the traits of `lib.rs`: the context of a fit, errors, training curves, saved
//! state and model files, and how batches of rows are walked.

pub(crate) mod batch;
pub(crate) mod context;
pub(crate) mod curve;
pub(crate) mod error;
pub mod model;
pub mod state;
pub(crate) mod training_rows;
pub mod usage;
