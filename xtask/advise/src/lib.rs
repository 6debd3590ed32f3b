//! Which code to use for given vectors. Codes race: all of them are measured on a small sample, the most promising ones
//! on larger ones, and the last few on all vectors. The winner is then judged by queries that the race has not seen.
//!
//! - `arms`: the codes to try, from the registry of methods.
//! - `sample`: nested samples of the vectors, and queries that are kept for the end.
//! - `measure`: one code on one sample.
//! - `race`: who stays, round after round; it knows neither methods nor vectors.
//! - `search`: all of these together, with limits of time.
//! - `answer`: what was found, as text, JSON and an experiment.
//!
//! The rule, which of several codes is the best, is `reports::advice`: pages use it too.

mod answer;
mod arms;
mod measure;
mod race;
mod sample;
mod search;

pub use answer::{Answer, Candidate, CodeFacts, Latency};
pub use arms::{Arm, arms};
pub use measure::{Measured, Timings, measure};
pub use race::{Bench, Departure, Failure, Observer, Race, race};
pub use sample::{Samples, Stage};
pub use search::{AdviseError, Request, search};
