//! Which code to use for given vectors. Codes race: they are measured on a small sample, the most promising ones on
//! larger ones, and the best on all vectors. The winner is then judged by queries that the race has not seen.
//!
//! - `arms`: the codes to try, from the registry of methods.
//! - `sample`: nested samples of the vectors, and queries that are kept for the end.
//! - `measure`: one code on one sample.
//! - `forecast`: what a measurement on a sample says about all rows.
//! - `race`: who stays, round after round; it knows neither methods nor vectors.
//! - `search`: all of these together, with limits of time.
//! - `answer`: what was found, as text, JSON and an experiment.
//!
//! The rule, which of several codes is the best, is `reports::advice`: pages use it too.

mod answer;
mod arms;
mod forecast;
mod measure;
mod race;
mod sample;
mod search;

pub use answer::{Answer, Candidate, CodeFacts, Latency};
pub use arms::{Arm, arms, entrants};
pub use forecast::of_queries;
pub use measure::{Measured, Timings, measure};
pub use race::{Bench, Departure, Entrant, Failure, Observer, Race, race};
pub use sample::{Samples, Stage};
pub use search::{AdviseError, Request, search};
