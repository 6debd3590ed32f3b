//! From YAML to results: an experiment file becomes a checked plan, the plan becomes trials, each in a process of its
//! own, and every trial leaves one record.
//!
//! [`Document`] keeps the position of every value, so that an error found late still points at its cause.
//! [`Plan::new`] checks everything that can be checked before anything runs. [`engine::run`] carries the plan out;
//! [`trial::run`] is the other end, in the child process. [`coding`] puts a trained quantizer to use on files outside of experiments.
//!
//! ```
//! use experiments::{Document, Overrides, Plan, Surroundings};
//! use std::path::Path;
//!
//! let text = "
//! name: mine
//! seeds: [1, 2]
//! datasets: [{ synthetic: gaussian, dim: 8, n: 1000, queries: 10 }]
//! methods:
//!   - pq: { bits: 4 }
//!     sweep: { m: [2, 4] }
//! ";
//! let plan = |text: &str| {
//!     let document = Document::parse("mine.yaml", text).map_err(|fault| vec![fault])?;
//!     Plan::new(&document, Path::new("."), &Surroundings::default(), &Overrides::default())
//! };
//! assert_eq!(plan(text).map(|plan| plan.trials.len()).ok(), Some(4));
//!
//! // A mistake is found before anything runs.
//! let faults = plan(&text.replace("m: [2, 4]", "m: [2, 3]")).err().unwrap_or_default();
//! assert!(faults.len() == 1 && faults[0].to_string().contains("m=3"), "{faults:?}");
//! ```

mod child;
mod clock;
pub mod coding;
pub mod document;
pub mod engine;
pub mod executor;
pub mod executor_choice;
pub mod experiment;
mod facts;
mod fault;
pub mod in_turn;
pub mod include;
mod job;
mod json;
mod logistic;
pub mod machine;
mod memory;
pub mod metrics;
mod neighbours;
mod observer;
mod outcome;
pub mod pictures;
pub mod plan;
mod preparation;
mod recipe;
pub mod reference;
pub mod rerun;
mod saved_pictures;
pub mod search;
mod shell;
mod spectrum;
mod surroundings;
mod task_error;
pub mod trial;
mod turns;
mod units;
pub mod vectors;

pub use document::Document;
pub use engine::{Launcher, Observer, Outcome};
pub use executor::ExecutorChoice;
pub use experiment::{Experiment, schema};
pub use fault::{Fault, Located};
pub use plan::{Overrides, Plan};
pub use surroundings::Surroundings;
pub use units::{ByteSize, Seconds};
