//! Whether a quantizer is right: checks that any method or program can be held to.
//!
//! A [`Subject`] is all that checks see: it trains, encodes, decodes, searches, saves and restores. [`checks::CHECKS`] lists the
//! checks; each is a function of a [`case::Case`] that measures something and says how it ended. [`prove`] runs them all.
//!
//! Checks that measure a random quantity fail only beyond six standard errors of it, on top of a stated tolerance. With about
//! thirty such checks in a run, a right quantizer is accused once in ten million runs or more.

pub mod case;
pub mod checks;
pub mod outcome;
pub mod outside;
pub mod own;
pub mod reference;
pub mod rows;
pub mod subject;

pub use outcome::{Failure, Outcome, Report, Verdict};
pub use outside::Outside;
pub use own::Own;
pub use subject::{Codes, Found, Held, Refusal, Subject, Trained};

use case::{Case, Checked, Stop};
use checks::{CHECKS, laws};
use methods::SearchMetric;
use rows::Shape;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How to prove.
#[derive(Clone, Debug)]
pub struct Options {
    /// Components of vectors; None for the first usual dimension that works.
    pub dim: Option<usize>,
    /// From which all data follow.
    pub seed: u64,
    /// By which share the distortion may exceed that of our own method.
    pub tolerance: f64,
    /// After this no further check begins.
    pub limit: Duration,
    /// Whether to end with the first check that fails.
    pub until_first_failure: bool,
    /// Names of the checks to run; all if there are none.
    pub only: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dim: None,
            seed: 1,
            tolerance: 0.05,
            limit: Duration::from_secs(110),
            until_first_failure: false,
            only: Vec::new(),
        }
    }
}

/// Nothing could be checked at all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProveError {
    /// It trains on no vectors that were tried.
    #[error("it cannot be trained: {0}")]
    Untrained(String),
}

/// Dimensions that are tried for most checks, in this order.
const DIMS: [usize; 16] = [16, 24, 12, 32, 64, 128, 256, 96, 20, 28, 36, 44, 52, 60, 68, 76];

/// The first dimension with which it trains.
fn usual_dim(subject: &dyn Subject, options: &Options) -> Result<usize, ProveError> {
    let mut reason = String::new();
    for dim in options.dim.map_or(DIMS.to_vec(), |dim| vec![dim]) {
        let fits = subject.accepts(dim).and_then(|()| {
            let rows = Shape::Gaussian.draw(2000, dim, options.seed);
            subject.fit(rows.view(), options.seed, SearchMetric::L2).map(drop).map_err(|refusal| refusal.to_string())
        });
        match fits {
            Ok(()) => return Ok(dim),
            Err(why) if reason.is_empty() => reason = format!("{why} ({dim} components)"),
            Err(_) => {}
        }
    }
    Err(ProveError::Untrained(reason))
}

/// Puts a subject to the proof, `like` one of our own methods if there is one of the same codec. Every outcome is told when it is there,
/// with the number of checks.
///
/// # Errors
/// It cannot be trained on any vectors.
pub fn prove(
    subject: &dyn Subject,
    like: Option<&dyn Subject>,
    options: &Options,
    told: &mut dyn FnMut(&Outcome, usize),
) -> Result<Report, ProveError> {
    let begun = Instant::now();
    let dim = usual_dim(subject, options)?;
    let mut case = Case::new(subject, like, dim, options.seed);
    if case.needs_unit_rows() {
        let mut other = Case::new(subject, like, dim, options.seed);
        other.unit = true;
        if !other.needs_unit_rows() {
            case = other;
        }
    }
    case.tolerance = options.tolerance;
    let laws = laws::of(subject);
    let all = CHECKS.len() + laws.len();
    let mut outcomes = Vec::with_capacity(all);
    let mut note = |group, name: String, question: String, run: &mut dyn FnMut() -> Checked| {
        if !options.only.is_empty() && !options.only.contains(&name) {
            return;
        }
        if options.until_first_failure && outcomes.iter().any(|o: &Outcome| matches!(o.verdict, Verdict::Failed(_))) {
            return;
        }
        let start = Instant::now();
        let checked = if begun.elapsed() < options.limit {
            run()
        } else {
            case::skip(format!("no time left: {} seconds have passed", options.limit.as_secs()))
        };
        let verdict = match checked {
            Ok(note) => Verdict::Passed(note),
            Err(Stop::Failed(failure)) => Verdict::Failed(failure),
            Err(Stop::Skipped(why)) => Verdict::Skipped(why),
        };
        let outcome = Outcome { group, name, question, verdict, seconds: start.elapsed().as_secs_f64() };
        told(&outcome, all);
        outcomes.push(outcome);
    };
    for check in CHECKS {
        note(check.group, check.name.into(), check.question.into(), &mut || (check.run)(&case));
    }
    for law in laws {
        note("laws", law.name.clone(), law.name.clone(), &mut || law.check());
    }
    Ok(Report {
        subject: subject.name(),
        like: like.map(Subject::name),
        dim,
        unit: case.unit,
        seed: options.seed,
        outcomes,
    })
}
