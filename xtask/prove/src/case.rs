//! What a check works with: the subject, data, and what most checks need of both, made once.

use crate::checks::search::agreement;
use crate::outcome::Failure;
use crate::rows::{Sample, Shape};
use crate::subject::{ANY_LENGTH, Codes, Found, Held, Refusal, Subject, Trained};
use methods::SearchMetric;
use ndarray::{Array2, ArrayView2};
use std::cell::OnceCell;

/// Why a check stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It failed.
    Failed(Failure),
    /// It cannot be asked.
    Skipped(String),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        match refusal {
            Refusal::Missing(_) => Stop::Skipped(refusal.to_string()),
            Refusal::Error { verb, message } | Refusal::Broken { verb, message } => Stop::Failed(Failure {
                did: format!("asked it to {verb}"),
                expected: "an answer".into(),
                came: format!("came: {message}"),
                reproduce: String::new(),
            }),
        }
    }
}

/// What a check gives back: a note on what was measured, or why it stopped.
pub type Checked = Result<String, Stop>;

/// A failure as a result.
///
/// # Errors
/// Always.
pub fn fail<T>(
    did: impl Into<String>,
    expected: impl Into<String>,
    came: impl Into<String>,
    reproduce: impl Into<String>,
) -> Result<T, Stop> {
    Err(Stop::Failed(Failure {
        did: did.into(),
        expected: expected.into(),
        came: came.into(),
        reproduce: reproduce.into(),
    }))
}

/// A reason to skip as a result.
///
/// # Errors
/// Always.
pub fn skip<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(why.into()))
}

/// The usual data with a quantizer trained on them.
pub struct Usual<'s> {
    /// Training rows: 2000, Gaussian.
    pub train: Sample,
    /// Other rows: 1025, one more than fill blocks of any usual size.
    pub rows: Sample,
    /// Queries: 300.
    pub queries: Sample,
    /// Trained on the training rows.
    pub trained: Box<dyn Trained + 's>,
    codes: OnceCell<Result<Codes, Refusal>>,
    decoded: OnceCell<Result<Array2<f32>, Refusal>>,
    found: OnceCell<Result<Found, Refusal>>,
    holds_codes: bool,
    /// What its searches go by.
    pub metric: SearchMetric,
}

/// Neighbours that searches of the usual data ask for.
pub const K: usize = 10;

impl Usual<'_> {
    /// The codes of the rows.
    ///
    /// # Errors
    /// As [`Trained::encode`].
    pub fn codes(&self) -> Result<&Codes, Refusal> {
        self.codes.get_or_init(|| self.trained.encode(self.rows.view())).as_ref().map_err(Clone::clone)
    }

    /// The rows, decoded from their codes.
    ///
    /// # Errors
    /// As [`Trained::decode`].
    pub fn decoded(&self) -> Result<&Array2<f32>, Refusal> {
        let decode = || self.trained.decode(self.codes()?);
        self.decoded.get_or_init(decode).as_ref().map_err(Clone::clone)
    }

    /// What a search looks through: the codes of the rows, or the rows.
    ///
    /// # Errors
    /// As [`Trained::encode`].
    pub fn held(&self) -> Result<Held<'_>, Refusal> {
        if self.holds_codes { Ok(Held::Codes(self.codes()?)) } else { Ok(Held::Rows(self.rows.view())) }
    }

    /// The [`K`] nearest rows of every query, by its own search.
    ///
    /// # Errors
    /// As [`Trained::search`].
    pub fn found(&self) -> Result<&Found, Refusal> {
        let search = || self.trained.search(self.held()?, self.queries.view(), K);
        self.found.get_or_init(search).as_ref().map_err(Clone::clone)
    }
}

/// The subject of all checks, with what they have in common.
pub struct Case<'s> {
    /// What is put to the proof.
    pub subject: &'s dyn Subject,
    /// Our own method of the same codec, if one is known.
    pub like: Option<&'s dyn Subject>,
    /// Components of the vectors of most checks.
    pub dim: usize,
    /// From which all data follow.
    pub seed: u64,
    /// Whether all rows are scaled to length 1.
    pub unit: bool,
    /// By which share the distortion may exceed that of our own method.
    pub tolerance: f64,
    usual: [OnceCell<Result<Usual<'s>, Refusal>>; 4],
    exact: OnceCell<bool>,
}

/// The share of what a search finds that must agree with decoded rows, for it to count as exact without saying so. Tables of half precision
/// change places of near-ties.
pub const NEARLY_ALL: f64 = 0.97;

impl<'s> Case<'s> {
    /// A case in which nothing has been done yet.
    pub fn new(subject: &'s dyn Subject, like: Option<&'s dyn Subject>, dim: usize, seed: u64) -> Case<'s> {
        Case {
            subject,
            like,
            dim,
            seed,
            unit: false,
            tolerance: 0.05,
            usual: [const { OnceCell::new() }; 4],
            exact: OnceCell::new(),
        }
    }

    /// A seed of data, different for every `n`.
    pub fn seed_of(&self, n: u64) -> u64 {
        self.seed.wrapping_mul(1000).wrapping_add(n)
    }

    /// Rows of a shape, of the dimension of the case.
    pub fn draw(&self, shape: Shape, n: usize, of: u64) -> Sample {
        let mut sample = shape.draw(n, self.dim, self.seed_of(of));
        if self.unit {
            sample.scale_to_unit();
        }
        sample
    }

    /// Trains the subject for Euclidean distances, with the seed of the case.
    ///
    /// # Errors
    /// As [`Subject::fit`].
    pub fn fit(&self, rows: ArrayView2<'_, f32>) -> Result<Box<dyn Trained + 's>, Refusal> {
        self.subject.fit(rows, self.seed, SearchMetric::L2)
    }

    /// The usual data with the subject trained on them.
    ///
    /// # Errors
    /// As [`Subject::fit`].
    pub fn usual(&self, metric: SearchMetric) -> Result<&Usual<'s>, Refusal> {
        self.usual_of(self.subject, metric, metric as usize)
    }

    /// The usual data with our own method trained on them.
    ///
    /// # Errors
    /// There is none; as [`Subject::fit`].
    pub fn usual_like(&self, metric: SearchMetric) -> Result<&Usual<'s>, Stop> {
        let Some(like) = self.like else { return skip("no method of ours to compare with is known (`--like`)") };
        self.usual_of(like, metric, 2 + metric as usize)
            .map_err(|refusal| Stop::Skipped(format!("our own method cannot be compared here: {refusal}")))
    }

    fn usual_of(&self, subject: &'s dyn Subject, metric: SearchMetric, slot: usize) -> Result<&Usual<'s>, Refusal> {
        let make = || {
            let train = self.draw(Shape::Gaussian, 2000, 1);
            let trained = subject.fit(train.view(), self.seed, metric)?;
            Ok(Usual {
                train,
                rows: self.draw(Shape::Gaussian, 1025, 2),
                queries: self.draw(Shape::Gaussian, 300, 3),
                trained,
                codes: OnceCell::new(),
                decoded: OnceCell::new(),
                found: OnceCell::new(),
                holds_codes: subject.codes() && subject.searches_codes(),
                metric,
            })
        };
        self.usual[slot].get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// Whether searches go by the scores of decoded rows, up to rounding: what it says of itself, or else what a search of the usual data
    /// shows.
    pub fn is_exact(&self) -> bool {
        let seen = || {
            let metric = self.searched();
            let usual = self.usual(metric).ok()?;
            if let Some(estimates) = usual.trained.estimates() {
                return Some(!estimates);
            }
            let (decoded, found) = (usual.decoded().ok()?, usual.found().ok()?);
            Some(agreement(decoded, &usual.queries, found, metric).share >= NEARLY_ALL)
        };
        *self.exact.get_or_init(|| seen().unwrap_or(false))
    }

    /// The metric that searches are asked by: distance, or inner product where that is all there is.
    pub fn searched(&self) -> SearchMetric {
        let by = |metric| self.usual(metric).and_then(|usual| usual.found().map(drop));
        match (by(SearchMetric::L2), by(SearchMetric::InnerProduct)) {
            (Err(Refusal::Missing(_)), Ok(())) => SearchMetric::InnerProduct,
            _ => SearchMetric::L2,
        }
    }

    /// Whether it refuses to search because rows do not have length 1.
    pub fn needs_unit_rows(&self) -> bool {
        let found = self.usual(SearchMetric::L2).and_then(|usual| usual.found().map(drop));
        matches!(found, Err(Refusal::Error { .. } | Refusal::Missing(ANY_LENGTH)))
    }

    /// Decoded rows of a quantizer.
    ///
    /// # Errors
    /// As [`Trained::encode`] and [`Trained::decode`].
    pub fn coded(&self, trained: &dyn Trained, rows: &Array2<f32>) -> Result<Array2<f32>, Refusal> {
        trained.decode(&trained.encode(rows.view())?)
    }
}
